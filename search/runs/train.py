"""The training of a network, from its name and a recipe to the folder it leaves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from profiling.files import require_folder
from search import processes
from search.config import DEFAULTS, TrainingOptions, configured
from search.convnet.inputs import load_images
from search.convnet.named import AS_GIVEN, WITH_LAYERS, WITH_WEIGHTS, Layers, Name, Size, find_layers, own_weights, resolve
from search.convnet.saved import FROM_SUPERNET, SavedNetwork, load_network
from search.convnet.torchvision_weights import TORCHVISION, downloaded, from_torchvision, state_in
from search.finding.doubts import TrainingFacts, chance, training_doubts
from search.images.data import Data
from search.listener import SILENT, Listener
from search.report.training_figure import draw_training
from search.results import TrainResult
from search.run_folder import RunFolder
from search.runs.images import counted, image_options, image_settings, told
from search.runs.run import TrainRun
from search.steps import TrainStep
from search.training.recipe import Recipe, TrainConfig, load_recipe
from search.training.train import Trained, Training, augmentation, sensible_training

RANDOM = "random"
RECIPE, RECIPE_FROM_OWN_WEIGHTS, RECIPE_FROM_SUPERNET = "mnasnet", "finetune", "from-supernet"


@dataclass(frozen=True)
class Plan:
    """How a network is to be trained.

    Attributes:
        recipe: name of a recipe that ships with spnas, or a YAML file; None for `finetune` where the training starts from the
            weights that the network comes with or torchvision's, for `from-supernet` where those were cut out of a supernet and
            not trained since, and for `mnasnet` otherwise.
        init: a trained network, or its run, whose weights the training starts from; `torchvision` for those that it downloads
            for this network of the zoo, or a file of them; `random`; or None for the weights that the network comes with, random
            ones where it has none.
        teacher: a trained network, or its run, that the network learns from besides the labels; None for none.
    """

    recipe: str | None = None
    init: Name | None = None
    teacher: Name | None = None


FROM_WHAT_THERE_IS = Plan()


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Attributes:
        layers: of the network.
        recipe: the default one from there.
        source: file of the initial weights, or `torchvision`; None for random ones.
        initial: the network with these weights.
    """

    layers: Layers
    recipe: str
    source: str | None = None
    initial: SavedNetwork | None = None


