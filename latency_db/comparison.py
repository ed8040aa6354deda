"""Networks side by side on one device, as in the paper's Table 1: measured in the same shuffled rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from latency_db.campaign import Outcome, Rig
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from profiling.conditions import Conditions
from profiling.errors import InputError, MissingRowsError
from profiling.footprint import Footprint, footprint
from profiling.models.foreign import TfliteFile
from profiling.network import NetworkSpec
from profiling.space import Architecture, load_space
from profiling.stats import lower_quartile, most_visits
from profiling.visits import Visits

# Two runs of 20 rounds agree within their intervals; two of 8 do not, because they are over too soon to see the
# device in more than one of its states.
ROUNDS = 20
SEED = 0
NAMES_IN_FILES = {"p5_ms": "low_ms", "p95_ms": "high_ms"}


@dataclass(frozen=True)
class Contender:
    """What a network is in a comparison of accuracies.

    Attributes:
        role: `found` by a search, or one of its baselines; None for any other network.
        seed: of its training.
        held_out_images: that its accuracy was measured on.
        settings: of its training, those that trainings must share to be compared.
    """

    role: Literal["found", "random", "uniform"] | None = None
    seed: int | None = None
    held_out_images: int | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Entrant:
    """A network that takes part in a comparison.

    Attributes:
        name: of its row.
        model: its layers, or a file built elsewhere; None if the network is unavailable.
        architecture: what the layers come from, if it is an architecture of a search space.
        family: name shared by networks that differ only in width; width: their channels relative to it.
        top1: accuracy, 0 to 1; None is unknown.
        top1_from: where the accuracy comes from.
        note: a remark for the reader.
        contender: what it is beside the others.
    """

    name: str
    model: NetworkSpec | TfliteFile | None
    architecture: Architecture | None = None
    family: str = ""
    width: float = 1.0
    top1: float | None = None
    top1_from: str | None = None
    note: str | None = None
    contender: Contender = Contender()


@dataclass(frozen=True)
class ComparedNetwork:
    """One row of a comparison; None means unknown.

    Attributes:
        name, top1, top1_from, family, width, note, contender: as for `Entrant`.
        parameters, multiply_adds: of the network.
        memory_mb, size_mb: of TFLite's arena and of the file in the precision that is measured, in MB of 10^6 bytes
            (`profiling.footprint`); those of a file from elsewhere are its own.
        predicted_ms: by the table.
        measured_ms: the lower quartile over the visits of this run.
        p5_ms, p95_ms: the lowest 5 % quantile and the highest 95 % quantile of the visits of this run and of each earlier run
            under the same conditions, so that nine in ten visits of every run lie between them. Clocks and caches differ more
            between runs than within one, which no single run can know.
        runs: how many runs that is.
        network: the same for trainings of one network, and for no other.
    """

    name: str
    parameters: int | None
    multiply_adds: int | None
    predicted_ms: float | None
    measured_ms: float | None
    p5_ms: float | None
    p95_ms: float | None
    runs: int
    top1: float | None
    top1_from: str | None
    family: str
    width: float
    note: str | None
    network: str | None = None
    memory_mb: float | None = None
    size_mb: float | None = None
    contender: Contender = Contender()

    def to_json(self) -> dict[str, Any]:
        """The row as files and `--json` have it: flat, and the interval is called `low_ms` and `high_ms`."""
        row = asdict(self)
        return {NAMES_IN_FILES.get(name, name): value for name, value in (row | row.pop("contender")).items()}


@dataclass(frozen=True)
class Comparison:
    """What a comparison found: a row per entrant, and under which conditions."""

    rows: tuple[ComparedNetwork, ...]
    conditions: Conditions


def require_comparable(entrants: Sequence[Entrant]) -> None:
    """Checks that there is something to compare, with distinct names, on one task.

    Raises:
        InputError: there is nothing to measure, a name is given twice, or the networks have different numbers of classes.
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
            f"networks with different numbers of classes cannot be compared: {words}",
            hint="--classes changes the number for zoo networks and architectures",
        )


