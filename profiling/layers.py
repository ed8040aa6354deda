"""Layers and networks: what one TFLite model stands for.

A layer is frozen and its key spells every field, so that equal keys mean the same model and a latency found under one key is
never used for another layer. Two layers of a network with the same key are measured once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import ClassVar, Self

from typing_extensions import override

from profiling.errors import InputError


@dataclass(frozen=True, order=True)
class LayerSpec:
    """One layer, input square, NHWC, `SAME` padding, ReLU6 after every convolution but the last of an MBConv.

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
        """Every field of the layer in one word, e.g. `mbconv-r112-i16-o24-s2-k3-e6-x0`."""
        values = (f"{self.LETTERS[field.name]}{int(getattr(self, field.name))}" for field in fields(self))
        return "-".join((self.KIND, *values))

    @classmethod
    def from_key(cls, key: str) -> LayerSpec:
        """Reads a key back.

        Raises:
            InputError: the text is not the key of a layer.
        """
        kind, *words = key.split("-")
        layer_class = LAYER_KINDS.get(kind)
        if layer_class is not None and all(word[1:].isdecimal() for word in words):
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
    def ops(self) -> tuple[str, ...]:
        """The TFLite operators that this layer must become, in order; anything else is a wrong model."""
        raise NotImplementedError


@dataclass(frozen=True, order=True)
class Stem(LayerSpec):
    """A full k×k convolution, the first layer of a network."""

    KIND: ClassVar[str] = "stem"

    stride: int
    kernel: int

    @property
    @override
    def out_resolution(self) -> int:
        return same_padding_resolution(self.resolution, self.stride)

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        return ("CONV_2D",)


@dataclass(frozen=True, order=True)
class MBConv(LayerSpec):
    """A mobile inverted bottleneck convolution: 1×1 expansion (none at ratio 1), k×k depthwise, linear 1×1 (paper, 3.1)."""

    KIND: ClassVar[str] = "mbconv"

    stride: int
    kernel: int
    expansion: int
    residual: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual and (self.stride != 1 or self.in_channels != self.out_channels):
            raise InputError("a residual MBConv needs stride 1 and as many output as input channels", where=self.key)

    @property
    def hidden_channels(self) -> int:
        """Channels of the depthwise convolution."""
        return self.in_channels * self.expansion

    @property
    @override
    def out_resolution(self) -> int:
        return same_padding_resolution(self.resolution, self.stride)

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        expand = ("CONV_2D",) if self.expansion > 1 else ()
        return (*expand, "DEPTHWISE_CONV_2D", "CONV_2D", *(("ADD",) if self.residual else ()))


@dataclass(frozen=True, order=True)
class Head(LayerSpec):
    """A 1×1 convolution to `out_channels`, global average pooling and the classifier."""

    KIND: ClassVar[str] = "head"

    classes: int

    @property
    @override
    def out_resolution(self) -> int:
        return 1

    @property
    @override
    def ops(self) -> tuple[str, ...]:
        return ("CONV_2D", "MEAN", "FULLY_CONNECTED")


LAYER_KINDS: dict[str, type[LayerSpec]] = {kind.KIND: kind for kind in (Stem, MBConv, Head)}


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
