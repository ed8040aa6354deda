"""One self-contained HTML page with latency tables, their validations, searches, trainings and comparisons.

Only drawings are made here: the page shows what the commands left in their folders and in the database.
"""

from __future__ import annotations

import base64
import platform
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from latency_db.figures import draw_validation
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, Row
from latency_db.validate import Validation
from profiling.outside import read_bytes
from profiling.specfile import MAX_BYTES, read_spec
from search.config import Settings
from search.finding.doubts import Doubt
from search.report.advantage import Advantage, read_advantages
from search.results import ComparedRows, SearchResult, TrainResult
from search.run_folder import Figure, RunFolder

# Each figure's description, for screen readers.
FIGURES: dict[Figure, str] = {
    "progress": "Cross-entropy, latency or accuracy over the steps of the training",
    "decisions": "The choice of every layer over the steps of the search",
    "network": "The network layer by layer, with the milliseconds of each layer",
    "kernels": "Standard deviation of each superkernel over its channels, inner core and outer shell",
    "front": "Accuracy against latency of the networks that were explored, with the Pareto front",
    "compare": "Accuracy against latency of the networks compared",
    "width": "Latency and accuracy over the width multiplier",
}
VERSIONS = ("torch", "tensorflow", "ai-edge-litert", "onnx", "scikit-learn")


@dataclass(frozen=True)
class Image:
    """A figure: what it shows, and its file as a `data:` address, so that the page needs no other file."""

    title: str
    address: str


@dataclass(frozen=True)
class Cell:
    """One latency of the heat map.

    Attributes:
        ms: as in the table.
        noise_pct: spread over the visits in percent of it, None if the table has no spread.
        heat: its share of the largest latency of a layer in the table, 0 to 1.
        noisy: whether it was flagged.
    """

    ms: float
    noise_pct: float | None
    heat: float
    noisy: bool


@dataclass(frozen=True)
class TableSection:
    """A latency table, and its validation when there is one.

    Attributes:
        table: the table.
        model: its runtime model.
        places: for each searchable place of the space its number, a description of the place and the cells by choice.
        others: the same for the fixed layers, with one cell each.
        noise_pct: median and worst spread of a layer, in percent; None if the table has no spread.
        validation: None when there is none.
        validation_image: predicted against measured.
    """

    table: LatencyTable
    model: RuntimeModel
    places: list[tuple[int, str, dict[str, Cell]]]
    others: list[tuple[int, str, Cell]]
    noise_pct: tuple[float, float] | None
    validation: Validation | None
    validation_image: Image | None


@dataclass(frozen=True)
class RunSection:
    """The results of a command in a folder.

    Attributes:
        name: of the folder.
        kind: `search`, `training` or `comparison`.
        command: that made it; None when it is not known.
        result: what the command printed with `--json`, without the doubts; rows for a comparison.
        doubts: why not to rely on it.
        advantages: what found networks are better by, of a comparison.
        config: the settings as they stand in the folder.
        images: its figures.
    """

    name: str
    kind: str
    command: str | None
    result: Any
    doubts: Sequence[Doubt]
    advantages: list[Advantage]
    config: dict[str, Any]
    images: list[Image]


def read_run(folder: RunFolder) -> RunSection:
    """Reads the results of a command from its folder.

    Raises:
        InputError: it is not the folder of a finished run, or a file in it cannot be read.
    """
    kind = folder.kind
    if kind is None:
        raise folder.nothing_finished("search, train or compare")
    images = [_image(folder.figure(name), title) for name, title in FIGURES.items() if folder.figure(name).is_file()]
    doubts: Sequence[Doubt] = ()
    better: list[Advantage] = []
    if kind == "comparison":
        shown: Any = read_spec(folder.comparison, ComparedRows).model_dump(mode="json")
        better = read_advantages(folder, shown)
    else:
        result = folder.read_result(SearchResult) if kind == "search" else folder.read_result(TrainResult)
        doubts, shown = result.doubts, result.model_dump(mode="json", exclude={"doubts"})
    config = folder.read_config(Settings)
    settings = {} if config is None else config.model_dump(mode="json", exclude_unset=True)
    return RunSection(folder.name, kind, folder.read_command(), shown, doubts, better, settings, images)


def describe_table(table: LatencyTable, validation: Validation | None) -> TableSection:
    """A table for the page.

    Raises:
        MissingRowsError: layers of its space have no latency.
    """
    table.require_complete()
    largest = max(row.ms for row in table.rows.values())

    def cell(row: Row) -> Cell:
        noise = None if row.spread_ms is None else row.spread_ms / row.ms * 100
        return Cell(row.ms, noise, min(1.0, row.ms / largest), row.flag is not None)

    places, others = [], []
    for slot in table.space.slots:
        layer = next(iter(slot.layers.values()))
        what = f"{layer.resolution}², {layer.in_channels} → {layer.out_channels}"
        if slot.is_searchable:
            cells = {name: cell(table.row(layer, slot.position)) for name, layer in slot.layers.items()}
            places.append((slot.position, what, cells))
        elif table.fixed is None:
            others.append((slot.position, f"{layer.KIND} {what}", cell(table.row(layer, slot.position))))
    image = None
    if validation is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "validation.png"
            draw_validation(validation, table, file)
            image = _image(file, "Predicted against measured latency of the networks of the validation")
    return TableSection(table, RuntimeModel(table), places, others, table.noise_pct, validation, image)


def _image(file: Path, title: str) -> Image:
    return Image(title, "data:image/png;base64," + base64.b64encode(read_bytes(file, MAX_BYTES)).decode("ascii"))


def render(tables: Sequence[TableSection], runs: Sequence[RunSection], *, made_at: str) -> str:
    """The page.

    Args:
        tables: with their validations.
        runs: in the order in which they are shown.
        made_at: date and time, for people.
    """
    environment = Environment(loader=PackageLoader("search"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    versions = {"Python": platform.python_version()}
    for name in ("spnas", *VERSIONS):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return environment.get_template("report.html").render(tables=tables, runs=runs, versions=versions, made_at=made_at)
