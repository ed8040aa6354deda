"""From indicators to an architecture, and to the best one within a latency budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from latency_db.runtime_model import RuntimeModel
from profiling.space import SKIP, Architecture, Choice, SearchSpace
from search.supernet import Decision, Supernet

# Steps into which the budget is cut; rounding adds up to at most one layer count of them, 0.05 % of the budget for 20 layers.
GRID = 40_000
TOLERANCE = 0.01


def hard_architecture(space: SearchSpace, decisions: Sequence[Decision]) -> Architecture:
    """The architecture that hard decisions stand for; `supernet.encode` is the way back."""
    choices = []
    for decision in decisions:
        expansions = int(decision.use_expansion.sum().round())
        kernel = space.kernels[int(decision.use_kernel.sum().round()) - 1]
        choices.append(Choice(kernel, space.expansions[expansions - 1]).name if expansions else SKIP.name)
    return Architecture(space=space, choices=tuple(choices))


def log_likelihoods(supernet: Supernet) -> tuple[Mapping[str, float], ...]:
    """For each searchable layer the log-likelihood of each choice, its indicators taken as independent probabilities."""
    space = supernet.space
    return tuple(
        {name: _log_likelihood(space, name, *block.confidence(), block.skippable) for name in slot.choices}
        for slot, block in zip(space.searchable, supernet.searchable, strict=True)
    )


def _log_likelihood(space: SearchSpace, name: str, p_k: torch.Tensor, p_e: torch.Tensor, skippable: bool) -> float:
    choice = space.choices_by_name[name]
    kernels = 0 if choice == SKIP else space.kernels.index(choice.kernel)
    expansions = 0 if choice == SKIP else space.expansions.index(choice.expansion) + skippable
    # Nested: each subset up to the last one in use is wanted, the next one is not, and of those beyond nothing is known.
    logs = [p_e[:expansions].log(), (1 - p_e[expansions : expansions + 1]).log()]
    if choice != SKIP:
        logs += [p_k[:kernels].log(), (1 - p_k[kernels : kernels + 1]).log()]
    return float(torch.cat(logs).double().clamp_min(-50).sum())


def within_budget(model: RuntimeModel, scores: Sequence[Mapping[str, float]], target_ms: float) -> Architecture:
    """The architecture of the highest total score whose predicted latency lies within 1 % below the target.

    It is found exactly, up to the grid, by dynamic programming over latency: additive scores on additive costs are a
    multiple-choice knapsack. Where the space has no network in that band, the slowest one below the target is taken.

    Args:
        model: gives the costs, with its calibration.
        scores: for each searchable layer the score of each choice, higher is better.
        target_ms: must not be below the fastest network of the space.
    """
    line = model.calibration
    budget = (target_ms - line.offset_ms) / line.scale - model.fixed_ms
    step = max(budget, 1e-9) / GRID
    best = np.full(GRID + 1, -np.inf)
    best[0] = 0.0
    taken: list[np.ndarray[tuple[int], np.dtype[np.int8]]] = []
    for costs, layer_scores in zip(model.costs, scores, strict=True):
        new, chosen = np.full(GRID + 1, -np.inf), np.full(GRID + 1, -1, np.int8)
        for index, (name, ms) in enumerate(costs.items()):
            # Rounded up, so that what fits the grid fits the budget.
            shift = int(np.ceil(ms / step - 1e-9))
            if shift > GRID:
                continue
            candidate = np.full(GRID + 1, -np.inf)
            candidate[shift:] = best[: GRID + 1 - shift] + layer_scores[name]
            better = candidate > new
            new[better], chosen[better] = candidate[better], index
        best = new
        taken.append(chosen)
    reachable = np.flatnonzero(np.isfinite(best))
    if not len(reachable):
        return model.extremes()[0]
    lowest = int(np.ceil(((target_ms * (1 - TOLERANCE) - line.offset_ms) / line.scale - model.fixed_ms) / step))
    in_band = reachable[reachable >= lowest]
    place = int(in_band[np.argmax(best[in_band])]) if len(in_band) else int(reachable[-1])
    names: list[str] = []
    for costs, chosen in zip(reversed(model.costs), reversed(taken), strict=True):
        name = list(costs)[chosen[place]]
        names.append(name)
        place -= int(np.ceil(costs[name] / step - 1e-9))
    return Architecture(space=model.space, choices=tuple(reversed(names)))
