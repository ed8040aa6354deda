"""`spnas train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import json_option
from spnas_cli.output import is_main_process, note, print_facts, print_json
from spnas_cli.runs import (
    data_option,
    folder_option,
    prepare_folder,
    showing_progress,
    stopping_between_steps,
    training_options,
    write_config,
    write_result,
)

if TYPE_CHECKING:
    from search.config import Tracker
    from search.images.data import Data
    from search.training.recipe import TrainConfig
    from search.training.train import TrainStep, Trained, Training

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
    epochs: int | None,
    batch_size: int | None,
    accumulate: int,
    learning_rate: float | None,
    seed: int,
    workers: int,
    mixed_precision: str,
    track: Tracker | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a network by a recipe, from random weights or from those of a search.

    ARCH is an architecture file, a network of the zoo (mobilenet-v1, mobilenet-v2, mnasnet, proxylessnas-mobile, fbnet-b,
    single-path-nas), or the network.pt of a run, of which only the layers count. The result is the moving average of the weights,
    in network.pt, with its accuracy on images that it was not trained on: those in `val`, or one in five by --seed. The folder of
    the run also holds the settings, metrics.csv, accuracy.csv, a checkpoint and a figure.

    With other --epochs, the whole schedule of the recipe is shrunk or stretched to them.

    \b
    Examples:
      spnas train run/architecture.json --data digits -o trained
      spnas train run/architecture.json --data path/to/images --init supernet:run --epochs 30 -o trained
      spnas train mobilenet-v2 --data path/to/imagenet --recipe modern --workers 8 --mixed-precision bf16 -o trained
    """
    from search import processes
    from search.convnet.named import load_images, load_layers
    from search.convnet.saved import load_network
    from search.training.recipe import TrainConfig, load_recipe
    from search.training.train import Training, augmentation, sensible_training

    layers = load_layers(arch, width=width, resolution=resolution)
    chosen = load_recipe(recipe)
    source = None if init is None else _source(init)
    initial = None if source is None else load_network(source)
    data = processes.one_first(lambda: load_images(layers, data_name, seed, augmentation(chosen.augmentation)))
    sensible_batch, sensible_epochs = sensible_training(chosen, data.train_images, batch_size)
    config = TrainConfig(
        **dict(chosen.adapted(epochs or sensible_epochs, learning_rate)),
        network=arch,
        init=None if source is None else str(source),
        data=data_name,
        batch_size=sensible_batch,
        accumulate=accumulate,
        seed=seed,
        workers=workers,
        precision=mixed_precision,
        track=track,
    )
    processes.from_main(lambda: prepare_folder(folder, resume))
    training = Training(layers, data, config, folder, initial)
    processes.from_main(lambda: write_config(config, folder))
    trained = _train(training, data, config)
    if is_main_process():
        _leave(trained, folder)
        _show(trained, config, folder, as_json)


def _source(init: str) -> Path:
    """The file of the first weights."""
    return Path(init.removeprefix(SUPERNET)) / "network.pt" if init.startswith(SUPERNET) else Path(init)


def _train(training: Training, data: Data, config: TrainConfig) -> Trained:
    note(
        f"{data.train_images} training and {data.held_out_images} held-out images in {len(data.classes)} classes; "
        f"{config.epochs} epochs by the recipe {config.recipe}, {training.steps} steps of {config.batch_size}"
        + (f"; from step {training.resumed_at}" if training.resumed_at else "")
    )
    with showing_progress("train", training.resumed_at) as show, stopping_between_steps() as stop:

        def on_step(step: TrainStep) -> None:
            text = f"loss {step.loss:.3f}, learning rate {step.learning_rate:.2g}"
            if training.evaluations:
                text += f", top-1 {training.evaluations[-1].top1:.2%} after epoch {training.evaluations[-1].epoch}"
            show(step.step, step.steps, text)

        return training.run(on_step, stop)


def _leave(trained: Trained, folder: Path) -> None:
    from search.report.training_figure import draw_training

    trained.saved.save(folder / "network.pt")
    draw_training(trained.steps, trained.evaluations, folder / "progress.png")


def _show(trained: Trained, config: TrainConfig, folder: Path, as_json: bool) -> None:
    last = trained.evaluations[-1]
    result = {
        "network": config.network,
        "origin": trained.saved.origin,
        "epochs": config.epochs,
        "top1": last.top1,
        "top5": last.top5,
        "last_top1": last.last_top1,
        "last_top5": last.last_top5,
    }
    write_result(folder, result)
    if as_json:
        print_json(result)
        return
    click.echo(f"Network trained, in {folder / 'network.pt'}")
    print_facts(
        [
            ("top-1", f"{last.top1:.2%} on held-out images ({last.last_top1:.2%} before the weights are averaged)"),
            ("top-5", NO_TOP5 if last.top5 is None else f"{last.top5:.2%}"),
            ("origin", trained.saved.origin),
            ("figure", str(folder / "progress.png")),
        ]
    )
    note(f"\nNext: spnas evaluate {folder / 'network.pt'} --data {config.data}")
