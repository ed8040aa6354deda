"""A comparison as files: tables for machines, figures for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from latency_db.comparison import Comparison
from latency_db.figures import draw_accuracy, draw_widths


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes compare.json, compare.csv and the figures that there are data for: accuracy over latency, latency over width.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = [asdict(row) for row in comparison.rows]
    content = {"conditions": comparison.conditions.model_dump(mode="json"), "networks": rows}
    (folder / "compare.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    # Whole numbers stay whole beside those that are missing.
    pd.DataFrame(rows).convert_dtypes().to_csv(folder / "compare.csv", index=False)
    measured = [row for row in comparison.rows if row.measured_ms is not None]
    if any(row.top1 is not None for row in measured):
        draw_accuracy(comparison, folder / "accuracy.png")
    if len({row.width for row in measured}) > 1:
        draw_widths(comparison, folder / "widths.png")
