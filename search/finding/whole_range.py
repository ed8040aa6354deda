"""The training of a supernet for many devices and targets: networks of all latencies in turn, and none of them decided.

Networks are rated without looking at weights (`search.finding.rating`), so those that can be asked for are known beforehand, and
they are nearly all that is trained. They have much in common, and so disturb each other less than random networks do.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_over_range
from profiling.space import Architecture
from search.config import SupernetConfig, falling_rate
from search.finding.rating import nothing_learned, rate_by
from search.finding.search import make_weight_optimizer
from search.images.data import Data
from search.run_folder import RunFolder
from search.steps import SupernetStep
from search.supernet.decode import within_budget
from search.supernet.supernet import Supernet
from search.training.engine import Engine, Stateful
from search.training.optimizers import set_learning_rate

RANDOM = 1024  # networks, over all tables
TARGETS, OF_EACH = 96, 10  # latencies, over all tables, and how many of the best rated networks of each may be asked for
# Shares of the steps in which the largest network learns, which has every weight, and a random one. The rest is for networks that
# may be asked for; without these two, parts would stay untrained that a table measured later has use for.
LARGEST_STEPS = RANDOM_STEPS = 0.05


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
        of_models = [networks_over_range(model, RANDOM // len(models), config.seed) for model in models]
        targets = math.ceil(TARGETS / len(models))
        best = (best_over_range(model, drawn, targets) for model, drawn in zip(models, of_models, strict=True))
        self._random = [network for drawn in of_models for network in drawn]
        self._best = [network for those in best for network in those]
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
        engine, config, rate = self._engine, self._config, self._set_rate()
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

    def _set_rate(self) -> float:
        rate = falling_rate(self._config.rate_at(0), self._engine.step, self._engine.steps)
        set_learning_rate(self._optimizer, rate)
        return rate

    def _draw(self) -> Architecture:
        """Depends on the seed and the step alone, so that a run that is continued draws the same; and so does every process."""
        draws = random.Random(f"spnas-supernet-{self._config.seed}-{self._engine.step}")
        kind = draws.random()
        if kind < LARGEST_STEPS:
            return self._largest
        return draws.choice(self._random if kind < LARGEST_STEPS + RANDOM_STEPS else self._best)


def best_over_range(model: RuntimeModel, drawn: Sequence[Architecture], targets: int) -> list[Architecture]:
    """The networks that can be asked for: the best rated ones at latencies all over the range, by its logarithm, and the fastest.

    Args:
        model: the runtime model.
        drawn: random networks of the whole range. The eighth of them that is nearest to a latency stands for what networks
            there differ in, which the rating divides by.
        targets: how many latencies.
    """
    drawn = sorted(drawn, key=lambda network: model.predict(network).total_ms)
    latencies = [model.predict(network).total_ms for network in drawn]
    best = [model.extremes()[0]]
    for target_ms in np.geomspace(*model.range_ms(), targets + 1)[1:].tolist():
        first = max(0, min(bisect(latencies, target_ms) - len(drawn) // 16, len(drawn) * 7 // 8))
        near = drawn[first : first + len(drawn) // 8]
        terms = rate_by(model.space, nothing_learned(model.space), near)
        best += islice(within_budget(model, terms, target_ms), OF_EACH)
    return best
