"""What all trainings have in common: the loop over batches, checkpoints, and continuing after an interruption.

A training provides the parts of its checkpoints, and a function for one step:

    def step(images, labels):                # the images of this step that are this process's
        entropy = engine.backward(loss, images, labels)
        optimizer.step()
        return Metrics(...)                  # a frozen dataclass

What is random in a step depends on the seed and the step's number alone, so that a resumed run draws what an uninterrupted one
draws.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from profiling.errors import InputError, TrainingError
from profiling.files import written_whole
from search import checkpoint, processes
from search.config import TrainingConfig
from search.convnet.batch_norm import BatchDropout
from search.fitting import fitting_records, require_weights
from search.images.batches import on_device, training_batches
from search.images.data import Data
from search.images.one_image import mixed
from search.run_folder import RunFolder
from search.training.optimizers import require_fitting

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Step(DataclassInstance, Protocol):
        """The metrics of one step."""

        @property
        def step(self) -> int:
            """The number of the step, from 1."""

        @property
        def steps(self) -> int:
            """Of the whole run."""


METRICS_EVERY = 10

M = TypeVar("M", bound="Step")


class Stateful(Protocol):
    """What a checkpoint can hold: modules, optimizers and the like."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes in training."""

    def load_state_dict(self, state: Any) -> Any:
        """Continues from such a state."""


