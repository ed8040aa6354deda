"""How much slower a device is once it is warm: the speed that it can keep up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from profiling.device import BuiltModel, Device, RunSettings
from profiling.events import Notice, Watch

# Long processes leave the device little time to cool down between them.
WINDOW_S = 5.0
SETTLED_WINDOWS, SETTLED_WITHIN = 6, 0.01
LEAST_S, MOST_S = 60.0, 600.0


@dataclass(frozen=True)
class Sustained:
    """The speed of a warm device.

    Attributes:
        factor: how many times as long the same work takes as on the cool device.
        after_s: seconds of unbroken work after which it was measured.
        settled: whether its speed had settled by then.
    """

    factor: float
    after_s: float
    settled: bool


def measure_sustained(
    device: Device,
    model: BuiltModel,
    settings: RunSettings,
    *,
    cool_ms: float,
    watch: Watch,
    clock: Callable[[], float] = time.monotonic,
) -> Sustained:
    """Works on one model until the device is as slow as it gets, at least a minute and at most ten.

    Args:
        device: where to measure; it may throttle meanwhile, which is what is measured.
        model: on the device; one whose speed is that of the clock, such as the canary of a session.
        settings: how each process runs; each works longer here.
        cool_ms: latency of the model on the cool device, in ms.
        watch: called with a `Notice` at the start.
        clock: seconds.

    Raises:
        ToolOutputError, DeviceLostError: as from `Device.run`.
    """
    watch(Notice(f"{device.name}: working without rest until its speed settles, for {LEAST_S / 60:g} to {MOST_S / 60:g} minutes"))
    working = replace(settings, min_seconds=WINDOW_S, may_throttle=True)
    start, windows_ms = clock(), list[float]()
    while True:
        windows_ms.append(device.run(model, working).figures.fastest_ms)
        latest, passed_s = windows_ms[-SETTLED_WINDOWS:], clock() - start
        settled = len(latest) == SETTLED_WINDOWS and max(latest) <= (1 + SETTLED_WITHIN) * min(latest)
        if passed_s >= MOST_S or (settled and passed_s >= LEAST_S):
            return Sustained(sum(latest) / len(latest) / cool_ms, passed_s, settled)
