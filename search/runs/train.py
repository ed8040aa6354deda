"""The training of a network, from its name and a recipe to the folder it leaves."""

from __future__ import annotations

import os
from pathlib import Path

from search import processes
from search.config import DEFAULTS, TrainingOptions, configured
from search.convnet.inputs import load_images
from search.convnet.named import AS_GIVEN, WITH_LAYERS, WITH_WEIGHTS, Name, Size, find_layers, resolve
from search.convnet.saved import load_network
from search.images.data import Data
from search.listener import SILENT, Listener
from search.report.training_figure import draw_training
from search.run_folder import RunFolder
from search.runs.run import TrainResult, TrainRun
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Trained, Training, TrainStep, augmentation, sensible_training


def train(
    network: Name,
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    recipe: str = "mnasnet",
    init: Name | None = None,
    size: Size = AS_GIVEN,
    options: TrainingOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> TrainRun:
    """Trains a network by a recipe, and saves it with the record of the run in a folder.

    Args:
        network: an architecture, a network of the zoo, or a run or file, of which only the layers are used.
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        folder: of the run; a run already in it is continued, unless the options say otherwise.
        recipe: name of a recipe that ships with spnas, or a YAML file.
        init: a trained network, or its run, whose weights the training starts from; None for random weights.
        size: width and resolution of the network.
        options: of the training.
        listener: follows the progress, and may stop it.

    Raises:
        InputError: one of these cannot be used, or the folder contains something else.
        TrainingError: the loss is no longer finite, or there is not enough memory.
        KeyboardInterrupt: the listener stopped it; the next call continues from there.
    """
    _, named = resolve(network, WITH_LAYERS)
    layers, chosen = find_layers(named, size), load_recipe(recipe)
    source = None if init is None else Path(resolve(init, WITH_WEIGHTS)[1])
    initial = None if source is None else load_network(source)
    data, run = os.fspath(data), RunFolder(folder)
    images = processes.one_first(lambda: load_images(layers, data, options.seed, augmentation(chosen.augmentation)))
    settings = options.settings(*sensible_training(chosen, images.train_images, options.batch_size))
    config = configured(
        TrainConfig,
        {
            **dict(chosen.adapted(settings["epochs"], options.learning_rate)),
            **settings,
            "network": named,
            "init": None if source is None else str(source),
            "data": data,
        },
    )
    processes.from_main(lambda: run.prepare(options.resume))
    training = Training(layers, images, config, run, initial)
    processes.from_main(lambda: run.write_config(config.to_yaml()))
    trained = _train(training, images, config, listener)
    result = _result(trained, config)
    if processes.index() == 0:
        trained.saved.save(run.network)
        draw_training(trained.steps, trained.evaluations, run.figure("progress"))
        run.write_result(result.model_dump(mode="json"))
    return TrainRun(run, config, result)


def _result(trained: Trained, config: TrainConfig) -> TrainResult:
    last = trained.evaluations[-1]
    return TrainResult(
        network=config.network,
        origin=trained.saved.origin,
        epochs=config.epochs,
        top1=last.top1,
        top5=last.top5,
        last_top1=last.last_top1,
        last_top5=last.last_top5,
    )


def _train(training: Training, images: Data, config: TrainConfig, listener: Listener) -> Trained:
    listener.note(
        f"{images.train_images} training and {images.held_out_images} held-out images in {len(images.classes)} classes; "
        f"{config.epochs} epochs by the recipe {config.recipe}, {training.steps} steps of {config.batch_size}"
        + (f"; from step {training.resumed_at}" if training.resumed_at else "")
    )

    def on_step(step: TrainStep) -> None:
        listener.step(step)
        text = f"loss {step.loss:.3f}, learning rate {step.learning_rate:.2g}"
        if training.evaluations:
            text += f", top-1 {training.evaluations[-1].top1:.2%} after epoch {training.evaluations[-1].epoch}"
        listener.progress(step.step, step.steps, text)

    listener.begin(training.resumed_at, training.steps)
    trained = training.run(on_step, listener.stop)
    listener.end()
    return trained
