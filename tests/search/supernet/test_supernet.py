"""The masked supernet and the networks in it are one and the same, and both weights and thresholds learn."""

import itertools
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from small import WIDE
from torch import nn
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from profiling.draws import random_architectures
from profiling.places import SKIP
from profiling.space import Architecture
from search.convnet.batch_norm import BatchNorm
from search.finding.scoring import reestimate_batch_norm
from search.finding.search import make_weight_optimizer
from search.supernet.decisions import can_end, encode
from search.supernet.decode import hard_architecture
from search.supernet.runtime_loss import RuntimeTerm, eq9_loss
from search.supernet.supernet import Supernet, extract, superkernel
from search.supernet.thresholds import ThresholdDescent


def with_lively_batch_norm(module: nn.Module) -> None:
    """Statistics and biases far from their start, so that a channel which is not really absent shows."""
    for norm in module.modules():
        if isinstance(norm, BatchNorm):
            for parameter, low, high in (
                (norm.gamma.data, 0.5, 1.5),
                (norm.beta.data, -1, 1),
                (norm.running_mean, -1, 1),
                (norm.running_var, 0.5, 2),
            ):
                parameter.uniform_(low, high)


# Squeeze-and-excitation whose middle grows with the ratio, and h-swish, beside a stage without them and a fixed one with them.
EXCITED = {
    "stem": {"channels": 8, "activation": "hswish"},
    "stages": [
        {"layers": 1, "channels": 8, "kernel": 3, "expansion": 1, "se_ratio": 0.5, "activation": "relu"},
        {"layers": 2, "channels": 8, "stride": 2},
        {"layers": 2, "channels": 16, "se_ratio": 0.25, "activation": "hswish"},
    ],
    "head": {"channels": 32, "activation": "hswish"},
}


RIGHT_BEHIND = {"stages": [{"layers": [1, 2], "channels": [8, 16], "stride": 2}, {"layers": [1, 3], "channels": [8, 16]}]}


RESOLUTIONS = {"resolution": [12, 16, 24]}


def every_choice_of_each_layer(space):
    """Alone in the largest network; and where there are channels to choose, in the largest one with the fewest channels."""
    narrow = tuple(slot.choices[len(slot.choices) // max(1, len(slot.widths)) - 1] for slot in space.searchable)
    for around in (space.largest.choices, narrow)[: 1 + (space.most_widths > 1)]:
        networks = {}
        for index, slot in enumerate(space.searchable):
            for choice in slot.choices:
                choices = space.completed((*around[:index], choice, *around[index + 1 :]))
                networks[choices] = Architecture(space=space, choices=choices)
        yield from networks.values()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernels": [3, 5, 7], "expansions": [2, 4, 6], "resolution": 24},
        {"resolution": 13},
        {"expansions": [4]},
        {"expansions": [1, 3]},
        EXCITED,
        EXCITED | {"kernels": [3, 5, 7], "expansions": [1, 2, 6], "resolution": 24},
        {"skip": False},
        WIDE,
        RIGHT_BEHIND,
        RIGHT_BEHIND | RESOLUTIONS,
    ],
    ids=str,
)
def test_masked_sliced_and_decoded_networks_agree_for_every_choice_of_a_layer(make_space, changes):
    torch.manual_seed(0)
    space = make_space(**changes)
    supernet = Supernet(space, 10)
    with_lively_batch_norm(supernet)
    supernet.eval()
    supernet.blocks[-1].classifier.weight.data *= 5
    images = torch.randn(4, 1, space.resolution, space.resolution)
    everything = encode(space.largest)
    outputs = {}
    with torch.no_grad():
        for architecture in every_choice_of_each_layer(space):
            decoded = extract(supernet, architecture).eval()(images)
            masked = supernet(images, encode(architecture), resolution=architecture.resolution)
            sliced = supernet(images, everything, architecture.steps)
            torch.testing.assert_close(masked, decoded, atol=1e-5, rtol=0)
            torch.testing.assert_close(sliced, decoded, atol=1e-5, rtol=0)
            outputs[architecture.choices] = decoded
    for one, other in itertools.combinations(outputs.values(), 2):
        assert (one - other).abs().max() > 1e-3, "choices that give the same output would prove nothing"


