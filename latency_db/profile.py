"""From a space and a device to a latency table; the same call again continues where the last one stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from latency_db.campaign import Outcome, Rig
from latency_db.runtime_model import FEWEST_NETWORKS, RuntimeModel
from latency_db.table import MEASURED, CalibrationNetwork, LatencyTable, Row
from profiling.conditions import Conditions
from profiling.device import RunSettings
from profiling.draws import random_architectures
from profiling.errors import InputError
from profiling.network import NetworkSpec
from profiling.space import Architecture, SearchSpace
from profiling.visits import Visits

ROUNDS = 6
SEED = 0
CALIBRATE = 20


def require_enough(calibrate: int) -> None:
    """Checks that this many networks can calibrate a runtime model, or that none are wanted.

    Raises:
        InputError: they are too few.
    """
    if calibrate < 0 or 0 < calibrate < FEWEST_NETWORKS:
        raise InputError(f"calibrate on 0 networks, or on at least {FEWEST_NETWORKS}, not on {calibrate}")


def default_name(
    space: SearchSpace,
    device: str,
    settings: RunSettings,
    *,
    resolution: int | None = None,
    width_multiplier: float | None = None,
    classes: int | None = None,
) -> str:
    """The default name of a table: space and device, plus whatever is not at its default.

    Args:
        space: with the size that it has now.
        device: its name.
        settings: of the processes.
        resolution, width_multiplier, classes: the requested ones; None for the space's own.
    """
    default = RunSettings()
    words = {
        space.name: True,
        f"r{resolution}": resolution,
        f"w{width_multiplier or 0:g}": width_multiplier,
        f"c{classes}": classes,
        device: True,
        f"t{settings.threads}": settings.threads != default.threads,
        f"cores-{settings.cores}": settings.cores != default.cores,
        settings.precision: settings.precision != default.precision,
        settings.delegate: settings.delegate != default.delegate,
    }
    return "-".join(word for word, wanted in words.items() if wanted)


def profile(
    rig: Rig, space: SearchSpace, *, name: str, calibrate: int, sustained: bool = False, source: str = MEASURED
) -> tuple[LatencyTable, Outcome]:
    """Measures each distinct layer of a space and some random whole networks, all in the same shuffled rounds, into a table.

    Args:
        rig: what to measure with; the table is kept in its store.
        space: what to measure.
        name: of the table.
        calibrate: number of random networks for calibration; 0 for none.
        sustained: also measure how much slower the device is once it is warm, which takes some minutes; the table is unchanged.
        source: what a new table says where it comes from: the command, for people.

    Raises:
        MeasurementError: some layers or networks could not be measured; those that could are kept, and the same call tries again.
        SpnasError: what the device, the builder or the store raise.
    """
    networks = list(islice(random_architectures(space, rig.seed), calibrate))
    campaign = rig.campaign("profile", space, {"calibrate": calibrate})
    rig.store.check_name_is_free(name, campaign)
    rig.store.add_networks(campaign, networks)
    wanted = [NetworkSpec.of(layer) for layer in space.layers] + [architecture.network for architecture in networks]
    visits, outcome = rig.measure(campaign, wanted)
    if sustained:
        outcome = replace(outcome, sustained=rig.sustained(space, visits))
    before = rig.store.table(name)
    packed_bytes = _packed_bytes(rig, space, before)
    table = _table(name, space, campaign.conditions, networks, visits, packed_bytes).model_copy(update={"source": source})
    # A table of the same measurements keeps its date, by which its validations are found.
    if before is not None:
        dated = table.model_copy(update={"created_at": before.created_at, "source": before.source})
        if dated.without_packed_weights == before.without_packed_weights:
            table = dated
    if table != before:
        rig.store.save_table(table, campaign)
    return table, outcome


def _packed_bytes(rig: Rig, space: SearchSpace, before: LatencyTable | None) -> Mapping[str, int]:
    """Those of the table before, if it has them: another process finds some kB more, and searches know tables by content."""
    known = {} if before is None else {key: row.packed_bytes for key, row in before.rows.items() if row.packed_bytes is not None}
    if known.keys() == {layer.key for layer in space.layers}:
        return known
    return rig.packed_bytes(NetworkSpec.of(layer) for layer in space.layers)


def _table(
    name: str,
    space: SearchSpace,
    conditions: Conditions,
    networks: Sequence[Architecture],
    visits: Visits,
    packed_bytes: Mapping[str, int],
) -> LatencyTable:
    table = LatencyTable(
        name=name,
        space=space,
        conditions=conditions,
        rows={layer.key: _row(visits, layer.key, packed_bytes) for layer in space.layers},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=MEASURED,
    )
    sums = RuntimeModel(table)
    calibration = tuple(
        CalibrationNetwork(
            key=architecture.network.key,
            sum_ms=sums.predict(architecture).sum_ms,
            measured_ms=visits.undisturbed_ms(architecture.network.key),
            packed_bytes=sum(packed_bytes[layer.key] for layer in architecture.network.layers) if packed_bytes else None,
        )
        for architecture in networks
    )
    return table.model_copy(update={"calibration": calibration})


def _row(visits: Visits, key: str, packed_bytes: Mapping[str, int]) -> Row:
    return Row(
        ms=visits.undisturbed_ms(key),
        spread_ms=visits.spread_ms(key),
        visits=visits.count(key),
        flag=visits.flag(key),
        packed_bytes=packed_bytes.get(key),
    )
