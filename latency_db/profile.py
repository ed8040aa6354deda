"""From a space and a device to a latency table; the same call again goes on where the last one stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from latency_db.campaign import Outcome, Watch, measure
from latency_db.runtime_model import RuntimeModel
from latency_db.store import Store
from latency_db.table import CalibrationNetwork, LatencyTable, Row
from profiling.device import Device, RunSettings
from profiling.layers import NetworkSpec
from profiling.models.builder import TfliteBuilder
from profiling.space import SearchSpace, random_architectures
from profiling.stats import is_noisy, spread, undisturbed


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


def _row(values_ms: Sequence[float]) -> Row:
    flag = "noisy" if is_noisy(values_ms) else None
    return Row(ms=undisturbed(values_ms), spread_ms=spread(values_ms), visits=len(values_ms), flag=flag)
