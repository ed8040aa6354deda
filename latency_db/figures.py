"""The figure of a validation (paper, Fig. 7)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from latency_db.campaign import Validation
from latency_db.table import LatencyTable


def draw_validation(validation: Validation, table: LatencyTable, path: Path) -> None:
    """Draws predicted against measured latency of each network, in ms, into a PNG file."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    measured = [network.measured_ms for network in validation.networks]
    predicted = [network.prediction.total_ms for network in validation.networks]
    ends = [min(measured + predicted), max(measured + predicted)]
    axes.plot(ends, ends, color="0.7", linewidth=1, label="predicted = measured")
    axes.errorbar(
        measured,
        predicted,
        xerr=[network.spread_ms for network in validation.networks],
        fmt="o",
        markersize=4,
        elinewidth=0.8,
        alpha=0.7,
        label=f"{len(measured)} random networks",
    )
    for other in validation.others:
        axes.plot(other.measured_ms, other.prediction.total_ms, "*", markersize=14, label=Path(other.name).stem)
    report = validation.report
    axes.set_title(
        f"{table.name}: mean error {report.mean_error_pct:.2f} %, RMSE {report.rmse_ms:.3f} ms\n"
        f"noise floor {report.noise_floor_ms:.3f} ms, Spearman {report.spearman:.4f}",
        fontsize=10,
    )
    axes.set_xlabel("measured latency (ms)")
    axes.set_ylabel("predicted latency (ms)")
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
