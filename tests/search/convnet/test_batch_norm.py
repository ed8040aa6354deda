"""Batch norm with ReLU6 behind it, against PyTorch's own modules."""

import copy
import pickle

import pytest
import torch
from torch import nn

from profiling.convolutions import Convolution
from search.convnet.batch_norm import BN_EPSILON, BN_MOMENTUM, BatchNorm
from search.convnet.network import ConvBN
from search.convnet.relu6 import relu6_in_place


def lively(channels: int, dtype: torch.dtype) -> tuple[BatchNorm, nn.BatchNorm2d]:
    """Our module, and PyTorch's for its first channels, with the same numbers: both ends of ReLU6 are reached."""
    mine, plain = BatchNorm(channels + 3).to(dtype), nn.BatchNorm2d(channels, BN_EPSILON, BN_MOMENTUM).to(dtype)
    pairs = ((mine.gamma, plain.weight), (mine.beta, plain.bias))
    statistics = ((mine.running_mean, plain.running_mean), (mine.running_var, plain.running_var))
    with torch.no_grad():
        for (one, other), low, high in zip((*pairs, *statistics), (2, 1, -1, 0.5), (4, 4, 1, 2), strict=True):
            one.uniform_(low, high)
            other.copy_(one[:channels])
    return mine, plain


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["channels last", "channels first"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_first_channels_gate_values_gradients_and_statistics_are_those_of_plain_modules(layout, training, dtype, tolerance):
    torch.manual_seed(0)
    mine, plain = (module.train(training) for module in lively(48, dtype))
    images, slope = (torch.randn(16, 48, 7, 7, dtype=dtype).contiguous(memory_format=layout) for _ in range(2))
    x, gate = images.clone().requires_grad_(), torch.tensor([0.7], dtype=dtype, requires_grad=True)
    y = relu6_in_place(mine(x, gate))
    (y * slope).sum().backward()

    same_x, same_gate = images.clone().requires_grad_(), gate.detach().clone().requires_grad_()
    expected = nn.functional.relu6(same_gate * plain(same_x))
    (expected * slope).sum().backward()

    assert 0.05 < (y == 0).double().mean() < 0.95
    assert (y == 6).any()
    for one, other in (
        (y, expected),
        (x.grad, same_x.grad),
        (gate.grad, same_gate.grad),
        (mine.gamma.grad[:48], plain.weight.grad),
        (mine.beta.grad[:48], plain.bias.grad),
        (mine.running_mean[:48], plain.running_mean),
        (mine.running_var[:48], plain.running_var),
    ):
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(1)
    assert not mine.gamma.grad[48:].any()


def test_gradients_pass_a_numerical_check():
    torch.manual_seed(0)
    norm, _ = lively(2, torch.float64)
    x, gate = torch.randn(3, 5, 2, 3, dtype=torch.float64, requires_grad=True), torch.ones(1).double().requires_grad_()

    def forward(x, gamma, beta, gate):
        return relu6_in_place(torch.func.functional_call(norm, {"gamma": gamma, "beta": beta}, (x, gate)))

    assert torch.autograd.gradcheck(forward, (x, norm.gamma, norm.beta, gate))


@pytest.mark.parametrize(
    ("layer", "tensors"),
    [(ConvBN(Convolution(1, 40, 48, 1, activation="relu6")), 2), (ConvBN(Convolution(1, 8, 48, 1, activation="relu6")), 1)],
    ids=["any", "expansion"],
)
def test_going_back_needs_little_besides_the_output(layer, tensors):
    kept = set()

    def keep(tensor):
        if tensor.numel() >= 4 * 48 * 7 * 7:
            kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    x = torch.randn(4, layer.weight.shape[1], 7, 7).contiguous(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = layer.train()(x)
    assert y.requires_grad
    assert len(kept) == tensors
    assert y.untyped_storage().data_ptr() in kept


def test_it_serves_mixed_precision_copies_and_files():
    torch.manual_seed(0)
    layer = ConvBN(Convolution(5, 3, 8, 1, activation="relu6")).train()
    x = torch.randn(4, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(x)
    rough.float().square().sum().backward()
    assert layer.weight.grad.isfinite().all()
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x), layer(x))
    assert torch.allclose(rough.float(), layer(x), atol=0.1)
