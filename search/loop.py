"""The search: one training run of the supernet, in which weights and thresholds learn together (Eq. 8 and 9)."""

from __future__ import annotations

import csv
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from profiling.errors import InputError, TrainingError
from profiling.space import SKIP, Architecture, Choice, Slot
from search import checkpoint
from search.config import SearchConfig
from search.data import Data, held_out_batches, training_batches
from search.decode import hard_architecture, log_likelihoods, within_budget
from search.evaluate import accuracy, reestimate_batch_norm
from search.network import Network
from search.runtime_loss import RuntimeTerm, eq9_loss
from search.supernet import Supernet, extract

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.csv"
METRICS_EVERY = 10
# A relative norm lies between 0 and the number of subsets' shares, about 2; beyond it a threshold could not come back.
THRESHOLD_RANGE = (0.0, 2.0)
# How fast λ follows the distance to the target, per step; and how far it may go.
TARGET_GAIN = 0.05
LARGEST_WEIGHT = 5.0
BATCH_NORM_BATCHES = 50


@dataclass(frozen=True)
class Step:
    """One step as it is reported and kept in `metrics.csv`.

    Attributes:
        step, steps: from 1, and of how many.
        phase: `dropout` while subsets are dropped and the runtime term is out, then `search`.
        cross_entropy: of this batch, in nats.
        runtime_ms: R of the decisions (Eq. 10).
        runtime_weight: λ.
        choices: the decisions, one per searchable layer.
    """

    step: int
    steps: int
    phase: str
    cross_entropy: float
    runtime_ms: float
    runtime_weight: float
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a search ends with.

    Attributes:
        architecture: the network found.
        predicted_ms: by the runtime model.
        accuracy: on the held-out images with the supernet's weights and batch norm re-estimated, 0 to 1.
        network: the stand-alone network with these weights.
        supernet: as it was in the end.
        metrics: every step that was kept.
        moved: the share of thresholds that are not where they began.
    """

    architecture: Architecture
    predicted_ms: float
    accuracy: float
    network: Network
    supernet: Supernet
    metrics: tuple[Step, ...]
    moved: float


@dataclass
class _State:
    """Where a run stands; all of it is in the checkpoint."""

    step: int = 0
    runtime_weight: float = 0.0
    metrics: list[Step] = field(default_factory=list)


def table_digest(table: LatencyTable) -> str:
    """A hash over what a search reads of a table."""
    return hashlib.sha256(table.model_dump_json(include={"rows", "fixed", "calibration"}).encode()).hexdigest()[:16]


def check_target(model: RuntimeModel, target_ms: float) -> None:
    """Makes sure, before any training, that the space has networks of this latency.

    Raises:
        InputError: it is out of reach; says the range.
    """
    fastest, slowest = model.range_ms()
    if not fastest <= target_ms <= slowest:
        raise InputError(
            f"{target_ms:g} ms cannot be reached: the networks of {model.space.name} take {fastest:.4g} to {slowest:.4g} ms"
            f" by the table {model.table.name}",
            where="--target-ms",
        )


class Search:
    """One search in one folder.

    Args:
        model: the runtime model; its space is searched.
        data: images.
        config: settings, kept beside the checkpoint.
        folder: of the run; must exist.

    Raises:
        InputError: the target is out of reach, there are fewer images than one batch holds, or the folder holds a checkpoint of
            another space or table.
    """

    def __init__(self, model: RuntimeModel, data: Data, config: SearchConfig, folder: Path) -> None:
        if config.target_ms is not None:
            check_target(model, config.target_ms)
        if len(data.train) < config.batch_size:
            raise InputError(f"a batch of {config.batch_size} needs more than the {len(data.train)} training images")
        self._model, self._data, self._config, self._folder = model, data, config, folder
        self._accelerator = Accelerator(mixed_precision=config.precision)
        self._device = self._accelerator.device
        torch.manual_seed(config.seed)
        self._supernet = Supernet(model.space, len(data.classes)).to(self._device)
        self._runtime = RuntimeTerm(model).to(self._device)
        self._steps_per_epoch = len(data.train) // config.batch_size
        self.steps = config.epochs * self._steps_per_epoch
        self._dropout_steps = math.floor(config.dropout_phase * self.steps)
        self._optimizer = self._make_optimizer()
        self._state = _State(runtime_weight=config.runtime_weight or 0.0)
        if (folder / CHECKPOINT).exists():
            self._resume()

    @property
    def resumed_at(self) -> int:
        """The step that the run stands at; 0 at the beginning."""
        return self._state.step

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config, thresholds = self._config, self._supernet.thresholds()
        taken = {id(parameter) for parameter in thresholds}
        weights = [parameter for parameter in self._supernet.parameters() if id(parameter) not in taken]
        # Batch norm and biases are not decayed.
        decayed = [parameter for parameter in weights if parameter.dim() > 1]
        plain = [parameter for parameter in weights if parameter.dim() <= 1]
        rate = config.learning_rate * config.batch_size / 256
        groups = [
            {"params": decayed, "initial_lr": rate, "weight_decay": config.weight_decay},
            {"params": plain, "initial_lr": rate},
            {"params": thresholds, "initial_lr": config.threshold_learning_rate},
        ]
        return torch.optim.RMSprop(groups, lr=rate, alpha=0.9, momentum=0.9, eps=1e-3)

    def run(self, on_step: Callable[[Step], None], stop: Callable[[], bool] = lambda: False) -> Found:
        """Trains from where the run stands to its end, and decides.

        Args:
            on_step: told of every step.
            stop: asked after every step whether to stop here.

        Raises:
            TrainingError: the loss is no longer finite, or memory does not suffice.
            KeyboardInterrupt: it was to stop; a checkpoint has been written.
        """
        config, state = self._config, self._state
        batches = training_batches(self._data, config.batch_size, config.seed, state.step, self.steps, config.workers)
        saved = time.monotonic()
        try:
            for images, labels in batches:
                step = self._train_step(images, labels)
                state.step += 1
                if state.step % METRICS_EVERY == 0 or state.step == self.steps:
                    state.metrics.append(step)
                on_step(step)
                stopping = stop()
                if stopping or state.step == self.steps or time.monotonic() - saved > config.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt
        except torch.OutOfMemoryError as error:
            raise TrainingError("the GPU has not enough memory", hint="try a smaller --batch-size") from error
        return self._decide()

    def _train_step(self, images: Tensor, labels: Tensor) -> Step:
        config, state, supernet = self._config, self._state, self._supernet
        in_dropout = state.step < self._dropout_steps
        # What is random in a step depends on its number alone, so that a resumed run draws what an uninterrupted one draws.
        torch.manual_seed(hash((config.seed, state.step, 1)) % 2**63)
        images = images.to(self._device, memory_format=torch.channels_last, non_blocking=True)
        labels = labels.to(self._device, non_blocking=True)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * config.decay ** (state.step / self._steps_per_epoch // config.decay_epochs)

        supernet.train()
        decisions = supernet.decide()
        runtime_ms = self._runtime(decisions)
        limits = self._draw_limits() if in_dropout else None
        with self._accelerator.autocast():
            logits = supernet(images, decisions, limits)
        loss = cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
        weight = 0.0 if in_dropout else state.runtime_weight
        self._optimizer.zero_grad(set_to_none=True)
        self._accelerator.backward(eq9_loss(loss, runtime_ms, weight))
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is no longer finite at step {state.step + 1}",
                where=str(self._folder),
                hint="try a smaller --learning-rate; the last checkpoint is kept",
            )
        self._optimizer.step()
        with torch.no_grad():
            for threshold in supernet.thresholds():
                threshold.clamp_(*THRESHOLD_RANGE)
        if config.target_ms is not None and not in_dropout:
            state.runtime_weight += TARGET_GAIN * math.log(runtime_ms.item() / config.target_ms)
            state.runtime_weight = min(max(state.runtime_weight, -LARGEST_WEIGHT), LARGEST_WEIGHT)
        choices = hard_architecture(supernet.space, decisions).choices
        phase = "dropout" if in_dropout else "search"
        return Step(state.step + 1, self.steps, phase, loss.item(), runtime_ms.item(), weight, choices)

    def _draw_limits(self) -> list[Choice]:
        """The largest choice left in each layer after each of its subsets has been dropped with the same probability."""
        return [self._draw_limit(slot) for slot in self._supernet.space.searchable]

    def _draw_limit(self, slot: Slot) -> Choice:
        space, kept = self._supernet.space, 1 - self._config.drop_subset
        if SKIP.name in slot.choices and torch.rand(()) >= kept:
            return SKIP
        kernels, expansions = (
            next((index for index, value in enumerate(torch.rand(len(sizes) - 1)) if value >= kept), len(sizes) - 1)
            for sizes in (space.kernels, space.expansions)
        )
        return Choice(space.kernels[kernels], space.expansions[expansions])

    def _decide(self) -> Found:
        supernet, config = self._supernet, self._config
        supernet.eval()
        if config.target_ms is None:
            architecture = hard_architecture(supernet.space, supernet.decide())
        else:
            architecture = within_budget(self._model, log_likelihoods(supernet), config.target_ms)
        network = extract(supernet, architecture)
        batch_size, steps = config.batch_size, min(BATCH_NORM_BATCHES, self._steps_per_epoch)
        batches = training_batches(self._data, batch_size, config.seed, self.steps, self.steps + steps, config.workers)
        reestimate_batch_norm(network, (images.to(self._device) for images, _ in batches))
        held_out = held_out_batches(self._data, batch_size, config.workers)
        share = accuracy(network, ((images.to(self._device), labels.to(self._device)) for images, labels in held_out))
        thresholds = torch.cat([t.detach().flatten() for t in supernet.thresholds()])
        return Found(
            architecture=architecture,
            predicted_ms=self._model.predict(architecture).total_ms,
            accuracy=share,
            network=network,
            supernet=supernet,
            metrics=tuple(self._state.metrics),
            moved=float((thresholds != 0).float().mean()),
        )

    def _identity(self) -> dict[str, str]:
        return {
            "space": self._config.space_digest,
            "table": self._config.table_digest,
            "config": self._config.model_dump_json(exclude={"workers", "checkpoint_seconds"}),
        }

    def _save(self) -> None:
        state: dict[str, Any] = {
            **self._identity(),
            "step": self._state.step,
            "runtime_weight": self._state.runtime_weight,
            "metrics": [vars(step) for step in self._state.metrics],
            "supernet": self._supernet.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        checkpoint.save(state, self._folder / CHECKPOINT)
        write_metrics(self._state.metrics, self._folder / METRICS)

    def _resume(self) -> None:
        state = checkpoint.load(self._folder / CHECKPOINT, self._identity())
        self._supernet.load_state_dict(state["supernet"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._state = _State(state["step"], state["runtime_weight"], [Step(**step) for step in state["metrics"]])


def write_metrics(metrics: list[Step], path: Path) -> None:
    """Writes `metrics.csv`: a line per kept step, choices as one word each, separated by spaces."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Step.__dataclass_fields__))
        writer.writeheader()
        for step in metrics:
            writer.writerow(vars(step) | {"choices": " ".join(step.choices)})
    partial.replace(path)


def sensible_schedule(images: int, batch_size: int | None = None) -> tuple[int, int]:
    """Batch size and epochs for a number of training images: the paper's 1024 and 8, on small data about 1,200 smaller steps."""
    batch_size = batch_size or min(1024, 2 ** max(1, int(math.log2(max(2, images / 16)))))
    return batch_size, max(8, math.ceil(1200 / max(1, images // batch_size)))
