"""The training of a supernet for many devices and targets: networks of all latencies in turn, and none of them decided."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_over_range
from profiling.space import Architecture
from search.config import SupernetConfig, falling_rate
from search.finding.search import make_weight_optimizer
from search.images.data import Data
from search.run_folder import RunFolder
from search.steps import SupernetStep
from search.supernet.supernet import Supernet
from search.training.engine import Engine, Stateful

POOL = 1024
# Share of the steps in which the largest network learns. It has every weight: those of all others are part of it.
LARGEST = 0.15


class SupernetTraining:
    """One training of a supernet in one folder.

    Args:
        models: runtime models of one space, over whose ranges networks are drawn.
        data: images.
        config: settings.
        folder: of the run; must exist.

    Attributes:
        supernet: with its weights.

    Raises:
        InputError: there are fewer images than one batch holds, or the folder holds a checkpoint of something else.
    """

    def __init__(self, models: Sequence[RuntimeModel], data: Data, config: SupernetConfig, folder: RunFolder) -> None:
        self._config, space = config, models[0].space
        self._engine = engine = Engine[SupernetStep](data, config, folder)
        torch.manual_seed(config.seed)
        self.supernet = Supernet(space, len(data.classes)).to(engine.device)
        self._optimizer = make_weight_optimizer(self.supernet, config.rate_at(0), config.weight_decay)
        self._largest = space.largest
        self._pool = [each for model in models for each in networks_over_range(model, POOL // len(models), config.seed)]
        parts: dict[str, Stateful] = {"supernet": self.supernet, "weights": self._optimizer}
        engine.resume(parts, {"space": config.space_digest, "tables": config.tables_digest}, SupernetStep)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self._engine.steps

    @property
    def resumed_at(self) -> int:
        """The current step of the run; 0 at the beginning."""
        return self._engine.step

    def run(self, on_step: Callable[[SupernetStep], None], stop: Callable[[], bool] = lambda: False) -> tuple[SupernetStep, ...]:
        """Trains from the current step to the end; returns the steps that were kept. Arguments and errors as for `Engine.run`."""
        self._engine.run(self._train_step, on_step, stop)
        return tuple(self._engine.metrics)

    def _train_step(self, images: Tensor, labels: Tensor) -> SupernetStep:
        engine, config = self._engine, self._config
        rate = falling_rate(config.rate_at(0), engine.step, engine.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        drawn = self._draw()
        steps = drawn.steps
        self.supernet.train()

        def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.supernet(images, steps=steps)
            entropy = cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
            return entropy, entropy

        entropy = engine.backward(loss, images, labels)
        self._optimizer.step()
        return SupernetStep(engine.step + 1, engine.steps, entropy, rate, drawn.choices)

    def _draw(self) -> Architecture:
        """Depends on the seed and the step alone, so that a run that is continued draws the same; and so does every process."""
        draws = random.Random(f"spnas-supernet-{self._config.seed}-{self._engine.step}")
        return self._largest if draws.random() < LARGEST else draws.choice(self._pool)
