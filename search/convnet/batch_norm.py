"""Batch norm and dropout that compute the same however a step's images are spread over processes and micro-batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search import processes

BN_MOMENTUM = 0.01  # TensorFlow's 0.99 is the weight of the past, PyTorch's that of the present
BN_EPSILON = 1e-3
DROPOUT = 0.2


class GlobalBatchNorm(torch.autograd.Function):
    """Batch norm over the images of all processes, as many in each. (torch.nn.SyncBatchNorm runs on GPUs only.)

    Forwards it is batch norm with given mean and variance, for which PyTorch has fast functions in both directions. What is left
    to do here is to find these two, and backwards to add the gradient that goes through them:

        dL/dx = γ/σ · (dL/dy − mean(dL/dy) − x̂ · mean(x̂ · dL/dy)),  x̂ = (x − mean) / σ
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, running_mean: Tensor, running_var: Tensor, gamma: Tensor, beta: Tensor, momentum: float
    ) -> Tensor:
        """As `torch.nn.functional.batch_norm` in training, on (batch, channels, h, w)."""
        var, mean = torch.var_mean(x.double() if x.dtype == torch.float64 else x.float(), (0, 2, 3), correction=0)
        # In double precision, so that subtracting the squared mean again loses nothing.
        mean, var = mean.double(), var.double()
        moments = torch.stack((mean, var + mean.square())) / processes.count()
        processes.add_up([moments])
        mean, var = moments[0], moments[1] - moments[0].square()
        images = x.numel() // x.shape[1] * processes.count()
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((var * images / (images - 1)).to(running_var), momentum)
        mean, var = mean.to(gamma), var.to(gamma)
        ctx.save_for_backward(x, mean, var, gamma)
        return F.batch_norm(x, mean, var, gamma, beta, False, 0.0, BN_EPSILON)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, γ and β; those of γ and β for the images of this process, as for any other parameter."""
        x, mean, var, gamma = ctx.saved_tensors
        given = (dy, x, gamma, mean, var, None, None, False, BN_EPSILON, [True, True, True])
        dx, d_gamma, d_beta = torch.ops.aten.native_batch_norm_backward(*given)
        means = torch.stack((d_beta, d_gamma)) / (x.numel() // x.shape[1] * processes.count())
        processes.add_up([means])
        scale = torch.rsqrt(var + BN_EPSILON)
        slope = -gamma * scale.square() * means[1]
        offset = -gamma * scale * means[0] - slope * mean
        dx += (x * slope[:, None, None] + offset[:, None, None]).to(dx.dtype)
        return dx, None, None, d_gamma, d_beta, None


class BatchDropout(nn.Module):
    """Dropout that is the same for an image, however the images of a step are split into micro-batches.

    Attributes:
        p: probability.
        part: index of the first current image within the step, and the number of images in the step; None if all are current.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = DROPOUT
        self.part: tuple[int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        if not self.training:
            return x
        images, features = x.shape
        first, total = self.part or (0, images)
        drawn = torch.rand(total, features, device=x.device)[first : first + images]
        return x * (drawn >= self.p) / (1 - self.p)


class BatchNorm(nn.Module):
    """Batch norm that can serve the first of its channels only, as a supernet needs it.

    Attributes:
        gamma, beta: scale and bias (channels,).
        running_mean, running_var: for evaluation (channels,).
        momentum: weight of the current batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = BN_MOMENTUM

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """(batch, first channels, h, w) to the same shape; `gate` (1,) is a factor on the output that costs no pass over it."""
        gamma, beta, mean, var = self.first(x.shape[1], gate)
        if self.training and processes.count() > 1:
            y: Tensor = GlobalBatchNorm.apply(x, mean, var, gamma, beta, self.momentum)  # type: ignore[no-untyped-call]
            return y
        return F.batch_norm(x, mean, var, gamma, beta, self.training, self.momentum, BN_EPSILON)

    def first(self, channels: int, gate: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scale and bias, times `gate`, and the running mean and variance of the first so many channels."""
        used = slice(channels)
        gamma, beta = self.gamma[used], self.beta[used]
        if gate is not None:
            gamma, beta = gamma * gate, beta * gate
        return gamma, beta, self.running_mean[used], self.running_var[used]
