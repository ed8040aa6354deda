"""Which part of the supernet each step of the dropout phase trains."""

from __future__ import annotations

from typing import Protocol

import torch

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_near
from profiling.space import SKIP, Choice, SearchSpace, Slot

POOL = 1024
# Share of the phase in which everything is trained first, so that no part is left behind as it was drawn.
WHOLE = 0.1


class Draws(Protocol):
    """Draws what to train; the same after the same `torch.manual_seed`."""

    def limits(self, progress: float) -> list[Choice]:
        """The largest choice left in each layer; `progress` is the share of the phase that is over, 0 to 1."""


class DroppedSubsets:
    """Each subset is dropped with the same probability (Single-Path NAS), whatever that comes to in latency."""

    def __init__(self, space: SearchSpace, probability: float) -> None:
        self._space, self._kept = space, 1 - probability

    def limits(self, progress: float) -> list[Choice]:
        """As above."""
        return [self._limit(slot) for slot in self._space.searchable]

    def _limit(self, slot: Slot) -> Choice:
        space = self._space
        if SKIP.name in slot.choices and torch.rand(()) >= self._kept:
            return SKIP
        kernels, expansions = (
            next((index for index, value in enumerate(torch.rand(len(sizes) - 1)) if value >= self._kept), len(sizes) - 1)
            for sizes in (space.kernels, space.expansions)
        )
        return Choice(space.kernels[kernels], space.expansions[expansions])


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
        self._largest = model.space.largest.chosen
        drawn = networks_near(model, target_ms, within, POOL, seed)
        self._pool = [each.chosen for each in drawn] or [self._largest]

    def limits(self, progress: float) -> list[Choice]:
        """As above."""
        if progress < WHOLE:
            return self._largest
        return self._pool[int(torch.randint(len(self._pool), ()))]
