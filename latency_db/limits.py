"""Limits to what a network may need besides time, and what they leave of a space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from profiling.conditions import UNKNOWN, Precision, Unknown
from profiling.errors import InputError
from profiling.footprint import (
    ACTIVATION_BYTES,
    MB,
    Footprint,
    arena_bytes,
    file_bytes,
    footprint,
    layer_file_bytes,
    least_arena_bytes,
)
from profiling.network import NetworkSpec
from profiling.space import Architecture, SearchSpace

Choices = tuple[tuple[str, ...], ...]
"""For each searchable layer the names of some of its choices."""

# Networks that are tried at most to learn how far a conflict reaches.
MOST_TRIED = 300


@dataclass(frozen=True)
class Limits:
    """What a network may need at most; None is no limit.

    The file that `spnas export` writes is a few kB larger than the limit to it knows, for its metadata, and the class names.

    Attributes:
        memory_mb: TFLite's arena, in MB of 10^6 bytes (`profiling.footprint.arena_bytes`).
        size_mb: the TFLite file, in MB (`profiling.footprint.file_bytes`).
        classes: outputs of the classifier; None for those of the space.
    """

    memory_mb: float | None = None
    size_mb: float | None = None
    classes: int | None = None

    @property
    def words(self) -> str:
        """For people, e.g. `4 MB of memory and a file of 10 MB`; empty without limits."""
        parts = [] if self.memory_mb is None else [f"{self.memory_mb:g} MB of memory"]
        return " and ".join(parts if self.size_mb is None else [*parts, f"a file of {self.size_mb:g} MB"])


UNLIMITED = Limits()


class LimitedSpace:
    """The networks of a space that keep to limits.

    Args:
        space: the space.
        limits: the limits.
        precision: of the networks; `unknown` counts as single precision.

    Attributes:
        space, limits, precision: as given, the precision being known.
    """

    def __init__(self, space: SearchSpace, limits: Limits, precision: Precision | Unknown) -> None:
        self.space, self.limits = space, limits
        self.precision: Precision = "fp32" if precision == UNKNOWN else precision

    def footprint(self, architecture: Architecture) -> Footprint:
        """What a network of the space needs, with the classes of the limits."""
        return footprint(self._network(architecture), self.precision)

    def fits(self, architecture: Architecture) -> bool:
        """Whether a network keeps to the limits."""
        return self.fits_size(architecture) and self._fits_memory(architecture.choices)

    def fits_size(self, architecture: Architecture) -> bool:
        """Whether its file does."""
        most = self.limits.size_mb
        return most is None or file_bytes(self._network(architecture), self.precision) <= most * MB

    def _network(self, architecture: Architecture) -> NetworkSpec:
        classes = self.limits.classes
        return architecture.network if classes is None else architecture.network.with_classes(classes)

    def _fits_memory(self, choices: tuple[str, ...]) -> bool:
        most = self.limits.memory_mb
        network = self._network(Architecture(space=self.space, choices=self.space.completed(choices)))
        return most is None or arena_bytes(network, self.precision) <= most * MB

    @cached_property
    def choices(self) -> Choices:
        """The choices of each layer, without those that alone need too much memory whatever is around them."""
        most = math.inf if self.limits.memory_mb is None else self.limits.memory_mb * MB
        image = (
            min(math.prod(stem.input_shape) for stem in self.space.slots[0].layers.values()) * ACTIVATION_BYTES[self.precision]
        )
        return tuple(
            tuple(
                dict.fromkeys(
                    step.choice_name
                    for step in slot.steps.values()
                    if step.layer is None or least_arena_bytes(step.layer, image, self.precision) <= most
                )
            )
            for slot in self.space.searchable
        )

    @cached_property
    def layer_bytes(self) -> tuple[Mapping[str, int], ...]:
        """What each step of each varying place adds to the file."""
        return tuple(
            {name: 0 if step.layer is None else layer_file_bytes(step.layer, self.precision) for name, step in slot.steps.items()}
            for slot in self.space.varying
        )

    @cached_property
    def bytes_left(self) -> float:
        """What the varying places may add to the file; infinite without a limit."""
        if self.limits.size_mb is None:
            return math.inf
        added = sum(layer[name] for layer, name in zip(self.layer_bytes, self._smallest.step_names, strict=True))
        fixed = file_bytes(self._network(self._smallest), self.precision) - added
        return self.limits.size_mb * MB - fixed

    def conflict(self, architecture: Architecture) -> Choices:
        """Why a network needs too much memory: choices of each layer, any combination of which does.

        TFLite's planner looks at the whole network, but only a few layers are in conflict. Which ones, is found by making the
        others as small as they can be; which choices of theirs, by exchanging one at a time, and then in every combination.
        """
        found, all_choices = architecture.choices, [slot.choices for slot in self.space.searchable]
        for index, least in enumerate(self._smallest.choices):
            smaller = _exchanged(found, index, least)
            found = found if self._fits_memory(smaller) else smaller
        any_of = [
            tuple(name for name in names if name == own or not self._fits_memory(_exchanged(found, index, name)))
            for index, (names, own) in enumerate(zip(all_choices, architecture.choices, strict=True))
        ]
        matter = [index for index, names in enumerate(any_of) if len(names) < len(all_choices[index])]
        combinations = math.prod(len(any_of[index]) for index in matter)
        if combinations > MOST_TRIED or any(map(self._fits_memory, _combined(found, matter, any_of))):
            return tuple((own,) if index in matter else any_of[index] for index, own in enumerate(architecture.choices))
        return tuple(any_of)

    def require_reachable(self) -> None:
        """Checks that each limit leaves networks.

        Raises:
            InputError: one leaves none; states what the networks of the space need.
        """
        least, most = (self.footprint(each) for each in (self._smallest, self.space.largest))
        for option, limit, low, high, what in (
            ("--max-memory", self.limits.memory_mb, least.memory_mb, most.memory_mb, "of memory"),
            ("--max-size", self.limits.size_mb, least.size_mb, most.size_mb, "in a file"),
        ):
            if limit is not None and low > limit:
                raise InputError(
                    f"{limit:g} MB cannot be reached: the networks of {self.space.name} need {rounded_up(low)} to"
                    f" {rounded_up(high)} MB {what} as {self.precision}",
                    where=option,
                )

    @cached_property
    def _smallest(self) -> Architecture:
        return Architecture(space=self.space, choices=tuple(slot.choices[0] for slot in self.space.searchable))


def _exchanged(choices: tuple[str, ...], index: int, name: str) -> tuple[str, ...]:
    return (*choices[:index], name, *choices[index + 1 :])


def _combined(choices: tuple[str, ...], places: Sequence[int], any_of: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """The choices with every combination of what may stand at these places."""
    for names in product(*(any_of[index] for index in places)):
        changes = dict(zip(places, names, strict=True))
        yield tuple(changes.get(index, name) for index, name in enumerate(choices))


def rounded_up(mb: float) -> str:
    """Four digits, as a limit that can be kept."""
    digits = 3 - math.floor(math.log10(mb))
    return f"{math.ceil(mb * 10**digits) / 10**digits:.{max(0, digits)}f}"
