"""Uniform networks of a given latency: one choice everywhere and layers skipped evenly, the baseline that costs no search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import just_below
from profiling.space import SKIP, Architecture

MOST_MOVES = 3
# Networks of many layers meet a latency with few moves or none, and would have millions of ways with more.
LARGEST = 200_000

Ways = npt.NDArray[np.bool_]
"""(ways, layers that can be skipped): which of these layers each way keeps."""


def uniform_networks(model: RuntimeModel, target_ms: float) -> dict[str, Architecture]:
    """For each kernel and ratio the uniform network that meets a latency.

    Where the choice everywhere is too slow, layers are skipped evenly over the depth. Of the networks within 1 % below the target
    it is the deepest. Where even skipping gives none, kept layers are moved by one place, as few as possible and at most three,
    and it is the network nearest below the target; also where that is farther than 1 %.

    Args:
        model: predicts latencies.
        target_ms: in ms, which no network exceeds.

    Returns:
        networks by name, in the order of the space's choices: `5x5-6`, or `5x5-6, 14 of 20 layers` where layers are skipped. A
        choice that is too slow with every skippable layer skipped is left out.
    """
    can_skip = np.array([SKIP.name in slot.choices for slot in model.space.searchable])
    families = [_even(int(can_skip.sum()))]
    while len(families) <= MOST_MOVES and families[-1].size <= LARGEST:
        families.append(_one_more_moved(families[-1]))
    networks = {}
    for choice in (choice.name for choice in model.space.choices if choice != SKIP):
        costs = np.array([layer[choice] for layer in model.costs])
        always = model.fixed_ms + costs[~can_skip].sum()
        latencies = [
            model.calibration.scale * (always + ways @ costs[can_skip]) + model.calibration.offset_ms for ways in families
        ]
        kept = _best(families, latencies, target_ms)
        if kept is None:
            continue
        used = ~can_skip
        used[can_skip] = kept
        choices = tuple(choice if is_used else SKIP.name for is_used in used.tolist())
        networks[_name(choices, choice)] = Architecture(space=model.space, choices=choices)
    return networks


def uniform_name(choices: Sequence[str]) -> str | None:
    """The name that `uniform_networks` gives a network of these choices; None where its layers differ or all are skipped."""
    different = set(choices) - {SKIP.name}
    return _name(choices, different.pop()) if len(different) == 1 else None


def _name(choices: Sequence[str], choice: str) -> str:
    layers = choices.count(choice)
    return choice if layers == len(choices) else f"{choice}, {layers} of {len(choices)} layers"


def _best(
    families: Sequence[Ways], latencies: Sequence[npt.NDArray[np.float64]], target_ms: float
) -> npt.NDArray[np.bool_] | None:
    """The way to take, given the latencies of those of each family in ms; None where all are too slow."""
    low_ms, high_ms = just_below(target_ms)
    for moves, (ways, ms) in enumerate(zip(families, latencies, strict=True)):
        near = (low_ms <= ms) & (ms <= high_ms)
        if near.any():
            # Moves are for the latency alone: where depth counted, they would gather the skips where layers are slow.
            depths = ways[near].sum(axis=1) * (moves == 0)
            return np.asarray(ways[near][np.lexsort((ms[near], depths))[-1]])
    ms = np.where(latencies[-1] <= target_ms, latencies[-1], -np.inf)
    return np.asarray(families[-1][ms.argmax()]) if np.isfinite(ms).any() else None


def _even(count: int) -> Ways:
    """All ways to keep some, none or all of `count` layers in which those that are kept are spread evenly."""
    ways = np.zeros((2, count), dtype=bool)
    ways[1] = True
    for kept in range(1, count):
        phases = np.arange(count)
        even = np.zeros((count, count), dtype=bool)
        even[phases[:, None], (np.arange(kept) * count + phases[:, None]) // kept] = True
        ways = np.concatenate([ways, even])
    return np.unique(ways, axis=0)


def _one_more_moved(ways: Ways) -> Ways:
    """The same ways, and those in which a kept layer of one of them changes places with a skipped one beside it."""
    more = [ways]
    for left in range(ways.shape[1] - 1):
        pair = [left, left + 1]
        moved = ways[ways[:, left] != ways[:, left + 1]]
        moved[:, pair] = ~moved[:, pair]
        more.append(moved)
    return np.unique(np.concatenate(more), axis=0)
