"""1×1 convolutions with batch norm in one pass, against PyTorch's own modules."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from search import processes
from search.convnet.batch_norm import BN_EPSILON, BN_MOMENTUM, BatchNorm
from search.convnet.expansion import Expansion, expanded, is_expansion

INPUTS, OUTPUTS = 8, 48


def lively(dtype) -> tuple[nn.Parameter, BatchNorm]:
    """A weight with more outputs than are used, and batch norm, not as they are at first."""
    norm = BatchNorm(OUTPUTS + 4).train()
    with torch.no_grad():
        norm.gamma.uniform_(0.5, 2)
        norm.beta.uniform_(-1, 1)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    return nn.Parameter(torch.randn(OUTPUTS + 4, INPUTS, 1, 1).to(dtype)), norm.to(dtype)


def of_both(images, slope, gate_value):
    """Values, gradients and statistics in our one pass, and in PyTorch's two."""
    torch.manual_seed(0)
    whole, norm = lively(images.dtype)
    x, gate = images.clone().requires_grad_(), torch.full((1,), gate_value, dtype=images.dtype, requires_grad=True)
    plain = nn.BatchNorm2d(OUTPUTS, BN_EPSILON, BN_MOMENTUM).to(images.dtype)
    plain.load_state_dict({"weight": norm.gamma[:OUTPUTS], "bias": norm.beta[:OUTPUTS], "num_batches_tracked": torch.tensor(0)}
        | {"running_mean": norm.running_mean[:OUTPUTS], "running_var": norm.running_var[:OUTPUTS]})  # fmt: skip
    y = gate * plain(functional.conv2d(x, whole[:OUTPUTS]))
    leaves = (x, whole, gate)
    theirs = [y, *torch.autograd.grad(y, (*leaves, plain.weight, plain.bias), slope), plain.running_mean, plain.running_var]
    y = expanded(x, whole[:OUTPUTS], norm, gate)
    mine = [y, *torch.autograd.grad(y, (*leaves, norm.gamma, norm.beta), slope), norm.running_mean, norm.running_var]
    cut = [each[:OUTPUTS] if each.shape[:1] == (OUTPUTS + 4,) and each.dim() == 1 else each for each in mine]
    return cut, theirs


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["channels last", "channels first"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_values_gradients_and_statistics_are_those_of_two_passes(layout, dtype, tolerance, mean):
    """Also where the mean of the images is far from 0, of which their covariance must not suffer."""
    torch.manual_seed(1)
    images = (mean + torch.randn(16, INPUTS, 7, 7, dtype=dtype)).contiguous(memory_format=layout)
    slope = torch.randn(16, OUTPUTS, 7, 7, dtype=dtype)
    mine, theirs = of_both(images, slope, 0.7)
    # In single precision two passes are less exact than one for images far from 0, so that both are compared with the truth.
    exact = of_both(images.double(), slope.double(), 0.7)[1] if dtype == torch.float32 else theirs
    for one, other in zip(mine, exact, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(1)


def test_gradients_pass_a_numerical_check():
    torch.manual_seed(0)
    shapes = ((3, 2, 2, 3), (6, 2, 1, 1), (6,), (6,))
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(
        lambda *leaves: Expansion.apply(*leaves, torch.zeros(6).double(), torch.ones(6).double(), 0.1), leaves
    )


def test_it_is_for_training_of_one_process_on_a_cpu_where_many_channels_are_made_of_few(monkeypatch):
    x, norm = torch.randn(4, 8, 5, 5), BatchNorm(48).train()
    many, few, wide = torch.randn(48, 8, 1, 1), torch.randn(16, 8, 1, 1), torch.randn(48, 8, 3, 3)
    assert [is_expansion(x, weight, norm) for weight in (many, few, wide)] == [True, False, False]
    assert not is_expansion(x, many, norm.eval())
    norm.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_expansion(x, many, norm)
    assert not is_expansion(x.to("meta"), many, norm)
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert not is_expansion(x, many, norm)
