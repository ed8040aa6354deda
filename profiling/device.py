"""The protocol of every device. The session knows nothing else of a device, so a phone and this machine look alike to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import Field

from profiling.conditions import Conditions, Delegate, Precision
from profiling.measurement import DeviceState, Figures
from profiling.specfile import SpecModel


@dataclass(frozen=True)
class RunSettings:
    """How one benchmark process runs a model.

    Attributes:
        threads: threads of the runtime.
        cores: `any`, `big`, `prime`, or a CPU mask in hexadecimal.
        precision: of the models that are run.
        delegate: what executes the graph.
        runs, min_seconds: the timed phase ends when both are reached.
        warmup_runs, warmup_seconds: the same for the warm-up before it.
        timeout_s: a process that takes longer is stopped and counts as a hang.
        may_throttle: the device is measured as it is, also while it throttles or is too warm; otherwise it is waited for.
    """

    threads: int = 1
    cores: str = "any"
    precision: Precision = "fp32"
    delegate: Delegate = "xnnpack"
    runs: int = 15
    min_seconds: float = 0.1
    warmup_runs: int = 3
    warmup_seconds: float = 0.05
    timeout_s: float = 120.0
    may_throttle: bool = False


@dataclass(frozen=True)
class BuiltModel:
    """A TFLite model on this machine's disk.

    Attributes:
        key: key of its LayerSpec or NetworkSpec.
        path: the file.
        sha256: of its content.
        size_bytes: of the file.
        multiply_adds: of one run; None where they are not known.
    """

    key: str
    path: Path
    sha256: str
    size_bytes: int
    multiply_adds: int | None = None


@dataclass(frozen=True)
class RunResult:
    """The result of one benchmark process.

    Attributes:
        figures: of its timed runs.
        output: everything it printed.
        state: what the device met during the run.
        process_s: seconds from its start to its end by the device's own clock; None where whoever called knows as well.
    """

    figures: Figures
    output: str
    state: DeviceState
    process_s: float | None = None


class DeviceSummary(SpecModel):
    """One line of `spnas devices`.

    Attributes:
        name: what `--device` takes.
        product: what its maker calls it; `model` in files.
        soc: the chip.
        state: `ready`, or why it is not, in a word.
        cores: how many of each speed, e.g. `2 at 1593 MHz`.
        temperature_c: of the warmest sensor, in °C; None is unknown.
        missing: what must be done before it can be profiled, in words; None when nothing is missing.
    """

    name: str
    product: str = Field(alias="model")
    soc: str
    state: str
    cores: str
    temperature_c: float | None = None
    missing: str | None = None


class Device(Protocol):
    """A place where models run, each in its own process."""

    @property
    def name(self) -> str:
        """What `--device` calls it: `host`, or a serial number."""

    @property
    def shares_cpu(self) -> bool:
        """Whether it shares this program's CPU, so that other work here disturbs the measurements."""

    def conditions(self, settings: RunSettings) -> Conditions:
        """The conditions that hold for runs with these settings.

        Raises:
            InputError: this device cannot run with these settings.
        """

    def push(self, models: list[BuiltModel]) -> None:
        """Copies to the device those models that it lacks.

        Raises:
            DeviceLostError: the device went away.
            MeasurementError: it has no room, or the file did not arrive whole.
        """

    def run(self, model: BuiltModel, settings: RunSettings) -> RunResult:
        """Runs one benchmark process on a model that was pushed.

        Raises:
            ToolOutputError: the process gave no valid result: it crashed, hung, or its output is cut off. The error holds the
                state of the device.
            DeviceLostError: the device went away.
        """

    def packed_bytes(self, models: list[BuiltModel], settings: RunSettings) -> dict[str, int]:
        """Bytes of memory that the weights of each model are kept in while it runs, by key; empty where the device cannot tell.

        Raises:
            ToolOutputError: the tool gave no valid result.
        """

    def close(self) -> None:
        """Removes everything it put on the device and restores its settings."""
