"""Student's t distribution for whole degrees of freedom, without scipy, which would be half of what the core installs."""

from __future__ import annotations

import math

HALVINGS = 60


def two_sided_quantile(confidence: float, degrees: int) -> float:
    """The t that the absolute value stays below with this probability.

    Args:
        confidence: above 0 and below 1.
        degrees: of freedom, at least 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability(middle, degrees) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _probability(angle: float, degrees: int) -> float:
    """P(|T| < tan(angle) · √degrees): Abramowitz and Stegun 1964, 26.7.3 for odd and 26.7.4 for even degrees of freedom."""
    odd, sine, cosine = degrees % 2, math.sin(angle), math.cos(angle)
    term = cosine if odd else 1.0
    series = term if degrees > 1 else 0.0
    for factor in range(1 + odd, degrees - 2, 2):
        term *= cosine**2 * factor / (factor + 1)
        series += term
    return (angle + sine * series) * 2 / math.pi if odd else sine * series
