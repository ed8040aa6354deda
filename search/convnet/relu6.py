"""ReLU6 behind batch norm, in place."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable


def relu6_in_place(x: Tensor) -> Tensor:
    """min(max(x, 0), 6), on a CPU in the memory of x, which nothing else may need: so not even the backward pass of its maker."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.relu6(x)
    y: Tensor = InPlaceReLU6.apply(x)  # type: ignore[no-untyped-call]
    return y


class InPlaceReLU6(torch.autograd.Function):
    """ReLU6 that keeps its output alone, which shows where the slope is 0 as its input would.

    `torch.nn.functional.relu6` keeps its input, and in place a copy of it: a third of all that a network keeps for going back,
    written and read once more, is that input.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Any shape to the same."""
        y = x.clamp_(0, 6)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        """The gradient of x."""
        (y,) = ctx.saved_tensors
        dx: Tensor = torch.ops.aten.hardtanh_backward(dy, y, 0, 6)
        return dx
