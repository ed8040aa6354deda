"""The settings of a run: a file in every run folder, so that the run can be repeated and resumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator
from typing_extensions import override

from latency_db.limits import Limits
from profiling.errors import InputError
from profiling.specfile import SpecModel
from profiling.stages import FROM_LIST
from search.images.framing import Framing
from search.images.options import Moves

LEAST_STEPS = 300
# On so few training images a network has learned little after the steps above: 55 % of five classes right, and 87 % after these.
FEW_IMAGES, STEPS_ON_FEW_IMAGES = 1000, 900
LEARNING_RATE = 0.016
AUTHORS_BATCH, AUTHORS_STEPS = 1024, 10_000
# RMSProp takes some sixty steps to forget the mean square that it starts with. A search of fewer steps than these ends better at
# twice the authors' learning rate.
FEW_STEPS = 1000
SUPERNET_BATCH = 32  # the smallest that is chosen for a supernet of all latencies
# What R takes to come down to the target.
DECIDING_STEPS = 60
WARM_UP = 0.05  # share of the steps
# Settings of a search that earlier versions did not have; empty, they are what those versions did.
SEARCH_FIELDS_SINCE = ("draw_within", "final_phase", "max_memory_mb", "max_size_mb", "supernet")
# Settings that a resumed run may change: where it computes, how often it is saved, and who follows it.
CHANGEABLE = frozenset({"workers", "checkpoint_seconds", "track"})

Tracker = Literal["tensorboard", "wandb", "mlflow"]
# What a network can be trained for; fp16 needs no training of its own.
TrainedFor = Literal["fp32", "int8"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainingOptions:
    """The options of any training: of a search's supernet or of a single network.

    Attributes:
        epochs: passes over the training images; None chooses by their number.
        batch_size: images per step, over all processes; None chooses by the number of training images.
        accumulate: number of micro-batches that each batch is split into, to save memory.
        learning_rate: for 256 images per step; None for the default.
        seed: for weights, image order, augmentation and dropout, and for the choice of held-out images.
        workers: processes that load images; 0 loads them in the main process.
        mixed_precision: `no`, or `bf16` on a GPU.
        precision: that the network is trained for: with `int8` it learns to live with the rounding of an int8 file, in a search
            as soon as it trains alone. None for that of the table in a search, and otherwise for what the weights that a training
            starts from were trained for, or `fp32`.
        track: also sends the metrics to this tracker.
        augment: how training images are moved; None chooses by their size.
        skip_unreadable: goes on without up to so many images that cannot be read.
        framing: of photos; None for that of the weights a training starts from, and `crop` otherwise.
        resume: whether to continue the run in the folder; if False, the folder must be empty. The default suits notebooks, where
            cells are run again: a finished run is not trained twice, and one with different settings is refused, never
            overwritten. The commands have the opposite default.
    """

    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    learning_rate: float | None = None
    seed: int = 0
    workers: int = 0
    mixed_precision: Literal["no", "bf16"] = "no"
    precision: TrainedFor | None = None
    track: Tracker | None = None
    augment: Moves | None = None
    skip_unreadable: int = 0
    framing: Framing | None = None
    resume: bool = True

    def settings(self, batch_size: int, epochs: int) -> dict[str, Any]:
        """The fields of `TrainingConfig` that these options decide; the arguments apply where an option is None."""
        return {
            "epochs": epochs if self.epochs is None else self.epochs,
            "batch_size": batch_size if self.batch_size is None else self.batch_size,
            "accumulate": self.accumulate,
            "seed": self.seed,
            "workers": self.workers,
            "precision": self.mixed_precision,
            "track": self.track,
        }


DEFAULTS = TrainingOptions()


class TrainingConfig(SpecModel):
    """The settings of any training. The defaults are the authors' schedule where they published one.

    Attributes:
        data: name or folder of the data set.
        epochs: passes over the training images; batch_size: images per step, over all processes.
        accumulate: parts that a process computes its images of a step in, one after the other, to need less memory.
        learning_rate: for 256 images per step, scaled with the batch size; it falls by `decay` every `decay_epochs`.
        weight_decay, label_smoothing: the usual.
        seed: of everything random.
        workers: processes that load images, for each process that trains; 0 loads in that one.
        precision: `no` or `bf16` mixed precision.
        checkpoint_seconds: seconds between checkpoints, so at most this much work is lost when the process is killed.
        track: what the metrics are sent to besides `metrics.csv`.
        augment: how training images are moved; None in runs of versions that moved them all in one way (`search.runs.images`).
        left_out: images that could not be read when the run was begun, by name.
        framing: of photos; runs of earlier versions have `crop`.
        trained_for: the precision that the network is to run in; runs of earlier versions have `fp32`.
    """

    data: str
    epochs: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=2)] = AUTHORS_BATCH
    accumulate: Annotated[int, Field(ge=1)] = 1
    learning_rate: Positive = LEARNING_RATE
    decay: Positive = 0.97
    decay_epochs: Positive = 2.4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    label_smoothing: Share = 0.1
    seed: int = 0
    workers: Annotated[int, Field(ge=0)] = 0
    precision: Annotated[str, Field(pattern="^(no|bf16)$")] = "no"
    checkpoint_seconds: Positive = 60.0
    track: Tracker | None = None
    augment: Moves | None = None
    left_out: Annotated[tuple[str, ...], FROM_LIST] = ()
    framing: Framing = "crop"
    trained_for: TrainedFor = "fp32"

    def rate_at(self, epoch: float) -> float:
        """The learning rate after so many epochs, a fraction of one counting too."""
        return self.learning_rate * self.batch_size / 256 * float(self.decay ** (epoch // self.decay_epochs))

    @property
    def decisive(self) -> str:
        """The settings that a run cannot be resumed without, as text, without where it runs and how often it is saved."""
        return self.model_dump_json(exclude={*CHANGEABLE, *self.as_before})

    @property
    def as_before(self) -> set[str]:
        """Settings that earlier versions did not have, where they are what those versions did."""
        usual = {name for name, value in (("framing", "crop"), ("trained_for", "fp32")) if getattr(self, name) == value}
        return usual | {name for name in ("augment", "left_out") if not getattr(self, name)}

    def to_yaml(self) -> str:
        """The text of `config.yaml`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class SearchConfig(TrainingConfig):
    """The settings of a search.

    Attributes:
        table: name of the latency table; space_digest, table_digest: what must be the same when a run is resumed.
        target_ms: target latency, in ms; or
        runtime_weight: λ of Eq. 9; exactly one of both is given.
        threshold_learning_rate: how far thresholds get in the search phase where their gradients are nothing but noise; they do
            not decay.
        dropout_phase: share of the steps in which subsets are dropped and the runtime term is left out.
        drop_subset: probability that a subset is dropped in a step of that phase, where there is no target.
        draw_within: how far from the target, as a share of it, the networks are that this phase trains where there is one; 0
            drops subsets there too.
        final_phase: share of the steps at the end in which the network found is trained alone. Searches of versions that did
            not do this have 0 here, and in `draw_within`.
        max_memory_mb, max_size_mb: what the network found may need at most, in MB of 10^6 bytes; None is no limit.
        supernet: the run whose supernet the network was taken from; None where the search trained its own.
    """

    table: str
    space_digest: str
    table_digest: str
    target_ms: Positive | None = None
    runtime_weight: Annotated[float, Field(ge=0)] | None = None
    threshold_learning_rate: Positive = 0.3
    dropout_phase: Share = 0.625
    drop_subset: Share = 0.4
    draw_within: Share = 0.0
    final_phase: Share = 0.0
    max_memory_mb: Positive | None = None
    max_size_mb: Positive | None = None
    supernet: str | None = None

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.target_ms is None) == (self.runtime_weight is None):
            raise ValueError("exactly one of target_ms and runtime_weight must be given")
        if self.dropout_phase + self.final_phase >= 1:
            raise ValueError("dropout_phase and final_phase together must leave steps to decide in")
        return self

    @property
    @override
    def as_before(self) -> set[str]:
        """As `TrainingConfig.as_before`."""
        return super().as_before | {name for name in SEARCH_FIELDS_SINCE if not getattr(self, name)}

    def limits(self, classes: int) -> Limits:
        """The limits to what a network for so many classes may need."""
        return Limits(self.max_memory_mb, self.max_size_mb, classes)