class Part(nn.Module):
    """A network inside a supernet: its decisions or its steps, at every call."""

    def __init__(self, supernet, decisions=None, steps=None):
        super().__init__()
        self.supernet, self.decisions, self.steps = supernet, decisions, steps

    def forward(self, images):
        return self.supernet(images, self.decisions, self.steps)


@pytest.mark.parametrize("changes", [{}, {"kernels": [3, 5, 7], "expansions": [2, 4, 6]}, EXCITED, RIGHT_BEHIND], ids=str)
def test_all_three_agree_with_reestimated_statistics_for_every_choice_of_a_layer(make_space, changes):
    """The masked supernet gathers, for every channel that the decoded network has, the very statistics of that network."""
    torch.manual_seed(0)
    space = make_space(**changes)
    supernet = Supernet(space, 10)
    with_lively_batch_norm(supernet)
    images = torch.randn(4, 1, 12, 12)
    batches = [torch.randn(8, 1, 12, 12) for _ in range(2)]

    def after_reestimation(network):
        before = deepcopy(supernet.state_dict())
        reestimate_batch_norm(network, batches)
        with torch.no_grad():
            output = network(images)
        supernet.load_state_dict(before)
        return output

    stale = supernet.eval()(images)
    for architecture in every_choice_of_each_layer(space):
        decoded = after_reestimation(extract(supernet, architecture))
        masked = after_reestimation(Part(supernet, encode(architecture)))
        sliced = after_reestimation(Part(supernet, steps=architecture.steps))
        torch.testing.assert_close(masked, decoded, atol=1e-5, rtol=0)
        torch.testing.assert_close(sliced, decoded, atol=1e-5, rtol=0)
        assert (decoded - stale).abs().max() > 1e-2, "statistics that do not matter would prove nothing"


def test_reestimated_statistics_are_the_plain_average_over_the_batches(space):
    torch.manual_seed(0)
    network = extract(Supernet(space, 10), next(random_architectures(space, 3)))
    batches = [torch.randn(16, 1, 12, 12) for _ in range(3)]
    reestimate_batch_norm(network, batches)
    with torch.no_grad():
        seen = []
        handle = network.blocks[0].bn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for batch in batches:
            network(batch)
        handle.remove()
    norm = network.blocks[0].bn
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen])
    torch.testing.assert_close(norm.running_var, variances.mean(0))


@pytest.mark.parametrize("stride", [1, 2])
def test_eq4_is_the_mbconv_that_loops_compute(make_space, stride):
    """Against plain loops over pixels, channels and taps, with TensorFlow's padding, for every choice."""
    torch.manual_seed(0)
    space = make_space(expansions=[2, 3], stages=[{"layers": 1, "channels": 8, "stride": stride}], resolution=9)
    block = next(Supernet(space, 10).decided).eval()
    with_lively_batch_norm(block)
    x = torch.randn(1, 8, 5, 5)
    for step in block.slot.steps.values():
        with torch.no_grad():
            output = block(x, step=step)[0]
        np.testing.assert_allclose(output, slow_mbconv(block, x[0].numpy(), step.choice), atol=1e-5)


