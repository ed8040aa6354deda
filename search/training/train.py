"""The training of a stand-alone network by a recipe."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from profiling.errors import InputError
from profiling.layers import LayerSpec
from search import checkpoint, processes
from search.config import sensible_schedule
from search.convnet.batch_norm import BN_MOMENTUM, BatchDropout, BatchNorm
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork, require_layers
from search.fitting import fitting_records
from search.images.batches import channels_last, held_out_batches, on_device
from search.images.data import Data
from search.images.vision import transforms
from search.run_folder import RunFolder
from search.steps import Evaluation, TrainStep
from search.training.accuracy import accuracies
from search.training.average import average_decay, averaged_model
from search.training.distillation import Teacher
from search.training.engine import Engine, Stateful, write_metrics
from search.training.optimizers import make_optimizer, set_learning_rate
from search.training.recipe import Augmentation, Recipe, TrainConfig
from search.training.simulated_int8 import SimulatedInt8

# Accuracy is measured after every epoch; in a long run, after every few.
EVALUATIONS = 100
# On fewer training images than this, hundreds of epochs are not worth their time: a network is trained for this many times the
# epochs of a search.
SMALL_DATA = 100_000
SEARCHES = 5
CLASSIFIER = ".classifier."  # in the names of its weights


class Evaluations(list[Evaluation]):
    """All evaluations of a run, as a part of its checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"evaluations": [vars(evaluation) for evaluation in self]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a checkpoint."""
        self[:] = fitting_records(Evaluation, state["evaluations"])


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        saved: the network with its averaged weights, ready to be written to a file.
        steps: every step that was kept.
        evaluations: in the order of the epochs.
    """

    saved: SavedNetwork
    steps: tuple[TrainStep, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def top1(self) -> float:
        """Its accuracy on the held-out images, 0 to 1."""
        return self.evaluations[-1].top1

    @property
    def top5(self) -> float | None:
        """The same for five guesses; None for five classes or fewer."""
        return self.evaluations[-1].top5


class Training:
    """One training in one folder.

    Args:
        layers: from stem to head; None where a layer is skipped. The classifier gets the classes of the data.
        data: images, augmented as the recipe says (`augmentation`).
        config: settings.
        folder: of the run; must exist.
        initial: the network with the initial weights, by default random ones. If its classes differ, its
            classifier is left out.
        teacher: a network that it learns from as well.

    Raises:
        InputError: there are fewer images than one batch holds, `initial` is another network, `teacher` knows other classes or
            takes other images, or the folder holds a checkpoint of something else.
    """

    def __init__(
        self,
        layers: Sequence[LayerSpec | None],
        data: Data,
        config: TrainConfig,
        folder: RunFolder,
        initial: SavedNetwork | None = None,
        teacher: SavedNetwork | None = None,
    ) -> None:
        self._layers, self._data, self._config, self._folder, self._initial = tuple(layers), data, config, folder, initial
        self._engine = engine = Engine[TrainStep](data, config, folder)
        torch.manual_seed(config.seed)
        self._network = Network(layers, len(data.classes))
        self._frozen_steps = round(config.freeze * engine.steps)
        if initial is not None:
            self._start_from(initial)
        elif self._frozen_steps:
            hint = "--init torchvision, RUN or FILE.pt; or another --recipe"
            raise InputError("its first steps train the classifier alone, so it needs weights", where=config.recipe, hint=hint)
        self._network.to(engine.device)
        self._int8 = SimulatedInt8(self._network) if config.trained_for == "int8" else None
        for module in self._network.modules():
            if isinstance(module, BatchDropout):
                module.p = config.dropout
        self._norms = [module for module in self._network.modules() if isinstance(module, BatchNorm)]
        self._teacher = None if teacher is None else self._ask(teacher)
        self._mix = mixture(config.augmentation, len(data.classes))
        self._optimizer = make_optimizer(config.optimizer, self._network.parameters(), config.rate_at(0), config.weight_decay)
        self._average = averaged_model(self._network, config.average_decay)
        self._evaluations = Evaluations()
        self._evaluate_every = math.ceil(config.epochs / EVALUATIONS)
        parts: dict[str, Stateful] = {
            "weights": self._network,
            "optimizer": self._optimizer,
            "average": self._average,
            "evaluations": self._evaluations,
        }
        engine.resume(parts, self._identity(), TrainStep)
        with checkpoint.fitting(folder.checkpoint):
            self._require_in_step()

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self._engine.steps

    @property
    def resumed_at(self) -> int:
        """The current step of the run; 0 at the beginning."""
        return self._engine.step

    @property
    def evaluations(self) -> Sequence[Evaluation]:
        """Those made so far."""
        return self._evaluations

    def run(self, on_step: Callable[[TrainStep], None], stop: Callable[[], bool] = lambda: False) -> Trained:
        """Trains from the current step to the end. Arguments and errors as for `Engine.run`."""
        self._engine.run(self._train_step, on_step, stop, self._is_enough)
        self._write_accuracy()
        saved = SavedNetwork(
            name=self._config.network,
            layers=self._layers,
            classes=self._data.classes,
            state=self._average.module.state_dict(),
            top1=self._evaluations[-1].top1,
            origin=self._origin,
            framing=self._data.framing,
            centre_crop=self._data.centre_crop,
            trained_for=self._config.trained_for,
        )
        return Trained(saved, tuple(self._engine.metrics), tuple(self._evaluations))

    def _require_in_step(self) -> None:
        """Checks that evaluations and average are those of the present step.

        Raises:
            ValueError: they are not.
        """
        engine = self._engine
        evaluated = [step for step in range(1, engine.step + 1) if self._is_evaluated(step)]
        if [evaluation.step for evaluation in self._evaluations] != evaluated:
            raise ValueError(f"the evaluations are not those of the first {engine.step} steps")
        if int(self._average.n_averaged) != engine.step:
            raise ValueError(f"the average is of {int(self._average.n_averaged)} steps, not of {engine.step}")

    def _is_evaluated(self, step: int) -> bool:
        epoch, remainder = divmod(step, self._engine.steps_per_epoch)
        return remainder == 0 and (epoch % self._evaluate_every == 0 or step == self._engine.steps)

    def _is_enough(self) -> bool:
        """Whether so many evaluations in a row were no better than an earlier one; none counts while weights are frozen."""
        patience = self._config.patience
        counted = [each.top1 for each in self._evaluations if each.step > self._frozen_steps]
        return 0 < patience < len(counted) and max(counted[-patience:]) <= max(counted[:-patience])

    def _freeze(self, frozen: bool) -> None:
        """Lets all weights learn, or the classifier alone; then batch norm keeps what it is too."""
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(not frozen or CLASSIFIER in name)
        for norm in self._norms:
            norm.train(not frozen)

    def _train_step(self, images: Tensor, labels: Tensor) -> TrainStep:
        engine = self._engine
        rate = self._config.rate_at(engine.step / engine.steps_per_epoch)
        set_learning_rate(self._optimizer, rate)

        self._network.train()
        if self._frozen_steps:
            self._freeze(engine.step < self._frozen_steps)
        for norm in self._norms:
            # The statistics of a short run would otherwise be those of its initial weights.
            norm.momentum = 1 - average_decay(1 - BN_MOMENTUM, engine.step)
        loss = engine.backward(self._loss, images, labels)
        self._optimizer.step()
        self._average.update_parameters(self._network)

        step = engine.step + 1
        if self._is_evaluated(step):
            self._evaluations.append(self._evaluate(step // engine.steps_per_epoch, step))
            if self._folder.metrics.exists():  # as of the first checkpoint, for those who follow the run
                self._write_accuracy()
        return TrainStep(step, engine.steps, loss, rate)

    def _write_accuracy(self) -> None:
        if processes.index() == 0:
            write_metrics(self._evaluations, self._folder.accuracy)

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = self._mix(images, labels)
        images = channels_last(images)
        logits = self._network(images) if self._int8 is None else self._int8(images)
        loss = cross_entropy(logits.float(), labels, label_smoothing=self._config.label_smoothing)
        if self._teacher is not None:
            loss = self._teacher.teach(loss, logits, images)
        return loss, loss

    def _evaluate(self, epoch: int, step: int) -> Evaluation:
        batches = held_out_batches(self._data, self._config.batch_size, self._config.workers)
        networks = [self._average.module, self._network]
        average, last = accuracies(networks, on_device(batches, self._engine.device), len(self._data.classes))
        return Evaluation(epoch, step, average.top1, average.top5, last.top1, last.top5)

    def _start_from(self, initial: SavedNetwork) -> None:
        require_layers(initial, [layer for layer in self._layers if layer is not None], Path(self._config.init or initial.name))
        same_classes = initial.classes == self._data.classes
        state = {name: weights for name, weights in initial.state.items() if same_classes or CLASSIFIER not in name}
        self._network.load_state_dict(state, strict=same_classes)

    def _ask(self, teacher: SavedNetwork) -> Teacher:
        stem = next(layer for layer in self._layers if layer is not None)
        config, device = self._config, self._engine.device
        return Teacher(teacher, stem, self._data.classes, config.distillation, device, config.teacher or teacher.name)

    @property
    def _origin(self) -> str:
        """Where the network's weights come from, in words."""
        config = self._config
        text = f"trained for {self._evaluations[-1].epoch} epochs on {config.data} by the recipe {config.recipe}"
        if config.teacher is not None:
            text += f" with the teacher {config.teacher}"
        if config.trained_for == "int8":
            text += ", for int8"
        return f"{text}, starting from: {self._initial.origin}" if self._initial else text

    def _identity(self) -> dict[str, str]:
        data = self._data
        keys = "\n".join(layer.key if layer else "" for layer in self._layers)
        # Readable names may have been given to the classes since.
        classes = hashlib.sha256("\n".join(data.class_keys or data.classes).encode()).hexdigest()[:16]
        taught = {} if self._config.teacher_digest is None else {"teacher": self._config.teacher_digest}
        return taught | {
            "network": hashlib.sha256(keys.encode()).hexdigest()[:16],
            "data": f"{data.train_images} training and {data.held_out_images} held-out images in the classes {classes}",
        }


def augmentation(settings: Augmentation) -> Callable[[Tensor], Tensor] | None:
    """The augmentation of one 8-bit training image (channels, height, width), for `load_data`; None if there is none."""
    steps: list[nn.Module] = []
    if settings.operations:
        steps.append(transforms.RandAugment(settings.operations, settings.magnitude))
    if settings.erasing:
        steps.append(transforms.RandomErasing(settings.erasing, value=127))
    return transforms.Compose(steps) if steps else None


def mixture(settings: Augmentation, classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The augmentation of a batch of images (batch, channels, height, width) and their labels (batch,).

    Where images are mixed, labels become shares of the classes (batch, classes).
    """
    kinds = ((transforms.MixUp, settings.mixup), (transforms.CutMix, settings.cutmix))
    mixtures = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha]
    return transforms.RandomChoice(mixtures) if mixtures else lambda images, labels: (images, labels)


def sensible_training(recipe: Recipe, images: int, batch_size: int | None = None) -> tuple[int, int]:
    """Batch size and epochs for a number of training images: the epochs of the recipe, fewer of a long one on small data."""
    batch_size, epochs = sensible_schedule(images, batch_size)
    most = recipe.epochs if images >= SMALL_DATA else min(recipe.epochs, SEARCHES * epochs)
    return batch_size, max(most, math.ceil(recipe.least_steps / max(1, images // batch_size)))
