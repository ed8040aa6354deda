"""`spnas train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.next_steps import next_commands, note_next
from spnas_cli.options import MOST_PIXELS, MOST_WIDTH, Count, Number, json_option
from spnas_cli.output import is_main_process, print_doubts, print_facts, print_json, printable
from spnas_cli.runs import data_option, folder_option, training_options

if TYPE_CHECKING:
    from search.config import TrainingOptions
    from search.runs.run import TrainRun

SUPERNET = "supernet:"


@click.command()
@click.argument("network", metavar="NETWORK")
@data_option
@click.option(
    "--resolution",
    type=Count(1, MOST_PIXELS),
    metavar="PIXELS",
    help="Height and width of the images. [default: the network's own, 224 for the zoo]",
)
@click.option(
    "--width",
    type=Number(0, MOST_WIDTH, above=True),
    metavar="FACTOR",
    default=1.0,
    show_default=True,
    help="Width multiplier for the network.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="few-images, finetune, from-supernet, mnasnet, modern, or a YAML file. [default: finetune if the training starts from "
    "NETWORK's own weights or torchvision's, from-supernet if those were cut out of a supernet, otherwise mnasnet]",
)
@click.option(
    "--init",
    metavar="random|torchvision|NETWORK|FILE",
    help="Initial weights: random, those of a search or of a trained network, or torchvision's for mobilenet-v2 and mnasnet: "
    "downloaded (torchvision), or in a file of its own (.pth). [default: NETWORK's own, random if it has none]",
)
@click.option(
    "--teacher",
    metavar="NETWORK",
    help="Distil this trained network: learn its outputs as well as the labels, both alike unless the recipe's `distillation` "
    "says otherwise (weight, temperature). It must know the same classes; images are resized to its resolution.",
)
@folder_option
@training_options(
    epochs="the recipe's; on small data five times those of a search (finetune: an eighth)",
    learning_rate="the recipe's",
    precision="that of the weights the training starts from, otherwise fp32",
)
@json_option
def train(
    network: str,
    data_name: str,
    resolution: int | None,
    width: float,
    recipe: str | None,
    init: str | None,
    teacher: str | None,
    folder: Path,
    training: TrainingOptions,
    as_json: bool,
) -> None:
    """Train a network by a recipe, from random or given weights.

    NETWORK is the folder or network.pt of a run, an architecture file, or a network of the zoo (mobilenet-v1, mobilenet-v2,
    mobilenet-v3-large, mobilenet-v4-conv-small, mnasnet, proxylessnas-mobile, fbnet-b, efficientnet-lite0, single-path-nas). A
    run's folder, the network.pt in it and the architecture.json that a search left there come with weights: the training starts
    from them, unless --width or --resolution changes the network. The trained network, with the moving average of its weights, is
    saved in network.pt. Its accuracy is measured on held-out images: those in `val`, or 20 % chosen by --seed. The run's folder
    also contains the settings, metrics.csv, accuracy.csv, a checkpoint and a figure.

    --epochs shortens or stretches the recipe's whole schedule. The recipe few-images is for a few hundred images and weights of
    another task: the classifier learns alone at first, crops are light, and the training ends when it no longer helps.

    \b
    Examples:
      spnas train run --data digits -o trained
      spnas train run --data path/to/images --init random --epochs 30 -o from-scratch
      spnas train mobilenet-v2 --init torchvision --recipe few-images --data path/to/images -o photos
      spnas train run --data path/to/images --teacher larger-run -o distilled
      spnas train mobilenet-v2 --data path/to/imagenet --recipe modern --workers 8 --mixed-precision bf16 -o trained
    """
    from search.convnet.named import Size
    from spnas_cli import showing

    source = None if init is None else init.removeprefix(SUPERNET)
    size = Size(width, resolution)
    run = showing.train(network, data_name, folder, recipe=recipe, init=source, teacher=teacher, size=size, options=training)
    if not is_main_process():
        return
    if as_json:
        print_json(run.result.model_dump(mode="json"))
    else:
        _show(run)


def _show(run: TrainRun) -> None:
    result, network = run.result, run.folder.network
    print_doubts(result.doubts)
    click.echo(f"Network trained, in {printable(network)}")
    print_facts(
        [
            *result.facts,
            ("figure", str(run.folder.figure("progress"))),
        ]
    )
    note_next(*next_commands(run))
