"""What the commands that measure have in common: their options, and the progress that they show."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spnas_cli.output import progress

if TYPE_CHECKING:
    from latency_db.campaign import Watch
    from profiling.device import RunSettings

Function = TypeVar("Function", bound=Callable[..., Any])

# Spelled out, so that `--help` need not load the modules that hold them; a test compares.
PRECISIONS = ("fp32", "fp16", "int8")
DELEGATES = ("xnnpack", "none", "gpu", "nnapi")
DEFAULT_RUNS = 30
DEFAULT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class MeasuringOptions:
    """The options as given; see `measuring_options` for each."""

    device: str
    threads: int
    cores: str
    precision: str
    delegate: str
    rounds: int
    runs: int
    timeout: float
    seed: int

    @property
    def settings(self) -> RunSettings:
        """What the core takes."""
        from typing import cast

        from profiling.conditions import Delegate, Precision
        from profiling.device import RunSettings

        return RunSettings(
            threads=self.threads,
            cores=self.cores,
            precision=cast("Precision", self.precision),
            delegate=cast("Delegate", self.delegate),
            runs=self.runs,
            timeout_s=self.timeout,
        )

    @property
    def not_default(self) -> list[str]:
        """A word for each option that makes other conditions than the default, for naming a table."""
        words = {
            f"t{self.threads}": self.threads != 1,
            f"cores-{self.cores}": self.cores != "any",
            self.precision: self.precision != "fp32",
            self.delegate: self.delegate != "xnnpack",
        }
        return [word for word, differs in words.items() if differs]


def measuring_options(*, rounds: int, seed: int = 0) -> Callable[[Function], Function]:
    """The options of a command that measures, handed to it as one `MeasuringOptions`.

    Args:
        rounds: default of `--rounds`.
        seed: default of `--seed`; one for calibration and another for validation, so that they draw other networks.
    """
    options = (
        click.option(
            "--device", metavar="NAME", default="host", show_default=True, help="Where to measure: see `spnas devices`."
        ),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of the runtime."),
        click.option(
            "--cores", metavar="MASK", default="any", show_default=True, help="any, big, prime, or a CPU mask in hexadecimal."
        ),
        click.option(
            "--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="Precision of the models."
        ),
        click.option(
            "--delegate", type=click.Choice(DELEGATES), default="xnnpack", show_default=True, help="What runs the graph."
        ),
        click.option("--rounds", type=click.IntRange(2), default=rounds, show_default=True, help="Processes per model at least."),
        click.option(
            "--runs", type=click.IntRange(1), default=DEFAULT_RUNS, show_default=True, help="Timed runs per process at least."
        ),
        click.option(
            "--timeout", type=click.FloatRange(1), default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds per process."
        ),
        click.option("--seed", type=int, default=seed, show_default=True, help="Seed of the random networks and of the order."),
    )

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_measuring(*, device: str, threads: int, cores: str, precision: str, delegate: str, rounds: int, runs: int,
                           timeout: float, seed: int, **others: Any) -> Any:  # fmt: skip
            measuring = MeasuringOptions(device, threads, cores, precision, delegate, rounds, runs, timeout, seed)
            return function(measuring=measuring, **others)

        for option in reversed(options):
            with_measuring = option(with_measuring)
        return with_measuring  # type: ignore[return-value]

    return decorate


@contextmanager
def watching() -> Iterator[Watch]:
    """Shows how a campaign goes on: conversion first, then measuring."""
    from latency_db.campaign import Watch
    from profiling.session import Progress

    with progress("measuring") as line:

        def on_built(done: int, total: int) -> None:
            line.update(done, total, "converting to TFLite", None)

        def on_progress(step: Progress) -> None:
            line.update(step.done, step.planned, step.text, step.remaining_s)

        yield Watch(on_built, on_progress)
