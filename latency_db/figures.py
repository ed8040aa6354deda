"""The figures of a validation (paper, Fig. 7) and of a comparison (Table 1 drawn, and Fig. 8)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latency_db.comparison import ComparedNetwork, Comparison
from latency_db.pareto import pareto_front
from latency_db.table import LatencyTable
from latency_db.validate import Validation
from profiling.files import written_whole

VALIDATION = "spnas validate"
MOST_COLOURS = 10


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
        axes.plot(other.measured_ms, other.prediction.total_ms, "*", markersize=14, label=other.name)
    report = validation.report
    axes.set_title(
        f"{table.name}: mean error {report.mean_error_pct:.2f} %, RMSE {report.rmse_ms:.3g} ms\n"
        f"noise floor {report.noise_floor_ms:.3g} ms, Spearman {report.spearman:.4f}",
        fontsize=10,
    )
    axes.set_xlabel("measured latency (ms)")
    axes.set_ylabel("predicted latency (ms)")
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    save_figure(figure, path, VALIDATION)


def is_validation(path: Path) -> bool:
    """Whether a file is a figure that `draw_validation` drew."""
    with path.open("rb") as file:
        return b"Software\0" + VALIDATION.encode() in file.read(1000)


def draw_accuracy(comparison: Comparison, path: Path) -> None:
    """Draws top-1 accuracy over measured latency, with the Pareto front if it has two networks or more, into a PNG file.

    Networks of a family are joined.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    known = [row for row in comparison.rows if row.top1 is not None and row.measured_ms is not None]
    points = [(row.measured_ms or 0.0, (row.top1 or 0.0) * 100) for row in known]
    front = [points[index] for index in pareto_front(points)]
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=1, label="Pareto front", zorder=0)
    for family, rows in _in_groups(known).items():
        top1 = [(row.top1 or 0.0) * 100 for row in rows]
        _plot(axes, [row.measured_ms or 0.0 for row in rows], top1, rows, family, horizontal=True)
    sources = sorted({row.top1_from for row in known if row.top1_from})
    axes.set_title(f"{comparison.conditions.device}; accuracy: {', '.join(sources)}", fontsize=10)
    axes.set_xlabel("measured latency (ms)")
    axes.set_ylabel("top-1 (%)")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)


def draw_widths(comparison: Comparison, path: Path) -> None:
    """Draws the measured latency of each network over its channel scale (paper, Fig. 8) into a PNG file."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for family, rows in _by_family([row for row in comparison.rows if row.measured_ms is not None]).items():
        _plot(axes, [row.width for row in rows], [row.measured_ms or 0.0 for row in rows], rows, family, horizontal=False)
    axes.set_title(f"{comparison.conditions.device}: networks over channel scale", fontsize=10)
    axes.set_xlabel("width multiplier")
    axes.set_ylabel("measured latency (ms)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, mark: str = "spnas") -> None:
    """Writes a PNG file, whole or not at all; the mark in it says what it was drawn by."""
    with written_whole(path) as new:
        figure.savefig(new, dpi=150, metadata={"Software": mark})


def _in_groups(rows: list[ComparedNetwork]) -> dict[str, list[ComparedNetwork]]:
    """By family, or by role where that would take more colours than the eye tells apart."""
    families = _by_family(rows)
    if len(families) <= MOST_COLOURS:
        return families
    roles = [row.contender.role or "other" for row in rows]
    return {role: [row for row, its in zip(rows, roles, strict=True) if its == role] for role in dict.fromkeys(roles)}


def _by_family(rows: list[ComparedNetwork]) -> dict[str, list[ComparedNetwork]]:
    families = {row.family: [other for other in rows if other.family == row.family] for row in rows}
    return {family: sorted(members, key=lambda row: row.width) for family, members in families.items()}


def _plot(axes: Axes, x: list[float], y: list[float], rows: list[ComparedNetwork], label: str, *, horizontal: bool) -> None:
    """Points joined by a line, each with the interval of its measured latency along the axis of latencies."""
    measured = x if horizontal else y
    below = [ms - (row.p5_ms or ms) for ms, row in zip(measured, rows, strict=True)]
    above = [(row.p95_ms or ms) - ms for ms, row in zip(measured, rows, strict=True)]
    errors = [below, above]
    along, across = (errors, None) if horizontal else (None, errors)
    joined = "o-" if len({row.family for row in rows}) == 1 else "o"
    axes.errorbar(x, y, xerr=along, yerr=across, fmt=joined, markersize=5, linewidth=1, elinewidth=0.8, capsize=2, label=label)
