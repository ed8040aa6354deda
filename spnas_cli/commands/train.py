"""`spnas train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import json_option
from spnas_cli.output import is_main_process, note, print_facts, print_json
from spnas_cli.runs import data_option, folder_option, training_options

if TYPE_CHECKING:
    from search.config import TrainingOptions
    from search.runs.run import TrainRun

SUPERNET = "supernet:"
NO_TOP5 = "no matter: five guesses are all that there are"


@click.command()
@click.argument("arch", metavar="ARCH")
@data_option
@click.option(
    "--resolution",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Height and width of the images. [default: the network's own, 224 for the zoo]",
)
@click.option(
    "--width",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Channels relative to the network as it is given.",
)
@click.option("--recipe", metavar="NAME|FILE", default="mnasnet", show_default=True, help="mnasnet, modern, or a YAML file.")
@click.option(
    "--init",
    metavar="supernet:RUN|FILE.pt",
    help="Where the first weights come from: the supernet of a search, or a trained network. [default: drawn at random]",
)
@folder_option
@training_options(epochs="the recipe's; on small data five times those of a search", learning_rate="the recipe's")
@json_option
def train(
    arch: str,
    data_name: str,
    resolution: int | None,
    width: float,
    recipe: str,
    init: str | None,
    folder: Path,
    training: TrainingOptions,
    as_json: bool,
) -> None:
    """Train a network by a recipe, from random weights or from those of a search.

    ARCH is an architecture file, a network of the zoo (mobilenet-v1, mobilenet-v2, mnasnet, proxylessnas-mobile, fbnet-b,
    single-path-nas), or the folder or network.pt of a run, of which only the layers count. The result is the moving average of
    the weights, in network.pt, with its accuracy on images that it was not trained on: those in `val`, or one in five by --seed.
    The folder of the run also holds the settings, metrics.csv, accuracy.csv, a checkpoint and a figure.

    With other --epochs, the whole schedule of the recipe is shrunk or stretched to them.

    \b
    Examples:
      spnas train run/architecture.json --data digits -o trained
      spnas train run/architecture.json --data path/to/images --init supernet:run --epochs 30 -o trained
      spnas train mobilenet-v2 --data path/to/imagenet --recipe modern --workers 8 --mixed-precision bf16 -o trained
    """
    from search.convnet.named import Size
    from spnas_cli import showing

    source = None if init is None else init.removeprefix(SUPERNET)
    size = Size(width, resolution)
    run = showing.train(arch, data_name, folder, recipe=recipe, init=source, size=size, options=training)
    if not is_main_process():
        return
    if as_json:
        print_json(run.result.model_dump(mode="json"))
    else:
        _show(run)


def _show(run: TrainRun) -> None:
    result, network = run.result, run.folder.network
    click.echo(f"Network trained, in {network}")
    print_facts(
        [
            ("top-1", f"{result.top1:.2%} on held-out images ({result.last_top1:.2%} before the weights are averaged)"),
            ("top-5", NO_TOP5 if result.top5 is None else f"{result.top5:.2%}"),
            ("origin", result.origin),
            ("figure", str(run.folder.figure("progress"))),
        ]
    )
    note(f"\nNext: spnas evaluate {network} --data {run.config.data}")
