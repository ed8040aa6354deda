"""Campaigns: from a space and a device to a latency table, and from a table to its validation.

Models are built, measured and kept here; the same call again goes on where the last one stopped.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from statistics import median

from latency_db.runtime_model import Prediction, RuntimeModel
from latency_db.store import Campaign, Store
from latency_db.table import CalibrationNetwork, LatencyTable, Row
from latency_db.validation import ValidationReport, validate
from profiling.device import Device, RunSettings
from profiling.errors import MeasurementError
from profiling.layers import NetworkSpec
from profiling.measurement import Measurement
from profiling.session import Progress, Session
from profiling.space import Architecture, SearchSpace, random_architectures
from profiling.stats import is_noisy, spread, undisturbed
from profiling.supply import ModelSupply
from profiling.tflite_build import TfliteBuilder
from profiling.tflite_file import TfliteFile


@dataclass(frozen=True)
class Outcome:
    """What a campaign did.

    Attributes:
        cells: models that have a figure now.
        measured: visits made in this run; resumed: visits found from earlier runs.
        flagged: keys of models whose fastest visit stands alone, see `stats.is_noisy`.
        wall_s, device_s, conversion_s: seconds of this run in all, of benchmark processes, and of waiting for conversions.
    """

    cells: int
    measured: int
    resumed: int
    flagged: tuple[str, ...]
    wall_s: float
    device_s: float
    conversion_s: float


@dataclass(frozen=True)
class Watch:
    """Who is told how a campaign goes on; both are called often."""

    on_built: Callable[[int, int], None]
    on_progress: Callable[[Progress], None]


def profile(
    device: Device,
    space: SearchSpace,
    store: Store,
    builder: TfliteBuilder,
    settings: RunSettings,
    watch: Watch,
    *,
    name: str,
    visits: int,
    calibrate: int,
    seed: int,
) -> tuple[LatencyTable, Outcome]:
    """Measures each distinct layer of a space and some random whole networks, all in the same shuffled rounds, into a table.

    Args:
        device: where to measure.
        space: what to measure.
        store: keeps every measurement as it is made, and the table in the end.
        builder: converts the models.
        settings: how each process runs.
        watch: who is told.
        name: of the table.
        visits: planned processes per model.
        calibrate: number of random networks for the calibration; 0 for none.
        seed: of the networks and of the order.

    Raises:
        MeasurementError: some layers or networks could not be measured; those that could are kept, and the same call tries again.
        SpnasError: what the device, the builder or the store raise.
    """
    networks = list(islice(random_architectures(space, seed), calibrate))
    parameters = {"visits": visits, "calibrate": calibrate, "seed": seed, "runs": settings.runs, "seconds": settings.min_seconds}
    conditions = device.conditions(settings)
    campaign = store.campaign("profile", space, conditions, parameters)
    store.check_name_is_free(name, campaign)
    store.add_networks(campaign, networks)
    specs = [NetworkSpec.of(layer) for layer in space.layers] + [architecture.network for architecture in networks]
    low_ms, outcome = measure(device, campaign, store, builder, settings, watch, specs, visits=visits, seed=seed)
    table = LatencyTable(
        name=name,
        space=space,
        conditions=conditions,
        rows={layer.key: _row(list(low_ms[layer.key].values())) for layer in space.layers},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source="spnas profile",
    )
    sums = RuntimeModel(table)
    calibration = tuple(
        CalibrationNetwork(
            key=architecture.network.key,
            sum_ms=sums.predict(architecture).sum_ms,
            measured_ms=undisturbed(list(low_ms[architecture.network.key].values())),
        )
        for architecture in networks
    )
    table = table.model_copy(update={"calibration": calibration})
    # What came out as before keeps its date, by which validations of the table are known.
    before = [kept for kept in store.tables() if kept.model_copy(update={"created_at": table.created_at}) == table]
    if before:
        return before[0], outcome
    store.save_table(table, campaign)
    return table, outcome


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network with what was predicted and what was measured; `name` is its key, or the name that the caller gave it."""

    name: str
    prediction: Prediction
    measured_ms: float
    spread_ms: float


