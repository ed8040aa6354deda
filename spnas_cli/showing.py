"""Searches, trainings, explorations, evaluations and exports with their progress on stderr.

The commands call these functions, and so does Python code through `import spnas`. In a terminal or a notebook they show a bar
with the remaining time; in a log they print a line now and then. Arguments and errors are those of the functions in
`search.runs`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Self, TypeVar

import click

from latency_db.limits import UNLIMITED, Limits
from profiling.extras import needs
from search.config import DEFAULTS, TrainingOptions
from search.convnet.named import AS_GIVEN, Name, Size
from search.images.options import ImageOptions, Split
from search.listener import Listener
from spnas_cli.output import ProgressLine, duration, note, print_doubts, progress
from spnas_cli.runs import write_command

if TYPE_CHECKING:
    from latency_db.table import LatencyTable
    from latency_db.targets import Target
    from profiling.conditions import Precision
    from search.convnet.saved import SavedNetwork
    from search.export.export import Export, ExportOptions, Format
    from search.finding.explore import Way
    from search.images.framing import Framing
    from search.results import SupernetResult
    from search.runs.evaluate import Evaluated
    from search.runs.explore import ExploreResult
    from search.runs.overview import Overview
    from search.runs.proposal import Proposal
    from search.runs.run import SearchRun, TrainRun
    from search.runs.supernet import Wanted

R = TypeVar("R", "SearchRun", "TrainRun")


class Shown(Listener):
    """Shows notes, and a bar with the remaining time; a context manager, which always removes the bar at its end.

    Args:
        label: text before the bar.
        stoppable: whether Ctrl-C and SIGTERM wait for the current step to finish.
        folder: of a training: its command is saved there, and its duration is printed. None if nothing is trained.
    """

    def __init__(self, label: str, *, stoppable: bool = False, folder: Name | None = None) -> None:
        self._label, self._stoppable, self._folder = label, stoppable, folder
        self._stack = ExitStack()
        self._asked: Callable[[], bool] = lambda: False
        self._line: ProgressLine | None = None
        self._first, self._start = 0, 0.0
        self._looking = ExitStack()
        self._look_line: ProgressLine | None = None
        self._look_start = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._looking.close()
        self._stack.close()

    def note(self, text: str) -> None:
        """Prints it on a line of its own."""
        note(text)

    def begin(self, done: int, total: int) -> None:
        """Draws the bar."""
        if self._folder is not None:
            write_command(self._folder, again=True)
        [self._line] = self._stack.enter_context(progress(self._label))
        if self._stoppable:
            self._asked = self._stack.enter_context(stopping_between_steps())
        self._first, self._start = done, time.monotonic()

    def progress(self, done: int, total: int, text: str) -> None:
        """Moves the bar."""
        steps = done - self._first
        remaining = (time.monotonic() - self._start) / steps * (total - done) if steps else None
        if self._line is not None:
            self._line.update(done, total, text, remaining)

    def look(self, done: int, total: int, text: str) -> None:
        """Shows a bar of its own, from the first image to the last."""
        if self._look_line is None:
            [self._look_line] = self._looking.enter_context(progress("images"))
            self._look_start = time.monotonic()
        remaining = (time.monotonic() - self._look_start) / done * (total - done) if done else None
        self._look_line.update(done, total, text, remaining)
        if done == total:
            self._looking.close()
            self._look_line = None

    def end(self) -> None:
        """Removes the bar."""
        self._stack.close()
        if self._folder is not None:
            note(f"Trained in {duration(time.monotonic() - self._start)}.")

    def stop(self) -> bool:
        """Whether Ctrl-C was pressed, or SIGTERM came."""
        return self._asked()


@contextmanager
def stopping_between_steps() -> Iterator[Callable[[], bool]]:
    """Makes Ctrl-C and SIGTERM wait for the current step, so that a whole step is saved; a second one does not wait."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@needs("search")
def search(
    table: LatencyTable,
    data: str | os.PathLike[str],
    folder: Name,
    *,
    target_ms: Target | str | None = None,
    runtime_weight: float | None = None,
    limits: Limits = UNLIMITED,
    options: TrainingOptions = DEFAULTS,
) -> SearchRun:
    """Trains the supernet against a latency table and saves the network it finds in a folder (`search.runs.search`)."""
    from search.runs import search as runs

    with Shown("search", stoppable=True, folder=folder) as listener:
        run = runs.search(
            table,
            data,
            folder,
            target_ms=target_ms,
            runtime_weight=runtime_weight,
            limits=limits,
            options=options,
            listener=listener,
        )
    return _doubted(run)


