"""Uniform networks of a given latency: one choice everywhere and layers skipped evenly, the baseline that costs no search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import just_below
from profiling.places import SKIP
from profiling.space import Architecture

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

    Where stages have a choice of channels or of how many layers they have, all stages are scaled alike instead: each has its
    smallest number, or each its second, and so on, or from some stage on the next larger one; at every resolution there is. It is
    the slowest of these below the target.

    Args:
        model: predicts latencies.
        target_ms: in ms, which no network exceeds.

    Returns:
        networks by name, in the order of the space's choices: `5x5-6`, or `5x5-6, 14 of 20 layers` where layers are skipped. A
        choice that is too slow with every skippable layer skipped is left out.
    """
    chained = any(len(stage.widths) > 1 or len(stage.depths) > 1 for stage in model.space.stages)
    if chained or model.space.smaller_resolutions:
        return _scaled(model, target_ms)
    can_skip = np.array([slot.can_skip for slot in model.space.searchable])
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


def uniform_name(architecture: Architecture) -> str | None:
    """What `uniform_networks` calls a network; None where kernels and ratios of its layers differ, or all are skipped."""
    layers = [step.choice.shape for step in architecture.decided if step.choice is not None]
    different = set(layers) - {SKIP}
    return _name([layer.name for layer in layers], different.pop().name) if len(different) == 1 else None


def _scaled(model: RuntimeModel, target_ms: float) -> dict[str, Architecture]:
    """The uniform networks of a space whose stages have a choice of channels or of how many layers they have."""
    space, networks = model.space, {}
    stages = [stage for stage in space.stages if not stage.is_fixed]
    sizes = [
        list(zip(widths, depths, strict=True))
        for widths in _raised([len(stage.widths) for stage in stages])
        for depths in _raised([len(stage.depths) for stage in stages])
    ]
    stems = [[name] for slot in space.searchable if not slot.is_decided for name in slot.choices] or [[]]
    for choice in (choice for choice in space.choices if choice != SKIP):
        below = {}
        for stem, size in product(stems, sizes):
            names = [*stem]
            for stage, (width, depth) in zip(stages, size, strict=True):
                first = replace(choice, channels=stage.widths[width] if len(stage.widths) > 1 else 0)
                kept = stage.depths[depth]
                names += [first.name, *[choice.name] * (kept - 1), *[SKIP.name] * (stage.depths[-1] - kept)]
            architecture = Architecture(space=space, choices=tuple(names))
            if (ms := model.predict(architecture).total_ms) <= target_ms:
                below[ms] = architecture
        if below:
            slowest = below[max(below)]
            networks[uniform_name(slowest) or choice.name] = slowest
    return networks


def _raised(counts: Sequence[int]) -> Iterator[list[int]]:
    """For each stage an index into its numbers: the same in all, as far as they have as many, or one more from some stage on."""
    for level in range(max(counts)):
        for first in range(len(counts) if level + 1 < max(counts) else 1):
            # From stage 0 on one more is the next level.
            yield [min(level + (0 < first <= stage), count - 1) for stage, count in enumerate(counts)]


def _name(choices: Sequence[str], choice: str) -> str:
    layers = len(choices) - choices.count(SKIP.name)
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
