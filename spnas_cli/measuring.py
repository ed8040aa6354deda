"""What the measuring commands share: their options, the bench, and the progress display."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spnas_cli.options import MOST_SECONDS, Count, Number, Seed
from spnas_cli.output import duration, note, progress

if TYPE_CHECKING:
    from pathlib import Path

    from latency_db.campaign import Outcome
    from profiling.device import RunSettings
    from profiling.errors import SpnasError
    from profiling.events import Watch
    from profiling.models.builder import TfliteBuilder
    from spnas_cli.bench import Bench
    from spnas_cli.output import ProgressLine

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")

# Spelled out, so that `--help` need not load the modules that hold them; a test compares.
PRECISIONS = ("fp32", "fp16", "int8")
DELEGATES = ("xnnpack", "none", "gpu", "nnapi")
ROUTES = ("auto", "usb", "tcp", "server")
DEFAULT_RUNS = 15
DEFAULT_TIMEOUT_S = 120.0
DEFAULT_RECONNECT_S = 600.0
TOOL_HELP = "For phones: a benchmark_model file, or the LiteRT version to download. [default: a version known to work]"


@dataclass(frozen=True)
class MeasuringOptions:
    """The options as given; see `measuring_options` for each."""

    threads: int
    cores: str
    precision: str
    delegate: str
    rounds: int
    runs: int
    timeout: float
    seed: int
    via: str
    benchmark_tool: str | None
    max_temp: float | None
    reconnect: float

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

    def bench(self, device: str, db: Path, *, watch: Watch | None = None, builder: TfliteBuilder | None = None) -> Bench:
        """The bench that these options describe, on a device; without a `watch` it shows its progress."""
        from typing import cast

        from profiling.adb.routes import Via
        from profiling.devices import PhoneOptions
        from profiling.phone.benchmark_binary import DEFAULT_VERSION
        from spnas_cli.bench import Bench

        tool = self.benchmark_tool or DEFAULT_VERSION
        phone = PhoneOptions(cast("Via", self.via), tool, self.max_temp, self.reconnect)
        return Bench(
            device, db, rounds=self.rounds, seed=self.seed, settings=self.settings, phone=phone, watch=watch, builder=builder
        )


def measuring_options(*, rounds: int, seed: int = 0) -> Callable[[Function], Function]:
    """The options of a command that measures, handed to it as one `MeasuringOptions`; it needs the extra `convert`.

    Args:
        rounds: default of `--rounds`.
        seed: default of `--seed`; calibration and validation have different ones, so that they draw different networks.
    """

    def decorate(function: Function) -> Function:
        names = MeasuringOptions.__dataclass_fields__

        @functools.wraps(function)
        def with_measuring(**given: Any) -> Any:
            from profiling.extras import require

            require("convert")
            measuring = MeasuringOptions(**{name: given.pop(name) for name in names})
            return function(measuring=measuring, **given)

        for option in reversed(_options(rounds, seed)):
            with_measuring = option(with_measuring)
        return with_measuring  # type: ignore[return-value]

    return decorate


def _options(rounds: int, seed: int) -> tuple[Callable[[Function], Function], ...]:
    return (
        click.option("--threads", type=Count(1, 1024), default=1, show_default=True, help="Number of threads of the runtime."),
        click.option(
            "--cores",
            metavar="MASK",
            default="any",
            show_default=True,
            help="Cores to run on: any, big, prime, or a hexadecimal mask.",
        ),
        click.option(
            "--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="Number format of the models."
        ),
        click.option(
            "--delegate", type=click.Choice(DELEGATES), default="xnnpack", show_default=True, help="Delegate that runs the model."
        ),
        click.option(
            "--rounds", type=Count(2, 10_000), default=rounds, show_default=True, help="Benchmark processes per model, at least."
        ),
        click.option(
            "--runs", type=Count(1, 10**6), default=DEFAULT_RUNS, show_default=True, help="Timed runs per process, at least."
        ),
        click.option(
            "--timeout",
            type=Number(1, MOST_SECONDS),
            metavar="SECONDS",
            default=DEFAULT_TIMEOUT_S,
            show_default=True,
            help="Time limit of one process, in seconds.",
        ),
        click.option(
            "--seed", type=Seed(), default=seed, show_default=True, help="Seed for the random networks and their order."
        ),
        click.option("--via", type=click.Choice(ROUTES), default="auto", show_default=True, help="How to reach a phone."),
        click.option("--benchmark-tool", metavar="FILE|VERSION", help=TOOL_HELP),
        click.option(
            "--max-temp",
            type=Number(0, 200, above=True),
            metavar="°C",
            help="Highest skin temperature of a phone, in °C; measuring waits until it is below.",
        ),
        click.option(
            "--reconnect",
            type=Number(0, MOST_SECONDS),
            metavar="SECONDS",
            default=DEFAULT_RECONNECT_S,
            show_default=True,
            help="How long a phone may stay disconnected before the run ends, in seconds; run the command again to continue.",
        ),
    )


def outcome_facts(outcome: Outcome) -> list[tuple[str, str]]:
    """What a campaign met and what its time went into, as names and values to show."""
    parts = {"measuring": outcome.device_s, "converting": outcome.conversion_s}
    words = [f"{duration(seconds)} {what}" for what, seconds in parts.items()]
    if outcome.rest_s:
        words.append(f"{duration(outcome.rest_s)} resting ({outcome.rest_s / outcome.wall_s:.0%})")
    facts = [("time", f"{duration(outcome.wall_s)}; {', '.join(words)}")]
    if outcome.slowdown_pct:
        slowed = f"by up to {outcome.slowdown_pct:.1f} %; figures are put back to full speed"
        facts.insert(0, ("slowed down by heat", slowed))
    return facts


@contextmanager
def watching(*names: str) -> Iterator[list[Watch]]:
    """Shows the progress of a campaign, one line per device: conversion first, then measuring."""
    with progress(*(f"{name}:" for name in names)) as lines:
        yield [_watch(line) for line in lines]


def _watch(line: ProgressLine) -> Watch:
    from profiling.events import Converting, Event, Notice, Progress, Waiting

    def watch(event: Event) -> None:
        match event:
            case Converting(done, total):
                line.update(done, total, "converting to TFLite", None)
            case Progress(done, planned, remaining_s, text):
                line.update(done, planned, text, remaining_s)
            case Waiting(seconds, reason):
                line.say(f"{reason}; waiting {seconds:g} s")
            case Notice(text):
                note(text)

    return watch


def on_each_device(names: Sequence[str], work: Callable[[str, Watch], Result]) -> tuple[list[Result], list[SpnasError]]:
    """Does the work on each device, side by side when there are several; one that fails does not stop the others.

    Returns:
        The results, and the errors of the devices that failed. A single device's error is raised instead.
    """
    from profiling.errors import SpnasError

    if len(names) == 1:
        with watching(names[0]) as [watch]:
            return [work(names[0], watch)], []
    results, errors = [], []
    interrupted = threading.Event()
    with watching(*names) as watches, ThreadPoolExecutor(len(names)) as pool:
        jobs = [pool.submit(work, name, _interruptible(watch, interrupted)) for name, watch in zip(names, watches, strict=True)]
        try:
            for job in jobs:
                try:
                    results.append(job.result())
                except SpnasError as error:
                    errors.append(error)
        except KeyboardInterrupt:
            # Ctrl-C does not reach the threads; each one ends when it next reports its progress.
            interrupted.set()
            raise
    return results, errors


def _interruptible(watch: Watch, interrupted: threading.Event) -> Watch:
    from profiling.events import Converting, Event, Progress, Waiting

    def interruptible(event: Event) -> None:
        if interrupted.is_set() and isinstance(event, Converting | Progress | Waiting):
            raise KeyboardInterrupt
        watch(event)

    return interruptible
