"""The stand-alone ConvNet, and the blocks that the supernet is made of too.

Padding is TensorFlow's `SAME`, asymmetric at stride 2, so that trained weights are the deployed ones: with PyTorch's symmetric
padding the TFLite graph would need an extra PAD operator, or compute something else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from profiling.errors import InputError
from profiling.layers import Head, LayerSpec, MBConv, Stem, same_padding_resolution

BN_MOMENTUM = 0.01  # TensorFlow's 0.99 is the weight of the past, PyTorch's that of the present
BN_EPSILON = 1e-3
DROPOUT = 0.2


def same_convolution(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """A convolution with TensorFlow's `SAME` padding.

    Args:
        x: (batch, channels, height, width).
        weight: (out, in / groups, k, k).
        stride: of both axes.
        groups: as for `torch.nn.functional.conv2d`.
    """
    kernel = weight.shape[-1]
    if stride == 1 and kernel % 2 == 1:
        return F.conv2d(x, weight, padding=kernel // 2, groups=groups)
    pads: list[int] = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((same_padding_resolution(size, stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


class ConvBN(nn.Module):
    """A convolution without bias, batch norm, and ReLU6 unless it is linear."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, linear: bool = False
    ):
        super().__init__()
        self.stride, self.groups, self.linear = stride, outputs if depthwise else 1, linear
        self.weight = nn.Parameter(torch.empty(outputs, 1 if depthwise else inputs, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in" if depthwise else "fan_out", nonlinearity="relu")
        self.bn = nn.BatchNorm2d(outputs, eps=BN_EPSILON, momentum=BN_MOMENTUM)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉); another weight may stand in for its own."""
        y: Tensor = self.bn(same_convolution(x, self.weight if weight is None else weight, self.stride, self.groups))
        return y if self.linear else F.relu6(y)


class MBConvBlock(nn.Module):
    """A mobile inverted bottleneck convolution (paper, 3.1)."""

    def __init__(self, spec: MBConv) -> None:
        super().__init__()
        self.spec = spec
        hidden = spec.hidden_channels
        self.expand = ConvBN(spec.in_channels, hidden) if spec.expansion > 1 else None
        self.depthwise = ConvBN(hidden, hidden, spec.kernel, spec.stride, depthwise=True)
        self.project = ConvBN(hidden, spec.out_channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.spec.residual else y


class HeadBlock(nn.Module):
    """A 1×1 convolution, global average pooling, dropout and the classifier."""

    def __init__(self, spec: Head, classes: int) -> None:
        super().__init__()
        self.features = ConvBN(spec.in_channels, spec.out_channels)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(spec.out_channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to logits (batch, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.features(x).mean((2, 3))))
        return logits


def build_block(spec: LayerSpec, classes: int) -> nn.Module:
    """The block of any layer; `classes` are the outputs of a head, whatever its spec says.

    Raises:
        InputError: this kind of layer cannot be trained here.
    """
    match spec:
        case Stem():
            return ConvBN(spec.in_channels, spec.out_channels, spec.kernel, spec.stride)
        case MBConv():
            return MBConvBlock(spec)
        case Head():
            return HeadBlock(spec, classes)
    raise InputError("no trainable block is known for this kind of layer", where=spec.key)


class Network(nn.Module):
    """A stand-alone ConvNet.

    Args:
        layers: from stem to head; None where a layer is skipped, so that the places keep their numbers.
        classes: outputs of the classifier.
    """

    def __init__(self, layers: Sequence[LayerSpec | None], classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Identity() if spec is None else build_block(spec, classes) for spec in layers)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes)."""
        x = images
        for block in self.blocks:
            x = block(x)
        return x
