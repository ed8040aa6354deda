"""The first thing on the report: each result in a sentence, with what it was compared with and how far to trust it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_db.comparison import network_digest
from latency_db.facts import Facts, interval_in_words
from latency_db.runtime_model import RuntimeModel
from latency_db.validate import Validation
from search.report.advantage import Advantage
from search.report.sections import RunSection, TableSection
from search.results import ComparedRow, SearchResult, SupernetResult, TrainResult

NORMAL_95 = 1.959964
# Above these a reader should hesitate.
POINTS_WORTH_A_WORD = 2.0
DRIFT_WORTH_A_WORD_PCT = 2.0
FILES = ("network.pt", "architecture.json")
NO_BASELINES = "none; spnas random, train and compare make them"


@dataclass(frozen=True)
class Verdict:
    """A result for somebody who reads no further.

    Attributes:
        title: which one.
        anchor: of its section on the page.
        sentence: the result.
        facts: what is behind it.
        reservations: why to hesitate; empty where nothing speaks against it, None where there is nothing to trust or not.
    """

    title: str
    anchor: str
    sentence: str
    facts: Facts
    reservations: Sequence[str] | None


@dataclass(frozen=True)
class Page:
    """What is on the page beside a result, to find what belongs to it."""

    runs: Sequence[RunSection]
    validations: dict[str, Validation | None]

    def search_of(self, run: RunSection) -> RunSection | None:
        """The search that found a run's network, which may be the run itself."""
        if not isinstance(run.result, TrainResult):
            return run
        trained, searches = _folder(run.result.network), (each for each in self.runs if isinstance(each.result, SearchResult))
        return next((each for each in searches if _folder(each.place) == trained), None)

    def measured_ms(self, run: RunSection) -> float | None:
        """What the network of a search took beside a validation of its table."""
        validation = None if run.table is None else self.validations.get(run.table.name)
        return next((other.measured_ms for other in (validation.others if validation else ()) if other.name == run.name), None)

    def rows_of(self, run: RunSection) -> list[tuple[RunSection, ComparedRow]]:
        """The rows of a run's network in the comparisons: by its name, or because it is the same network."""
        network = None if run.architecture is None else network_digest(run.architecture.network)
        return [
            (each, row)
            for each in self.runs
            if isinstance(each.result, tuple)
            for row in each.result
            if _folder(row.name) == _folder(run.place) or (network is not None and row.network == network)
        ]


def summarise(tables: Sequence[TableSection], runs: Sequence[RunSection]) -> list[Verdict]:
    """A verdict for each search, training and comparison, and for each table if there is nothing else."""
    page = Page(runs, {section.table.name: section.validation for section in tables})
    found = []
    for number, run in enumerate(runs, start=1):
        title, anchor = f"{run.kind.capitalize()} {run.name}", f"run-{number}"
        match run.result:
            case SearchResult() | TrainResult() as result:
                found.append(Verdict(title, anchor, *_of_network(run, result, page)))
            case SupernetResult() as result:
                found.append(Verdict(title, anchor, *_of_supernet(run, result)))
            case None:
                found.append(Verdict(title, anchor, f"{run.state}.", run.facts, None))
            case rows:
                found.append(Verdict(title, anchor, *_of_comparison(run, rows)))
    return found or [_of_table(section, number) for number, section in enumerate(tables, start=1)]


def _of_network(run: RunSection, result: SearchResult | TrainResult, page: Page) -> tuple[str, Facts, list[str]]:
    search, rows = page.search_of(run), page.rows_of(run)
    top1 = result.accuracy if isinstance(result, SearchResult) else result.top1
    images = "" if result.held_out_images is None else f"{result.held_out_images} "
    beside = None if search is None else page.measured_ms(search)
    sentence = f"Recognises {top1:.2%} of {images}held-out images{_latency(search, rows, beside)}."
    reservations = ["There are doubts about this result: they stand at the top of the page."] if run.doubts else []
    network = " ".join(result.architecture) if isinstance(result, SearchResult) else result.network
    facts = [("network", network), *_latency_facts(search, rows, beside)]
    if result.held_out_images is not None:
        low, high = accuracy_interval(top1, result.held_out_images)
        facts.append(("accuracy", f"{top1:.2%}; on other images of the kind {low:.1%} to {high:.1%} (95 % interval)"))
        half = 50 * (high - low)
        if half > POINTS_WORTH_A_WORD:
            reservations.append(f"{result.held_out_images} held-out images tell the accuracy to ±{half:.1f} points only.")
    if result.chance is not None:
        facts.append(("by guessing", f"{result.chance:.2%}, taking every image for one of the most frequent class"))
    elif search is not None and search.table is not None:
        facts.append(("by guessing", f"{1 / search.table.space.classes:.2%}, one of {search.table.space.classes} classes"))
    better = [advantage for each in page.runs if any(each is other for other, _ in rows) for advantage in each.advantages]
    facts += _against(better) or [("against baselines", NO_BASELINES)]
    reservations += [_within_chance(each) for each in better if not each.beyond_chance]
    if not better:
        reservations.append("Whether a random network of this latency is as accurate is not known.")
    if search is not None and search.table is not None:
        trust, doubts = _trust(search.table.name, page.validations.get(search.table.name))
        facts.append(("latency model", trust))
        reservations += doubts
    return sentence, facts, reservations


