"""Recipes: how a stand-alone network is trained. Files that people can read, change and give to `spnas train`."""

from __future__ import annotations

import math
import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from profiling.errors import InputError
from profiling.specfile import SpecModel, parse_spec, read_spec, since
from search.config import Positive, Share, TrainingConfig

NotNegative = Annotated[float, Field(ge=0)]


class Augmentation(SpecModel):
    """Augmentation of training images beyond the random crops or shifts that all of them get.

    Attributes:
        operations: RandAugment operations on each image; magnitude: their strength, 0 to 30.
        erasing: probability that a random rectangle is made grey.
        light: photos are cropped to at least half of their area; others, and `--augment`, are as without it.
        mixup, cutmix: α of the Beta distribution that two images are mixed by, 0 mixes none; with both, each batch gets either.
    """

    operations: Annotated[int, Field(ge=0, le=14)] = 0
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    erasing: Share = 0.0
    light: bool = since(False)
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0


class Distillation(SpecModel):
    """How much a training learns from its teacher, where it has one (Hinton et al. 2015).

    Attributes:
        weight: α, the share of the teacher in the loss; the labels have the rest.
        temperature: T, which the logits of both networks are divided by. At 1, the default, the teacher's part is cross-entropy
            with its probabilities, less their entropy.
    """

    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    temperature: Positive = 1.0


class Recipe(SpecModel):
    """How a network is trained, whatever its size and the data.

    Attributes:
        recipe: its name, a word for people.
        epochs: passes over the training images.
        least_steps: on small data, as many more epochs as this many steps take; 0 for none.
        optimizer: `rmsprop` (decay 0.9, momentum 0.9, ε 0.001, as TensorFlow has it), `sgd` (Nesterov's momentum 0.9) or `adamw`.
        learning_rate: for 256 images a step, scaled with the batch size.
        schedule: `exponential`, × `decay` every `decay_epochs`; or `cosine`, to 0 at the end. Either is preceded by
            `warmup_epochs` of linear rise.
        weight_decay: of convolutions and the classifier; batch norm and biases do not decay.
        label_smoothing, dropout: the usual; dropout is before the classifier.
        average_decay: of the moving average of the weights, per step; the average is the result of the training.
        freeze: share of the steps at the beginning in which the classifier alone learns, for weights of another task.
        patience: the training ends after so many evaluations without a better one; 0 for never.
        augmentation: of the images.
        distillation: from a teacher, where one is given.
    """

    recipe: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    epochs: Annotated[int, Field(ge=1)]
    least_steps: Annotated[int, Field(ge=0)] = 0
    optimizer: Literal["rmsprop", "sgd", "adamw"]
    learning_rate: Positive
    schedule: Literal["exponential", "cosine"]
    warmup_epochs: NotNegative = 0.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.97
    decay_epochs: Positive = 2.4
    weight_decay: NotNegative = 0.0
    label_smoothing: Share = 0.0
    dropout: Share = 0.0
    average_decay: Share = 0.0
    freeze: Share = since(0.0)
    patience: Annotated[int, Field(ge=0)] = since(0)
    augmentation: Augmentation = Augmentation()
    distillation: Distillation = Distillation()

    @model_validator(mode="after")
    def _warm_before_the_end(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be less than the {self.epochs} epochs, not {self.warmup_epochs:g}")
        return self

    def adapted(self, epochs: int | None = None, learning_rate: float | None = None) -> Self:
        """The same recipe for other epochs or another learning rate; None leaves it as it is.

        The schedule is stretched or shortened with the epochs, so that even a short run ends at the small learning rate at which
        a network becomes accurate.
        """
        share = (epochs or self.epochs) / self.epochs
        return self.model_copy(
            update={
                "epochs": epochs or self.epochs,
                "warmup_epochs": self.warmup_epochs * share,
                "decay_epochs": self.decay_epochs * share,
                "learning_rate": learning_rate or self.learning_rate,
            }
        )


class TrainConfig(Recipe, TrainingConfig):
    """The settings of one training: a recipe, and what it is used for.

    Attributes:
        network: name of the network, a word for people.
        init: the file of the initial weights; None for random ones.
        teacher: the file of the teacher, and teacher_digest, a hash of what is in it; None without one.
    """

    network: str
    init: str | None = None
    teacher: str | None = None
    teacher_digest: str | None = None

    @property
    @override
    def as_before(self) -> set[str]:
        """As for any training; earlier versions had no teacher, and what `least_steps` does shows in the epochs."""
        without = {"teacher", "teacher_digest", "distillation"} if self.teacher is None else set()
        return super().as_before | {"least_steps"} | without

    def rate_at(self, epoch: float) -> float:
        """The learning rate after so many epochs, a fraction of one counting too."""
        peak = self.learning_rate * self.batch_size / 256
        if epoch < self.warmup_epochs:
            return peak * epoch / self.warmup_epochs
        if self.schedule == "exponential":
            return peak * math.pow(self.decay, epoch // self.decay_epochs)
        done = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return peak * (1 + math.cos(math.pi * done)) / 2


def recipe_names() -> tuple[str, ...]:
    """The recipes that ship with spnas."""
    return tuple(sorted(Path(file.name).stem for file in resources.files("search").joinpath("recipes").iterdir()))


def load_recipe(name_or_file: str) -> Recipe:
    """A recipe that ships with spnas, by name, or one from a YAML file.

    Raises:
        InputError: neither, or the file does not hold a recipe.
    """
    if name_or_file in recipe_names():
        file = resources.files("search").joinpath("recipes", f"{name_or_file}.yaml")
        return parse_spec(file.read_text(encoding="utf-8"), Recipe, where=file.name, is_json=False)
    if os.path.lexists(name_or_file):
        return read_spec(Path(name_or_file), Recipe)
    raise InputError(f"neither a file nor a recipe that ships with spnas ({', '.join(recipe_names())})", where=name_or_file)
