"""What the file of a search space is made of: stem, stages and head."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from profiling.convolutions import Activation
from profiling.layers import Bottleneck
from profiling.specfile import SpecModel

Positive = Annotated[int, Field(ge=1, le=65536)]
Kernel = Annotated[int, Field(ge=1, le=31)]
# Types are exact, except that a list in a file may become a tuple; its items stay exact.
FROM_LIST = Field(strict=False)


def scaled_channels(channels: int, width_multiplier: float, divisor: int = 8) -> int:
    """A number of channels times the width multiplier: a multiple of the divisor, never more than 10 % below what was wanted."""
    wanted = channels * width_multiplier
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


def excited(layer: Bottleneck, se_ratio: float) -> Bottleneck:
    """The layer with squeeze-and-excitation, in its middle a multiple of 8 channels as in MobileNetV3."""
    return replace(layer, squeeze=scaled_channels(layer.hidden_channels, se_ratio))


def since(default: Any) -> Any:
    """A field that files of before do not have: unless it is given, it is not written either, nor a part of any digest."""
    return Field(default=default, exclude_if=lambda value: value == default)


class StemSettings(SpecModel):
    """The first convolution."""

    channels: Positive
    kernel: Kernel = 3
    stride: Literal[1, 2] = 2
    activation: Activation = since("relu6")


class HeadSettings(SpecModel):
    """The 1×1 convolution before the classifier."""

    channels: Positive
    activation: Activation = since("relu6")


class Stage(SpecModel):
    """Layers with one number of output channels; the stride is that of the first.

    A stage with a kernel and an expansion ratio is fixed; in other stages every layer is searchable.

    Attributes:
        layers, channels, stride, kernel, expansion: as above.
        se_ratio: channels in the middle of squeeze-and-excitation, as a share of those of the depthwise convolution, rounded as
            by a width multiplier; None for layers without it.
        activation: of every convolution but the last of a layer.
    """

    layers: Positive
    channels: Positive
    stride: Literal[1, 2] = 1
    kernel: Kernel | None = None
    expansion: Positive | None = None
    se_ratio: Annotated[float, Field(gt=0, le=1)] | None = since(None)
    activation: Activation = since("relu6")

    @model_validator(mode="after")
    def _fixed_in_both_or_neither(self) -> Self:
        if (self.kernel is None) != (self.expansion is None):
            raise ValueError("a fixed stage gives both kernel and expansion, a searchable one neither")
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether its layers are fixed, with nothing to choose."""
        return self.kernel is not None

    def excited(self, layer: Bottleneck) -> Bottleneck:
        """The layer with the squeeze-and-excitation of this stage."""
        return layer if self.se_ratio is None else excited(layer, self.se_ratio)
