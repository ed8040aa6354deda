"""A comparison as files: tables for machines, figures for people."""

from __future__ import annotations

import json

import pandas as pd
import yaml

from latency_db.comparison import Comparison
from latency_db.figures import draw_accuracy, draw_widths
from profiling.files import write_text
from search.run_folder import RunFolder


def write_comparison(comparison: Comparison, folder: RunFolder) -> None:
    """Writes the rows as JSON and CSV, the conditions, and the figures that there are data for.

    These are accuracy over latency, where accuracies are known, and latency over width, where widths differ.

    Raises:
        OSError, InputError: the folder cannot be written.
    """
    rows = [row.to_json() for row in comparison.rows]
    write_text(folder.comparison, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    # Whole numbers stay whole beside those that are missing.
    write_text(folder.comparison_csv, pd.DataFrame(rows).convert_dtypes().to_csv(index=False))
    folder.write_config(yaml.safe_dump(comparison.conditions.model_dump(mode="json"), sort_keys=False))
    measured = [row for row in comparison.rows if row.measured_ms is not None]
    accuracy, width = folder.figure("compare"), folder.figure("width")
    for earlier in (accuracy, width):
        earlier.unlink(missing_ok=True)
    if any(row.top1 is not None for row in measured):
        draw_accuracy(comparison, accuracy)
    if len({row.width for row in measured}) > 1:
        draw_widths(comparison, width)
