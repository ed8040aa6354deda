"""What the file of a search space is made of: stem, stages and head."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from profiling.convolutions import Activation
from profiling.layers import Bottleneck
from profiling.specfile import SpecModel, since

MOST = 65536
Positive = Annotated[int, Field(ge=1, le=MOST)]
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


def _one_or_more(given: Any) -> int | tuple[int, ...]:
    numbers = given if isinstance(given, list | tuple) else [given]
    if not numbers or any(type(number) is not int or not 1 <= number <= MOST for number in numbers):
        raise ValueError(f"give a whole number from 1 to {MOST}, or a list of rising ones to choose from, not {given!r}")
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"numbers to choose from must be rising, such as [16, 24, 32], not {list(numbers)}")
    return tuple(numbers) if len(numbers) > 1 else numbers[0]


# One number, or a list of rising ones to choose from.
OneOrMore = Annotated[int | tuple[int, ...], BeforeValidator(_one_or_more)]


class Stage(SpecModel):
    """Layers with one number of output channels; the stride is that of the first.

    A stage with a kernel and an expansion ratio is fixed; in other stages every layer is searchable.

    Attributes:
        layers: how many; of a list, such as `[2, 3, 4]`, one number is chosen: the layers of each are the first of the next. Then
            no other layer of the stage may be skipped, whatever the space says.
        channels: of the output of every layer; of a list one number is chosen for the stage, the channels of each being the
            first of the next.
        stride, kernel, expansion: as above.
        se_ratio: channels in the middle of squeeze-and-excitation, as a share of those of the depthwise convolution, rounded as
            by a width multiplier; None for layers without it.
        activation: of every convolution but the last of a layer.
    """

    layers: OneOrMore
    channels: OneOrMore
    stride: Literal[1, 2] = 1
    kernel: Kernel | None = None
    expansion: Positive | None = None
    se_ratio: Annotated[float, Field(gt=0, le=1)] | None = since(None)
    activation: Activation = since("relu6")

    @model_validator(mode="after")
    def _fixed_in_both_or_neither(self) -> Self:
        if (self.kernel is None) != (self.expansion is None):
            raise ValueError("a fixed stage gives both kernel and expansion, a searchable one neither")
        if self.is_fixed and (isinstance(self.layers, tuple) or isinstance(self.channels, tuple)):
            raise ValueError("a fixed stage has one number of layers and one of channels")
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether its layers are fixed, with nothing to choose."""
        return self.kernel is not None

    @property
    def depths(self) -> tuple[int, ...]:
        """The numbers of layers to choose from; where there is one alone, layers may be skipped as the space says."""
        return self.layers if isinstance(self.layers, tuple) else (self.layers,)

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of channels to choose from."""
        return self.channels if isinstance(self.channels, tuple) else (self.channels,)

    def excited(self, layer: Bottleneck) -> Bottleneck:
        """The layer with the squeeze-and-excitation of this stage."""
        return layer if self.se_ratio is None else excited(layer, self.se_ratio)
