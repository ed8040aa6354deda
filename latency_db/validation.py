"""How good a runtime model is: predicted against measured latencies of networks that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ValidationReport:
    """The errors of a runtime model.

    Attributes:
        networks: how many were measured.
        rmse_ms: root mean squared error (paper, 4.2: 1.32 ms at about 80 ms).
        rmse_pct: the same, as a percentage of the mean measured latency.
        mean_error_pct: mean absolute percentage error (paper: 1.76 %).
        bias_pct: mean signed percentage error; above 0 when predictions are too high.
        spearman: rank correlation, 1 when every pair of networks is ordered rightly.
        worst_pct: the largest absolute percentage error.
        noise_floor_ms: RMSE between two separate halves of the measurements, halved: the measurements' own error when both
            halves are taken together. No model can beat it except by luck.
    """

    networks: int
    rmse_ms: float
    rmse_pct: float
    mean_error_pct: float
    bias_pct: float
    spearman: float
    worst_pct: float
    noise_floor_ms: float

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Each figure by name, in words."""
        return [
            ("RMSE", f"{self.rmse_ms:.3g} ms, {self.rmse_pct:.2f} %"),
            ("mean error", f"{self.mean_error_pct:.2f} %"),
            ("bias", f"{self.bias_pct:+.2f} %"),
            ("Spearman", f"{self.spearman:.4f}"),
            ("worst network", f"{self.worst_pct:.2f} %"),
            ("noise floor", f"{self.noise_floor_ms:.3g} ms"),
        ]

    def __str__(self) -> str:
        """One figure a line."""
        facts = [("networks", f"{self.networks}"), *self.facts]
        width = max(len(name) for name, _ in facts)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in facts)


def validate(
    predicted_ms: Sequence[float], measured_ms: Sequence[float], first_half_ms: Sequence[float], second_half_ms: Sequence[float]
) -> ValidationReport:
    """Compares predictions with measurements; all sequences hold one figure per network, in the same order.

    Args:
        predicted_ms: by the runtime model.
        measured_ms: over all visits.
        first_half_ms, second_half_ms: over one half of the visits each.
    """
    predicted, measured = np.asarray(predicted_ms), np.asarray(measured_ms)
    relative = (predicted - measured) / measured * 100
    rmse = _root_mean_square(predicted - measured)
    return ValidationReport(
        networks=len(measured),
        rmse_ms=rmse,
        rmse_pct=rmse / float(measured.mean()) * 100,
        mean_error_pct=float(np.abs(relative).mean()),
        bias_pct=float(relative.mean()),
        spearman=float(np.corrcoef(_ranks(predicted), _ranks(measured))[0, 1]),
        worst_pct=float(np.abs(relative).max()),
        noise_floor_ms=_root_mean_square(np.subtract(first_half_ms, second_half_ms)) / 2,
    )


def _root_mean_square(errors: Floats) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _ranks(values: Floats) -> Floats:
    """From 1; equal values have the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = np.cumsum(counts) - (counts - 1) / 2
    return ranks[place]
