"""From indicators to an architecture, and to the best one within a latency budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from latency_db.runtime_model import RuntimeModel
from profiling.space import SKIP, Architecture, Choice, SearchSpace
from search.supernet import superkernel
from search.supernet.supernet import Decisions, Supernet

# Number of steps in the budget; rounding adds at most one step per layer, 0.05 % of the budget for 20 layers.
GRID = 40_000
TOLERANCE = 0.01
ROUNDING = 1e-9
SMALLEST = 1e-30


def hard_architecture(space: SearchSpace, decisions: Decisions) -> Architecture:
    """The architecture of hard decisions; `supernet.encode` is the inverse."""
    counts = (decisions.use_kernel.sum(1), decisions.use_expansion.sum(1), decisions.use_layer)
    names = [
        Choice(space.kernels[kernels - 1], space.expansions[expansions - 1]).name if used else SKIP.name
        # One transfer from the device for all of them.
        for kernels, expansions, used in torch.stack(counts, dim=1).round().int().tolist()
    ]
    return Architecture(space=space, choices=tuple(names))


@torch.no_grad()
def log_likelihoods(supernet: Supernet) -> tuple[Mapping[str, float], ...]:
    """For each searchable layer the log-likelihood of each choice, its indicators taken as independent probabilities."""
    space, relaxed = supernet.space, supernet.decide(superkernel.probability)
    # Nested probabilities fall from subset to subset; a choice ends with the one that is in use while the next is not.
    last_kernel, last_expansion = (
        -torch.diff(p, dim=1, append=p.new_zeros(len(p), 1)) for p in (relaxed.use_kernel, relaxed.use_expansion)
    )
    rows = zip(space.searchable, last_kernel.tolist(), last_expansion.tolist(), relaxed.use_layer.tolist(), strict=True)
    return tuple(
        {name: _log_likelihood(space, space.choices_by_name[name], *probabilities) for name in slot.choices}
        for slot, *probabilities in rows
    )


def _log_likelihood(
    space: SearchSpace, choice: Choice, last_kernel: list[float], last_expansion: list[float], use_layer: float
) -> float:
    if choice == SKIP:
        p = 1 - use_layer
    else:
        p = use_layer * last_kernel[space.kernels.index(choice.kernel)] * last_expansion[space.expansions.index(choice.expansion)]
    return math.log(max(p, SMALLEST))


@dataclass(frozen=True)
class Knapsack:
    """The best network of every latency on a grid, whose places are latencies in steps.

    Attributes:
        step_ms: between two places.
        shifts: for each layer the steps that each of its choices takes.
        best: (places,) the highest total score of each place, −∞ where no network is.
        taken: for each layer (places,), which of its choices leads to the best of each place.
    """

    step_ms: float
    shifts: Sequence[Mapping[str, int]]
    best: NDArray[np.float64]
    taken: Sequence[NDArray[np.intp]]

    def choices(self, place: int) -> tuple[str, ...]:
        """Traces back the best network of a place, from its last layer to its first."""
        names = []
        for shifts, taken in zip(reversed(self.shifts), reversed(self.taken), strict=True):
            names.append(list(shifts)[taken[place]])
            place -= shifts[names[-1]]
        return tuple(reversed(names))


def fill_knapsack(
    costs: Sequence[Mapping[str, float]], scores: Sequence[Mapping[str, float]], budget_ms: float, steps: int = GRID
) -> Knapsack:
    """Additive scores on additive costs are a multiple-choice knapsack, solved exactly, up to the grid, layer by layer.

    Args:
        costs: for each layer the latency of each choice in ms.
        scores: for each layer the score of each choice, higher is better.
        budget_ms: for all layers together.
        steps: into which the budget is cut.
    """
    step_ms = max(budget_ms, 1e-9) / steps
    shifts = [{name: round(ms / step_ms) for name, ms in layer.items()} for layer in costs]
    places = steps + len(shifts)  # with room for what was rounded up
    best = np.full(places, -np.inf)
    best[0] = 0.0
    taken = []
    for layer_shifts, layer_scores in zip(shifts, scores, strict=True):
        reached = np.full((len(layer_shifts), places), -np.inf)
        for row, (name, shift) in zip(reached, layer_shifts.items(), strict=True):
            if shift < places:
                row[shift:] = best[: places - shift] + layer_scores[name]
        best = reached.max(axis=0)
        taken.append(reached.argmax(axis=0))
    return Knapsack(step_ms, shifts, best, taken)


def within_budget(model: RuntimeModel, scores: Sequence[Mapping[str, float]], target_ms: float) -> Iterator[Architecture]:
    """The architectures whose predicted latency lies within 1 % below the target, the highest total score first.

    Of those with the same latency, up to the grid, only the best comes. Where the space has no network in that band, the slowest
    one below the target comes alone.

    Args:
        model: gives the costs, with its calibration.
        scores: for each searchable layer the score of each choice, higher is better.
        target_ms: at least the latency of the fastest network.
    """
    line = model.calibration
    least_ms, most_ms = target_ms * (1 - TOLERANCE), target_ms * (1 + ROUNDING)
    budget_ms, least_sum_ms = ((ms - line.offset_ms) / line.scale - model.fixed_ms for ms in (target_ms, least_ms))
    knapsack = fill_knapsack(model.costs, scores, budget_ms)

    def traced(places: NDArray[np.intp]) -> Iterator[tuple[Architecture, float]]:
        for place in places.tolist():
            architecture = Architecture(space=model.space, choices=knapsack.choices(place))
            yield architecture, model.predict(architecture).total_ms

    reachable = np.flatnonzero(np.isfinite(knapsack.best))[::-1]
    in_band = reachable[reachable >= least_sum_ms / knapsack.step_ms - len(knapsack.shifts)]
    by_score = in_band[np.argsort(-knapsack.best[in_band], kind="stable")]
    # At the edges of the band the sum before rounding may lie outside.
    none_yet = True
    for architecture, ms in traced(by_score):
        if least_ms <= ms <= most_ms:
            none_yet = False
            yield architecture
    if none_yet:
        below = (architecture for architecture, ms in traced(reachable) if ms <= most_ms)
        yield next(below, model.extremes()[0])
