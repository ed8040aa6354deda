"""A comparison as files: tables for machines, figures for people."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml

from latency_db.comparison import Comparison
from latency_db.figures import draw_accuracy, draw_widths
from profiling.errors import InputError
from profiling.files import write_text

RESULT = "compare.json"
FIGURES = ("compare.png", "width.png")


def prepare_folder(folder: Path) -> None:
    """Makes the folder of a comparison; an earlier comparison in it will be replaced.

    Raises:
        InputError: it holds something else, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / RESULT).is_file():
            raise InputError("the folder holds something else than a comparison", where=str(folder), hint="name another one")
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=str(folder)) from error


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes the rows as JSON and CSV, the conditions, and the figures that there are data for.

    These are accuracy over latency, where accuracies are known, and latency over width, where widths differ.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = [row.to_json() for row in comparison.rows]
    write_text(folder / RESULT, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    # Whole numbers stay whole beside those that are missing.
    write_text(folder / "compare.csv", pd.DataFrame(rows).convert_dtypes().to_csv(index=False))
    conditions = comparison.conditions.model_dump(mode="json")
    write_text(folder / "config.yaml", yaml.safe_dump(conditions, sort_keys=False))
    measured = [row for row in comparison.rows if row.measured_ms is not None]
    for name in FIGURES:
        (folder / name).unlink(missing_ok=True)
    accuracy, width = (folder / name for name in FIGURES)
    if any(row.top1 is not None for row in measured):
        draw_accuracy(comparison, accuracy)
    if len({row.width for row in measured}) > 1:
        draw_widths(comparison, width)
