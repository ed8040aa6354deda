"""What the file of a search space is made of: stem, stages and head."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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


class StemSettings(SpecModel):
    """The first convolution."""

    channels: Positive
    kernel: Kernel = 3
    stride: Literal[1, 2] = 2


class HeadSettings(SpecModel):
    """The 1×1 convolution before the classifier."""

    channels: Positive


class Stage(SpecModel):
    """Layers with one number of output channels; the stride is that of the first.

    A stage with a kernel and an expansion ratio is fixed; in other stages every layer is searchable.
    """

    layers: Positive
    channels: Positive
    stride: Literal[1, 2] = 1
    kernel: Kernel | None = None
    expansion: Positive | None = None

    @model_validator(mode="after")
    def _fixed_in_both_or_neither(self) -> Self:
        if (self.kernel is None) != (self.expansion is None):
            raise ValueError("a fixed stage gives both kernel and expansion, a searchable one neither")
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether its layers are fixed, with nothing to choose."""
        return self.kernel is not None
