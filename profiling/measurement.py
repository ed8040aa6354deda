"""The record of one benchmark process: immutable and complete, with its output."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from profiling.specfile import SpecModel

# A step of the grid that figures are printed on may be this share of a figure.
COARSE = 0.005


class Figures(SpecModel):
    """What one benchmark process found over its timed runs, all in milliseconds.

    Attributes:
        count: how many timed runs there were.
        mean_ms, min_ms, max_ms, std_ms: over the timed runs.
        p5_ms, median_ms, p95_ms: percentiles; None where the tool prints none.
        resolution_ms: of min_ms and max_ms, where the tool prints them on a grid, such as whole microseconds; else None.
        mean_resolution_ms: the same of mean_ms.
        init_ms: loading the model; first_ms: the first run of all; warmup_ms: mean of the warm-up runs.
    """

    count: int = Field(ge=1)
    mean_ms: float = Field(gt=0)
    min_ms: float = Field(gt=0)
    max_ms: float = Field(gt=0)
    std_ms: float = Field(ge=0)
    p5_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    warmup_ms: float | None = None
    resolution_ms: float | None = None
    mean_resolution_ms: float | None = None

    @property
    def fastest_ms(self) -> float:
        """The figure that tables are made from: the fastest of the timed runs.

        Interference only ever adds time. On 104 models of the space `imagenet`, minima of the runs made layers add up to networks
        within 0.9 % on average; medians of runs left 1.7 %. Where a minimum is printed too coarsely, it is the mean, as far as
        the minimum allows: the fastest run took no longer than that and one step of the grid.
        """
        return min(self.mean_ms, self.min_ms + (self.resolution_ms or 0)) if self._min_is_coarse else self.min_ms

    @property
    def fastest_resolution_ms(self) -> float:
        """How far from the truth `fastest_ms` may be because of the grid that it was printed on, in ms."""
        resolution, of_mean = self.resolution_ms or 0.0, self.mean_resolution_ms or 0.0
        return of_mean if self._min_is_coarse and self.mean_ms < self.min_ms + resolution else resolution

    @property
    def _min_is_coarse(self) -> bool:
        return self.resolution_ms is not None and self.resolution_ms > COARSE * self.min_ms


class DeviceState(SpecModel):
    """What a device met during a run, as it reports it; None is unknown, which is never the same as fine.

    Attributes:
        temperature_c: the warmest sensor of skin or CPU, in °C.
        thermal_status: Android's own, from 0 (none) to 6 (shutdown).
        clock_mhz: of the cores in use, its mean over the run where that is known.
        governor: what sets the clock of the cores in use.
        throttled: whether the device itself says that it is slowed down.
        load: load average over one minute.
        boot_id: changes with every start of the system.
        flag: what was wrong during the run, in two words, e.g. `other cores`; None when nothing was seen.
    """

    temperature_c: float | None = None
    thermal_status: int | None = None
    clock_mhz: float | None = None
    governor: str | None = None
    throttled: bool | None = None
    load: float | None = None
    boot_id: str | None = None
    flag: str | None = None


class Measurement(SpecModel):
    """One benchmark process run of one model.

    Attributes:
        model: key of the layer or network.
        visit: which of the repeated visits to this model, from 0; a visit that failed may be tried again under its number.
        status: `ok`, or `failed` without figures.
        figures: None when it failed.
        reason: why it failed, a word or phrase.
        started_at: UTC, ISO 8601.
        duration_s: wall time of the process in seconds.
        canary_ms: the last figure of the canary before this measurement, None without one.
        output: everything the process printed, so that it can be read again.
    """

    model: str
    visit: int = Field(ge=0)
    status: Literal["ok", "failed"]
    figures: Figures | None
    reason: str | None = None
    started_at: str
    duration_s: float = Field(ge=0)
    state: DeviceState = DeviceState()
    canary_ms: float | None = None
    output: str = ""
