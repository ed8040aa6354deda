"""Squeeze-and-excitation (Hu et al., arXiv:1709.01507), as MobileNetV3 has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from profiling.convolutions import Convolution
from search.convnet.activation import Activation


class BiasedConvolution(nn.Module):
    """A 1×1 convolution with a bias instead of batch norm, and its activation."""

    def __init__(self, spec: Convolution) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.empty(spec.out_channels, spec.in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(spec.out_channels))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.activation = Activation(spec.activation)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """(batch, in, 1, 1) to (batch, out, 1, 1); `weight` stands in for its own, and may have fewer inputs and outputs."""
        weight = self.weight if weight is None else weight
        y: Tensor = self.activation(F.conv2d(x, weight, self.bias[: len(weight)]))
        return y


class Excitation(nn.Module):
    """Scales each channel by a factor from 0 to 1, which follows from the means of all channels."""

    def __init__(self, reduce: Convolution, expand: Convolution) -> None:
        super().__init__()
        self.reduce, self.expand = BiasedConvolution(reduce), BiasedConvolution(expand)

    def forward(self, x: Tensor, reduce: Tensor | None = None, expand: Tensor | None = None) -> Tensor:
        """(batch, channels, h, w) to the same shape; `reduce` and `expand` stand in for the weights of the two convolutions."""
        factor: Tensor = self.expand(self.reduce(x.mean((2, 3), keepdim=True), reduce), expand)
        return x * factor
