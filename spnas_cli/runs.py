"""What the commands that train and use networks share: their options, and the record of the command beside its results."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from search.images.framing import FRAMINGS
from search.images.options import MOVES
from spnas_cli.options import Count, Number, Seed
from spnas_cli.output import is_main_process, typed_words

if TYPE_CHECKING:
    from search.images.framing import Framing
    from search.paired import Paired

F = TypeVar("F", bound=Callable[..., Any])

DATA_HELP = (
    "digits, fashion-mnist or cifar10; a folder with one folder of images per class, optionally inside `train`, `val` and "
    "`test`; or WebDataset shards: a folder of .tar files, or a pattern such as train-{000..099}.tar."
)
data_option = click.option("--data", "data_name", metavar="NAME|FOLDER", required=True, help=DATA_HELP)

held_out_seed_option = click.option(
    "--seed",
    type=Seed(),
    default=0,
    show_default=True,
    help="As in training: decides which images of a folder without `val` are held out.",
)

skip_option = click.option(
    "--skip-unreadable",
    type=Count(0, 10**6),
    default=0,
    show_default=True,
    metavar="IMAGES",
    help="Leave out up to so many images that cannot be read. All images are decoded once to find them.",
)

folder_option = click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    required=True,
    help="Folder for the run.",
)

workers_option = click.option(
    "--workers",
    type=Count(0, 256),
    default=0,
    show_default=True,
    help="Processes that load images; 0 loads them in the main process.",
)


augment_option = click.option(
    "--augment",
    type=click.Choice(MOVES),
    help="How training images are moved: not at all, shifted by up to an eighth, cropped at random, cropped and mirrored, or "
    "cropped lightly, to at least half of their area, for few images. Letters, digits, signs and whatever tells left from right "
    "must not be mirrored. [default: by their size, and the first lines say which]",
)


mixed_precision_option = click.option(
    "--mixed-precision",
    type=click.Choice(["no", "bf16"]),
    default="no",
    show_default=True,
    help="Mixed precision on a GPU.",
)


def framing_option(default: str) -> Callable[[F], F]:
    """`--framing`, whose help states this default."""
    return click.option(
        "--framing",
        type=click.Choice(FRAMINGS),
        help="What of a held-out photo the network is given: the square in its centre, or the whole photo made square, as "
        f"MediaPipe does by default. [default: {default}]",
    )


def training_options(*, epochs: str, learning_rate: str, precision: str) -> Callable[[F], F]:
    """The options of a command that trains, handed to it as one `TrainingOptions`; their help states these defaults."""
    options = (
        click.option("--epochs", type=Count(1, 10**6), help=f"Passes over the images. [default: {epochs}]"),
        click.option(
            "--batch-size", type=Count(2, 2**20), metavar="IMAGES", help="Images per step. [default: 1024, fewer on small data]"
        ),
        click.option(
            "--accumulate",
            type=Count(1, 2**20),
            default=1,
            show_default=True,
            metavar="N",
            help="Split each batch into N micro-batches to save memory; batch norm uses one micro-batch.",
        ),
        click.option(
            "--learning-rate",
            type=Number(0, 1000, above=True),
            metavar="RATE",
            help=f"Learning rate for 256 images per step; scaled with the batch size. [default: {learning_rate}]",
        ),
        click.option(
            "--seed",
            type=Seed(),
            default=0,
            show_default=True,
            help="Seed for weights, image order, augmentation, dropout and the held-out images of a folder without `val`.",
        ),
        augment_option,
        framing_option("that of the weights a training starts from, otherwise crop"),
        skip_option,
        workers_option,
        mixed_precision_option,
        click.option(
            "--precision",
            type=click.Choice(["fp32", "int8"]),
            help="What the network is trained for. With int8 it trains with the rounding of an int8 file (quantization-aware "
            f"training), at about twice the time. [default: {precision}]",
        ),
        click.option(
            "--track",
            type=click.Choice(["tensorboard", "wandb", "mlflow"]),
            help="Also send the metrics to this tracker, which must be installed. [default: metrics.csv only]",
        ),
        click.option("--resume", is_flag=True, help="Continue the run in this folder, or start it if there is none."),
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


def framing_facts(framing: Framing, centre_crop: float, framings: Paired | None) -> list[tuple[str, str]]:
    """Lines on the framing of images, and on what the other one costs (`framings`); none where they do not differ."""
    from search.images.framing import in_words

    if framings is None:
        return []
    low, high = framings.drop_interval
    lower = f"{framings.second:.2%} instead of {framings.first:.2%} on {framings.images} images"
    interval = f"{0 - framings.drop:+.2f} points, 95 % interval {-high:+.2f} to {-low:+.2f}"
    other = "if cropped" if framing == "stretch" else "if stretched"
    return [("framing", f"{framing} ({in_words(framing, centre_crop)})"), (other, f"top-1 {lower} ({interval})")]


def framing_json(framing: Framing, framings: Paired | None) -> dict[str, Any]:
    """The same for machines."""
    from search.runs.framing import other_than

    by_framing = framings and {framing: framings.first, other_than(framing): framings.second}
    return {"framing": framing, "top1_by_framing": by_framing, "framing_images": framings and framings.images}


def write_command(folder: str | os.PathLike[str], *, again: bool = False) -> None:
    """Saves the command as it was typed beside its results, for `spnas report`; does nothing when called from Python code.

    Args:
        folder: of the results.
        again: whether it may continue what earlier commands did there, which are kept then.
    """
    from search.run_folder import RunFolder

    words = typed_words()
    if words is not None and is_main_process():
        run = RunFolder(folder)
        (run.add_command if again else run.write_command)(words)
