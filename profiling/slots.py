"""Builds the places of a search space, from what its file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from profiling.layers import Head, MBConv, Stem
from profiling.places import SKIP, Choice, Slot, State, Step, slot_of
from profiling.stages import Stage

if TYPE_CHECKING:
    from profiling.space import SearchSpace


def build_slots(space: SearchSpace) -> tuple[Slot, ...]:
    """All places of a space, from the stem to the head.

    Raises:
        ValueError: its stages do not go together.
    """
    slots = [slot_of(0, _stems(space))]
    choices = [choice for choice in space.choices if choice != SKIP or space.skip]
    for stage in space.stages:
        widths = {channels: space.scaled(channels) for channels in stage.widths}
        slots += stage_slots(stage, choices, widths, _behind(slots[-1]), len(slots))
    return (*slots, slot_of(len(slots), _heads(space, _behind(slots[-1]))))


def _stems(space: SearchSpace) -> Iterator[Step]:
    for resolution in space.resolutions:
        stem = Stem(
            resolution, space.image_channels, space.scaled(space.stem.channels), space.stem.stride, space.stem.kernel,
            activation=space.stem.activation,
        )  # fmt: skip
        choice = Choice(0, 0, resolution=resolution) if space.smaller_resolutions else None
        yield Step(State(0, stem.in_channels), choice, stem, State(stem.out_resolution, stem.out_channels))


def _heads(space: SearchSpace, before: Sequence[State]) -> Iterator[Step]:
    channels = space.scaled(space.head.channels) if space.width_multiplier > 1 else space.head.channels
    for state in before:
        head = Head(state.resolution, state.channels, channels, space.classes, activation=space.head.activation)
        yield Step(state, None, head, State(1, space.classes))


def _behind(slot: Slot) -> list[State]:
    """What may stand behind a place, the largest last."""
    return sorted({step.after for step in slot.steps.values()})


def stage_slots(
    stage: Stage, choices: Sequence[Choice], widths: Mapping[int, int], before: Sequence[State], position: int
) -> Iterator[Slot]:
    """The slots of a stage in order.

    The first layer of a stage has no residual connection where channels are left to choose on either side of it: whether there
    were one would depend on what was chosen.

    Args:
        stage: the stage.
        choices: kernels and ratios to choose from, the smallest first, with `SKIP` where layers may be left out.
        widths: its numbers of output channels, by those of the file.
        before: what may stand before it, the largest last.
        position: of its first layer.

    Raises:
        ValueError: the stage is fixed, and what is before it is not.
    """
    channels_before = {state.channels for state in before}
    if stage.is_fixed and len(channels_before) > 1:
        raise ValueError("a fixed stage cannot follow one with a choice of channels; leave out its kernel and expansion")
    is_same = channels_before == set(widths.values()) and len(widths) == 1
    states = before
    for index in range(stage.depths[-1]):
        is_first = index == 0
        largest = MBConv(
            states[-1].resolution, states[-1].channels, list(widths.values())[-1], stage.stride if is_first else 1,
            choices[-1].kernel, choices[-1].expansion,
            residual=not is_first or (is_same and stage.stride == 1),
            activation=stage.activation,
        )  # fmt: skip
        outputs = widths if is_first else {}
        steps = (step for state in states for step in _steps(stage, index, state, largest, choices, outputs))
        slot = slot_of(position + index, steps, tuple(outputs) if len(outputs) > 1 else ())
        yield slot
        # Those with most channels come last, as the largest layer is that of the last step.
        states = sorted({step.after for step in slot.steps.values()}, key=lambda state: (not state.ended, state))


def _steps(
    stage: Stage, index: int, state: State, largest: MBConv, choices: Sequence[Choice], widths: Mapping[int, int]
) -> Iterator[Step]:
    """From one state through one layer of the stage; `widths` are there to choose from at the first, and else none."""
    more_to_come = index + 1 < stage.depths[-1]
    if state.ended:
        yield Step(state, SKIP, None, replace(state, ended=more_to_come))
        return
    if index in stage.depths:
        yield Step(state, SKIP, None, replace(state, ended=more_to_come))
    elif len(stage.depths) == 1 and largest.residual and SKIP in choices and not stage.is_fixed:
        yield Step(state, SKIP, None, state)
    for listed, channels in (widths or {0: state.channels}).items():
        layer = replace(largest, resolution=state.resolution, in_channels=state.channels, out_channels=channels)
        after = State(layer.out_resolution, channels)
        if stage.kernel is not None and stage.expansion is not None:
            fixed = replace(layer, kernel=stage.kernel, expansion=stage.expansion)
            yield Step(state, None, stage.excited(fixed), after)
            continue
        for choice in choices:
            if choice != SKIP:
                named = replace(choice, channels=listed if len(widths) > 1 else 0)
                yield Step(state, named, stage.excited(choice.layer(layer)), after)
