"""From a latency table to its validation; the same call again goes on where the last one stopped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import median

from latency_db.campaign import Outcome, Watch, _low_ms, measure
from latency_db.runtime_model import Prediction, RuntimeModel
from latency_db.store import Store
from latency_db.table import LatencyTable
from latency_db.validation import ValidationReport, validate
from profiling.device import Device, RunSettings
from profiling.models.builder import TfliteBuilder
from profiling.space import Architecture, random_architectures
from profiling.stats import spread, undisturbed


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
