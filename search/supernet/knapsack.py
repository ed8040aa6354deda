"""Additive scores on additive costs: a multiple-choice knapsack, solved exactly, up to its grid, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Number of steps in the budget; rounding adds at most one step per layer, 0.05 % of the budget for 20 layers.
GRID = 40_000
# The same where bytes are counted as well: fewer steps, and as many of bytes as there is memory for.
GRID_WITH_BYTES, GRID_OF_BYTES = 2_000, 500
MOST_CELLS = 200_000_000

Costs = Sequence[Mapping[str, float]]
"""For each layer what each of its choices takes."""


@dataclass(frozen=True)
class Knapsack:
    """The best network of every latency and size on a grid.

    Attributes:
        step_ms: between two places of latency.
        shifts: for each layer the steps of latency and of bytes that each of its choices takes.
        best: (places, sizes) the highest total score of each, −∞ where no network is.
        taken: for each layer (places, sizes), which of its choices leads to the best of each.
    """

    step_ms: float
    shifts: Sequence[Mapping[str, tuple[int, int]]]
    best: NDArray[np.float64]
    taken: Sequence[NDArray[np.uint8]]

    def choices(self, place: int, size: int) -> tuple[str, ...]:
        """Traces back the best network of a place and size, from its last layer to its first."""
        names = []
        for shifts, taken in zip(reversed(self.shifts), reversed(self.taken), strict=True):
            names.append(list(shifts)[taken[place, size]])
            ms, more = shifts[names[-1]]
            place, size = place - ms, size - more
        return tuple(reversed(names))


def fill_knapsack(costs: Costs, scores: Costs, budget_ms: float, sizes: Costs | None = None, budget_bytes: float = 0) -> Knapsack:
    """Fills the grid.

    Args:
        costs: in ms.
        scores: higher is better.
        budget_ms: for all layers together.
        sizes: in bytes; None where they do not matter.
        budget_bytes: for all layers together, at least what the smallest choices take.
    """
    steps, cells = GRID, 0
    if sizes is not None:
        steps, cells = GRID_WITH_BYTES, min(GRID_OF_BYTES, MOST_CELLS // (GRID_WITH_BYTES * len(costs)))
    step_ms = max(budget_ms, 1e-9) / steps
    shifts = list(_shifts(costs, sizes, step_ms, budget_bytes, cells))
    # With room for what was rounded up.
    shape = (steps + len(costs), 1 if sizes is None else cells + len(costs))
    best = np.full(shape, -np.inf)
    best[0, 0] = 0.0
    taken = []
    for layer_shifts, layer_scores in zip(shifts, scores, strict=True):
        reached, chosen = np.full(shape, -np.inf), np.zeros(shape, np.uint8)
        for index, (name, (ms, more)) in enumerate(layer_shifts.items()):
            if ms < shape[0] and more < shape[1]:
                there = reached[ms:, more:]
                by_this = best[: shape[0] - ms, : shape[1] - more] + layer_scores[name]
                better = by_this > there
                np.copyto(there, by_this, where=better)
                np.copyto(chosen[ms:, more:], np.uint8(index), where=better)
        best = reached
        taken.append(chosen)
    return Knapsack(step_ms, shifts, best, taken)


def _shifts(
    costs: Costs, sizes: Costs | None, step_ms: float, budget_bytes: float, cells: int
) -> Iterator[Mapping[str, tuple[int, int]]]:
    """What choices take, in steps; of bytes only what they take beyond the smallest of their layer."""
    if sizes is None:
        yield from ({name: (round(ms / step_ms), 0) for name, ms in layer.items()} for layer in costs)
        return
    least = [min(layer.values()) for layer in sizes]
    step_bytes = max(budget_bytes - sum(least), 1) / cells
    for layer, layer_sizes, smallest in zip(costs, sizes, least, strict=True):
        yield {name: (round(ms / step_ms), round((layer_sizes[name] - smallest) / step_bytes)) for name, ms in layer.items()}