@dataclass(frozen=True)
class Validation:
    """A validated runtime model.

    A device drifts, and whatever is compared must be measured in the same rounds. So the networks of the calibration are measured
    again beside the random ones: the errors of the runtime model are those with the calibration of these rounds, and what comes
    on top of them, when the table's own calibration is used, is the drift.

    Attributes:
        report: the errors of the runtime model.
        networks: the random networks that it rests on, with its predictions.
        as_stored: the errors of the table with the calibration that it holds; the same as `report` where its networks were not
            all measured again.
        others: networks measured beside them, with the predictions of the table as it is stored.
        drift_pct: how much slower (above 0) or faster the device was than when the table was measured: the median change, in
            percent, of the networks of the calibration. None where none of them was measured again.
    """

    report: ValidationReport
    networks: tuple[MeasuredNetwork, ...]
    as_stored: ValidationReport
    others: tuple[MeasuredNetwork, ...]
    drift_pct: float | None


def validate_table(
    table: LatencyTable,
    device: Device,
    store: Store,
    builder: TfliteBuilder,
    settings: RunSettings,
    watch: Watch,
    *,
    networks: int,
    visits: int,
    seed: int,
    others: dict[str, Architecture] | None = None,
) -> tuple[Validation, Outcome]:
    """Measures random networks that took no part in the calibration, and those that did, and assesses the table's runtime model.

    Args:
        table: its space and conditions must be those of the device now.
        device, store, builder, settings, watch: as for `profile`.
        networks: how many random networks.
        visits: planned processes per network, an even number: the noise floor compares the even visits with the odd ones.
        seed: of the networks and of the order.
        others: architectures by name, measured in the same rounds but no part of the report.

    Raises:
        TableError: the device's conditions are not those of the table; names every difference.
        MeasurementError: some networks could not be measured.
    """
    conditions = device.conditions(settings)
    table.require_conditions(conditions)
    drawn = _unseen_networks(table, networks, seed)
    named = others or {}
    again = store.architectures(network.key for network in table.calibration)
    parameters: dict[str, int | float | str] = {"table": table.name, "measured_at": table.created_at, "networks": networks}
    parameters |= {"visits": visits, "seed": seed, "runs": settings.runs, "seconds": settings.min_seconds}
    campaign = store.campaign("validate", table.space, conditions, parameters)
    store.add_networks(campaign, [*drawn.values(), *named.values(), *again.values()])
    specs = [architecture.network for architecture in (*drawn.values(), *named.values(), *again.values())]
    low_ms, outcome = measure(device, campaign, store, builder, settings, watch, specs, visits=visits, seed=seed)
    return _assess(table, drawn, named, low_ms), outcome


def latest_validation(table: LatencyTable, store: Store) -> Validation | None:
    """The last validation of a table that the database holds whole, without measuring anything; None when there is none."""
    for campaign in store.campaigns("validate"):
        parameters = campaign.parameters
        if (parameters["table"], parameters["measured_at"]) != (table.name, table.created_at):
            continue
        low_ms = _low_ms(store.measurements(campaign))
        drawn = _unseen_networks(table, int(parameters["networks"]), int(parameters["seed"]))
        if all(len(low_ms[key]) >= int(parameters["visits"]) for key in drawn):
            calibrated_on = {network.key for network in table.calibration}
            measured = {key: value for key, value in store.networks(campaign).items() if low_ms[key]}
            others = {key: value for key, value in measured.items() if key not in drawn and key not in calibrated_on}
            return _assess(table, drawn, others, low_ms)
    return None


def _unseen_networks(table: LatencyTable, networks: int, seed: int) -> dict[str, Architecture]:
    """Random networks that the calibration of a table has not seen, by key."""
    calibrated_on = {network.key for network in table.calibration}
    fresh = (a for a in random_architectures(table.space, seed) if a.network.key not in calibrated_on)
    return {architecture.network.key: architecture for architecture in islice(fresh, networks)}