def slow_mbconv(block, x, choice):
    """(channels, n, n) to (out, ⌈n/stride⌉, ⌈n/stride⌉)."""
    if choice == SKIP:
        return x
    stride, (inputs, size, _), border = block.spec.stride, x.shape, (block.spec.kernel - choice.kernel) // 2
    hidden, out_size = inputs * choice.expansion, -(-size // stride)
    pad = max((out_size - 1) * stride + choice.kernel - size, 0) // 2

    def normal(values, norm, channel):
        mean, var, gamma, beta = (each[channel].item() for each in (norm.running_mean, norm.running_var, norm.gamma, norm.beta))
        return (values - mean) / math.sqrt(var + 1e-3) * gamma + beta

    expand, w, project = (part.weight.detach().numpy() for part in (block.expand, block.depthwise, block.project))
    expanded = np.zeros((hidden, size, size))
    for channel in range(hidden):
        total = sum(expand[channel, source, 0, 0] * x[source] for source in range(inputs))
        expanded[channel] = np.clip(normal(total, block.expand.bn, channel), 0, 6)
    filtered = np.zeros((hidden, out_size, out_size))
    for channel, row, column in itertools.product(range(hidden), range(out_size), range(out_size)):
        for i, j in itertools.product(range(choice.kernel), repeat=2):
            at = row * stride + i - pad, column * stride + j - pad
            if all(0 <= index < size for index in at):
                filtered[channel, row, column] += w[channel, 0, border + i, border + j] * expanded[channel, *at]
    for channel in range(hidden):
        filtered[channel] = np.clip(normal(filtered[channel], block.depthwise.bn, channel), 0, 6)
    outputs = [
        normal(sum(project[out, channel, 0, 0] * filtered[channel] for channel in range(hidden)), block.project.bn, out)
        for out in range(block.spec.out_channels)
    ]
    return np.stack(outputs) + (x if block.spec.residual else 0)


def test_encode_and_hard_architecture_are_inverse_for_every_choice(make_space):
    for changes in (
        {},
        {"kernels": [3, 5, 7], "expansions": [2, 4, 6]},
        {"skip": False},
        WIDE,
        RIGHT_BEHIND,
        RIGHT_BEHIND | RESOLUTIONS,
    ):
        space = make_space(**changes)
        for architecture in every_choice_of_each_layer(space):
            assert hard_architecture(space, encode(architecture), architecture.resolution) == architecture


def with_decisions(supernet, architecture):
    """Sets the thresholds, half a unit from where norms begin, so that the supernet decides for this architecture."""
    wanted = encode(architecture)
    with torch.no_grad():
        supernet.t_k.copy_(1.5 - wanted.use_kernel[:, 1:])
        supernet.t_e.copy_(1.5 - wanted.use_expansion[:, 1:])
        skippable = torch.tensor([can_end(slot) for slot in supernet.space.searchable])
        supernet.t_skip.copy_(1.5 - wanted.use_layer[skippable])
        if supernet.t_w is not None:
            supernet.t_w.copy_(1.5 - wanted.use_width[1:, 1:])
    assert hard_architecture(supernet.space, supernet.decide()) == architecture


def two_architectures(space):
    return space.largest, next(random_architectures(space, 1))


def test_weights_and_thresholds_all_get_gradient(space):
    """Of the cross-entropy alone, and at every layer, whatever its present decision."""
    torch.manual_seed(0)
    images, labels = torch.randn(16, 1, 12, 12), torch.randint(0, 10, (16,))
    for architecture in two_architectures(space):
        supernet = Supernet(space, 10)
        with_decisions(supernet, architecture)
        cross_entropy(supernet(images, supernet.decide()), labels).backward()
        assert supernet.t_skip.grad.abs().min() > 0
        for block, name, t_k, t_e in zip(
            supernet.decided, architecture.choices, supernet.t_k.grad, supernet.t_e.grad, strict=True
        ):
            if name != "skip":
                assert min(t_k.abs().min(), t_e.abs().min()) > 0
                assert block.depthwise.weight.grad.abs().max() > 0


def assert_gradients_match(parameters, objective, places=6):
    """The gradients that parameters have against central differences of the objective, at a few places of each."""
    for parameter in parameters:
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(0, len(flat), max(1, len(flat) // places)):
            value, step, around = flat[index].item(), 1e-7, []
            for shifted in (value - step, value + step):
                flat[index] = shifted
                with torch.no_grad():
                    around.append(objective().item())
            flat[index] = value
            assert gradient[index].item() == pytest.approx((around[1] - around[0]) / (2 * step), rel=1e-4, abs=1e-8)


@pytest.fixture(params=[{}, EXCITED, RIGHT_BEHIND], ids=["plain", "excited", "wide"])
def double(request, make_space, make_table):
    """A supernet in double precision without dropout, and its objective (Eq. 9) by an indicator function."""
    torch.manual_seed(0)
    space = make_space(**request.param)
    supernet, runtime = Supernet(space, 10).double(), RuntimeTerm(RuntimeModel(make_table(space))).double()
    with_lively_batch_norm(supernet)
    supernet.blocks[-1].dropout.p = 0.0
    images, labels = torch.randn(8, 1, 12, 12, dtype=torch.float64), torch.randint(0, 10, (8,))

    def objective(g):
        decisions = supernet.decide(g)
        return eq9_loss(cross_entropy(supernet(images, decisions), labels), runtime(decisions), 0.3)

    return supernet, objective


def learning(supernet):
    block = [block for block in supernet.decided if can_end(block.slot)][-1]
    weights = [block.expand.weight, block.depthwise.weight, block.project.weight, block.project.bn.gamma, block.project.bn.beta]
    excitation = [] if block.excitation is None else list(block.excitation.parameters())
    return [*supernet.thresholds(), *weights, *excitation]


def test_gradients_of_the_relaxed_objective_match_finite_differences(double):
    """With indicators replaced by their relaxation the whole objective is smooth; autograd must agree with differences of it."""
    supernet, objective = double
    objective(superkernel.probability).backward()
    assert_gradients_match(learning(supernet), lambda: objective(superkernel.probability))


@pytest.mark.parametrize("g", [superkernel.indicator, superkernel.sampled_indicator])
def test_straight_through_gradients_are_those_of_the_objective_with_the_sigmoid_led_through_the_decisions(double, g):
    """What a training step goes down, said exactly.

    The objective that goes forward is piecewise constant in the thresholds and has no useful derivative. What is claimed instead:
    at weights and thresholds where the indicators came out as h and the relaxation as σ₀, the gradient is that of the objective
    with h + σ − σ₀ in place of each indicator, h and σ₀ held fixed. That is smooth, has the same value at this very point, and
    can be differenced. For weights it holds the path through the masked convolutions and that through the norms.
    """
    supernet, objective = double
    for architecture in two_architectures(supernet.space):
        with_decisions(supernet, architecture)
        supernet.zero_grad()
        seen = []

        def noted(x, t, seen=seen):
            decided = g(x, t)
            seen.append((decided.detach().clone(), superkernel.probability(x, t).detach().clone()))
            return decided

        loss = objective(noted)
        loss.backward()

        def led_through(seen=seen):
            points = iter(seen)

            def shifted(x, t):
                h, at_the_point = next(points)
                return h + superkernel.probability(x, t) - at_the_point

            return objective(shifted)

        assert led_through().item() == pytest.approx(loss.item(), rel=1e-12)
        assert_gradients_match(learning(supernet), led_through)
        if g is superkernel.indicator:
            assert all(bool(((h == 0) | (h == 1)).all()) for h, _ in seen)


def test_weights_and_thresholds_both_move_in_one_step(double):
    supernet, objective = double
    supernet.eval()  # in training, the batch norm of the layer behind undoes any bias of the one before it
    before = [parameter.detach().clone() for parameter in learning(supernet)]
    weights, thresholds = make_weight_optimizer(supernet, 0.01, 1e-5), ThresholdDescent(supernet.thresholds(), 0.01)
    objective(superkernel.indicator).backward()
    weights.step()
    thresholds.step()
    for parameter, value in zip(learning(supernet), before, strict=True):
        assert not torch.equal(parameter, value)
