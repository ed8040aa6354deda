"""What the commands that train and use networks have in common: their options, and the command kept beside its results."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from spnas_cli.output import is_main_process

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
    """The options of a command that trains, handed to it as one `TrainingOptions`; says these defaults."""
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

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def with_training(**given: Any) -> Any:
            from search.config import TrainingOptions

            training = TrainingOptions(**{name: given.pop(name) for name in TrainingOptions.__dataclass_fields__})
            return command(training=training, **given)

        for option in reversed(options):
            with_training = option(with_training)
        return with_training  # type: ignore[return-value]

    return decorate


def write_command(folder: str | os.PathLike[str]) -> None:
    """Keeps the command as it was typed beside its results, for `spnas report`; where Python code called, there is none."""
    from search.run_folder import RunFolder

    if click.get_current_context(silent=True) is not None and is_main_process():
        RunFolder(folder).write_command(["spnas", *sys.argv[1:]])