class SupernetConfig(TrainingConfig):
    """The settings of the training of a supernet for many devices and targets.

    Attributes:
        tables: names of the latency tables over whose ranges networks are drawn; space_digest, tables_digest: what must be the
            same when a run is resumed.
    """

    tables: Annotated[tuple[str, ...], FROM_LIST]
    space_digest: str
    tables_digest: str


class Settings(SpecModel):
    """The settings of a run of whatever kind and version, where they are only shown or compared.

    Attributes:
        network, seed, init: as in `search.training.recipe.TrainConfig`; None also where a run has no such setting.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    network: str | None = None
    seed: int | None = None
    init: str | None = None


Config = TypeVar("Config", bound=TrainingConfig)


def configured(kind: type[Config], values: dict[str, Any]) -> Config:
    """The settings of a run, validated.

    Raises:
        InputError: a value is out of its range; names it.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(message[0].lower() + message[1:], where=f"{name} = {first['input']!r}" if name else None) from error


def sensible_schedule(images: int, batch_size: int | None = None) -> tuple[int, int]:
    """Batch size and epochs for a number of training images: the paper's 1024 and 8; on small data, more epochs."""
    batch_size = batch_size or min(AUTHORS_BATCH, 2 ** math.ceil(math.log2(max(4, images)) / 2))
    return batch_size, max(8, math.ceil(LEAST_STEPS / max(1, images // batch_size)))


def search_schedule(images: int, batch_size: int | None, begun: TrainingConfig | None) -> tuple[int, int]:
    """The same for a search, which begins with random weights: on a few hundred images it takes three times the steps.

    A search of an earlier version goes on with the epochs that it was begun with.
    """
    batch_size, epochs = sensible_schedule(images, batch_size)
    if images >= FEW_IMAGES or (begun is not None and begun.epochs == epochs):
        return batch_size, epochs
    return batch_size, math.ceil(STEPS_ON_FEW_IMAGES / max(1, images // batch_size))


def supernet_schedule(images: int, batch_size: int | None, begun: SupernetConfig | None) -> tuple[int, int]:
    """The same for a supernet of all latencies, in which a network is trained in few of the steps.

    On less data than the authors' its batches are smaller, for as many steps as theirs, and its epochs those of a search. A run
    that is there already goes on with what it was begun with.
    """
    if begun is not None:
        return batch_size or begun.batch_size, begun.epochs
    usual, epochs = search_schedule(images, batch_size, None)
    if batch_size is None:
        batch_size = min(usual, max(SUPERNET_BATCH, 2 ** int(math.log2(max(1, images * epochs / AUTHORS_STEPS)))))
    return batch_size, epochs


def steps_of(images: int, batch_size: int, epochs: int) -> int:
    """Steps of a run; in each epoch the images that do not fill a batch are left out."""
    return epochs * (images // max(1, batch_size))


def sensible_learning_rate(batch_size: int, steps: int) -> float:
    """Learning rate of a search or supernet, for 256 images each: the authors' at their batch and many steps.

    RMSProp's steps are nearly as long for small batches as for large ones; scaled down in proportion, a network would learn
    little from small ones.

    Args:
        batch_size: images per step.
        steps: of the whole run.
    """
    smaller_batches = min(4.0, math.sqrt(AUTHORS_BATCH / max(1, batch_size)))
    return LEARNING_RATE * max(2.0 if steps < FEW_STEPS else 1.0, smaller_batches)


def falling_rate(rate: float, step: int, steps: int) -> float:
    """A learning rate that warms up, and falls to 0 by half a cosine.

    Args:
        rate: at the top.
        step: the present one of `steps`, from 0.
        steps: of the whole training.
    """
    warm_up = max(1, round(WARM_UP * steps))
    falling = (1 + math.cos(math.pi * max(0, step - warm_up) / max(1, steps - warm_up))) / 2
    return rate * min(1.0, (step + 1) / warm_up) * falling


def course(steps: int, target_ms: float | None) -> dict[str, float]:
    """The phases of a search of so many steps: fields of `SearchConfig`.

    With a target the network found takes nearly all of the steps, since shared weights are a poor start for it, and no guide to
    it; without one there is more to decide.
    """
    if target_ms is None:
        return {"dropout_phase": 0.4, "draw_within": 0.0, "final_phase": 0.3}
    deciding = max(0.025, min(0.3, DECIDING_STEPS / max(1, steps)))
    dropout = round(max(0.025, min(0.1, deciding * 2 / 3)), 3)
    return {"dropout_phase": dropout, "draw_within": 0.25, "final_phase": round(1 - dropout - deciding, 3)}
