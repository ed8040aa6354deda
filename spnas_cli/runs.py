"""What the commands that train have in common: their options, the folder of a run, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from search.config import TrainingConfig

F = TypeVar("F", bound=Callable[..., Any])

TRAINING_OPTIONS = (
    click.option("--epochs", type=click.IntRange(1), help="Passes over the images. [default: 8, more on small data]"),
    click.option("--batch-size", type=click.IntRange(2), help="Images a step. [default: 1024, fewer on small data]"),
    click.option(
        "--accumulate",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Parts that a step's images are computed in, one after the other, to need less memory; batch norm sees one part.",
    ),
    click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="For 256 images a step. [default: 0.016]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, order, augmentation and dropout."),
    click.option(
        "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that load images; 0 loads in this one."
    ),
    click.option("--mixed-precision", type=click.Choice(["no", "bf16"]), default="no", show_default=True, help="On a GPU."),
    click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped; begin it when there is none."),
)


def training_options(command: F) -> F:
    """Adds the options of every training to a command, in their order."""
    for option in reversed(TRAINING_OPTIONS):
        command = option(command)
    return command


def prepare_folder(folder: Path, config: TrainingConfig, resume: bool) -> None:
    """Makes the folder of a run and writes its settings into it.

    Raises:
        InputError: it holds something and is not to be resumed, or cannot be written.
    """
    from profiling.errors import InputError

    if folder.exists() and any(folder.iterdir()) and not resume:
        raise InputError(
            "the folder is not empty", where=str(folder), hint="add --resume to go on with its run, or name another one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=str(folder)) from error


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
