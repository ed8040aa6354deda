"""Convolutions with TensorFlow's `SAME` padding, asymmetric at stride 2, so that trained weights are the deployed ones.

With PyTorch's symmetric padding the TFLite graph would need an extra PAD operator, or compute something else.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from profiling.convolutions import same_padding_resolution

# The widest depthwise kernel that oneDNN, PyTorch's library for CPUs, has fast code for in the gradient of weights.
FAST_WIDTH = 3


def same_convolution(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """A convolution with TensorFlow's `SAME` padding.

    Args:
        x: (batch, channels, height, width).
        weight: (out, in / groups, k, k).
        stride: of both axes.
        groups: as for `torch.nn.functional.conv2d`.
    """
    kernel, padding = weight.shape[-1], 0
    is_slow = groups == len(weight) and kernel > FAST_WIDTH and _is_slow_to_learn(x, weight, stride)
    if stride == 1 and kernel % 2 == 1:
        padding = kernel // 2
    else:
        pads: list[int] = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((same_padding_resolution(size, stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if is_slow:
            pads[1] += -kernel % stride  # columns that no output sees, and `WideDepthwise` needs
        x = F.pad(x, pads)
    if is_slow:
        y: Tensor = WideDepthwise.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return y
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)


def _is_slow_to_learn(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether `WideDepthwise` is for this depthwise convolution of a wide kernel."""
    kernel = weight.shape[-1]
    known = kernel % 2 == 1 if stride == 1 else kernel <= FAST_WIDTH * stride
    learning = torch.is_grad_enabled() and weight.requires_grad and not torch.compiler.is_compiling()
    return known and learning and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


class WideDepthwise(torch.autograd.Function):
    """A depthwise convolution whose kernel is wider than `FAST_WIDTH`, with gradients that are fast on a CPU.

    For that of the weights oneDNN takes ten times as long as it should, which is most of a training step. It is quick again where
    several pixels that lie side by side in memory count as one of so many times the channels, which makes the kernel narrower.
    That of x takes it twice as long as the convolution that it is at stride 1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """As `torch.nn.functional.conv2d` with as many groups as channels; at stride 1 with odd kernels and `SAME` padding."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x and of the weights."""
        x, weight = ctx.saved_tensors
        stride, padding = [ctx.stride] * 2, [ctx.padding] * 2
        dx = None
        if ctx.needs_input_grad[0] and ctx.stride == 1:
            dx = F.conv2d(dy, weight.flip(2, 3), padding=padding, groups=len(weight))
        elif ctx.needs_input_grad[0]:
            dx = _gradient(dy, x, weight, stride, padding, 0)
        kernel = weight.shape[-1]
        dw = _gradient_at_stride_1(dy, x, kernel) if ctx.stride == 1 else _gradient_at_stride(dy, x, kernel, ctx.stride)
        return dx, dw, None, None


def _gradient_at_stride_1(dy: Tensor, x: Tensor, kernel: int) -> Tensor:
    """The gradient of the weights (channels, 1, k, k), by pairs of columns as far left of the middle one as right of it."""
    middle = top = kernel // 2
    if dy.shape[-2] < kernel:  # where an image is lower than the kernel, padding of oneDNN's own is slow
        x, top = F.pad(x, (0, 0, middle, middle)), 0
    columns: list[Tensor] = [dy] * kernel
    for distance in range(middle, 0, -1):
        wide_dy, wide_x = (_side_by_side(each, distance) for each in (dy, x))
        narrow = dy.new_empty(wide_dy.shape[1], 1, kernel, 3)
        found = _gradient(wide_dy, wide_x, narrow, [1, 1], [top, 1], 1)
        left, columns[middle], right = torch.unflatten(found, 0, (distance, -1)).sum(0).unbind(-1)
        columns[middle - distance], columns[middle + distance] = left, right
    return torch.stack(columns, -1)


def _gradient_at_stride(dy: Tensor, x: Tensor, kernel: int, stride: int) -> Tensor:
    """The gradient of the weights (channels, 1, k, k) where x is padded already: pixels of one step side by side."""
    width = -(-kernel // stride)
    narrow = dy.new_empty(stride * dy.shape[1], 1, kernel, width)
    wide_x = _side_by_side(x, stride, dy.shape[-1] + width - 1)
    found = _gradient(torch.cat([dy] * stride, 1), wide_x, narrow, [stride, 1], [0, 0], 1)
    return torch.unflatten(found, 0, (stride, -1)).permute(1, 2, 3, 4, 0).flatten(-2)[..., :kernel]


def _side_by_side(x: Tensor, pixels: int, width: int | None = None) -> Tensor:
    """(batch, channels, h, w) to (batch, pixels · channels, h, width), by default ⌈w / pixels⌉, zeros filling what is missing.

    No copy is made where channels lie last in memory and nothing is missing.
    """
    width = -(-x.shape[-1] // pixels) if width is None else width
    missing = width * pixels - x.shape[-1]
    x = F.pad(x, (0, missing)) if missing else x
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, width, pixels * x.shape[1]).permute(0, 3, 1, 2)


def _gradient(dy: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], of: int) -> Tensor:
    """The gradient of x (0) or of the weights (1) in a depthwise convolution."""
    wanted = [of == 0, of == 1, False]
    options = (None, stride, padding, [1, 1], False, [0, 0], len(weight), wanted)
    gradient: Tensor = torch.ops.aten.convolution_backward(dy, x, weight, *options)[of]
    return gradient
