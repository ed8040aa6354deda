"""Campaigns: models are built, measured and kept; the same campaign again continues where it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from latency_db.store import Campaign, Purpose, Store
from profiling.conditions import Conditions
from profiling.device import Device, RunSettings
from profiling.errors import MeasurementError, ToolOutputError
from profiling.events import Converting, Notice, Watch
from profiling.host.lock import measuring_here
from profiling.measurement import Measurement
from profiling.models.builder import TfliteBuilder
from profiling.models.foreign import TfliteFile
from profiling.models.supply import ModelSupply
from profiling.network import NetworkSpec
from profiling.session import Session
from profiling.space import SearchSpace
from profiling.sustained import Sustained, measure_sustained
from profiling.visit_plan import VisitPlan
from profiling.visits import Visits

# Seconds that a phone which heat slows down rests for each second of a visit, at most: never does it double the time.
MOST_REST = 0.8


@dataclass(frozen=True)
class Outcome:
    """What a campaign did.

    Attributes:
        cells: models that have a figure now.
        measured: visits made in this run; resumed: visits found from earlier runs.
        flagged: keys of models with whose figure something is wrong, see `Visits.flag`.
        slowdown_pct: by how much heat slowed the device at most, in percent; figures are put back to its full speed.
        wall_s, device_s, conversion_s: seconds of this run in all, of benchmark processes, and of waiting for conversions.
        rest_s: seconds of this run in which the device was left alone, so that it cools down.
        sustained: the speed of the warm device, where that was asked for.
    """

    cells: int = 0
    measured: int = 0
    resumed: int = 0
    flagged: tuple[str, ...] = ()
    wall_s: float = 0.0
    device_s: float = 0.0
    conversion_s: float = 0.0
    rest_s: float = 0.0
    slowdown_pct: float = 0.0
    sustained: Sustained | None = None


@dataclass(frozen=True)
class Rig:
    """An open device with all that a campaign on it needs.

    Attributes:
        device: where to measure.
        store: keeps every measurement as it is made.
        builder: converts the models.
        settings: how each process runs.
        watch: called with every event.
        visits: planned processes per model.
        seed: of random networks and of the order.
    """

    device: Device
    store: Store
    builder: TfliteBuilder
    settings: RunSettings
    watch: Watch
    visits: int
    seed: int

    @cached_property
    def conditions(self) -> Conditions:
        """What holds for every measurement made here.

        Raises:
            InputError: the device cannot run with these settings.
        """
        return self.device.conditions(self.settings)

    def campaign(self, purpose: Purpose, space: SearchSpace, parameters: Mapping[str, int | float | str]) -> Campaign:
        """The campaign with these parameters and those of the rig, found again or begun."""
        own = {"visits": self.visits, "seed": self.seed, "runs": self.settings.runs, "seconds": self.settings.min_seconds}
        return self.store.campaign(purpose, space, self.conditions, {**parameters, **own})

    def measure(self, campaign: Campaign, networks: Iterable[NetworkSpec | TfliteFile]) -> tuple[Visits, Outcome]:
        """Builds, pushes and measures what a campaign still lacks.

        Returns:
            All its visits, also those of earlier runs, and what was done in this one.

        Raises:
            MeasurementError: some networks could not be measured; those that could are kept.
            SpnasError: what device, builder or store raise.
        """
        start = time.monotonic()
        canary = canary_network(campaign.space)
        by_key = {network.key: network for network in networks}
        supply = ModelSupply(
            self.builder, self.device, {**by_key, canary.key: canary}, self.settings.precision,
            lambda done, total: self.watch(Converting(done, total)),
        )  # fmt: skip
        heats = self.conditions.heats
        session = Session(
            self.device, supply, self.settings, canary=canary.key, watch=self.watch, rest=MOST_REST if heats else 0.0
        )
        failures: dict[str, Measurement] = {}
        measured = 0
        with self._measuring():
            # What failed in an earlier run is tried again in this one.
            resumed = [measurement for measurement in self.store.measurements(campaign) if measurement.status == "ok"]
            plan = VisitPlan(
                list(by_key), visits=self.visits, seed=self.seed, made=Visits(resumed, heats=heats),
                work={key: network.multiply_adds for key, network in by_key.items()},
            )  # fmt: skip
            for measurement in session.measure(plan):
                self.store.add(campaign, measurement)
                measured += 1
                if measurement.status == "failed":
                    failures[measurement.model] = measurement
        _require_all(plan, failures)
        flagged = tuple(key for key in by_key if plan.made.flag(key))
        slowdown_pct = float(plan.made.slowdowns.max(initial=0.0)) * 100
        wall_s = time.monotonic() - start
        return plan.made, Outcome(
            len(by_key), measured, len(resumed), flagged, wall_s, session.device_s, supply.waited_s, session.rest_s, slowdown_pct
        )

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Keeps others from measuring on the device, or into the database from it, while the block runs."""
        with self.store.writing(self.device.name), measuring_here() if self.device.shares_cpu else nullcontext():
            yield

    def packed_bytes(self, networks: Iterable[NetworkSpec]) -> dict[str, int]:
        """Bytes of memory that the runtime packs the weights of each network into, by key; empty where the device cannot tell.

        Tables do without them, so a tool that fails is no more than a notice.

        Raises:
            ConversionError: a network cannot be built.
        """
        built = self.builder.build(networks, self.settings.precision)
        try:
            return self.device.packed_bytes(list(built.values()), self.settings)
        except ToolOutputError as error:
            self.watch(Notice(f"{self.device.name}: what memory the weights take is not known: {error.problem}"))
            return {}

    def sustained(self, space: SearchSpace, visits: Visits) -> Sustained:
        """Measures how much slower than in these visits the device is once it is warm.

        Raises:
            MeasurementError: the visits have no figure of the canary.
            SpnasError: what device or builder raise.
        """
        if visits.canary_ms is None:
            raise MeasurementError("there is no figure of the cool device to compare a warm one with", where=self.device.name)
        canary = canary_network(space)
        supply = ModelSupply(
            self.builder, self.device, {canary.key: canary}, self.settings.precision, lambda done, total: None
        )  # fmt: skip
        with self._measuring():
            supply.expect([canary.key])
            model = supply[canary.key]
            return measure_sustained(self.device, model, self.settings, cool_ms=visits.canary_ms, watch=self.watch)


def canary_network(space: SearchSpace) -> NetworkSpec:
    """The model that a session watches the device by: the largest choice of the first searchable place.

    It works long enough on few enough weights that a slower clock shows in it, and other programs' use of the caches does not.
    """
    return NetworkSpec.of(space.decided[0].largest)


def _require_all(plan: VisitPlan, failures: Mapping[str, Measurement]) -> None:
    failed = [failures[key] for key in plan.made.missing(plan.models, plan.visits)]
    if failed:
        names = ", ".join(f"{measurement.model} ({measurement.reason})" for measurement in failed)
        raise MeasurementError(
            f"{len(failed)} of {len(plan.models)} models could not be measured: {names}",
            hint=f"the last one: {failed[-1].output}. The others are kept; run the same command again to retry these",
        )
