"""Which part of the supernet each step of the dropout phase trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_near
from profiling.places import SKIP, Choice, Slot, Step
from profiling.space import Architecture, SearchSpace

POOL = 1024
# Share of the phase in which everything is trained first, so that no part is left behind as it was drawn.
WHOLE = 0.1


class Draws(Protocol):
    """Draws what to train; the same after the same `torch.manual_seed`."""

    def steps(self, progress: float) -> Sequence[Step]:
        """The steps of a network, see `Architecture.steps`; `progress` is the share of the phase that is over, 0 to 1."""


class DroppedSubsets:
    """Each subset is dropped with the same probability (Single-Path NAS), whatever that comes to in latency."""

    def __init__(self, space: SearchSpace, probability: float) -> None:
        self._space, self._kept = space, 1 - probability

    def steps(self, progress: float) -> Sequence[Step]:
        """As above."""
        choices = [self._choice(slot).name for slot in self._space.searchable]
        return Architecture(space=self._space, choices=self._space.completed(choices)).steps

    def _choice(self, slot: Slot) -> Choice:
        space = self._space
        if not slot.is_decided:
            return list(slot.choices_by_name.values())[int(torch.randint(len(slot.choices), ()))]
        if slot.can_skip and torch.rand(()) >= self._kept:
            return SKIP
        return Choice(self._left(space.kernels), self._left(space.expansions), self._left(slot.widths or (0,)))

    def _left(self, sizes: Sequence[int]) -> int:
        """The largest of nested sizes that is left."""
        return sizes[
            next((index for index, value in enumerate(torch.rand(len(sizes) - 1)) if value >= self._kept), len(sizes) - 1)
        ]


class NearTarget:
    """Networks near the target latency, after the largest network in the first steps.

    Subsets that are dropped one by one average a latency that has nothing to do with the target: most of the phase trains
    networks that the search cannot end with.

    Args:
        model: the runtime model.
        target_ms: within the range of the space.
        within: how far from the target, as a share of it.
        seed: of the networks drawn.
    """

    def __init__(self, model: RuntimeModel, target_ms: float, within: float, seed: int) -> None:
        self._largest = model.space.largest.steps
        drawn = networks_near(model, target_ms, within, POOL, seed)
        self._pool = [each.steps for each in drawn] or [self._largest]

    def steps(self, progress: float) -> Sequence[Step]:
        """As above."""
        if progress < WHOLE:
            return self._largest
        return self._pool[int(torch.randint(len(self._pool), ()))]
