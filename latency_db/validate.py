"""From a latency table to its validation; the same call again continues where the last one stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median

from latency_db.campaign import Outcome, Rig
from latency_db.runtime_model import Prediction, RuntimeModel
from latency_db.store import Store
from latency_db.table import LatencyTable
from latency_db.validation import ValidationReport, validate
from profiling.draws import random_architectures
from profiling.errors import InputError
from profiling.space import Architecture
from profiling.visits import Visits

ROUNDS = 8
# Different from a profile's, whose random networks are those of the calibration.
SEED = 1
NETWORKS = 100


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

    @property
    def drift_facts(self) -> list[tuple[str, str]]:
        """The drift and what it does to the stored calibration, in words; nothing where it is not known."""
        if self.drift_pct is None:
            return []
        return [
            ("drift since profiling", f"{self.drift_pct:+.2f} %, from the calibration networks measured again"),
            ("stored calibration", f"{self.as_stored.mean_error_pct:.2f} % mean error, including the drift"),
        ]


def require_even(rounds: int) -> None:
    """Checks that the visits to a network can be split into two equal halves.

    Raises:
        InputError: their number is odd.
    """
    if rounds % 2:
        problem = f"the number of rounds must be even, not {rounds}: the noise floor compares one half of them with the other"
        raise InputError(problem)


def validate_table(
    rig: Rig, table: LatencyTable, *, networks: int, others: Mapping[str, Architecture]
) -> tuple[Validation, Outcome]:
    """Measures random networks that took no part in the calibration, and those that did, and assesses the table's runtime model.

    Args:
        rig: what to measure with; see `require_even` for its number of visits.
        table: its space and conditions must be those of the device now.
        networks: how many random networks.
        others: architectures by name, measured in the same rounds but no part of the report.

    Raises:
        TableError: the device's conditions are not those of the table; names every difference.
        MeasurementError: some networks could not be measured.
    """
    table.require_conditions(rig.conditions)
    drawn = _unseen_networks(table, networks, rig.seed)
    again = rig.store.architectures(network.key for network in table.calibration)
    parameters: dict[str, int | float | str] = {"table": table.name, "measured_at": table.created_at, "networks": networks}
    campaign = rig.campaign("validate", table.space, parameters)
    everything = [*drawn.values(), *others.values(), *again.values()]
    rig.store.add_networks(campaign, everything)
    visits, outcome = rig.measure(campaign, [architecture.network for architecture in everything])
    return _assess(table, drawn, others, visits), outcome


def latest_validation(table: LatencyTable, store: Store) -> Validation | None:
    """The last validation of a table that the database holds whole, without measuring anything; None when there is none."""
    for campaign in store.campaigns("validate", {"table": table.name, "measured_at": table.created_at}):
        parameters = campaign.parameters
        visits = Visits(store.measurements(campaign), heats=table.conditions.heats)
        drawn = _unseen_networks(table, int(parameters["networks"]), int(parameters["seed"]))
        if not visits.missing(drawn, int(parameters["visits"])):
            known = {*drawn, *(network.key for network in table.calibration)}
            others = {key: each for key, each in store.networks(campaign).items() if visits.count(key) and key not in known}
            return _assess(table, drawn, others, visits)
    return None


def _unseen_networks(table: LatencyTable, networks: int, seed: int) -> dict[str, Architecture]:
    """Random networks that the calibration of a table has not seen, by key."""
    calibrated_on = {network.key for network in table.calibration}
    fresh = (a for a in random_architectures(table.space, seed) if a.network.key not in calibrated_on)
    return {architecture.network.key: architecture for architecture in islice(fresh, networks)}


def _assess(
    table: LatencyTable, drawn: Mapping[str, Architecture], named: Mapping[str, Architecture], visits: Visits
) -> Validation:
    again = [
        network.model_copy(update={"measured_ms": visits.undisturbed_ms(network.key)})
        for network in table.calibration
        if visits.count(network.key)
    ]
    then = {network.key: network.measured_ms for network in table.calibration}
    drift_pct = median(network.measured_ms / then[network.key] - 1 for network in again) * 100 if again else None
    stored = now = RuntimeModel(table)
    if len(again) == len(table.calibration):
        now = RuntimeModel(table.model_copy(update={"calibration": tuple(again)}))

    def measured(name: str, architecture: Architecture, model: RuntimeModel) -> MeasuredNetwork:
        key = architecture.network.key
        return MeasuredNetwork(name, model.predict(architecture), visits.undisturbed_ms(key), visits.spread_ms(key))

    def assessed(model: RuntimeModel) -> tuple[ValidationReport, tuple[MeasuredNetwork, ...]]:
        rows = tuple(measured(key, architecture, model) for key, architecture in drawn.items())
        halves = visits.halves_ms(drawn)
        return validate([row.prediction.total_ms for row in rows], [row.measured_ms for row in rows], *halves), rows

    report, rows = assessed(now)
    as_stored, _ = assessed(stored)
    others = tuple(measured(name, architecture, stored) for name, architecture in named.items())
    return Validation(report, rows, as_stored, others, drift_pct)
