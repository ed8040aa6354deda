"""A comparison as files: tables for machines, figures for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import yaml

from latency_db.comparison import Comparison
from latency_db.figures import draw_accuracy, draw_widths
from profiling.files import write_text
from search.report.advantage import advantages
from search.run_folder import RunFolder


def write_comparison(comparison: Comparison, folder: RunFolder) -> None:
    """Writes the rows as JSON and CSV, what found networks are better by, the conditions, and the figures there are data for.

    These are accuracy over latency, where two accuracies or more are known, and latency over width, where widths differ.

    Raises:
        InputError, DiskFullError: the folder cannot be written.
    """
    rows = [row.to_json() for row in comparison.rows]
    write_text(folder.comparison, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    write_text(folder.comparison_csv, _to_csv(rows))
    found = [asdict(advantage) for advantage in advantages(rows)]
    write_text(folder.advantages, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    folder.write_config(yaml.safe_dump(comparison.conditions.model_dump(mode="json"), sort_keys=False))
    measured = [row for row in comparison.rows if row.measured_ms is not None]
    figures = {
        folder.figure("compare"): (draw_accuracy, sum(row.top1 is not None for row in measured) > 1),
        folder.figure("width"): (draw_widths, len({row.width for row in measured}) > 1),
    }
    for file, (draw, has_data) in figures.items():
        if has_data:
            draw(comparison, file)
        else:
            file.unlink(missing_ok=True)


def _to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """All that fits into cells, which the settings of a training do not."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [name for name in rows[0] if name != "settings"], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
