"""Convolutions and their gradients against PyTorch's plain ones, in shapes of every kind."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from search.convnet.convolution import WideDepthwise, same_convolution

SIZES = [(14, 14), (7, 7), (4, 4), (13, 10), (3, 9), (2, 5), (1, 1)]


def plain(x, weight, stride):
    """TensorFlow's `SAME`: as many outputs as strides begin inside the image, the odd zero to the right and at the bottom."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + weight.shape[-1] - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=len(weight))


@pytest.mark.parametrize(("kernel", "stride"), [*itertools.product([1, 3, 4, 5, 6, 7, 9], [1, 2, 3])])
def test_depthwise_convolutions_have_the_values_and_gradients_of_plain_ones(kernel, stride):
    torch.manual_seed(0)
    for size, layout in itertools.product(SIZES, (torch.contiguous_format, torch.channels_last)):
        x = torch.randn(3, 6, *size, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
        weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
        y, expected = same_convolution(x, weight, stride, 6), plain(x, weight, stride)
        assert torch.allclose(y, expected, atol=1e-12)
        slope = torch.randn_like(y)
        for mine, theirs in zip(
            torch.autograd.grad(y, (x, weight), slope), torch.autograd.grad(expected, (x, weight), slope), strict=True
        ):
            assert torch.allclose(mine, theirs, atol=1e-11), (size, layout)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (7, 1), (5, 2)])
def test_in_single_precision_they_agree_to_rounding_for_images_weights_and_inner_kernels(kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(32, 48, 14, 14).contiguous(memory_format=torch.channels_last).requires_grad_()
    whole = torch.randn(64, 1, kernel + 2, kernel + 2, requires_grad=True)
    weight = whole[:48, :, 1:-1, 1:-1]
    y, expected = same_convolution(x, weight, stride, 48), plain(x, weight, stride)
    slope = torch.randn_like(y)
    mine, theirs = (torch.autograd.grad(each, (x, whole), slope, retain_graph=True) for each in (y, expected))
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


def test_the_fast_gradients_are_for_kernels_that_learn():
    x = torch.randn(2, 8, 14, 14)
    wide, narrow = torch.randn(8, 1, 5, 5, requires_grad=True), torch.randn(8, 1, 3, 3, requires_grad=True)
    kinds = [(wide, 1, True), (wide, 2, True), (narrow, 1, False), (narrow, 2, False), (wide.detach(), 1, False)]
    for weight, stride, fast in kinds:
        assert isinstance(same_convolution(x, weight, stride, 8).grad_fn, WideDepthwise._backward_cls) == fast
    with torch.no_grad():
        assert same_convolution(x, wide, 1, 8).grad_fn is None
    with torch.autocast("cpu", torch.bfloat16):
        same_convolution(x, wide, 1, 8).sum().backward()
    assert wide.grad.isfinite().all()


def test_gradients_of_depthwise_convolutions_pass_a_numerical_check():
    torch.manual_seed(0)
    for stride, size in itertools.product((1, 2), ((6, 5), (2, 3))):
        x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, weight, stride=stride: same_convolution(x, weight, stride, 2), (x, weight))