def _assess(
    table: LatencyTable,
    drawn: dict[str, Architecture],
    named: dict[str, Architecture],
    low_ms: dict[str, dict[int, float]],
) -> Validation:
    fitted_to = [(network, list(low_ms[network.key].values())) for network in table.calibration]
    again = [(network, undisturbed(values)) for network, values in fitted_to if values]
    drift_pct = median(ms / network.measured_ms - 1 for network, ms in again) * 100 if again else None
    stored = now = RuntimeModel(table)
    if len(again) == len(table.calibration):
        calibration = tuple(network.model_copy(update={"measured_ms": ms}) for network, ms in again)
        now = RuntimeModel(table.model_copy(update={"calibration": calibration}))

    def measured(name: str, architecture: Architecture, model: RuntimeModel) -> MeasuredNetwork:
        values = list(low_ms[architecture.network.key].values())
        return MeasuredNetwork(name, model.predict(architecture), undisturbed(values), spread(values))

    halves = [
        [undisturbed([ms for visit, ms in low_ms[key].items() if visit % 2 == parity]) for key in drawn] for parity in (0, 1)
    ]

    def assessed(model: RuntimeModel) -> tuple[ValidationReport, tuple[MeasuredNetwork, ...]]:
        rows = tuple(measured(key, architecture, model) for key, architecture in drawn.items())
        return validate([row.prediction.total_ms for row in rows], [row.measured_ms for row in rows], *halves), rows

    report, rows = assessed(now)
    as_stored, _ = assessed(stored)
    others = tuple(measured(name, architecture, stored) for name, architecture in named.items())
    return Validation(report, rows, as_stored, others, drift_pct)


def measure(
    device: Device,
    campaign: Campaign,
    store: Store,
    builder: TfliteBuilder,
    settings: RunSettings,
    watch: Watch,
    specs: Iterable[NetworkSpec | TfliteFile],
    *,
    visits: int,
    seed: int,
) -> tuple[dict[str, dict[int, float]], Outcome]:
    """Builds, pushes and measures what is missing; the figures of all visits in ms, by key and number of the visit."""
    start = time.monotonic()
    canary = canary_network(campaign.space)
    by_key = {spec.key: spec for spec in specs}
    with store.writing(device.name):
        earlier = store.measurements(campaign)
        # A failed attempt of an earlier run is no reason not to try again in this one.
        resumed = [measurement for measurement in earlier if measurement.status == "ok"]
        supply = ModelSupply(builder, device, {**by_key, canary.key: canary}, settings.precision, watch.on_built)
        session = Session(device, supply, settings, canary=canary.key, on_progress=watch.on_progress)
        low_ms = _low_ms(resumed)
        reasons: dict[str, str | None] = {}
        measured = 0
        for measurement in session.measure(list(by_key), visits=visits, seed=seed, done=resumed):
            store.add(campaign, measurement)
            measured += 1
            if measurement.figures is not None:
                low_ms[measurement.model][measurement.visit] = measurement.figures.low_ms
            else:
                reasons[measurement.model] = measurement.reason
    _require_all(list(by_key), low_ms, reasons, visits)
    flagged = tuple(key for key in by_key if is_noisy(list(low_ms[key].values())))
    wall_s = time.monotonic() - start
    return low_ms, Outcome(len(by_key), measured, len(resumed), flagged, wall_s, session.device_s, supply.waited_s)


def _low_ms(measurements: Iterable[Measurement]) -> dict[str, dict[int, float]]:
    """The figures in ms by key and number of the visit; an empty entry for any other key."""
    low_ms: dict[str, dict[int, float]] = defaultdict(dict)
    for measurement in measurements:
        if measurement.figures is not None:
            low_ms[measurement.model][measurement.visit] = measurement.figures.low_ms
    return low_ms


def canary_network(space: SearchSpace) -> NetworkSpec:
    """The model that a session watches the device by: the largest choice of the first searchable place.

    It works long enough on few enough weights that a slower clock shows in it, and other programs' use of the caches does not.
    """
    return NetworkSpec.of(list(space.searchable[0].layers.values())[-1])


def _require_all(wanted: Sequence[str], low_ms: dict[str, dict[int, float]], reasons: dict[str, str | None], visits: int) -> None:
    failed = [f"{key} ({reasons.get(key)})" for key in wanted if len(low_ms[key]) < visits]
    if failed:
        raise MeasurementError(
            f"{len(failed)} of {len(wanted)} models could not be measured: {', '.join(failed)}",
            hint="the others are kept; the same command tries these again",
        )


def _row(values_ms: Sequence[float]) -> Row:
    flag = "noisy" if is_noisy(values_ms) else None
    return Row(ms=undisturbed(values_ms), spread_ms=spread(values_ms), visits=len(values_ms), flag=flag)
