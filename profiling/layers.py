"""Layers and networks: what one TFLite model contains.

A layer is frozen and its key spells every field, so that equal keys mean the same model and a latency found under one key is
never used for another layer. Two layers of a network with the same key are measured once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, Self

from typing_extensions import override

from profiling.errors import InputError

MOST_DIGITS = 10  # of a field in a key


@dataclass(frozen=True)
class Convolution:
    """One convolution of a layer; the classifier is one of 1×1 on a single pixel, with a bias and no batch norm.

    Attributes:
        kernel: height and width of the kernel.
        in_channels, out_channels: of its input and output; each depthwise output has one input.
        out_resolution: height and width of the output in pixels.
        kind: what it is.
    """

    kernel: int
    in_channels: int
    out_channels: int
    out_resolution: int
    kind: Literal["full", "depthwise", "classifier"] = "full"

    @property
    def weights(self) -> int:
        """How many weights the kernel has."""
        return self.kernel**2 * self.out_channels * (1 if self.kind == "depthwise" else self.in_channels)

    @property
    def parameters(self) -> int:
        """The weights, with the scale and the bias of batch norm for each output, or the bias of the classifier."""
        return self.weights + self.out_channels * (1 if self.kind == "classifier" else 2)

    @property
    def multiply_adds(self) -> int:
        """Of one image; biases, activations, pooling and additions are not counted, as in the papers of these networks."""
        return self.weights * self.out_resolution**2


@dataclass(frozen=True, order=True)
class LayerSpec:
    """One layer, input square, NHWC, `SAME` padding, ReLU6 after every convolution but the last of a bottleneck.

    Attributes:
        resolution: height and width of the input in pixels.
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    KIND: ClassVar[str]
    LETTERS: ClassVar[dict[str, str]] = {
        "resolution": "r",
        "in_channels": "i",
        "out_channels": "o",
        "stride": "s",
        "kernel": "k",
        "expansion": "e",
        "residual": "x",
        "depthwise": "d",
        "classes": "c",
    }

    resolution: int
    in_channels: int
    out_channels: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool) and value < 1:
                raise InputError(f"{field.name} of a {self.KIND} layer must be at least 1, not {value}")

    @property
    def key(self) -> str:
        """Every field of the layer in one string, e.g. `mbconv-r112-i16-o24-s2-k3-e6-x0`."""
        values = (f"{self.LETTERS[field.name]}{int(getattr(self, field.name))}" for field in fields(self))
        return "-".join((self.KIND, *values))

    @classmethod
    def from_key(cls, key: str) -> LayerSpec:
        """Parses a key.

        Raises:
            InputError: the text is not the key of a layer.
        """
        kind, *words = key.split("-")
        layer_class = LAYER_KINDS.get(kind)
        if layer_class is not None and all(word[1:].isdecimal() and len(word) <= MOST_DIGITS for word in words):
            names = {letter: name for name, letter in cls.LETTERS.items()}
            values = {names.get(word[0], word): int(word[1:]) for word in words}
            if list(values) == [field.name for field in fields(layer_class)]:
                if "residual" in values:
                    values["residual"] = bool(values["residual"])
                layer = layer_class(**values)
                if layer.key == key:
                    return layer
        raise InputError(f"{key!r} is not a layer key", hint=f"a key looks like {MBConv(112, 16, 24, 2, 3, 6, False).key}")

    @property
    def out_resolution(self) -> int:
        """Height and width of the output in pixels (1 after a head)."""
        raise NotImplementedError

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, height, width, channels)."""
        return (1, self.resolution, self.resolution, self.in_channels)

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """Its convolutions in the order of their execution: all that has weights."""
        raise NotImplementedError

    @property
    def ops(self) -> tuple[str, ...]:
        """The TFLite operators that this layer must become, in order; with any others the model is wrong."""
        return tuple(CONVOLUTION_OPS[convolution.kind] for convolution in self.convolutions)

    @property
    def parameters(self) -> int:
        """Trained parameters; batch norm has two a channel, as PyTorch counts them."""
        return sum(convolution.parameters for convolution in self.convolutions)

    @property
    def multiply_adds(self) -> int:
        """Of one image; see `Convolution.multiply_adds`."""
        return sum(convolution.multiply_adds for convolution in self.convolutions)


@dataclass(frozen=True, order=True)
class StridedLayer(LayerSpec):
    """A layer around a k×k convolution, whose stride is that of the layer."""

    stride: int
    kernel: int

    @property
    @override
    def out_resolution(self) -> int:
        return same_padding_resolution(self.resolution, self.stride)


@dataclass(frozen=True, order=True)
class Stem(StridedLayer):
    """A full k×k convolution, the first layer of a network."""

    KIND: ClassVar[str] = "stem"

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        return (Convolution(self.kernel, self.in_channels, self.out_channels, self.out_resolution),)


@dataclass(frozen=True, order=True)
class Separable(StridedLayer):
    """A k×k depthwise and a 1×1 convolution, each with its activation: the layer of MobileNetV1."""

    KIND: ClassVar[str] = "separable"

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        size = self.out_resolution
        return (
            Convolution(self.kernel, self.in_channels, self.in_channels, size, "depthwise"),
            Convolution(1, self.in_channels, self.out_channels, size),
        )


@dataclass(frozen=True, order=True)
class Bottleneck(StridedLayer):
    """A 1×1 expansion, a k×k depthwise convolution and a linear 1×1 one; `residual` adds the input to what comes out."""

    expansion: int
    residual: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise InputError(f"a residual {self.KIND} layer needs stride 1 and as many output as input channels", where=self.key)

    @property
    def hidden_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.in_channels * self.expansion

    @property
    def has_expansion(self) -> bool:
        """Whether there is a convolution before the depthwise one."""
        raise NotImplementedError

    @property
    def depthwise_count(self) -> int:
        """How many depthwise convolutions there are, one after the other; the stride is that of the first."""
        return 1

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        hidden, size = self.hidden_channels, self.out_resolution
        expand = (Convolution(1, self.in_channels, hidden, self.resolution),) if self.has_expansion else ()
        depthwise = (Convolution(self.kernel, hidden, hidden, size, "depthwise"),) * self.depthwise_count
        return (*expand, *depthwise, Convolution(1, hidden, self.out_channels, size))

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        return (*super().ops, *(("ADD",) if self.residual else ()))


@dataclass(frozen=True, order=True)
class MBConv(Bottleneck):
    """A mobile inverted bottleneck convolution; at ratio 1 it has no expansion (paper, 3.1)."""

    KIND: ClassVar[str] = "mbconv"

    @property
    @override
    def has_expansion(self) -> bool:
        return self.expansion > 1


@dataclass(frozen=True, order=True)
class FBNetBlock(Bottleneck):
    """What FBNet has where an MBConv differs: an expansion also at ratio 1, and `depthwise` depthwise convolutions in a row."""

    KIND: ClassVar[str] = "fbnet"

    depthwise: int

    @property
    @override
    def has_expansion(self) -> bool:
        return True

    @property
    @override
    def depthwise_count(self) -> int:
        return self.depthwise


@dataclass(frozen=True, order=True)
class FinalLayer(LayerSpec):
    """The end of a network: the classifier takes the mean of each of `out_channels` channels over the image."""

    classes: int

    @property
    @override
    def out_resolution(self) -> int:
        return 1

    @property
    def classifier(self) -> Convolution:
        """The classifier, the last of the convolutions."""
        return Convolution(1, self.out_channels, self.classes, 1, "classifier")

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        *before, classifier = super().ops
        return (*before, "MEAN", classifier)


@dataclass(frozen=True, order=True)
class Head(FinalLayer):
    """A 1×1 convolution to `out_channels`, global average pooling and the classifier."""

    KIND: ClassVar[str] = "head"

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        return (Convolution(1, self.in_channels, self.out_channels, self.resolution), self.classifier)


@dataclass(frozen=True, order=True)
class PoolHead(FinalLayer):
    """Global average pooling and the classifier, without a convolution before them, so with as many channels out as in."""

    KIND: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels != self.out_channels:
            raise InputError("a pool layer has as many output as input channels", where=self.key)

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        return (self.classifier,)


CONVOLUTION_OPS = {"full": "CONV_2D", "depthwise": "DEPTHWISE_CONV_2D", "classifier": "FULLY_CONNECTED"}
LAYER_KINDS: dict[str, type[LayerSpec]] = {kind.KIND: kind for kind in (Stem, Separable, MBConv, FBNetBlock, Head, PoolHead)}


def same_padding_resolution(resolution: int, stride: int) -> int:
    """Output pixels of a convolution with TensorFlow's `SAME` padding: ceil(resolution / stride)."""
    return -(-resolution // stride)


@dataclass(frozen=True)
class NetworkSpec:
    """The layers of a whole network in order, each fed by the one before it.

    Raises:
        InputError: there is no layer, or a layer does not fit the one before it.
    """

    layers: tuple[LayerSpec, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a network needs at least one layer")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if (before.out_resolution, before.out_channels) != (after.resolution, after.in_channels):
                raise InputError(
                    f"gives {before.out_resolution}×{before.out_resolution}×{before.out_channels}, "
                    f"which does not fit the next layer {after.key}",
                    where=before.key,
                )

    @classmethod
    def of(cls, *layers: LayerSpec) -> Self:
        """A network of these layers, for instance of a single one."""
        return cls(layers)

    @property
    def key(self) -> str:
        """The key of the only layer, or a digest of the keys of all layers."""
        if len(self.layers) == 1:
            return self.layers[0].key
        text = "\n".join(layer.key for layer in self.layers)
        return f"network-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, height, width, channels)."""
        return self.layers[0].input_shape

    @property
    def ops(self) -> tuple[str, ...]:
        """The TFLite operators that the network must become, in order."""
        return tuple(op for layer in self.layers for op in layer.ops)

    @property
    def parameters(self) -> int:
        """Trained parameters; batch norm has two a channel, as PyTorch counts them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one image; see `Convolution.multiply_adds`."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def classes(self) -> int | None:
        """Outputs of the classifier, None where the last layer has none."""
        last = self.layers[-1]
        return last.classes if isinstance(last, FinalLayer) else None

    def with_classes(self, classes: int) -> Self:
        """The same network with another number of outputs."""
        *before, last = self.layers
        return type(self)((*before, replace(last, classes=classes) if isinstance(last, FinalLayer) else last))
