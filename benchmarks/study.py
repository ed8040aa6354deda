"""A study of many runs: each that is finished is a line of the results and is not done again; several processes share them."""

from __future__ import annotations

import csv
import fcntl
import multiprocessing
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One finished run, a line of the results.

    Attributes:
        name: of the network, or `search`; seed: of the training or search. A run is known by both.
        choices: of the network, separated by spaces.
        predicted_ms: its latency.
        top1: on the test images, 0 to 1, unless the study says otherwise.
        images: seen in training, a repeated one counting again.
        cpu_s: processor seconds of the run, all of it.
    """

    name: str
    seed: int
    choices: str
    predicted_ms: float
    top1: float
    images: int
    cpu_s: float


def read_results(file: Path) -> list[Result]:
    """The lines of the results, none if there is no file yet."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        return [
            Result(
                row["name"], int(row["seed"]), row["choices"], float(row["predicted_ms"]),
                float(row["top1"]), int(row["images"]), float(row["cpu_s"]),
            )
            for row in rows
        ]  # fmt: skip


def append_results(results: Sequence[Result], file: Path) -> None:
    """Adds lines to the results, all at once or none, with a head if they are the first."""
    with file.open("a", newline="", encoding="utf-8") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)
        writer = csv.writer(lines, lineterminator="\n")
        if not os.fstat(lines.fileno()).st_size:
            writer.writerow(field.name for field in fields(Result))
        writer.writerows(vars(result).values() for result in results)


Run = Callable[[Path], list[Result]]
"""Given an empty folder, the results of one run."""


def in_processes(processes: int, work: Callable[..., None], *arguments: object) -> None:
    """Does the same work in several processes, which share the runs; exits with 1 where one of them fails."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit("a process of the study failed")


class Study(ABC):
    """The runs of a study, most wanted first.

    Args:
        file: of the results.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @abstractmethod
    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """Every run with its part of the study, its name and its seed; some only once others are done."""

    def run(self, parts: Collection[str]) -> None:
        """Does what is not done yet of these parts, each run by one of the processes that are at it."""
        while runs := self._open(parts):
            if not any(self._try(name, run) for name, run in runs.items()):
                time.sleep(1)  # what others are at may open more runs

    def _open(self, parts: Collection[str]) -> dict[str, Run]:
        """The runs that can be done and are not, most wanted first."""
        done = {(result.name, result.seed) for result in read_results(self._file)}
        return {f"{name}-{seed}": run for part, name, seed, run in self.runs() if part in parts and (name, seed) not in done}

    def _try(self, name: str, run: Run) -> bool:
        """Does a run and writes its results, unless another process is at it or has just done it."""
        locks = Path(tempfile.gettempdir()) / f"spnas-{type(self).__name__}"
        locks.mkdir(exist_ok=True)
        with (locks / name.replace(" ", "-")).open("w") as lock, tempfile.TemporaryDirectory() as folder:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if name in {f"{result.name}-{result.seed}" for result in read_results(self._file)}:
                return False
            results = run(Path(folder))
            append_results(results, self._file)
            for result in results:
                print(
                    f"{result.name}, seed {result.seed}: {result.top1:.2%} in {result.cpu_s:.0f} s", file=sys.stderr, flush=True
                )
        return True
