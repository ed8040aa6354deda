"""One self-contained HTML page with latency tables, their validations, searches, trainings and comparisons.

Only drawings are made here: the page shows what the commands left in their folders and in the database.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from latency_db.facts import table_facts
from latency_db.table import MEASURED
from search.report.sections import RunSection, TableSection
from search.report.summary import summarise

VERSIONS = ("torch", "tensorflow", "ai-edge-litert", "onnx", "scikit-learn")
MARK = '<meta name="generator" content="spnas report">'
TITLE = "Latency tables, searches and networks"


@dataclass(frozen=True)
class Heading:
    """What stands on top of the page.

    Attributes:
        made_at: date and time, for people.
        title: of the page.
        refresh_s: seconds after which a browser loads it again; None where it will not change.
    """

    made_at: str
    title: str = TITLE
    refresh_s: int | None = None


def render(tables: Sequence[TableSection], runs: Sequence[RunSection], heading: Heading) -> str:
    """The page.

    Args:
        tables: with their validations.
        runs: in the order in which they are shown.
        heading: title and date.
    """
    environment = Environment(loader=PackageLoader("search"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.globals["table_facts"] = table_facts
    versions = {"Python": platform.python_version()}
    for name in ("spnas", *VERSIONS):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    values: dict[str, Any] = {"tables": tables, "runs": runs, "heading": heading, "versions": versions, "mark": MARK}
    return environment.get_template("report.html").render(
        verdicts=summarise(tables, runs), commands=_commands(tables, runs), **values
    )


def _commands(tables: Sequence[TableSection], runs: Sequence[RunSection]) -> list[str]:
    """All that are known, as they were typed, in the order of the page."""
    sources = [section.table.source for section in tables if section.table.source.startswith("spnas ")]
    sources = [source for source in sources if source != MEASURED]
    return list(dict.fromkeys([*sources, *(command for run in runs for command in run.commands)]))
