"""The places of a search space: what may stand at each, given what stands before it.

A layer's cost depends on the channels that it is given, and those on the number that the stage before it has chosen. So a network
is a chain: at each place a step leads from what stands before it to what stands behind it. Where nothing before a place is left
to choose there is one step for each choice, and a step has the name of its choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

from profiling.layers import Bottleneck, FBNetBlock, LayerSpec, MBConv

FIXED = "fixed"


@dataclass(frozen=True)
class Choice:
    """What a searchable layer may become: an MBConv with this kernel and expansion ratio, or nothing (`SKIP`).

    Attributes:
        kernel, expansion: as above.
        channels: of the output, as the space's file has them, where the layer decides those of its stage; else 0.
        resolution: of the network's input in pixels, where there are several: the choice of the stem, which has nothing else.
    """

    kernel: int
    expansion: int
    channels: int = 0
    resolution: int = 0

    @property
    def name(self) -> str:
        """`skip`, or kernel, ratio and channels, e.g. `5x5-6` or `5x5-6-24`; or the resolution, e.g. `r192`.

        Names are read back through the space's tables, never parsed.
        """
        if self == SKIP:
            return "skip"
        if self.resolution:
            return f"r{self.resolution}"
        return f"{self.kernel}x{self.kernel}-{self.expansion}" + (f"-{self.channels}" if self.channels else "")

    @property
    def shape(self) -> Choice:
        """Kernel and ratio alone."""
        return replace(self, channels=0)

    def layer(self, largest: MBConv) -> Bottleneck:
        """What it makes of a place whose largest layer, of that many channels, is this one; not for `SKIP`.

        At ratio 1 there is an expanding convolution too, as in FBNet: it is the first part of that of larger ratios.
        """
        if self.expansion > 1:
            return replace(largest, kernel=self.kernel, expansion=self.expansion)
        values = {field.name: getattr(largest, field.name) for field in fields(largest)}
        return FBNetBlock(**values | {"kernel": self.kernel, "expansion": 1, "depthwise": 1})


SKIP = Choice(0, 0)


@dataclass(frozen=True, order=True)
class State:
    """What a layer finds before it.

    Attributes:
        resolution, channels: of its input, height and width in pixels.
        ended: whether a layer of its stage was skipped with which the stage ends, so that the rest is skipped too.
    """

    resolution: int
    channels: int
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.resolution}² × {self.channels}" + (", ended" if self.ended else "")


@dataclass(frozen=True)
class Step:
    """One way through a place.

    Attributes:
        before, after: what stands before the place and behind it.
        choice: that it takes; None at a fixed place.
        layer: that stands at the place; None where it is skipped.
    """

    before: State
    choice: Choice | None
    layer: LayerSpec | None
    after: State

    @property
    def choice_name(self) -> str:
        """Of its choice, or `fixed`."""
        return FIXED if self.choice is None else self.choice.name


@dataclass(frozen=True)
class Slot:
    """One place for a layer in the network of a space.

    Attributes:
        position: index among all places, the stem being 0; it stays the same when layers are skipped.
        steps: the ways through it by name: first those behind the end of a stage, then by rising channels, then in the order of
            `SearchSpace.choices`. The name is that of the choice (`fixed` for a fixed layer) where one thing alone can stand
            before the place; else that with what stands before it, e.g. `3x3-6 after 28² × 24`.
        widths: the channels to choose from, as the space's file has them; empty where the layer does not decide them.
    """

    position: int
    steps: Mapping[str, Step]
    widths: tuple[int, ...] = ()

    @cached_property
    def choices_by_name(self) -> Mapping[str, Choice]:
        """What the layer may become, the smallest first; empty for a fixed layer."""
        return {step.choice.name: step.choice for step in self.steps.values() if step.choice is not None}

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The same by name alone."""
        return tuple(self.choices_by_name)

    @cached_property
    def layers(self) -> Mapping[str, LayerSpec]:
        """The layer of each step that has one, the largest last."""
        return {name: step.layer for name, step in self.steps.items() if step.layer is not None}

    @cached_property
    def by_shape(self) -> Mapping[tuple[int, int, int], Mapping[str, LayerSpec]]:
        """By resolution, input and output channels the layers that may stand here, each by kernel and ratio, or as `fixed`."""
        grouped: dict[tuple[int, int, int], dict[str, LayerSpec]] = {}
        for step in self.steps.values():
            if step.layer is not None:
                shape = step.layer.resolution, step.layer.in_channels, step.layer.out_channels
                name = step.choice.shape.name if step.choice is not None and self.is_decided else FIXED
                grouped.setdefault(shape, {})[name] = step.layer
        return grouped

    @cached_property
    def largest(self) -> LayerSpec:
        """The layer that all others are part of."""
        return list(self.layers.values())[-1]

    @property
    def is_searchable(self) -> bool:
        """Whether there is something to choose."""
        return bool(self.choices)

    @property
    def is_decided(self) -> bool:
        """Whether a supernet decides what stands here; of the stem's resolutions every step has one, and none is decided."""
        return any(choice.kernel for choice in self.choices_by_name.values())

    @property
    def varies(self) -> bool:
        """Whether networks differ here, by a choice of the place or by what was chosen before it."""
        return self.is_searchable or len(self.steps) > 1

    @property
    def can_skip(self) -> bool:
        """Whether the layer may be left out."""
        return SKIP.name in self.choices

    @cached_property
    def before(self) -> tuple[State, ...]:
        """All that may stand before it."""
        return tuple(dict.fromkeys(step.before for step in self.steps.values()))

    def after(self, state: State) -> Mapping[str, str]:
        """The steps from a state: by the name of the choice, the name of the step."""
        return self._names[state]

    @cached_property
    def _names(self) -> Mapping[State, Mapping[str, str]]:
        names: dict[State, dict[str, str]] = {state: {} for state in self.before}
        for name, step in self.steps.items():
            names[step.before][step.choice_name] = name
        return names


def slot_of(position: int, steps: Iterator[Step], widths: tuple[int, ...] = ()) -> Slot:
    """The slot of these steps, which it gives their names."""
    listed = list(steps)
    alone = len({step.before for step in listed}) == 1
    names = (step.choice_name if alone else f"{step.choice_name} after {step.before}" for step in listed)
    return Slot(position, dict(zip(names, listed, strict=True)), widths)