def train(
    network: Name,
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    plan: Plan = FROM_WHAT_THERE_IS,
    *,
    size: Size = AS_GIVEN,
    options: TrainingOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> TrainRun:
    """Trains a network by a recipe, and saves it with the record of the run in a folder.

    Args:
        network: an architecture, a network of the zoo, or a run or file. A search's folder, the `architecture.json` in it and a
            trained network come with weights.
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        folder: of the run; a run already in it is continued, unless the options say otherwise.
        plan: recipe, initial weights and teacher.
        size: width and resolution of the network; in another size than its own it comes without weights.
        options: of the training.
        listener: follows the progress, and may stop it.

    Raises:
        InputError: one of these cannot be used, or the folder contains something else.
        TrainingError: the loss is no longer finite, or there is not enough memory.
        KeyboardInterrupt: the listener stopped it; the next call continues from there.
    """
    data, run = os.fspath(data), RunFolder(folder)
    processes.from_main(lambda: require_folder(run.path))
    _, named = resolve(network, WITH_LAYERS)
    begun = processes.from_main(lambda: run.read_config(TrainConfig)) if options.resume else None
    start = _start_of(named, size, plan, begun, listener)
    layers, initial = start.layers, start.initial
    chosen = load_recipe(plan.recipe or start.recipe)
    teaching = None if plan.teacher is None else _file_of(plan.teacher)
    teacher = None if teaching is None else load_network(teaching)
    light = chosen.augmentation.light
    change, using = augmentation(chosen.augmentation), image_options(data, options, begun, light=light)
    load = partial(load_images, layers, data, options.seed, change, using, listener.look)
    images = told(listener, lambda: processes.one_first(load)).framed(using.framing or (initial.framing if initial else "crop"))
    files = {
        "network": named,
        "init": start.source,
        "teacher": teaching and str(teaching),
        "teacher_digest": teaching and hashlib.sha256(teaching.read_bytes()).hexdigest()[:16],
        "data": data,
    }
    trained_for = options.precision or (begun and begun.trained_for) or (initial.trained_for if initial else "fp32")
    config = _config(chosen, images, options, {**files, **image_settings(data, images, begun), "trained_for": trained_for})
    with processes.on_main(run.held()):
        processes.from_main(lambda: run.prepare(options.resume))
        training = Training(layers, images, config, run, initial, teacher)
        processes.from_main(lambda: run.write_config(config.to_yaml()))
        listener.note(_start(config, initial, images))
        trained = _train(training, images, config, listener)
        result = _result(trained, config, images)
        if processes.index() == 0:
            _leave(trained, result, run)
    return TrainRun(run, config, result)


def _config(recipe: Recipe, images: Data, options: TrainingOptions, others: Mapping[str, Any]) -> TrainConfig:
    settings = options.settings(*sensible_training(recipe, images.train_images, options.batch_size))
    adapted = recipe.adapted(settings["epochs"], options.learning_rate)
    return configured(TrainConfig, {**dict(adapted), **settings, **others})


def _source(network: str, layers: Layers, plan: Plan, begun: TrainConfig | None) -> str | None:
    """The file of the initial weights, or `torchvision`; None for random ones."""
    if plan.init == RANDOM:
        return None
    if plan.init is not None:
        return TORCHVISION if plan.init == TORCHVISION else str(_file_of(plan.init))
    if begun is not None and begun.init is None:
        # What was begun goes on as it was: earlier versions started from random weights.
        return None
    # Its weights are of the size that it is given in.
    own = own_weights(network) if find_layers(network) == layers else None
    return None if own is None else str(own)


def _start_of(network: str, size: Size, plan: Plan, begun: TrainConfig | None, listener: Listener) -> Start:
    layers = find_layers(network, size)
    source = _source(network, layers, plan, begun)
    if source is None:
        return Start(layers, RECIPE)
    if source == TORCHVISION:
        listener.note(f"Weights of torchvision's {network}, downloaded if they are not in its cache …")
    weights = downloaded(network, size.width) if source == TORCHVISION else state_in(Path(source))
    if weights is None:
        initial = load_network(Path(source))
        return Start(layers, _recipe_from(initial, plan, begun), source, initial)
    initial = from_torchvision(network, size, weights)
    return Start(initial.layers, RECIPE_FROM_OWN_WEIGHTS, source, initial)


def _recipe_from(initial: SavedNetwork, plan: Plan, begun: TrainConfig | None) -> str:
    if plan.init is not None:
        return RECIPE
    # What was begun goes on as it was: earlier versions had one recipe for both.
    as_before = begun is not None and begun.recipe == RECIPE_FROM_OWN_WEIGHTS
    return RECIPE_FROM_SUPERNET if initial.origin == FROM_SUPERNET and not as_before else RECIPE_FROM_OWN_WEIGHTS


def _file_of(name: Name) -> Path:
    return Path(resolve(name, WITH_WEIGHTS)[1])


def _start(config: TrainConfig, initial: SavedNetwork | None, images: Data) -> str:
    """What a training starts from, in a line."""
    if initial is None:
        text = "Starting from random weights"
    else:
        text = f"Starting from the weights in {config.init}" + ("" if initial.top1 is None else f" (top-1 {initial.top1:.2%})")
    text += f", by the recipe {config.recipe}" + ("" if config.teacher is None else f", with the teacher {config.teacher}")
    if config.trained_for == "int8":
        text += "; it trains for int8, with the rounding of an int8 file, which takes about twice the time"
    if initial is not None and initial.classes != images.classes:
        text += "; the data has other classes than the weights, so the classifier starts from random ones: more --epochs may help"
    return text + "."


def _result(trained: Trained, config: TrainConfig, images: Data) -> TrainResult:
    last = trained.evaluations[-1]
    facts = TrainingFacts(last.top1, images.held_out_images, [step.loss for step in trained.steps], images, config)
    return TrainResult(
        network=config.network,
        origin=trained.saved.origin,
        epochs=last.epoch,
        top1=last.top1,
        top5=last.top5,
        last_top1=last.last_top1,
        last_top5=last.last_top5,
        held_out_images=images.held_out_images,
        chance=chance(images),
        doubts=tuple(training_doubts(facts)),
    )


def _leave(trained: Trained, result: TrainResult, run: RunFolder) -> None:
    trained.saved.save(run.network)
    draw_training(trained.steps, trained.evaluations, run.figure("progress"))
    run.write_result(result.model_dump(mode="json"))


def _train(training: Training, images: Data, config: TrainConfig, listener: Listener) -> Trained:
    for line in images.notes:
        listener.note(line)
    listener.note(
        f"{counted(images)}; "
        f"{config.epochs} epochs, {training.steps} steps of {config.batch_size}"
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
    if (last := trained.evaluations[-1]).step < training.steps:
        better = f"for {config.patience} evaluations none was better on the held-out images"
        listener.note(f"Ended after epoch {last.epoch} of {config.epochs}: {better}, which were looked at for this.")
    return trained
