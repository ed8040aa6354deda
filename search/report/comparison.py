"""A comparison as files: tables for machines, figures for people."""

from __future__ import annotations

import json
from dataclasses import asdict

import pandas as pd
import yaml

from latency_db.comparison import Comparison
from latency_db.figures import draw_accuracy, draw_widths
from profiling.files import write_text
from search.report.advantage import advantages
from search.run_folder import RunFolder


def write_comparison(comparison: Comparison, folder: RunFolder) -> None:
    """Writes the rows as JSON and CSV, what found networks are better by, the conditions, and the figures there are data for.

    These are accuracy over latency, where accuracies are known, and latency over width, where widths differ.

    Raises:
        InputError, DiskFullError: the folder cannot be written.
    """
    rows = [row.to_json() for row in comparison.rows]
    write_text(folder.comparison, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    # Whole numbers stay whole beside those that are missing.
    flat = pd.DataFrame(rows).drop(columns="settings").convert_dtypes()
    write_text(folder.comparison_csv, flat.to_csv(index=False))
    found = [asdict(advantage) for advantage in advantages(rows)]
    write_text(folder.advantages, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    folder.write_config(yaml.safe_dump(comparison.conditions.model_dump(mode="json"), sort_keys=False))
    measured = [row for row in comparison.rows if row.measured_ms is not None]
    figures = {
        folder.figure("compare"): (draw_accuracy, any(row.top1 is not None for row in measured)),
        folder.figure("width"): (draw_widths, len({row.width for row in measured}) > 1),
    }
    for file, (draw, has_data) in figures.items():
        if has_data:
            draw(comparison, file)
        else:
            file.unlink(missing_ok=True)