class Engine(Generic[M]):
    """One training in one folder.

    Args:
        data: images.
        config: settings.
        folder: of the run; must exist.

    Attributes:
        device: where to compute.
        step, steps: taken so far, and in all; steps_per_epoch.
        metrics: of every step that was kept.

    Raises:
        InputError: there are fewer images than one batch holds, or a batch cannot be split into this many micro-batches.
    """

    def __init__(self, data: Data, config: TrainingConfig, folder: RunFolder) -> None:
        if data.train_images < config.batch_size:
            raise InputError(f"a batch of {config.batch_size} needs more than the {data.train_images} training images")
        parts = processes.state().num_processes * config.accumulate
        if config.batch_size % parts or config.batch_size == parts:
            raise InputError(
                f"a batch of {config.batch_size} cannot be split into {parts} equal micro-batches of at least 2 images",
                hint="--batch-size must be a multiple of the number of processes times --accumulate",
            )
        self._data, self._config, self._folder = data, config, folder
        if config.track is not None and find_spec(config.track) is None:
            hint = f"pip install {config.track}"
            raise InputError(f"{config.track} is not installed", where=f"--track {config.track}", hint=hint)
        # Its precision is one for a whole process, in which a notebook may train with either.
        self._accelerator = Accelerator(mixed_precision="no", log_with=config.track, project_dir=folder.path)
        self.device: torch.device = self._accelerator.device
        self.steps_per_epoch = data.train_images // config.batch_size
        self.steps = config.epochs * self.steps_per_epoch
        self.step = 0
        self.metrics: list[M] = []
        self._parts: Mapping[str, Stateful] = {}
        self._parameters: list[nn.Parameter] = []
        self._dropouts: list[BatchDropout] = []
        self._identity: dict[str, str] = {}

    def resume(self, parts: Mapping[str, Stateful], identity: Mapping[str, str], kind: type[M]) -> None:
        """Declares the content of checkpoints, and continues from the one in the folder if there is one.

        Args:
            parts: by name; all parameters that learn are in the modules among them.
            identity: what a checkpoint must agree with, besides the settings.
            kind: type of the metrics.

        Raises:
            InputError: the folder holds a checkpoint of something else.
        """
        self._parts, self._identity = parts, {**identity, "config": self._config.decisive}
        self.trains(*(part for part in parts.values() if isinstance(part, nn.Module)))
        self._refuse_if_different()
        path = self._folder.checkpoint
        # The folder of the run may not exist on other machines.
        state = processes.from_main(lambda: checkpoint.load(path, self._identity) if os.path.lexists(path) else None)
        if state is None:
            return
        with checkpoint.fitting(path):
            self._continue_from(state, kind)

    def _continue_from(self, state: Mapping[str, Any], kind: type[M]) -> None:
        """Takes over a checkpoint of this training, or raises what shows that it is none."""
        step, metrics = state["step"], fitting_records(kind, state["metrics"])
        if type(step) is not int or not 0 <= step <= self.steps:
            raise ValueError(f"step {step!r} is not one of the {self.steps} of this run")
        kept = [number for number in range(1, step + 1) if number % METRICS_EVERY == 0 or number == self.steps]
        if [(each.step, each.steps) for each in metrics] != [(number, self.steps) for number in kept]:
            raise ValueError(f"the metrics are not those of the first {step} steps")
        for name, part in self._parts.items():
            match part:
                case nn.Module():
                    require_weights(state[name], part.state_dict())
                case torch.optim.Optimizer():
                    require_fitting(part, state[name])
            part.load_state_dict(state[name])
        self.step, self.metrics = step, metrics

    def trains(self, *networks: nn.Module) -> None:
        """Declares what learns from here on."""
        self._parameters = [parameter for network in networks for parameter in network.parameters()]
        self._dropouts = [module for network in networks for module in network.modules() if isinstance(module, BatchDropout)]

    def run(
        self,
        train_step: Callable[[Tensor, Tensor], M],
        on_step: Callable[[M], None],
        stop: Callable[[], bool],
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Trains from the current step to the end.

        Args:
            train_step: from images (batch, channels, height, width) and labels (batch,) to metrics; changes weights.
            on_step: called with every step.
            stop: called after every step; returns whether to stop here.
            enough: called before the first and after every step; returns whether this is the end, in all processes alike.

        Raises:
            TrainingError: the loss is no longer finite, or there is not enough memory.
            KeyboardInterrupt: `stop` returned True; a checkpoint has been written.
        """
        config = self._config
        batches = training_batches(self._data, config.batch_size, config.seed, self.step, self.steps, config.workers)
        self._start_tracking()
        self._write_metrics()  # a run that was killed right after a checkpoint lacks the last ones
        saved = time.monotonic()
        if enough():
            return
        try:
            for images, labels in on_device(batches, self.device):
                metrics = train_step(images, labels)

                self.step += 1
                if self.step % METRICS_EVERY == 0 or self.step == self.steps:
                    self.metrics.append(metrics)
                    self._track(metrics)
                on_step(metrics)

                stopping = processes.any_of(stop())
                due = time.monotonic() - saved > config.checkpoint_seconds
                done = self.step == self.steps or enough()
                if processes.index() == 0 and (due or stopping or done):
                    self._save()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt
                if done:
                    break
        except torch.OutOfMemoryError as error:
            hint = "try a smaller --batch-size, or split it with --accumulate"
            raise processes.own_error("the GPU does not have enough memory", None, hint) from error
        except InputError as error:  # an image that cannot be read
            raise (error if processes.count() == 1 else processes.own_error(error.problem, error.where, error.hint)) from error
        finally:
            for tracker in self._accelerator.trackers:
                tracker.finish()

    def backward(self, loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], images: Tensor, labels: Tensor) -> float:
        """Computes the gradients of one step, by micro-batches and over all processes, replacing the previous ones.

        They are added up in one exchange at the end, rather than by DistributedDataParallel: that would need to be told which
        parameters each step leaves out, and the few million of them take far less time to send than to compute.

        Args:
            loss: from images and labels to what is minimised, and to what is reported; called with the same random numbers for
                every part, so that decisions drawn in it are the same in all of them.
            images, labels: of the step.

        Returns:
            What is reported, averaged over the images of the step, in all processes.

        Raises:
            TrainingError: it, or the loss, is not finite.
        """
        config = self._config
        for parameter in self._parameters:
            parameter.grad = None
        totals = torch.zeros(2, device=self.device)
        size = len(images) // config.accumulate
        for first in range(0, len(images), size):
            torch.manual_seed(mixed(config.seed, self.step))
            rows = slice(first, first + size)
            with (
                self._in_hand(processes.index() * len(images) + first),
                torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"),
            ):
                minimised, reported = loss(images[rows], labels[rows])
            share = size / config.batch_size
            self._accelerator.backward(minimised * share)
            totals += share * torch.stack((minimised.detach(), reported.detach()))
        # Which subsets were dropped, and so which parameters have gradients, is the same in all processes.
        processes.add_up([totals, *(parameter.grad for parameter in self._parameters if parameter.grad is not None)])
        total, mean = map(float, totals)
        self.refuse_if_not_finite(total)
        return mean

    @contextmanager
    def _in_hand(self, first: int) -> Iterator[None]:
        """The current images are those of the step from `first` on: dropout draws the numbers of its own rows."""
        try:
            for dropout in self._dropouts:
                dropout.part = first, self._config.batch_size
            yield
        finally:
            for dropout in self._dropouts:
                dropout.part = None

    def refuse_if_not_finite(self, value: float) -> None:
        """Ends the run before a value that is not finite does damage.

        Raises:
            TrainingError: it is not finite.
        """
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is no longer finite at step {self.step + 1}",
                where=str(self._folder.path),
                hint=f"try a smaller --learning-rate; the last checkpoint is {self._folder.checkpoint}",
            )

    def _start_tracking(self) -> None:
        """Starts a run of the tracker, named like the run's folder and, on disk, inside it; one for each start."""
        if self._config.track is None:
            return
        settings = self._config.model_dump(mode="json", exclude_none=True)
        settings = {name: ", ".join(value) if isinstance(value, list) else value for name, value in settings.items()}
        name = self._folder.name
        named = {"wandb": {"wandb": {"name": name, "dir": str(self._folder.path)}}, "mlflow": {"mlflow": {"run_name": name}}}
        project = "tensorboard" if self._config.track == "tensorboard" else "spnas"
        self._accelerator.init_trackers(project, config=settings, init_kwargs=named.get(self._config.track, {}))

    def _track(self, metrics: M) -> None:
        values = {name: value for name, value in vars(metrics).items() if isinstance(value, float)}
        self._accelerator.log(values, step=self.step)

    def _refuse_if_different(self) -> None:
        """Machines may differ in what is on their disks."""
        mine = (self._config.decisive, self._data.train_images, self._data.held_out_images, self._data.classes)
        differs = processes.from_main(lambda: mine) != mine
        if processes.any_of(differs):
            raise InputError("the processes of this run do not have the same settings and data", where=self._config.data)

    def _save(self) -> None:
        state: dict[str, Any] = {
            **self._identity,
            "step": self.step,
            "metrics": [vars(metrics) for metrics in self.metrics],
            **{name: part.state_dict() for name, part in self._parts.items()},
        }
        checkpoint.save(state, self._folder.checkpoint)
        self._write_metrics()

    def _write_metrics(self) -> None:
        if self.metrics and processes.index() == 0:
            write_metrics(self.metrics, self._folder.metrics)


def write_metrics(metrics: Sequence[DataclassInstance], path: Path) -> None:
    """Writes a CSV file with a line per kept step; several words in one field are separated by spaces."""
    with written_whole(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[field.name for field in fields(metrics[0])])
        writer.writeheader()
        for step in metrics:
            values = vars(step).items()
            writer.writerow({name: " ".join(value) if isinstance(value, tuple) else value for name, value in values})
