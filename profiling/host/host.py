"""This machine as a device: models run on LiteRT, each measurement in a process of its own."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from profiling.conditions import Conditions
from profiling.cpu_masks import chosen_cores, mask_of
from profiling.device import BuiltModel, RunResult, RunSettings
from profiling.errors import InputError, ToolOutputError
from profiling.host import benchmark, packed
from profiling.measurement import DeviceState, Figures
from profiling.plausibility import has_matrix_unit, most_per_second, refuse_impossible

NAME = "host"
# Models whose packed weights one process finds out.
AT_ONCE = 200


class HostDevice:
    """Keeps the protocol `profiling.device.Device` for the machine that spnas runs on."""

    @property
    def name(self) -> str:
        """`host`."""
        return NAME

    @property
    def shares_cpu(self) -> bool:
        """Always."""
        return True

    def conditions(self, settings: RunSettings) -> Conditions:
        """The conditions that hold for runs with these settings.

        Raises:
            InputError: a delegate or a choice of cores that this machine does not have.
        """
        if settings.delegate not in ("xnnpack", "none"):
            raise InputError(f"the delegate {settings.delegate} does not run on this machine; allowed: xnnpack, none", where=NAME)
        cores = select_cores(settings.cores)
        return Conditions(
            device=NAME,
            product=cpu_product(),
            os_build=platform.platform(),
            soc=f"{platform.machine()}, {psutil.cpu_count()} cores",
            runtime=f"LiteRT {version('ai-edge-litert')}",
            tool=f"spnas host benchmark {benchmark.VERSION}",
            threads=settings.threads,
            cores=mask_of(cores) if cores else "any",
            precision=settings.precision,
            delegate=settings.delegate,
        )

    def push(self, models: list[BuiltModel]) -> None:
        """Nothing to do: the models are on this machine."""

    def run(self, model: BuiltModel, settings: RunSettings) -> RunResult:
        """Runs one benchmark process on a model.

        Raises:
            ToolOutputError: `hang`, `crash`, `failed`, `truncated`, `impossible`, or `fallback` when the delegate did not take
                the graph.
        """
        cores = ",".join(str(core) for core in select_cores(settings.cores))
        command = [
            sys.executable, "-P", benchmark.__file__, "--parent", str(os.getpid()), "--model", str(model.path),
            "--threads", str(settings.threads), "--delegate", settings.delegate, "--cores", cores,
            "--runs", str(settings.runs), "--min-seconds", str(settings.min_seconds),
            "--warmup-runs", str(settings.warmup_runs), "--warmup-seconds", str(settings.warmup_seconds),
        ]  # fmt: skip
        # A process group of its own, so that Ctrl-C reaches this process alone, which then ends the other.
        start = time.monotonic()
        try:
            finished = run_process(command, settings.timeout_s, where=model.key)
            process_s = time.monotonic() - start
            figures = read_figures(finished.stdout, settings, where=model.key)
            refuse_impossible(model, figures, _most_per_second(settings))
        except ToolOutputError as error:
            error.state = machine_state()
            raise
        return RunResult(figures, finished.stdout + finished.stderr, machine_state(), process_s)

    def packed_bytes(self, models: list[BuiltModel], settings: RunSettings) -> dict[str, int]:
        """As LiteRT of this machine packs them; nothing where glibc does not tell what is allocated.

        A runtime takes some memory for itself, too: as much for the smallest model as for any other, so that is taken off.

        Raises:
            ToolOutputError: as for `run`.
        """
        found: list[int] = []
        for first in range(0, len(models), AT_ONCE):
            some = models[first : first + AT_ONCE]
            command = [
                sys.executable, "-P", packed.__file__, "--threads", str(settings.threads), "--delegate", settings.delegate,
                *(str(model.path) for model in some),
            ]  # fmt: skip
            where = f"{NAME}: packed weights"
            finished = run_process(command, settings.timeout_s, where=where)
            try:
                found += [int(size) for size in json.loads(finished.stdout)]
            except (ValueError, TypeError) as error:
                raise ToolOutputError("truncated", "the process printed no complete result", where=where) from error
        if len(found) < len(models):
            return {}
        of_runtime = min(found, default=0)
        return {model.key: size - of_runtime for model, size in zip(models, found, strict=True)}

    def close(self) -> None:
        """Nothing to do: nothing was put anywhere."""


def machine_state() -> DeviceState:
    """Temperature, clock and load of this machine now, as far as the system reports them."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return DeviceState(
        temperature_c=_temperature(),
        clock_mhz=frequency.current if frequency and frequency.current else None,
        load=psutil.getloadavg()[0],
    )