def compare(rig: Rig, entrants: Sequence[Entrant], table: LatencyTable | None = None) -> tuple[Comparison, Outcome]:
    """Measures all networks in the same shuffled rounds; the same call again continues where the last one stopped.

    Args:
        rig: what to measure with; a different seed measures again.
        entrants: what to compare, each network with a model being measured.
        table: what to predict latencies from; measured under the device's conditions. None for no predictions.

    Raises:
        InputError: as for `require_comparable`.
        TableError: the device's conditions are not those of the table; names every difference.
        MeasurementError: some networks could not be measured.
    """
    require_comparable(entrants)
    runtime_model = None
    if table is not None:
        table.require_conditions(rig.conditions)
        runtime_model = RuntimeModel(table)
    models = {entrant.model.key: entrant.model for entrant in entrants if entrant.model is not None}
    digest = hashlib.sha256("\n".join(sorted(models)).encode()).hexdigest()[:16]
    # The space gives the canary and nothing else.
    campaign = rig.campaign("compare", load_space("imagenet"), {"networks": digest})
    rig.store.add_networks(campaign, [entrant.architecture for entrant in entrants if entrant.architecture is not None])
    visits, outcome = rig.measure(campaign, models.values())
    sessions = {key: rig.store.sessions(campaign, key) for key in models}
    needs = [_needs(entrant, campaign.conditions) for entrant in entrants]
    rows = tuple(_row(entrant, each, visits, sessions, runtime_model) for entrant, each in zip(entrants, needs, strict=True))
    return Comparison(rows, campaign.conditions), outcome


def _row(
    entrant: Entrant,
    needs: Footprint | None,
    visits: Visits,
    sessions: Mapping[str, list[list[float]]],
    runtime_model: RuntimeModel | None,
) -> ComparedNetwork:
    model, measured, low, high, runs = entrant.model, None, None, None, 0
    if model is not None:
        measured = lower_quartile(visits.ms(model.key))
        runs = len(sessions[model.key])
        lows, highs = zip(*(most_visits(session) for session in sessions[model.key]), strict=True)
        low, high = min(lows), max(highs)
    predicted, why_not = _predicted(entrant, runtime_model)
    return ComparedNetwork(
        name=entrant.name,
        parameters=None if model is None else model.parameters,
        multiply_adds=None if model is None else model.multiply_adds,
        predicted_ms=predicted,
        measured_ms=measured,
        p5_ms=low,
        p95_ms=high,
        runs=runs,
        top1=entrant.top1,
        top1_from=entrant.top1_from,
        family=entrant.family,
        width=entrant.width,
        note="; ".join(filter(None, (entrant.note, why_not))) or None,
        network=None if model is None else network_digest(model),
        memory_mb=None if needs is None else needs.memory_mb,
        size_mb=None if needs is None else needs.size_mb,
        contender=entrant.contender,
    )


def network_digest(model: NetworkSpec | TfliteFile) -> str:
    """The same for trainings of one network, and for no other: `ComparedNetwork.network`."""
    return hashlib.sha256(model.key.encode()).hexdigest()[:16]


def _needs(entrant: Entrant, conditions: Conditions) -> Footprint | None:
    """Memory and size; None for a network that is unavailable."""
    if isinstance(entrant.model, TfliteFile):
        return Footprint(entrant.model.memory_bytes, entrant.model.model.size_bytes)
    return None if entrant.model is None else footprint(entrant.model, conditions.precision)


def _predicted(entrant: Entrant, model: RuntimeModel | None) -> tuple[float | None, str | None]:
    """The predicted milliseconds, or why there are none; nothing is ever guessed."""
    if model is None or entrant.model is None:
        return None, None
    if isinstance(entrant.model, TfliteFile):
        return None, "no prediction: a file does not say which layers of the table it is made of"
    if entrant.architecture is not None and entrant.architecture.space.digest == model.space.digest:
        return model.predict(entrant.architecture).total_ms, None
    try:
        return model.predict_network(entrant.model).total_ms, None
    except MissingRowsError as error:
        lacking, of = len(set(error.keys)), len(set(entrant.model.layers))
        how = "profile a space that has them (spnas profile --space FILE)"
        return None, f"no prediction: the table lacks {lacking} of its {of} different layers; {how}"