def _of_supernet(run: RunSection, result: SupernetResult) -> tuple[str, Facts, list[str]]:
    sentence = (
        f"Recognises {result.largest:.2%} of {result.held_out_images} held-out images with its largest network and "
        f"{result.fastest:.2%} with its fastest, with shared weights."
    )
    guessing = ("by guessing", f"{result.chance:.2%}, taking every image for one of the most frequent class")
    return sentence, [guessing], ["There are doubts about this result: they stand at the top of the page."] if run.doubts else []


def _against(better: Sequence[Advantage]) -> Facts:
    return [(f"against {each.against} networks", each.words) for each in better]


def _within_chance(advantage: Advantage) -> str:
    """That a comparison does not show a difference."""
    if advantage.beyond_chance is None:
        return f"The comparison with {advantage.against} networks does not tell a difference from chance."
    return f"The difference from {advantage.against} networks is within chance."


def _latency(search: RunSection | None, rows: Sequence[tuple[RunSection, ComparedRow]], beside_ms: float | None) -> str:
    """How long an image takes, in a few words: measured if it was."""
    for comparison, row in rows:
        if row.measured_ms is not None:
            return f", in {row.cells['measured ms']} ms each on {comparison.config.get('device', 'the device')}"
    if search is None or not isinstance(search.result, SearchResult):
        return ""
    device = "" if search.table is None else f" on {search.table.conditions.device}"
    if beside_ms is not None:
        return f", in {beside_ms:.3f} ms each{device}"
    return f", in {search.result.predicted_ms:.4g} ms each{device} (predicted)"


def _latency_facts(search: RunSection | None, rows: Sequence[tuple[RunSection, ComparedRow]], beside_ms: float | None) -> Facts:
    facts: Facts = []
    if search is not None and isinstance(search.result, SearchResult):
        text = dict(search.result.facts)["predicted"]
        if search.architecture is not None and search.table is not None:
            interval = interval_in_words(RuntimeModel(search.table).predict(search.architecture))
            text += f"; 95 % interval {interval}" if interval else "; no interval, as its table has no calibration"
        facts.append(("predicted latency", text))
    if beside_ms is not None:
        facts.append(("measured latency", f"{beside_ms:.3f} ms, beside the validation of the table"))
    for comparison, row in rows[:1]:
        if row.measured_ms is not None:
            cells = row.cells
            spread = f"{cells['measured ms']} ms, nine in ten measurements {cells['low']} to {cells['high']} ms"
            facts.append(("measured latency", f"{spread} ({comparison.name})"))
    return facts


def _trust(table: str, validation: Validation | None) -> tuple[str, list[str]]:
    """How good the runtime model was on networks that it had not seen, and reasons to hesitate."""
    if validation is None:
        return f"not validated; spnas validate --table {table} does that", ["The predicted latency was not validated."]
    facts = dict(validation.report.facts)
    text = f"mean error {facts['mean error']} on {validation.report.networks} networks that it had not seen"
    drift = validation.drift_pct
    if drift is None or abs(drift) <= DRIFT_WORTH_A_WORD_PCT:
        return text, []
    return text, [f"The device was {abs(drift):.1f} % {'slower' if drift > 0 else 'faster'} than when it was profiled."]


def _of_comparison(run: RunSection, rows: Sequence[ComparedRow]) -> tuple[str, Facts, list[str]]:
    measured = [row for row in rows if row.measured_ms is not None]
    known = [row for row in measured if row.top1 is not None]
    facts = _against(run.advantages)
    reservations = [_within_chance(each) for each in run.advantages if not each.beyond_chance]
    if measured:
        fastest = min(measured, key=lambda row: row.measured_ms or 0.0)
        facts.append(("fastest", f"{fastest.name}, {fastest.cells['measured ms']} ms"))
    if len(known) > 1:
        best = max(known, key=lambda row: row.top1 or 0.0)
        facts.append(("most accurate", f"{best.name}, {best.top1 or 0.0:.2%} in {best.cells['measured ms']} ms"))
    else:
        reservations.append("The accuracy of fewer than two networks is known, so they are compared by latency alone.")
    device = run.config.get("device")
    return f"{len(measured)} networks measured side by side{f' on {device}' if device else ''}.", facts, reservations


def _of_table(section: TableSection, number: int) -> Verdict:
    table = section.table
    fastest, slowest = section.model.range_ms()
    trust, reservations = _trust(table.name, section.validation)
    sentence = f"Networks of {table.space.name} take {fastest:.3f} to {slowest:.3f} ms on {table.conditions.device}."
    return Verdict(f"Latency table {table.name}", f"table-{number}", sentence, [("latency model", trust)], reservations)


def _folder(name: str) -> str:
    """The folder that a network is named by, whether or not one of its files is named."""
    path = Path(name)
    return os.path.normpath(path.parent if path.name in FILES else path)


def accuracy_interval(top1: float, images: int) -> tuple[float, float]:
    """The 95 % interval of a share of so many images (Wilson 1927)."""
    shift = NORMAL_95**2 / images
    middle = (top1 + shift / 2) / (1 + shift)
    half = NORMAL_95 / (1 + shift) * math.sqrt(top1 * (1 - top1) / images + shift / (4 * images))
    return max(0.0, middle - half), min(1.0, middle + half)
