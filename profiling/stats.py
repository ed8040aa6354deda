"""Figures over the visits to one model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import median_abs_deviation

NOISY_SPREAD = 0.02


def robust_low(values_ms: Sequence[float]) -> float:
    """The lower quartile over visits, in ms.

    Interference only ever adds time, so low quantiles repeat; the minimum would rest on one visit alone.
    """
    return float(np.quantile(values_ms, 0.25))


def spread(values_ms: Sequence[float]) -> float:
    """The median absolute deviation, scaled to be the standard deviation of normal noise, in ms."""
    return float(median_abs_deviation(values_ms, scale="normal"))


def is_noisy(values_ms: Sequence[float]) -> bool:
    """Whether the visits differ by more than 2 % of their median, as `spread` has it."""
    return spread(values_ms) > NOISY_SPREAD * float(np.median(values_ms))


def most_visits(values_ms: Sequence[float]) -> tuple[float, float]:
    """The interval that nine in ten visits lie in, in ms, from the 5 % to the 95 % quantile."""
    low, high = np.quantile(values_ms, (0.05, 0.95))
    return float(low), float(high)
