"""What the report shows of each table and each run, read from the folders and the database that commands left."""

from __future__ import annotations

import base64
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latency_db.facts import Facts
from latency_db.figures import draw_validation
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, Row
from latency_db.validate import Validation
from profiling.outside import read_bytes
from profiling.places import FIXED, SKIP
from profiling.space import Architecture, load_architecture
from profiling.specfile import MAX_BYTES, read_spec
from search.config import Settings
from search.finding.doubts import Doubt
from search.report.advantage import Advantage, read_advantages
from search.report.figures import draw_progress
from search.report.training_figure import draw_training
from search.results import ComparedRow, ComparedRows, SearchResult, SupernetResult, TrainResult
from search.run_folder import Figure, Kind, RunFolder
from search.steps import Evaluation, SearchStep, SupernetStep, TrainStep, read_records

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
VALIDATION_FIGURE = "Predicted against measured latency of the networks of the validation"


@dataclass(frozen=True)
class Image:
    """A figure: what it shows, and its file as a `data:` address, so that the page needs no other file."""

    title: str
    address: str


@dataclass(frozen=True)
class Cell:
    """One latency of the heat map.

    Attributes:
        text: the ms as in the table, as the terminal shows it.
        noise_pct: spread over the visits in percent of it, None if the table has no spread.
        heat: its share of the largest latency of a layer in the table, 0 to 1; None where it is no latency of a layer.
    """

    text: str
    noise_pct: float | None
    heat: float | None


@dataclass(frozen=True)
class Place:
    """A place of the network: its number, what comes in and goes out, and the cells by choice, `fixed` where there is none."""

    position: int
    what: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class TableSection:
    """A latency table, and its validation when there is one.

    Attributes:
        model: its runtime model.
        places: of the space, in their order.
        validation: None when there is none.
        validation_image: predicted against measured.
    """

    model: RuntimeModel
    places: Sequence[Place]
    validation: Validation | None
    validation_image: Image | None

    @property
    def table(self) -> LatencyTable:
        """The table."""
        return self.model.table


@dataclass(frozen=True)
class RunSection:
    """A run in a folder, finished or not.

    Attributes:
        place: the folder, as the user gave it.
        name: the same, without the folders above where an absolute path needs none of them.
        kind: `search`, `supernet`, `training` or `comparison`.
        result: None while the run is not finished; rows for a comparison.
        state: of a run that is not finished, in words.
        facts: its result in words, or how far it is.
        architecture: that a search found.
        table: of a search.
        commands: that made it, as typed; empty where they are not known.
        advantages: what found networks are better by, of a comparison.
        config: the settings as they stand in the folder.
        images: its figures.
    """

    place: str
    name: str
    kind: Kind
    result: SearchResult | SupernetResult | TrainResult | tuple[ComparedRow, ...] | None
    state: str = ""
    facts: Facts = field(default_factory=list)
    architecture: Architecture | None = None
    table: LatencyTable | None = None
    commands: Sequence[str] = ()
    advantages: Sequence[Advantage] = ()
    config: dict[str, Any] = field(default_factory=dict)
    images: Sequence[Image] = ()

    @property
    def doubts(self) -> Sequence[Doubt]:
        """Why not to rely on the result."""
        return self.result.doubts if isinstance(self.result, SearchResult | SupernetResult | TrainResult) else ()

    @property
    def is_live(self) -> bool:
        """Whether it may still change."""
        return self.result is None


def read_runs(folders: Sequence[str | os.PathLike[str]]) -> list[RunSection]:
    """Reads what commands left in these folders.

    Raises:
        InputError: as for `read_run`.
    """
    runs = [RunFolder(folder) for folder in folders]
    counts = Counter(run.name for run in runs)
    return [
        replace(read_run(run), name=run.name if run.path.is_absolute() and counts[run.name] == 1 else os.fspath(run))
        for run in runs
    ]


def read_run(folder: RunFolder) -> RunSection:
    """Reads the results of a command from its folder, or how far it is.

    Raises:
        InputError: no run was begun in it, or a file in it cannot be read.
    """
    kind = folder.kind or folder.begun
    if kind is None:
        raise folder.nothing_finished("search, train or compare")
    config, commands = folder.read_config(Settings), folder.read_command()
    section = RunSection(
        place=os.fspath(folder),
        name=folder.name,
        kind=kind,
        result=None,
        commands=commands.splitlines() if commands else (),
        config={} if config is None else config.model_dump(mode="json", exclude_unset=True),
    )
    if folder.kind is None:
        return _unfinished(section, folder)
    images = [_image(folder.figure(name), title) for name, title in FIGURES.items() if folder.figure(name).is_file()]
    return _finished(replace(section, images=images), folder)


