"""The equations one by one, against slow versions that are written otherwise."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.supernet import superkernel

NESTS = [((3, 5), (3, 6)), ((3, 5, 7), (2, 4, 6)), ((3,), (6,)), ((5, 7), (1, 2, 3, 4))]


def test_the_middle_of_squeeze_and_excitation_has_the_channels_of_the_ratios_in_use():
    """By widths before the layer as well, which are nested in another direction."""
    counts = [[8, 8, 16, 24], [8, 16, 24, 40], [16, 24, 48, 64]]
    subsets = superkernel.subset_masks(counts, 64)[None]
    for (wide, row), used in itertools.product(enumerate(counts), range(4)):
        use_width = torch.tensor([[1.0] * (wide + 1) + [0.0] * (2 - wide)])
        use_expansion = torch.tensor([[1.0] * (used + 1) + [0.0] * (3 - used)])
        [mask] = superkernel.eq3_channel_masks(use_width, use_expansion, subsets)
        channels = row[used]
        assert mask.tolist() == [1.0] * channels + [0.0] * (64 - channels)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_indicator_is_hard_going_forward_and_a_sigmoid_going_back(x_value, t_value):
    x = torch.tensor(x_value, dtype=torch.float64, requires_grad=True)
    t = torch.tensor(t_value, dtype=torch.float64, requires_grad=True)
    g = superkernel.indicator(x, t)
    g.backward()
    assert g.item() == float(x_value > t_value)
    step = 1e-6
    relaxed = [1 / (1 + np.exp(-(x_value + h - t_value) / superkernel.TEMPERATURE)) for h in (-step, step)]
    slope = (relaxed[1] - relaxed[0]) / (2 * step)
    assert x.grad.item() == pytest.approx(slope, abs=1e-6)
    assert t.grad.item() == pytest.approx(-slope, abs=1e-6)


@pytest.mark.parametrize(("kernels", "expansions"), NESTS)
def test_eq1_keeps_exactly_the_centred_kernel(kernels, expansions):
    size = kernels[-1]
    w = torch.randn(4, 1, size, size)
    shells = superkernel.shell_masks(kernels)
    for index, kernel in enumerate(kernels):
        use_kernel = torch.tensor([1.0] * (index + 1) + [0.0] * (len(kernels) - index - 1))
        expected = np.zeros((4, 1, size, size), np.float32)
        for row, column in itertools.product(range(size), repeat=2):
            if max(abs(row - size // 2), abs(column - size // 2)) <= kernel // 2:
                expected[:, :, row, column] = w[:, :, row, column]
        np.testing.assert_array_equal(w * superkernel.eq1_kernel_mask(use_kernel, shells), expected)


@pytest.mark.parametrize(("kernels", "expansions"), NESTS)
def test_eq2_compares_each_shell_per_weight_with_the_whole_kernel(kernels, expansions):
    size = kernels[-1]
    w = torch.randn(6, 1, size, size, dtype=torch.float64)
    [norms] = superkernel.kernel_norms([w], superkernel.shell_masks(kernels).double())
    whole = sum(value**2 for value in w.flatten().tolist()) / w.numel()
    for index, (inner, outer) in enumerate(itertools.pairwise(kernels)):
        ring = [
            w[channel, 0, row, column].item() ** 2
            for channel, row, column in itertools.product(range(6), range(size), range(size))
            if inner // 2 < max(abs(row - size // 2), abs(column - size // 2)) <= outer // 2
        ]
        assert norms[index].item() == pytest.approx(sum(ring) / len(ring) / whole)


@pytest.mark.parametrize(("kernels", "expansions"), NESTS)
def test_eq3_groups_are_the_first_channels_and_their_norms_are_per_weight(kernels, expansions):
    inputs, outputs = 3, 5
    v = torch.randn(outputs, inputs * expansions[-1], 1, 1, dtype=torch.float64)
    groups = superkernel.group_masks(expansions).double()
    [norms] = superkernel.expansion_norms([v], groups)
    for index, (fewer, more) in enumerate(itertools.pairwise(expansions)):
        group = v[:, inputs * fewer : inputs * more].square().mean() / v.square().mean()
        assert norms[index].item() == pytest.approx(group.item())
    for index, expansion in enumerate(expansions):
        use = torch.tensor([1.0] * (index + 1) + [0.0] * (len(expansions) - index - 1), dtype=torch.float64)
        expected = v.clone()
        expected[:, inputs * expansion :] = 0
        subsets = superkernel.subset_masks([[inputs * each for each in expansions]], inputs * expansions[-1])
        [mask] = superkernel.eq3_channel_masks(torch.ones(1, 1), use[None], subsets[None])
        assert torch.equal(superkernel.eq3_channels(v, mask), expected)


@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=4))
def test_a_subset_is_in_use_only_when_all_inside_it_are(wanted):
    use = superkernel.nested(torch.tensor(wanted)).tolist()
    assert use == [1.0] + [float(all(wanted[: index + 1])) for index in range(len(wanted))]


@pytest.mark.parametrize(("kernels", "expansions"), NESTS)
def test_gradients_of_the_relaxed_equations_match_finite_differences(kernels, expansions):
    """Eq. 1 to 3 in one function of weights and thresholds, with the sigmoid in place of the indicator."""
    torch.manual_seed(0)
    size, inputs = kernels[-1], 2
    shells, groups = superkernel.shell_masks(kernels).double(), superkernel.group_masks(expansions).double()
    subsets = superkernel.subset_masks([[inputs * each for each in expansions]], inputs * expansions[-1]).double()

    def equations(w, v, gamma, t_k, t_e, t_skip):
        g = superkernel.probability
        use_kernel = superkernel.eq2_use_kernel(superkernel.kernel_norms([w], shells), t_k, g)
        use_expansion = superkernel.eq3_use_expansion(superkernel.expansion_norms([v], groups), t_e, g)
        use_layer = superkernel.eq3_use_layer(superkernel.layer_norms([gamma]), t_skip, g)
        kernel_mask = superkernel.eq1_kernel_mask(use_kernel, shells)[0]
        [mask] = superkernel.eq3_channel_masks(torch.ones(1, 1), use_expansion, subsets[None])
        return w * kernel_mask, superkernel.eq3_channels(v, mask), gamma * use_layer

    shapes = [(3, 1, size, size), (2, inputs * expansions[-1], 1, 1), (2,), (1, len(kernels) - 1), (1, len(expansions) - 1), (1,)]
    values = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(equations, values)


def test_layers_are_decided_alone():
    """All layers at once is each of them by itself."""
    torch.manual_seed(0)
    shells, groups = superkernel.shell_masks((3, 5)), superkernel.group_masks((3, 6))
    w = [torch.randn(channels, 1, 5, 5) for channels in (6, 12)]
    v = [torch.randn(4, channels, 1, 1) for channels in (6, 12)]
    for norms, one, masks in ((superkernel.kernel_norms, w, shells), (superkernel.expansion_norms, v, groups)):
        torch.testing.assert_close(norms(one, masks), torch.cat([norms([each], masks) for each in one]))


def test_norms_do_not_depend_on_the_scale_that_batch_norm_undoes():
    w, shells = torch.randn(6, 1, 5, 5), superkernel.shell_masks((3, 5))
    torch.testing.assert_close(superkernel.kernel_norms([w], shells), superkernel.kernel_norms([100 * w], shells))


def test_the_literal_place_of_eq3_gets_no_gradient_from_the_cross_entropy():
    """Why the indicator does not multiply the depthwise kernel: batch norm undoes any factor on a channel."""
    torch.manual_seed(0)
    x = torch.randn(8, 6, 9, 9, dtype=torch.float64)
    w = torch.randn(6, 1, 3, 3, dtype=torch.float64)
    before = torch.ones(6, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    behind = torch.ones(6, 1, 1, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.conv2d(x, w * before, padding=1, groups=6)
    y = torch.nn.functional.batch_norm(y, None, None, training=True, eps=1e-12).relu() * behind
    (y * torch.randn_like(y)).sum().backward()
    assert before.grad.abs().max() < 1e-8
    assert behind.grad.abs().min() > 1e-2
