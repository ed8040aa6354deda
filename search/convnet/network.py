"""The stand-alone ConvNet, and the blocks that the supernet is made of too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from profiling.errors import InputError
from profiling.layers import Bottleneck, FinalLayer, Head, LayerSpec, Separable, Stem
from search.convnet.batch_norm import BatchDropout, BatchNorm
from search.convnet.convolution import same_convolution
from search.convnet.expansion import expanded, is_expansion
from search.convnet.relu6 import relu6_in_place


class ConvBN(nn.Module):
    """A convolution without bias, batch norm, and ReLU6 unless it is linear."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, linear: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.depthwise, self.linear = stride, depthwise, linear
        self.weight = nn.Parameter(torch.empty(outputs, 1 if depthwise else inputs, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in" if depthwise else "fan_out", nonlinearity="relu")
        self.bn = BatchNorm(outputs)

    def forward(self, x: Tensor, weight: Tensor | None = None, gate: Tensor | None = None) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉).

        Args:
            x: as above.
            weight: stands in for its own, and may have fewer outputs.
            gate: (1,), a factor on what comes out of batch norm.
        """
        weight = self.weight if weight is None else weight
        if self.stride == 1 and not self.depthwise and is_expansion(x, weight, self.bn):
            y = expanded(x, weight, self.bn, gate)
        else:
            y = self.bn(same_convolution(x, weight, self.stride, len(weight) if self.depthwise else 1), gate)
        return y if self.linear else relu6_in_place(y)


class MBConvBlock(nn.Module):
    """A mobile inverted bottleneck convolution (paper, 3.1), with more than one depthwise convolution where FBNet has them."""

    def __init__(self, spec: Bottleneck) -> None:
        super().__init__()
        self.spec = spec
        hidden = spec.hidden_channels
        self.expand = ConvBN(spec.in_channels, hidden) if spec.has_expansion else None
        self.depthwise = ConvBN(hidden, hidden, spec.kernel, spec.stride, depthwise=True)
        self.more_depthwise = nn.Sequential(
            *(ConvBN(hidden, hidden, spec.kernel, depthwise=True) for _ in range(1, spec.depthwise_count))
        )
        self.project = ConvBN(hidden, spec.out_channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.more_depthwise(self.depthwise(y)))
        return x + y if self.spec.residual else y


class SeparableBlock(nn.Sequential):
    """A depthwise and a 1×1 convolution, (batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""

    def __init__(self, spec: Separable) -> None:
        depthwise = ConvBN(spec.in_channels, spec.in_channels, spec.kernel, spec.stride, depthwise=True)
        super().__init__(depthwise, ConvBN(spec.in_channels, spec.out_channels))


class HeadBlock(nn.Module):
    """A 1×1 convolution where there is one, global average pooling, dropout and the classifier."""

    def __init__(self, spec: FinalLayer, classes: int) -> None:
        super().__init__()
        self.features = ConvBN(spec.in_channels, spec.out_channels) if isinstance(spec, Head) else nn.Identity()
        self.dropout = BatchDropout()
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
        case Separable():
            return SeparableBlock(spec)
        case Bottleneck():
            return MBConvBlock(spec)
        case FinalLayer():
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
