"""Statistics over the visits to one model."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

# The standard deviation of normal noise, by the median of its absolute deviations.
MEDIAN_TO_SIGMA = 1.4826022185056018
NOISY_GAP = 0.01
NEIGHBOURS = 6
CALM_EXCESS = 0.02
# A device that is slower by no more than this counts as being at its full speed.
FULL_SPEED = 0.01


def undisturbed(values_ms: Sequence[float], slowdowns: Sequence[float] | None = None) -> float:
    """The latency of a model when nothing disturbs it: the fastest visit, in ms.

    Interference only ever adds time, and for minutes on end where others use the caches that whole networks need. On a machine
    with such neighbours, layers add up to networks within 0.9 % by the fastest of 8 to 10 visits, 1.7 % by their lower quartile.

    Where heat slowed the device, the fastest of the visits at its full speed is taken. A model that has none is read from those
    at less, each put back to full speed: by their lower quartile, for a correction errs to both sides, and a minimum would take
    the worst of these errors.

    Args:
        values_ms: of the visits.
        slowdowns: by how much the device was slower at each, see `drift.slowdowns`; None for not at all.
    """
    values, slower = np.asarray(values_ms), np.zeros(len(values_ms)) if slowdowns is None else np.asarray(slowdowns)
    at_full_speed = slower <= FULL_SPEED
    corrected = values / (1 + slower)
    return float(corrected[at_full_speed].min()) if at_full_speed.any() else lower_quartile(corrected.tolist())


def lower_quartile(values_ms: Sequence[float]) -> float:
    """The latency to expect of a model on a device that also does other work, in ms."""
    return float(np.quantile(values_ms, 0.25))


def spread(values_ms: Sequence[float]) -> float:
    """The median absolute deviation, scaled to be the standard deviation of normal noise, in ms."""
    values = np.asarray(values_ms)
    return MEDIAN_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def is_noisy(values_ms: Sequence[float]) -> bool:
    """Whether the fastest visit is an outlier: no other comes within 1 % of it, so another visit might be faster still."""
    fastest = sorted(values_ms)[:2]
    return len(fastest) == 2 and fastest[1] > (1 + NOISY_GAP) * fastest[0]


def visited_in_calm(visits: Sequence[tuple[str, float]]) -> set[str]:
    """The models that were visited at least once while the machine was at its usual speed.

    It was, when of the six visits before and the six after, most took less than 2 % more than the fastest to the same model. A
    model that was never visited in calm may look slow through no fault of its own, even if its visits agree.

    Args:
        visits: (model, ms), in the order in which they were made.
    """
    fastest: dict[str, float] = {}
    for model, ms in visits:
        fastest[model] = min(ms, fastest.get(model, ms))
    excess = [ms / fastest[model] - 1 for model, ms in visits]
    calm = set()
    for index, (model, _) in enumerate(visits):
        others = excess[max(0, index - NEIGHBOURS) : index] + excess[index + 1 : index + 1 + NEIGHBOURS]
        if not others or median(others) <= CALM_EXCESS:
            calm.add(model)
    return calm


def most_visits(values_ms: Sequence[float]) -> tuple[float, float]:
    """The interval that nine in ten visits lie in, in ms, from the 5 % to the 95 % quantile."""
    low, high = np.quantile(values_ms, (0.05, 0.95))
    return float(low), float(high)
