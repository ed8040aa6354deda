"""The stand-alone ConvNet, and the blocks that the supernet is made of too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from profiling.convolutions import Convolution
from profiling.errors import InputError
from profiling.layers import Bottleneck, FinalLayer, LayerSpec, Separable, Stem, UniversalBottleneck
from search.convnet.activation import Activation
from search.convnet.batch_norm import BatchDropout, BatchNorm
from search.convnet.convolution import same_convolution
from search.convnet.excitation import BiasedConvolution, Excitation
from search.convnet.expansion import expanded, is_expansion


class ConvBN(nn.Module):
    """A convolution with batch norm and its activation."""

    def __init__(self, spec: Convolution) -> None:
        super().__init__()
        self.spec = spec
        self.depthwise = spec.kind == "depthwise"
        inputs = 1 if self.depthwise else spec.in_channels
        self.weight = nn.Parameter(torch.empty(spec.out_channels, inputs, spec.kernel, spec.kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in" if self.depthwise else "fan_out", nonlinearity="relu")
        self.bn = BatchNorm(spec.out_channels)
        self.activation = Activation(spec.activation)

    def forward(self, x: Tensor, weight: Tensor | None = None, gate: Tensor | None = None) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉).

        Args:
            x: as above.
            weight: stands in for its own, and may have fewer outputs.
            gate: (1,), a factor on what comes out of batch norm.
        """
        weight = self.weight if weight is None else weight
        if self.spec.stride == 1 and not self.depthwise and is_expansion(x, weight, self.bn):
            y = expanded(x, weight, self.bn, gate)
        else:
            y = self.bn(same_convolution(x, weight, self.spec.stride, len(weight) if self.depthwise else 1), gate)
        activated: Tensor = self.activation(y)
        return activated


class MBConvBlock(nn.Module):
    """A mobile inverted bottleneck convolution (paper, 3.1), with more than one depthwise convolution where FBNet has them."""

    def __init__(self, spec: Bottleneck) -> None:
        super().__init__()
        self.spec = spec
        features = list(spec.features)
        self.expand = ConvBN(features.pop(0)) if spec.has_expansion else None
        self.depthwise = ConvBN(features.pop(0))
        self.more_depthwise = nn.Sequential(*map(ConvBN, features))
        self.excitation = Excitation(*spec.excitation) if spec.squeeze else None
        self.project = ConvBN(spec.projection)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.more_depthwise(self.depthwise(y))
        y = self.project(y if self.excitation is None else self.excitation(y))
        return x + y if self.spec.residual else y


class UniversalBlock(nn.Module):
    """MobileNetV4's universal inverted bottleneck; shapes as for `MBConvBlock`."""

    def __init__(self, spec: UniversalBottleneck) -> None:
        super().__init__()
        self.spec = spec
        self.features = nn.Sequential(*map(ConvBN, spec.features))
        self.excitation = Excitation(*spec.excitation) if spec.squeeze else nn.Identity()
        self.project = ConvBN(spec.projection)

    def forward(self, x: Tensor) -> Tensor:
        """As above."""
        y: Tensor = self.project(self.excitation(self.features(x)))
        return x + y if self.spec.residual else y


class HeadBlock(nn.Module):
    """A 1×1 convolution where there is one, global average pooling, one more layer where there is one, and the classifier."""

    def __init__(self, spec: FinalLayer, classes: int) -> None:
        super().__init__()
        self.features: nn.Module = nn.Identity()
        if spec.features:
            self.features = ConvBN(*spec.features)
        *between, classifier = spec.pooled
        self.between = nn.Sequential(*(ConvBN(each) if each.has_norm else BiasedConvolution(each) for each in between))
        self.dropout = BatchDropout()
        self.classifier = nn.Linear(classifier.in_channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to logits (batch, classes)."""
        return self.classified(self.features(x))

    def classified(self, features: Tensor) -> Tensor:
        """The logits of what comes out of the 1×1 convolution (batch, out, h, w)."""
        pooled: Tensor = features.mean((2, 3))
        if len(self.between):
            pooled = self.between(pooled[:, :, None, None]).flatten(1)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits


def build_block(spec: LayerSpec, classes: int) -> nn.Module:
    """The block of any layer; `classes` are the outputs of a head, whatever its spec says.

    Raises:
        InputError: this kind of layer cannot be trained here.
    """
    match spec:
        case Stem():
            return ConvBN(*spec.convolutions)
        case Separable():
            return nn.Sequential(*map(ConvBN, spec.convolutions))
        case UniversalBottleneck():
            return UniversalBlock(spec)
        case Bottleneck():
            return MBConvBlock(spec)
        case FinalLayer():
            return HeadBlock(spec, classes)
    raise InputError("no trainable block is known for this kind of layer", where=spec.key)


def resized(images: Tensor, resolution: int) -> Tensor:
    """Images (batch, channels, height, width) at another height and width, in pixels; as they are where they have it."""
    if images.shape[-1] == resolution:
        return images
    return functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)


class Network(nn.Module):
    """A stand-alone ConvNet.

    Args:
        layers: from stem to head; None where a layer is skipped, so that the places keep their numbers.
        classes: outputs of the classifier.

    Attributes:
        resolution: in pixels, that images are brought to; None takes them as they are.
    """

    def __init__(self, layers: Sequence[LayerSpec | None], classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Identity() if spec is None else build_block(spec, classes) for spec in layers)
        self.resolution: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes)."""
        x = images if self.resolution is None else resized(images, self.resolution)
        for block in self.blocks:
            x = block(x)
        return x