def _finished(section: RunSection, folder: RunFolder) -> RunSection:
    match section.kind:
        case "comparison":
            rows = read_spec(folder.comparison, ComparedRows).root
            images = section.images
            if sum(row.top1 is not None and row.measured_ms is not None for row in rows) == 1:
                # Earlier versions drew a front of a single network.
                images = [image for image in images if image.title != FIGURES["compare"]]
            better = read_advantages(folder, [row.model_dump(mode="json") for row in rows])
            return replace(section, result=rows, advantages=better, images=images)
        case "search":
            found = folder.read_result(SearchResult)
            table = folder.read_table()
            architecture = load_architecture(str(folder.architecture)) if table is not None else None
            needs = (("memory", found.memory_mb), ("file", found.size_mb))
            facts = found.facts + [(name, f"{mb:.4g} MB") for name, mb in needs if mb is not None]
            return replace(section, result=found, facts=facts, architecture=architecture, table=table)
        case "supernet":
            shared = read_spec(folder.supernet, SupernetResult)
            return replace(section, result=shared, facts=shared.facts)
        case _:
            trained = folder.read_result(TrainResult)
            facts = [("network", trained.network), *trained.facts, ("epochs", str(trained.epochs))]
            return replace(section, result=trained, facts=facts)


def _unfinished(section: RunSection, folder: RunFolder) -> RunSection:
    """A run that goes on or was interrupted: its last step in words, and the figure of its progress so far."""
    with tempfile.TemporaryDirectory() as place:
        figure = Path(place) / "progress.png"
        facts: Facts = []
        if section.kind == "search":
            steps = read_records(SearchStep, folder.metrics)
            if steps:
                draw_progress(steps, section.config.get("target_ms"), figure)
                facts = _search_facts(steps[-1])
            at = steps[-1] if steps else None
        elif section.kind == "supernet":
            drawn = read_records(SupernetStep, folder.metrics)
            facts = [("cross-entropy", f"{step.cross_entropy:.3f}") for step in drawn[-1:]]
            at = drawn[-1] if drawn else None  # type: ignore[assignment]
        else:
            losses, evaluations = read_records(TrainStep, folder.metrics), read_records(Evaluation, folder.accuracy)
            if losses:
                draw_training(losses, evaluations, figure)
            facts = _training_facts(losses, evaluations)
            at = losses[-1] if losses else None  # type: ignore[assignment]
        images = [_image(figure, FIGURES["progress"])] if figure.exists() else []
    step = "before its first step" if at is None else f"step {at.step} of {at.steps}"
    who = folder.holder
    state = f"Running, {step} ({who})" if who else f"Interrupted, {step}; the same command with --resume continues it"
    return replace(section, state=state, facts=facts, images=images)


def _search_facts(last: SearchStep) -> Facts:
    choices = ", ".join(f"{count} {name}" for name, count in Counter(last.choices).most_common())
    return [
        ("phase", last.phase),
        ("cross-entropy", f"{last.cross_entropy:.3f}"),
        ("R", f"{last.runtime_ms:.4g} ms"),
        ("λ", f"{last.runtime_weight:.3f}"),
        ("decisions", choices),
    ]


def _training_facts(steps: Sequence[TrainStep], evaluations: Sequence[Evaluation]) -> Facts:
    facts = [("loss", f"{step.loss:.3f}") for step in steps[-1:]]
    return facts + [("top-1", f"{last.top1:.2%} after epoch {last.epoch}") for last in evaluations[-1:]]


def describe_table(table: LatencyTable, validation: Validation | None, runs: Sequence[RunSection] = ()) -> TableSection:
    """A table for the page.

    Args:
        table: to be shown.
        validation: of it; networks in it that a search among the runs found get the name of that run.
        runs: on the same page.

    Raises:
        MissingRowsError: layers of its space have no latency.
    """
    model = RuntimeModel(table)
    largest = max(row.ms for row in table.rows.values())

    def cell(row: Row) -> Cell:
        noise = None if row.spread_ms is None else row.spread_ms / row.ms * 100
        return Cell(row.text, noise, min(1.0, row.ms / largest))

    places = []
    for slot, layers in ((place, each) for place in table.space.slots for each in place.by_shape.values()):
        layer = next(iter(layers.values()))
        what = f"{layer.resolution}² × {layer.in_channels} → {layer.out_channels}"
        if slot.is_searchable or table.fixed is None:
            cells = {name: cell(table.row(layer, slot.position)) for name, layer in layers.items()}
        else:
            cells = {FIXED: Cell("in sum", None, None)}
        if slot.can_skip:
            cells[SKIP.name] = Cell("0", None, None)
        places.append(Place(slot.position, what, cells))
    image = None
    if validation is not None:
        names = {run.architecture.network.key: run.name for run in runs if run.architecture is not None}
        known = tuple(replace(other, name=names[other.name]) for other in validation.others if other.name in names)
        validation = replace(validation, others=known)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "validation.png"
            draw_validation(validation, table, file)
            image = _image(file, VALIDATION_FIGURE)
    return TableSection(model, places, validation, image)


def _image(file: Path, title: str) -> Image:
    return Image(title, "data:image/png;base64," + base64.b64encode(read_bytes(file, MAX_BYTES)).decode("ascii"))
