"""The 1×1 convolution that makes many channels of few, with the batch norm behind it in one pass, for training on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from search import processes
from search.convnet.batch_norm import BN_EPSILON, BatchNorm

# Where outputs are this many times the inputs, and inputs at most so many, the covariance of the inputs costs less than it saves.
LEAST_RATIO = 3
MOST_INPUTS = 128


def is_expansion(x: Tensor, weight: Tensor, norm: BatchNorm) -> bool:
    """Whether `expanded` is for this convolution of stride 1 (weight as for `conv2d`, groups 1) and batch norm."""
    outputs, inputs, kernel, _ = weight.shape
    fits = kernel == 1 and inputs <= MOST_INPUTS and outputs >= LEAST_RATIO * inputs
    here = x.device.type == "cpu" and processes.count() == 1
    return fits and here and norm.training and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


def expanded(x: Tensor, weight: Tensor, norm: BatchNorm, gate: Tensor | None) -> Tensor:
    """`norm` of the convolution of x (batch, in, h, w) with weight (out, in, 1, 1): (batch, out, h, w)."""
    y: Tensor = Expansion.apply(x, weight, *norm.first(len(weight), gate), norm.momentum)  # type: ignore[no-untyped-call]
    return y


class Expansion(torch.autograd.Function):
    """A 1×1 convolution and batch norm in training, without ever writing down what is between them.

    Batch norm needs mean and variance of its input y = W x, and these follow from those of the few channels of x:

        var y_i = w_iᵀ C w_i,  C = cov x;   batch norm of y = s ∘ W (x − mean x) + β,  s = γ / √(var y + ε)

    so that one convolution with scaled weights does it all, and the same in the other direction: nothing but that convolution's
    own gradients has to go over the many channels.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
    ) -> Tensor:
        """As a convolution and `torch.nn.functional.batch_norm` in training."""
        w, mean = weight.flatten(1), x.mean((0, 2, 3))
        centred = x - mean[:, None, None]
        pixels = centred.numel() // len(mean)
        # The sum of the products of all pairs of channels is a gradient of weights too, for which there is fast code.
        covariance = _gradients(centred, centred, centred.new_empty(len(mean), len(mean), 1, 1))[1].flatten(1) / pixels
        spread = w @ covariance
        var = (spread * w).sum(1)
        running_mean.lerp_(w @ mean, momentum)
        running_var.lerp_(var * (pixels / (pixels - 1)), momentum)
        inverse = torch.rsqrt(var + BN_EPSILON)
        ctx.save_for_backward(centred, weight, gamma, spread, inverse)
        return F.conv2d(centred, (gamma * inverse)[:, None, None, None] * weight, beta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight, γ and β."""
        centred, weight, gamma, spread, inverse = ctx.saved_tensors
        w, scale = weight.flatten(1), gamma * inverse
        pixels = centred.numel() // centred.shape[1]
        dx, d_scaled, d_beta = _gradients(dy, centred, scale[:, None, None, None] * weight)
        d_scale = (d_scaled.flatten(1) * w).sum(1)
        d_var = -0.5 * d_scale * gamma * inverse**3
        d_weight = scale[:, None] * d_scaled.flatten(1) + 2 * d_var[:, None] * spread
        d_covariance = w.T @ (d_var[:, None] * w)
        dx += F.conv2d(centred, (2 / pixels * d_covariance)[:, :, None, None], -dx.mean((0, 2, 3)))
        return dx, d_weight[:, :, None, None], d_scale * inverse, d_beta, None, None, None


def _gradients(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias in a 1×1 convolution."""
    wanted = [dy is not x, True, dy is not x]
    options = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted)
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(dy, x, weight, [len(weight)], *options)
    return gradients
