"""Additive scores on additive costs along a chain of places: a knapsack, solved exactly, up to its grid, place by place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiling.places import State, Step

# Number of steps in the budget; rounding adds at most one step per layer, 0.05 % of the budget for 20 layers.
GRID = 40_000
# The same where bytes are counted as well: fewer steps, and as many of bytes as there is memory for.
GRID_WITH_BYTES, GRID_OF_BYTES = 2_000, 500
MOST_CELLS = 200_000_000

Costs = Sequence[Mapping[str, float]]
"""For each place what each of its steps takes."""


@dataclass(frozen=True)
class Knapsack:
    """The best network of every latency and size on a grid.

    Attributes:
        step_ms: between two places of latency.
        ways: for each place of the network its steps.
        shifts: for each place the steps of the grid, of latency and of bytes, that each of its steps takes.
        best: (latencies, sizes) the highest total score of each, −∞ where no network is.
        end: the state that all networks end in.
        taken: for each place by the state behind it (latencies, sizes), which of its steps leads to the best of each.
    """

    step_ms: float
    ways: Sequence[Mapping[str, Step]]
    shifts: Sequence[Mapping[str, tuple[int, int]]]
    best: NDArray[np.float64]
    end: State
    taken: Sequence[Mapping[State, NDArray[np.unsignedinteger]]]

    def choices(self, latency: int, size: int) -> tuple[str, ...]:
        """Traces back the best network of a latency and size, from its last place to its first; of the searchable places."""
        names, state = [], self.end
        for steps, shifts, taken in zip(reversed(self.ways), reversed(self.shifts), reversed(self.taken), strict=True):
            name = list(steps)[taken[state][latency, size]]
            step, (ms, more) = steps[name], shifts[name]
            names += [] if step.choice is None else [step.choice.name]
            latency, size, state = latency - ms, size - more, step.before
        return tuple(reversed(names))


def fill_knapsack(
    ways: Sequence[Mapping[str, Step]],
    costs: Costs,
    scores: Costs,
    budget_ms: float,
    sizes: Costs | None = None,
    budget_bytes: float = 0,
) -> Knapsack:
    """Fills the grid, for each state that may stand between two places.

    Args:
        ways: the steps of each place that may be taken; the first starts from one state, the last leads to one.
        costs: in ms.
        scores: higher is better.
        budget_ms: for all places together.
        sizes: in bytes; None where they do not matter.
        budget_bytes: for all places together, at least what the smallest steps take.
    """
    steps, cells = GRID, 0
    if sizes is not None:
        states = max(len({step.after for step in place.values()}) for place in ways)
        steps, cells = GRID_WITH_BYTES, min(GRID_OF_BYTES, MOST_CELLS // (GRID_WITH_BYTES * len(costs) * states))
    step_ms = max(budget_ms, 1e-9) / steps
    shifts = list(_shifts(costs, sizes, step_ms, budget_bytes, cells))
    # With room for what was rounded up.
    shape = (steps + len(costs), 1 if sizes is None else cells + len(costs))
    best = {state: np.full(shape, -np.inf) for state in {step.before for step in ways[0].values()}}
    for start in best.values():
        start[0, 0] = 0.0
    taken = []
    for place, place_shifts, place_scores in zip(ways, shifts, scores, strict=True):
        best, chosen = _through(place, place_shifts, place_scores, best)
        taken.append(chosen)
    [(end, reached)] = best.items()
    return Knapsack(step_ms, ways, shifts, reached, end, taken)


Grids = dict[State, NDArray[np.float64]]


def _through(
    place: Mapping[str, Step], shifts: Mapping[str, tuple[int, int]], scores: Mapping[str, float], best: Grids
) -> tuple[Grids, dict[State, NDArray[np.unsignedinteger]]]:
    """The best behind a place from the best before it, and the steps that lead to it."""
    shape = next(iter(best.values())).shape
    ends = dict.fromkeys(step.after for step in place.values())
    reached = {state: np.full(shape, -np.inf) for state in ends}
    chosen = {state: np.zeros(shape, np.min_scalar_type(len(place))) for state in ends}
    for index, (name, step) in enumerate(place.items()):
        ms, more = shifts[name]
        if step.before in best and ms < shape[0] and more < shape[1]:
            there = reached[step.after][ms:, more:]
            by_this = best[step.before][: shape[0] - ms, : shape[1] - more] + scores[name]
            better = by_this > there
            np.copyto(there, by_this, where=better)
            np.copyto(chosen[step.after][ms:, more:], index, where=better, casting="unsafe")
    return reached, chosen


def _shifts(
    costs: Costs, sizes: Costs | None, step_ms: float, budget_bytes: float, cells: int
) -> Iterator[Mapping[str, tuple[int, int]]]:
    """What steps take on the grid; of bytes only what they take beyond the smallest of their place."""
    if sizes is None:
        yield from ({name: (round(ms / step_ms), 0) for name, ms in place.items()} for place in costs)
        return
    least = [min(place.values()) for place in sizes]
    step_bytes = max(budget_bytes - sum(least), 1) / cells
    for place, place_sizes, smallest in zip(costs, sizes, least, strict=True):
        yield {name: (round(ms / step_ms), round((place_sizes[name] - smallest) / step_bytes)) for name, ms in place.items()}
