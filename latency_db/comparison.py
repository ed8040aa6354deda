"""Networks side by side on one device, as in the paper's Table 1: measured in the same shuffled rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from latency_db.campaign import Outcome, Watch, measure
from latency_db.runtime_model import RuntimeModel
from latency_db.store import Campaign, Store
from latency_db.table import LatencyTable
from profiling.conditions import Conditions
from profiling.device import Device, RunSettings
from profiling.errors import InputError, MissingRowsError
from profiling.layers import NetworkSpec
from profiling.models.builder import TfliteBuilder
from profiling.models.foreign import TfliteFile
from profiling.space import Architecture, load_space
from profiling.stats import lower_quartile, most_visits


@dataclass(frozen=True)
class Entrant:
    """A network that takes part in a comparison.

    Attributes:
        name: of its row.
        model: its layers, or a file that was built elsewhere; None for a network that cannot be had.
        architecture: what the layers come from, where that is an architecture of a search space.
        family: what networks that differ in width alone have in common; width: their channels relative to it.
        top1: accuracy, 0 to 1; None is unknown.
        top1_from: where the accuracy comes from.
        note: what must be said of it.
    """

    name: str
    model: NetworkSpec | TfliteFile | None
    architecture: Architecture | None = None
    family: str = ""
    width: float = 1.0
    top1: float | None = None
    top1_from: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class ComparedNetwork:
    """One row of a comparison; None is not known.

    Attributes:
        name, top1, top1_from, family, width, note: as for `Entrant`.
        parameters, multiply_adds: of the network.
        predicted_ms: by the table.
        measured_ms: the lower quartile over the visits of this run.
        low_ms, high_ms: nine in ten visits of this run lie between them, and nine in ten of each earlier run under the same
            conditions. Clocks and caches differ more between runs than within one, which no single run can know.
        runs: how many runs that is.
    """

    name: str
    parameters: int | None
    multiply_adds: int | None
    predicted_ms: float | None
    measured_ms: float | None
    low_ms: float | None
    high_ms: float | None
    runs: int
    top1: float | None
    top1_from: str | None
    family: str
    width: float
    note: str | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison found: a row per entrant, under which conditions, and what it took."""

    rows: tuple[ComparedNetwork, ...]
    conditions: Conditions
    outcome: Outcome


def require_comparable(entrants: Sequence[Entrant]) -> None:
    """Makes sure that there is something to compare, by names of its own, on one task.

    Raises:
        InputError: there is nothing to measure, a name stands twice, or the networks tell apart different numbers of classes.
    """
    names = [entrant.name for entrant in entrants]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise InputError("this network is given twice", where=twice[0])
    if all(entrant.model is None for entrant in entrants):
        raise InputError("there is no network to measure", hint="; ".join(f"{e.name} {e.note}" for e in entrants) or None)
    by_classes = {entrant.model.classes: entrant.name for entrant in entrants if entrant.model is not None}
    if len(by_classes) > 1:
        words = ", ".join(f"{name} has {classes}" for classes, name in by_classes.items())
        raise InputError(
            f"networks of different tasks cannot be compared: of classes {words}",
            hint="--classes gives networks of the zoo and architectures another number",
        )


def compare(
    device: Device,
    entrants: Sequence[Entrant],
    table: LatencyTable | None,
    store: Store,
    builder: TfliteBuilder,
    settings: RunSettings,
    watch: Watch,
    *,
    visits: int,
    seed: int,
) -> Comparison:
    """Measures all networks in the same shuffled rounds; the same call again goes on where the last one stopped.

    Args:
        device, store, builder, settings, watch: as for `profile.profile`.
        entrants: what to compare, each network with a model being measured.
        table: what to predict latencies from; measured under the device's conditions. None for no predictions.
        visits: planned processes per network.
        seed: of the order; another seed measures anew.

    Raises:
        InputError: as for `require_comparable`.
        TableError: the device's conditions are not those of the table; names every difference.
        MeasurementError: some networks could not be measured.
    """
    require_comparable(entrants)
    conditions = device.conditions(settings)
    runtime_model = None
    if table is not None:
        table.require_conditions(conditions)
        runtime_model = RuntimeModel(table)
    models = {entrant.model.key: entrant.model for entrant in entrants if entrant.model is not None}
    digest = hashlib.sha256("\n".join(sorted(models)).encode()).hexdigest()[:16]
    parameters: dict[str, int | float | str] = {"networks": digest, "visits": visits, "seed": seed}
    parameters |= {"runs": settings.runs, "seconds": settings.min_seconds}
    # The space gives the canary and nothing else.
    campaign = store.campaign("compare", load_space("imagenet"), conditions, parameters)
    store.add_networks(campaign, [entrant.architecture for entrant in entrants if entrant.architecture is not None])
    low_ms, outcome = measure(device, campaign, store, builder, settings, watch, models.values(), visits=visits, seed=seed)
    rows = tuple(_row(entrant, low_ms, campaign, store, runtime_model) for entrant in entrants)
    return Comparison(rows, conditions, outcome)


def _row(
    entrant: Entrant, low_ms: dict[str, dict[int, float]], campaign: Campaign, store: Store, runtime_model: RuntimeModel | None
) -> ComparedNetwork:
    model, measured, low, high, sessions = entrant.model, None, None, None, []
    if model is not None:
        measured = lower_quartile(list(low_ms[model.key].values()))
        sessions = store.sessions(campaign, model.key)
        lows, highs = zip(*(most_visits(session) for session in sessions), strict=True)
        low, high = min(lows), max(highs)
    predicted, why_not = _predicted(entrant, runtime_model)
    return ComparedNetwork(
        name=entrant.name,
        parameters=None if model is None else model.parameters,
        multiply_adds=None if model is None else model.multiply_adds,
        predicted_ms=predicted,
        measured_ms=measured,
        low_ms=low,
        high_ms=high,
        runs=len(sessions),
        top1=entrant.top1,
        top1_from=entrant.top1_from,
        family=entrant.family,
        width=entrant.width,
        note="; ".join(filter(None, (entrant.note, why_not))) or None,
    )


def _predicted(entrant: Entrant, model: RuntimeModel | None) -> tuple[float | None, str | None]:
    """Milliseconds by the table, or why there are none; nothing is ever guessed."""
    if model is None or entrant.model is None:
        return None, None
    if isinstance(entrant.model, TfliteFile):
        return None, "no prediction: the table has layers, and a file does not say of which it is made"
    if entrant.architecture is not None and entrant.architecture.space.digest == model.space.digest:
        return model.predict(entrant.architecture).total_ms, None
    try:
        return model.predict_network(entrant.model).total_ms, None
    except MissingRowsError as error:
        lacking, of = len(set(error.keys)), len(set(entrant.model.layers))
        how = "one of a space that has them would do (spnas profile --space FILE)"
        return None, f"no prediction: the table lacks {lacking} of its {of} different layers; {how}"
