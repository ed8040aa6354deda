"""Campaigns: from a space and a device to a latency table, and from a table to its validation.

Models are built, measured and kept here; the same call again goes on where the last one stopped.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from latency_db.store import Campaign, Store
from profiling.device import Device, RunSettings
from profiling.errors import MeasurementError
from profiling.layers import NetworkSpec
from profiling.measurement import Measurement
from profiling.models.builder import TfliteBuilder
from profiling.models.foreign import TfliteFile
from profiling.models.supply import ModelSupply
from profiling.session import Progress, Session
from profiling.space import SearchSpace
from profiling.stats import is_noisy


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
                low_ms[measurement.model][measurement.visit] = measurement.figures.fastest_ms
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
            low_ms[measurement.model][measurement.visit] = measurement.figures.fastest_ms
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