@needs("search")
def train_supernet(
    tables: Sequence[LatencyTable], data: str | os.PathLike[str], folder: Name, *, options: TrainingOptions = DEFAULTS
) -> SupernetResult:
    """Trains a supernet for many devices and targets and saves it in a folder (`search.runs.supernet`)."""
    from search.runs import supernet as runs

    with Shown("supernet", stoppable=True, folder=folder) as listener:
        result = runs.train_supernet(tables, data, folder, options=options, listener=listener)
    if click.get_current_context(silent=True) is None:
        print_doubts(result.doubts, err=True)
    return result


@needs("search")
def networks_from(
    supernet: Name, wanted: Sequence[Wanted], *, data: str | os.PathLike[str] | None = None, resume: bool = True
) -> list[SearchRun]:
    """Cuts networks for tables and targets out of a trained supernet and saves them in folders (`search.runs.supernet`)."""
    from search.runs import supernet as runs

    with Shown("networks", stoppable=True) as listener:
        cut = runs.networks_from(supernet, wanted, data=data, resume=resume, listener=listener)
    return [_doubted(run) for run in cut]


@needs("search")
def explore(run: SearchRun | Name, way: Way = "random", networks: int = 100) -> ExploreResult:
    """Scores networks of a finished search's space with its supernet's weights (`search.runs.explore`)."""
    from search.runs import explore as runs

    with Shown("explore", stoppable=True) as listener:
        return runs.explore(run, way, networks, listener)


@needs("search")
def train(
    network: Name,
    data: str | os.PathLike[str],
    folder: Name,
    *,
    recipe: str | None = None,
    init: Name | None = None,
    teacher: Name | None = None,
    size: Size = AS_GIVEN,
    options: TrainingOptions = DEFAULTS,
) -> TrainRun:
    """Trains a network by a recipe and saves it in a folder (`search.runs.train`; `Plan` there explains the options)."""
    from search.runs import train as runs

    with Shown("train", stoppable=True, folder=folder) as listener:
        run = runs.train(network, data, folder, runs.Plan(recipe, init, teacher), size=size, options=options, listener=listener)
    return _doubted(run)


def _doubted(run: R) -> R:
    """The run, its doubts said on stderr where no command says them before its result."""
    if click.get_current_context(silent=True) is None:
        print_doubts(run.result.doubts, err=True)
    return run


@needs("search")
def overview(data: str | os.PathLike[str], *, seed: int = 0, thorough: bool = False) -> Overview:
    """Looks at a data set as a training does first (`search.runs.overview`)."""
    from search.runs import overview as runs

    with Shown("images") as listener:
        return runs.overview(data, seed=seed, thorough=thorough, listener=listener)


@needs("search")
def propose(data: str | os.PathLike[str], *, resolution: int | None = None) -> Proposal:
    """Makes a search space for a data set (`search.runs.proposal`)."""
    from search.runs import proposal

    with Shown("images") as listener:
        return proposal.propose(data, resolution=resolution, listener=listener)


@needs("search")
def evaluate(
    network: Name,
    data: str | os.PathLike[str],
    *,
    split: Split | None = None,
    seed: int = 0,
    batch_size: int = 256,
    workers: int = 0,
    skip_unreadable: int = 0,
    framing: Framing | None = None,
) -> Evaluated:
    """Measures the accuracy of a trained network on the held-out images of a data set, or on a part (`search.runs.evaluate`)."""
    from search.runs import evaluate as runs

    options = ImageOptions(split=split or "held-out", skip_unreadable=skip_unreadable, framing=framing)
    with Shown("images") as listener:
        return runs.evaluate(network, data, options=options, seed=seed, batch_size=batch_size, workers=workers, listener=listener)


@needs("export")
def export(
    network: SavedNetwork | Name,
    target: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    precision: Precision = "fp32",
    to: Format | None = None,
    options: ExportOptions | None = None,
) -> Export:
    """Writes a trained network as a TFLite or ONNX file that computes what the network computes (`search.runs.export`)."""
    from search.export.export import DEFAULTS
    from search.runs import export as runs

    with Shown("images") as listener:
        return runs.export(network, target, data, precision=precision, to=to, options=options or DEFAULTS, listener=listener)
