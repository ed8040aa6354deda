"""How many images a second does training take in, against another commit?

Both versions run in turn, in pairs of rounds. A round is a process of its own with one thread, and runs a short search with the
course that its version gives it, or a short training. Steps are averaged over each phase without its first, in which a network
may be chosen, and phases by their share of the course. Images are noise, as large as those of the ruler or of the paper.

The figures are images a second of processor time, which others on the machine disturb less than the time on the wall; ratios are
of the rounds that were done one after the other, with the quartiles between which half of them lie. Exits with 1 where a search
on the ruler's images is not as many times as fast as it should be.

    python benchmarks/images_a_second.py --against COMMIT
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.table_files import published_table, read_table
from profiling.space import Architecture
from search import config
from search.finding.search import Search, table_digest
from search.images.data import Data
from search.images.one_image import SmallImages
from search.run_folder import RunFolder
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "results" / "fashion-mnist-table.json"
BEFORE = "c3e97ac"  # before the gradients of our own
LONG = 10_000  # steps
TARGET = 0.3  # of the way from the fastest network to the slowest
AT_LEAST = 1.8


@dataclass(frozen=True)
class Case:
    """What is run in a round.

    Attributes:
        name: in words.
        table: `ruler` or `paper`.
        batch, steps: images a step, and steps.
        classes: of the images.
        is_search: or a training of one network from scratch.
    """

    name: str
    table: str
    batch: int
    steps: int
    classes: int
    is_search: bool

    def model(self) -> RuntimeModel:
        """The space that it is about, with latencies."""
        return RuntimeModel(read_table(TABLE) if self.table == "ruler" else published_table("pixel1"))


CASES = {
    "search": Case("search, 28x28 grey", "ruler", 256, 30, 100, is_search=True),
    "training": Case("training of a network, 28x28 grey", "ruler", 256, 34, 100, is_search=False),
    "paper": Case("search, the paper's space at 224x224", "paper", 8, 24, 1000, is_search=True),
}


def noise(case: Case, model: RuntimeModel) -> Data:
    """As many images as there are in the steps of a round."""
    space, images = model.space, case.batch * case.steps
    shape = (images, space.image_channels, space.resolution, space.resolution)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = [index % case.classes for index in range(images)]
    train, held_out = SmallImages(pixels, labels, space, 0), SmallImages(pixels[: case.batch], labels, space, None)
    return Data(train, images, held_out, case.batch, tuple(map(str, range(case.classes))))


def prepared(case: Case, model: RuntimeModel, data: Data, choices: list[str], folder: RunFolder) -> Search | Training:
    """A search, or a training of the network with these choices, at its first step."""
    space = model.space
    if not case.is_search:
        recipe = load_recipe("mnasnet").adapted(epochs=1)
        alone = TrainConfig(**dict(recipe), network="noise", data="noise", batch_size=case.batch)
        placed = Architecture(space=space, choices=tuple(choices)).placed_layers()
        return Training([layer for _, layer in placed], data, alone, folder)
    fastest, slowest = model.range_ms()
    target_ms = fastest + TARGET * (slowest - fastest)
    # The shares of the phases of a long search, where the version has them.
    phases = config.course(LONG, target_ms) if hasattr(config, "course") else {}
    settings = config.SearchConfig(
        table=model.table.name,
        space_digest=space.digest,
        table_digest=table_digest(model.table),
        data="noise",
        epochs=1,
        batch_size=case.batch,
        target_ms=target_ms,
        **phases,
    )
    return Search(model, data, settings, folder)


def seconds_a_step(ends: Sequence[tuple[str, float]]) -> float:
    """From the phase and the end of each step: the average over each phase without its first step, weighted by its steps."""
    total = 0.0
    for phase, count in Counter(phase for phase, _ in ends).items():
        inside = [seconds for name, seconds in ends if name == phase]
        total += count * (inside[-1] - inside[0]) / (count - 1)
    return total / len(ends)


def images_a_second(start: Callable[[RunFolder], Search | Training], case: Case) -> dict[str, float]:
    """Of one round: by the time of the processor, and by that on the wall."""
    clocks = {"processor": time.process_time, "wall": time.perf_counter}
    ends: dict[str, list[tuple[str, float]]] = {name: [] for name in clocks}

    def on_step(step: object) -> None:
        for name, clock in clocks.items():
            ends[name].append((getattr(step, "phase", ""), clock()))

    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        # Stopped before its end, which is no step like the others.
        start(RunFolder(Path(folder))).run(on_step, lambda: len(ends["wall"]) == case.steps - 1)
    return {name: case.batch / seconds_a_step(ends[name]) for name in clocks}


def round_of(tree: Path, name: str, choices: list[str]) -> dict[str, float]:
    """One round of a case by the code in a tree."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--cases", name, "--round", *choices]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@contextmanager
def trees(commit: str) -> Iterator[dict[str, Path]]:
    """The code as it was at a commit, which is checked out meanwhile, and as it is here."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield {"before": tree, "now": ROOT}
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def compare(code: Mapping[str, Path], name: str, rounds: int) -> float:
    """Prints the images a second of both versions; the median ratio of processor times."""
    case = CASES[name]
    model = case.model()
    fastest, slowest = model.range_ms()
    target = fastest + TARGET * (slowest - fastest)
    choices = list(next(networks_between(model, 0.98 * target, 1.02 * target, 0)).choices)
    measured: dict[str, list[dict[str, float]]] = {version: [] for version in code}
    for index in range(rounds):
        for version in sorted(code, reverse=index % 2 == 0):
            measured[version].append(round_of(code[version], name, choices))
    ratios = {
        clock: [now[clock] / before[clock] for now, before in zip(measured["now"], measured["before"], strict=True)]
        for clock in ("processor", "wall")
    }
    rates = {version: statistics.median(each["processor"] for each in figures) for version, figures in measured.items()}
    low, median, high = statistics.quantiles(ratios["processor"], n=4)
    print(
        f"{case.name:38} {rates['before']:8.1f} → {rates['now']:8.1f} images/s, ratio {median:.2f} ({low:.2f} to {high:.2f}), "
        f"on the wall {statistics.median(ratios['wall']):.2f}",
        flush=True,
    )
    return median


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=BEFORE, metavar="COMMIT", help=f"the other version [default: {BEFORE}]")
    parser.add_argument("--rounds", type=int, default=5, help="of each version, at least 2 [default: 5]")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="[default: all]")
    parser.add_argument("--at-least", type=float, default=AT_LEAST, help=f"for the search on 28x28 [default: {AT_LEAST}]")
    parser.add_argument("--round", nargs="+", metavar="CHOICE", help=argparse.SUPPRESS)  # what `round_of` runs
    arguments = parser.parse_args()
    if arguments.round:
        torch.set_num_threads(1)
        case = CASES[arguments.cases[0]]
        model = case.model()
        print(json.dumps(images_a_second(partial(prepared, case, model, noise(case, model), arguments.round), case)))
        return
    print(f"now against {arguments.against}, {arguments.rounds} rounds, one thread, PyTorch {torch.__version__}")
    with trees(arguments.against) as code:
        ratios = {name: compare(code, name, arguments.rounds) for name in arguments.cases}
    ratio = ratios.get("search", arguments.at_least)
    sys.exit(0 if ratio >= arguments.at_least else f"search: {ratio:.2f} is below {arguments.at_least}")


if __name__ == "__main__":
    main()
