"""Layers: what one TFLite model contains.

A layer is frozen and its key spells every field, so that equal keys mean the same model and a latency found under one key is
never used for another layer. Two layers of a network with the same key are measured once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

from typing_extensions import override

from profiling.convolutions import ACTIVATIONS, Activation, Convolution, same_padding_resolution
from profiling.errors import InputError
from profiling.layer_keys import values_of, words_of


@dataclass(frozen=True, order=True)
class LayerSpec:
    """One layer, input square, NHWC, `SAME` padding, an activation after every convolution but the last of a bottleneck.

    Attributes:
        resolution: height and width of the input in pixels.
        in_channels: channels of the input.
        out_channels: channels of the output.
        activation: as above.
    """

    KIND: ClassVar[str]
    # Numbers that may be 0: what they count is then not there.
    MAY_BE_ABSENT: ClassVar[tuple[str, ...]] = ()

    resolution: int
    in_channels: int
    out_channels: int
    activation: Activation = field(default="relu6", kw_only=True)

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"the activation of a {self.KIND} layer must be one of {', '.join(ACTIVATIONS)}")
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name in self.MAY_BE_ABSENT else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise InputError(f"{each.name} of a {self.KIND} layer must be at least {least}, not {value}")

    @property
    def key(self) -> str:
        """Every field of the layer in one string, e.g. `mbconv-r112-i16-o24-s2-k3-e6-x0`."""
        return "-".join((self.KIND, *words_of(self)))

    @classmethod
    def from_key(cls, key: str) -> LayerSpec:
        """Parses a key.

        Raises:
            InputError: the text is not the key of a layer.
        """
        kind, *words = key.split("-")
        layer_class = LAYER_KINDS.get(kind)
        try:
            if layer_class is not None:
                layer = layer_class(**values_of(words))
                if layer.key == key:
                    return layer
        except (TypeError, ValueError, InputError):  # no words of a key, or not those of this kind, or not such a layer
            pass
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
        return _ops_of(self.convolutions)

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
    """A full k×k convolution, the first layer of a network; MobileNetV4 has more of them."""

    KIND: ClassVar[str] = "stem"

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        shape = (self.kernel, self.in_channels, self.out_channels, self.out_resolution)
        return (Convolution(*shape, self.stride, activation=self.activation),)


@dataclass(frozen=True, order=True)
class Separable(StridedLayer):
    """A k×k depthwise and a 1×1 convolution, each with its activation: the layer of MobileNetV1."""

    KIND: ClassVar[str] = "separable"

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        size = self.out_resolution
        return (
            Convolution(self.kernel, self.in_channels, self.in_channels, size, self.stride, "depthwise", self.activation),
            Convolution(1, self.in_channels, self.out_channels, size, activation=self.activation),
        )


@dataclass(frozen=True, order=True)
class Bottleneck(StridedLayer):
    """A 1×1 expansion, a k×k depthwise convolution and a linear 1×1 one; `residual` adds the input to what comes out.

    Attributes:
        expansion: how many times as many channels the depthwise convolution has as the input, rounded down.
        residual: as above.
        hidden: channels of the depthwise convolution where they are no multiple of the input's, else 0.
        squeeze: channels in the middle of squeeze-and-excitation, which follows the depthwise convolution, as in MobileNetV3:
            ReLU in its middle, a hard sigmoid at its end; 0 where there is none.
    """

    MAY_BE_ABSENT: ClassVar[tuple[str, ...]] = ("hidden", "squeeze")

    expansion: int
    residual: bool
    hidden: int = field(default=0, kw_only=True)
    squeeze: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise InputError(f"a residual {self.KIND} layer needs stride 1 and as many output as input channels", where=self.key)
        if self.hidden and (self.hidden // self.in_channels != self.expansion or self.hidden % self.in_channels == 0):
            raise InputError(
                f"{self.hidden} is not between {self.expansion} times the input channels and once more", where=self.key
            )

    @property
    def hidden_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.hidden or self.in_channels * self.expansion

    @property
    def has_expansion(self) -> bool:
        """Whether there is a convolution before the depthwise one."""
        raise NotImplementedError

    @property
    def depthwise_count(self) -> int:
        """How many depthwise convolutions there are, one after the other; the stride is that of the first."""
        return 1

    @property
    def features(self) -> tuple[Convolution, ...]:
        """All before squeeze-and-excitation."""
        hidden, size, activation = self.hidden_channels, self.out_resolution, self.activation
        expand = Convolution(1, self.in_channels, hidden, self.resolution, activation=activation)
        depthwise = (
            Convolution(self.kernel, hidden, hidden, size, self.stride if index == 0 else 1, "depthwise", activation)
            for index in range(self.depthwise_count)
        )
        return (*((expand,) if self.has_expansion else ()), *depthwise)

    @property
    def excitation(self) -> tuple[Convolution, ...]:
        """The two convolutions of squeeze-and-excitation, on the mean of each channel; none without it."""
        if not self.squeeze:
            return ()
        return (
            Convolution(1, self.hidden_channels, self.squeeze, 1, activation="relu", has_norm=False),
            Convolution(1, self.squeeze, self.hidden_channels, 1, activation="hsigmoid", has_norm=False),
        )

    @property
    def projection(self) -> Convolution:
        """The linear one."""
        return Convolution(1, self.hidden_channels, self.out_channels, self.out_resolution)

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        return (*self.features, *self.excitation, self.projection)

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        excitation = ("MEAN", *_ops_of(self.excitation), "MUL") if self.squeeze else ()
        return (*_ops_of(self.features), *excitation, *self.projection.ops, *(("ADD",) if self.residual else ()))


@dataclass(frozen=True, order=True)
class MBConv(Bottleneck):
    """A mobile inverted bottleneck convolution; at ratio 1 it has no expansion (paper, 3.1)."""

    KIND: ClassVar[str] = "mbconv"

    @property
    @override
    def has_expansion(self) -> bool:
        return self.hidden_channels > self.in_channels


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
class UniversalBottleneck(Bottleneck):
    """MobileNetV4's universal inverted bottleneck: a depthwise convolution before the expansion, one after it, or both.

    Attributes:
        kernel: of the depthwise convolution after the expansion; 0 where there is none.
        start: kernel of the one before it, which is linear; 0 where there is none. It has the stride if it is the only one.
    """

    KIND: ClassVar[str] = "uib"
    MAY_BE_ABSENT: ClassVar[tuple[str, ...]] = ("kernel", "start", "hidden", "squeeze")

    start: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride != 1 and not (self.kernel or self.start):
            raise InputError("a uib layer without a depthwise convolution has stride 1", where=self.key)

    @property
    @override
    def has_expansion(self) -> bool:
        return True

    @property
    @override
    def depthwise_count(self) -> int:
        return 1 if self.kernel else 0

    @property
    @override
    def features(self) -> tuple[Convolution, ...]:
        if not self.start:
            return super().features
        stride = 1 if self.kernel else self.stride
        size = same_padding_resolution(self.resolution, stride)
        first = Convolution(self.start, self.in_channels, self.in_channels, size, stride, "depthwise")
        expand, *rest = super().features
        return (first, replace(expand, out_resolution=size), *rest)


@dataclass(frozen=True, order=True)
class FinalLayer(LayerSpec):
    """The end of a network: the classifier takes the mean of each channel over the image.

    Attributes:
        out_channels: before the mean.
        classes: outputs of the classifier.
    """

    classes: int

    @property
    @override
    def out_resolution(self) -> int:
        return 1

    @property
    def pooled(self) -> tuple[Convolution, ...]:
        """What stands behind the mean; the classifier is the last."""
        return (Convolution(1, self.out_channels, self.classes, 1, kind="dense", has_norm=False),)

    @property
    def features(self) -> tuple[Convolution, ...]:
        """What stands before the mean."""
        return (Convolution(1, self.in_channels, self.out_channels, self.resolution, activation=self.activation),)

    @property
    @override
    def convolutions(self) -> tuple[Convolution, ...]:
        return (*self.features, *self.pooled)

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        return (*_ops_of(self.features), "MEAN", *_ops_of(self.pooled))


@dataclass(frozen=True, order=True)
class Head(FinalLayer):
    """A 1×1 convolution to `out_channels`, global average pooling and the classifier."""

    KIND: ClassVar[str] = "head"


@dataclass(frozen=True, order=True)
class MlpHead(FinalLayer):
    """A head with one more layer between pooling and classifier: the end of MobileNetV3 and V4.

    Attributes:
        hidden: outputs of that layer.
        norm: whether it has batch norm (MobileNetV4) or a bias (MobileNetV3).
    """

    KIND: ClassVar[str] = "mlphead"

    hidden: int
    norm: bool

    @property
    @override
    def pooled(self) -> tuple[Convolution, ...]:
        [classifier] = super().pooled
        shape = (1, self.out_channels, self.hidden, 1)
        between = Convolution(*shape, kind="dense", activation=self.activation, has_norm=self.norm)
        return (between, replace(classifier, in_channels=self.hidden))


@dataclass(frozen=True, order=True)
class PoolHead(FinalLayer):
    """Global average pooling and the classifier, without a convolution before them, so with as many channels out as in."""

    KIND: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_channels != self.out_channels:
            raise InputError("a pool layer has as many output as input channels", where=self.key)
        if self.activation != "relu6":
            raise InputError("a pool layer has no activation", where=self.key)

    @property
    @override
    def features(self) -> tuple[Convolution, ...]:
        return ()


LAYER_KINDS: dict[str, type[LayerSpec]] = {
    kind.KIND: kind for kind in (Stem, Separable, MBConv, FBNetBlock, UniversalBottleneck, Head, MlpHead, PoolHead)
}


def _ops_of(convolutions: Iterable[Convolution]) -> tuple[str, ...]:
    return tuple(op for convolution in convolutions for op in convolution.ops)
