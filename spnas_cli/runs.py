"""What the commands that train have in common: their options, the folder of a run, and how it is stopped."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spnas_cli.output import duration, note, progress

if TYPE_CHECKING:
    from search.config import TrainingConfig
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latency_db.runtime_model import RuntimeModel
    from search.config import SearchConfig
    from search.finding.explore import Way
    from search.finding.search import Found
    from search.images.data import Data


F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    "data_name",
    metavar="NAME|FOLDER",
    required=True,
    help="digits, fashion-mnist, cifar10; a folder with a folder of images per class, maybe below `train` and `val`; or "
    "WebDataset shards: a folder of .tar files or a pattern, train-{000..099}.tar.",
)

folder_option = click.option(
    "-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run."
)

workers_option = click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that load images; 0 loads in this one."
)


def training_options(*, epochs: str, learning_rate: str) -> Callable[[F], F]:
    """Adds the options of every training to a command, in their order; says these defaults."""
    options = (
        click.option("--epochs", type=click.IntRange(1), help=f"Passes over the images. [default: {epochs}]"),
        click.option("--batch-size", type=click.IntRange(2), help="Images a step. [default: 1024, fewer on small data]"),
        click.option(
            "--accumulate",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Parts that a step's images are computed in, one after the other, for want of memory; batch norm sees one part.",
        ),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, min_open=True),
            help=f"For 256 images a step. [default: {learning_rate}]",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, order, augmentation and dropout."),
        workers_option,
        click.option("--mixed-precision", type=click.Choice(["no", "bf16"]), default="no", show_default=True, help="On a GPU."),
        click.option(
            "--track",
            type=click.Choice(["tensorboard", "wandb", "mlflow"]),
            help="Also send the metrics there; it must be installed. [default: metrics.csv only]",
        ),
        click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped; begin it when there is none."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def prepare_folder(folder: Path, resume: bool) -> None:
    """Makes the folder of a run.

    Raises:
        InputError: it holds something and is not to be resumed, or cannot be made.
    """
    from profiling.errors import InputError

    if folder.exists() and any(folder.iterdir()) and not resume:
        raise InputError(
            "the folder is not empty", where=str(folder), hint="add --resume to go on with its run, or name another one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=str(folder)) from error


def write_config(config: TrainingConfig, folder: Path) -> None:
    """Writes settings and command of a run into its folder, once it is certain that they are those of the checkpoint in it.

    Raises:
        InputError: it cannot be written.
    """
    from profiling.errors import InputError

    try:
        (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        write_command(folder)
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=str(folder)) from error


def write_command(folder: Path) -> None:
    """Keeps the command as it was typed beside its results, for `spnas report`."""
    (folder / "command.txt").write_text(shlex.join(["spnas", *sys.argv[1:]]) + "\n", encoding="utf-8")


def write_result(folder: Path, result: Mapping[str, object]) -> None:
    """Keeps what a command prints with `--json`, for `spnas report` and for people."""
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


@contextmanager
def showing_progress(label: str, first: int) -> Iterator[Callable[[int, int, str], None]]:
    """A line with the remaining time; gives what shows a step, of how many, with a short text. `first`: steps taken before."""
    start = time.monotonic()
    with progress(label) as [line]:

        def show(step: int, steps: int, text: str) -> None:
            line.update(step, steps, text, (time.monotonic() - start) / (step - first) * (steps - step))

        yield show
    note(f"Trained in {duration(time.monotonic() - start)}.")


@contextmanager
def stopping_between_steps() -> Iterator[Callable[[], bool]]:
    """Has Ctrl-C and SIGTERM wait for the step in hand, so that what is saved is a whole step; a second one does not wait."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def explore_options(command: F) -> F:
    """Adds --explore and --explore-networks to a command."""
    way = click.option(
        "--explore",
        type=click.Choice(["random", "evolution"]),
        help="After the training, score more networks within 3 % of the target, or of any latency, with the supernet's weights.",
    )
    count = click.option(
        "--explore-networks", type=click.IntRange(1), default=100, show_default=True, help="How many networks --explore scores."
    )
    return way(count(command))


def explore_space(
    way: Way, count: int, found: Found, model: RuntimeModel, data: Data, config: SearchConfig, folder: Path
) -> None:
    """Explores within 3 % of the target, or all latencies without one; leaves the front and its figure in the folder."""
    from search.finding.explore import BATCH_NORM_BATCHES, EXPLORED, MOST_IMAGES, Explorer, front, write_front
    from search.finding.scoring import Scorer
    from search.finding.selection import near
    from search.report.figures import draw_front

    band = model.range_ms() if config.target_ms is None else near(config.target_ms)
    steps = found.metrics[-1].steps
    scorer = Scorer(model, found.supernet, data, config, steps=steps, batches=BATCH_NORM_BATCHES, most_images=MOST_IMAGES)
    run = hashlib.sha256(config.decisive.encode()).hexdigest()[:16]
    explorer = Explorer(way, model, scorer, band, config.seed, folder / EXPLORED, run)
    start: tuple[float, int] | None = None
    with progress("explore") as [line], stopping_between_steps() as stop:

        def on_scored(done: int) -> None:
            nonlocal start
            start = start or (time.monotonic(), done)
            more = done - start[1]
            remaining = (time.monotonic() - start[0]) / more * (count - done) if more else None
            line.update(done, count, f"{band[0]:.4g} to {band[1]:.4g} ms", remaining)

        networks = explorer.explore(count, on_scored, stop)
    best = front(networks)
    write_front(model, best, folder)
    draw_front(networks, best, found.chosen.score, config.target_ms, folder / "front.png")
    note(
        f"Explored: {len(networks)} networks of {band[0]:.4g} to {band[1]:.4g} ms on {scorer.images} held-out images, "
        f"{len(best)} of them in the front, in {folder / 'front.csv'} and {folder / 'front.png'}"
    )