def run_process(command: list[str], timeout_s: float, *, where: str) -> subprocess.CompletedProcess[str]:
    """Runs a benchmark process to its end.

    Raises:
        ToolOutputError: it hung (and was killed), was ended by a signal, or failed.
    """
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, process_group=0,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ToolOutputError("hang", f"the benchmark process did not end within {timeout_s:g} s", where=where) from error
    if finished.returncode < 0:
        name = signal.Signals(-finished.returncode).name
        raise ToolOutputError("crash", f"the benchmark process was ended by {name}", where=where)
    if finished.returncode > 0:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ToolOutputError("failed", f"the benchmark process failed: {last}", recurs=True, where=where)
    return finished


def read_figures(stdout: str, settings: RunSettings, *, where: str) -> Figures:
    """The figures from what `benchmark` printed.

    Raises:
        ToolOutputError: the output is cut off (`truncated`), or the delegate did not do what was asked (`fallback`).
    """
    try:
        result: dict[str, Any] = json.loads(stdout.splitlines()[-1])
        delegated = bool(result["delegated"])
        timed, warmup = (Runs(result[phase]) for phase in ("timed_ns", "warmup_ns"))
        figures = Figures(
            count=timed.count,
            mean_ms=timed.mean_ms,
            min_ms=timed.percentile_ms(0),
            max_ms=timed.percentile_ms(100),
            std_ms=timed.std_ms,
            p5_ms=timed.percentile_ms(5),
            median_ms=timed.percentile_ms(50),
            p95_ms=timed.percentile_ms(95),
            init_ms=float(result["init_ns"]) / 1e6,
            first_ms=warmup.first_ms,
            warmup_ms=warmup.mean_ms,
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ToolOutputError("truncated", "the benchmark process printed no complete result", where=where) from error
    if delegated != (settings.delegate == "xnnpack"):
        ran = "with XNNPACK" if delegated else "without XNNPACK"
        raise ToolOutputError(
            "fallback", f"asked for the delegate {settings.delegate}, but the model ran {ran}", recurs=True, where=where
        )
    return figures


class Runs:
    """The figures of some runs, in ms, from what `benchmark` keeps of them.

    Args:
        kept: all of them in ns, or their `benchmark.summary`.

    Raises:
        LookupError, TypeError, ValueError: it is neither.
    """

    def __init__(self, kept: Any) -> None:
        summary = benchmark.summary(kept) if isinstance(kept, list) else kept
        self.count = int(summary["count"])
        self._sum, self._squares = int(summary["sum"]), int(summary["sum_of_squares"])
        self.first_ms = summary["first"] / 1e6
        self._ordered = dict(zip(benchmark.ranks(self.count), summary["percentiles"], strict=True))

    @property
    def mean_ms(self) -> float:
        """Their mean."""
        return self._sum / self.count / 1e6

    @property
    def std_ms(self) -> float:
        """Their standard deviation; the integers lose nothing."""
        return math.sqrt(self.count * self._squares - self._sum**2) / self.count / 1e6

    def percentile_ms(self, percent: int) -> float:
        """A whole percentile, between the two runs next to it as `numpy.percentile` does."""
        rank, hundredths = divmod((self.count - 1) * percent, 100)
        below, above = self._ordered[rank], self._ordered[rank + (hundredths > 0)]
        return float(below + (above - below) * hundredths / 100) / 1e6


def select_cores(wanted: str) -> list[int]:
    """The cores for `any` (an empty list: the system decides), `big`, `prime` or a mask in hexadecimal.

    Raises:
        InputError: not a mask, a core that this process may not use, or speeds that the system does not report.
    """
    if wanted == "any":
        return []
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not usable:
        raise InputError("this system does not let a process choose its cores; use `--cores any`", where=NAME)
    if wanted in ("big", "prime"):
        speeds = {core: speed for core in usable if (speed := _max_speed(core)) is not None}
        fastest = [core for core, speed in speeds.items() if speed == max(speeds.values())]
        if not fastest:
            raise InputError("this system does not report the speed of its cores; give a mask such as `--cores 1`", where=NAME)
        return fastest if wanted == "big" else fastest[-1:]
    return chosen_cores(wanted, usable, where=NAME)


def cpu_speeds_mhz() -> dict[int, float | None]:
    """The highest clock of each core in MHz, None where the system does not report."""
    return {core: _max_speed(core) for core in range(psutil.cpu_count() or 1)}


def _max_speed(core: int) -> float | None:
    try:
        return int(Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def cpu_product() -> str:
    """What the maker calls this processor."""
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _most_per_second(settings: RunSettings) -> float:
    """Multiply-adds that the cores in use can do; see `plausibility.most_per_second`."""
    speeds = cpu_speeds_mhz()
    clocks = [speeds.get(core) for core in select_cores(settings.cores) or speeds]
    return most_per_second(settings, [mhz and mhz * 1000 for mhz in clocks], matrix_unit=has_matrix_unit(_cpuinfo()))


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def _temperature() -> float | None:
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    sensors = [sensor.current for group in psutil.sensors_temperatures().values() for sensor in group]
    return max(sensors, default=None)
