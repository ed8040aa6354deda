"""The search: one training run of the supernet, in which weights and thresholds learn together (Eq. 8 and 9)."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from latency_db.limits import rounded_up
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from profiling.errors import InputError
from profiling.space import Architecture, load_architecture
from search import checkpoint, processes
from search.config import SearchConfig
from search.convnet.network import Network
from search.finding.draws import Draws, DroppedSubsets, NearTarget
from search.finding.finish import Finish
from search.finding.rating import rate, rating
from search.finding.scoring import Score, Scorer
from search.finding.selection import Candidate, select
from search.images.data import Data
from search.run_folder import RunFolder
from search.steps import Phase, SearchStep
from search.supernet import superkernel
from search.supernet.decode import fastest_within_limits, hard_architecture, log_likelihoods, reachable_ms
from search.supernet.runtime_loss import RuntimeTerm, eq9_loss
from search.supernet.supernet import Supernet, extract
from search.supernet.thresholds import RuntimeWeight, ThresholdDescent
from search.training.engine import Engine, Stateful
from search.training.optimizers import make_optimizer, set_learning_rate

BATCH_NORM_BATCHES = 50
# For candidates, whose accuracies with shared weights are there to be looked at and decide nothing.
CANDIDATE_BATCHES = 10
MOST_IMAGES = 10_000


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        candidates: the networks that it could end with, best first, one of them chosen.
        supernet: in its final state.
        metrics: every step that was kept.
        moved: the share of thresholds that have moved from their initial value.
    """

    candidates: tuple[Candidate, ...]
    supernet: Supernet
    metrics: tuple[SearchStep, ...]
    moved: float

    @property
    def chosen(self) -> Candidate:
        """The network found."""
        return next(candidate for candidate in self.candidates if candidate.chosen)

    @property
    def architecture(self) -> Architecture:
        """Of the network found."""
        return self.chosen.score.architecture

    @property
    def network(self) -> Network:
        """The network found, with weights that were trained for it, and batch norm re-estimated."""
        return self.chosen.score.network

    @property
    def predicted_ms(self) -> float:
        """Its latency by the runtime model."""
        return self.chosen.score.predicted_ms

    @property
    def accuracy(self) -> float:
        """Its accuracy on held-out images, none of which took part in choosing it, 0 to 1."""
        return float(self.chosen.score.right.double().mean())


def table_digest(table: LatencyTable) -> str:
    """A hash over what a search reads of a table."""
    return hashlib.sha256(table.model_dump_json(include={"rows", "fixed", "calibration"}).encode()).hexdigest()[:16]


def check_target(model: RuntimeModel, target_ms: float) -> None:
    """Checks, before any training, that the space has networks of this latency, within the limits of the model.

    Raises:
        InputError: it is out of reach, or a limit is; states what can be reached.
    """
    fastest, slowest = model.range_ms()
    if not fastest <= target_ms <= slowest:
        raise InputError(
            f"{target_ms:g} ms cannot be reached: the networks of {model.space.name} take {fastest:.4g} to {slowest:.4g} ms"
            f" according to table {model.table.name}",
            where="--target-ms",
        )
    fastest_ms = model.predict(fastest_within_limits(model)).total_ms
    if fastest_ms > target_ms:
        raise InputError(
            f"{target_ms:g} ms cannot be reached with at most {model.limited.limits.words}: the fastest such network of"
            f" {model.space.name} takes {rounded_up(fastest_ms)} ms according to table {model.table.name}",
            where="--target-ms",
        )


class Search:
    """One search in one folder.

    Args:
        model: the runtime model; its space is searched.
        data: images.
        config: settings, kept beside the checkpoint.
        folder: of the run; must exist.

    Attributes:
        model, config: as given.
        aim_ms: see `reachable_ms`; None without a target.

    Raises:
        InputError: the target or a limit is out of reach, there are fewer images than one batch holds, or the folder holds a
            checkpoint of another space or table.
    """

    def __init__(self, model: RuntimeModel, data: Data, config: SearchConfig, folder: RunFolder) -> None:
        self.aim_ms = config.target_ms
        if config.target_ms is not None:
            check_target(model, config.target_ms)
            self.aim_ms = reachable_ms(model, config.target_ms)
        fastest_within_limits(model)
        self.model, self.config, self._data = model, config, data
        self._engine = engine = Engine[SearchStep](data, config, folder)
        self._dropout_steps = math.floor(config.dropout_phase * engine.steps)
        self._finish = Finish(config, math.floor(config.final_phase * engine.steps))
        self._candidates: list[Candidate] = []
        torch.manual_seed(config.seed)
        self._supernet = Supernet(model.space, len(data.classes)).to(engine.device)
        self._runtime = RuntimeTerm(model).to(engine.device)
        self._weights = make_weight_optimizer(self._supernet, config.rate_at(0), config.weight_decay)
        # The distance of a random walk does not depend on the number of steps.
        rate = config.threshold_learning_rate / math.sqrt(self.deciding_steps)
        self._thresholds = ThresholdDescent(self._supernet.thresholds(), rate)
        self._runtime_weight = RuntimeWeight(config.runtime_weight, self.aim_ms)
        parts: dict[str, Stateful] = {
            "supernet": self._supernet,
            "weights": self._weights,
            "thresholds": self._thresholds,
            "runtime_weight": self._runtime_weight,
        }
        if config.final_phase:
            parts["finish"] = self._finish
        engine.resume(parts, {"space": config.space_digest, "table": config.table_digest}, SearchStep)
        with checkpoint.fitting(folder.checkpoint):
            self._require_in_step()
        self._chosen_before = self._choice_of(folder)

    @cached_property
    def _draws(self) -> Draws:
        """Made when the dropout phase needs it: a search that goes on in a later phase, or is explored, draws nothing."""
        config = self.config
        if config.draw_within and self.aim_ms is not None:
            return NearTarget(self.model, self.aim_ms, config.draw_within, config.seed)
        return DroppedSubsets(self.model.space, config.drop_subset)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self._engine.steps

    @property
    def deciding_steps(self) -> int:
        """In which decisions are learned: those after the dropout phase and before the final one."""
        return self.steps - self._dropout_steps - self._finish.steps

    @property
    def resumed_at(self) -> int:
        """The current step of the run; 0 at the beginning."""
        return self._engine.step

    def scorer(self, *, batches: int, most_images: int) -> Scorer:
        """Scores networks with the supernet's weights; arguments as for `Scorer`."""
        return Scorer(
            self.model, self._supernet, self._data, self.config,
            steps=self.steps, batches=batches, most_images=most_images,
        )  # fmt: skip

    def rate(self, architectures: Sequence[Architecture]) -> list[float]:
        """Rates networks near the target as the search rates those that it chooses from; higher is better.

        Raises:
            ValueError: the search has no target.
        """
        if self.aim_ms is None:
            raise ValueError("without a target there is nothing to rate networks near")
        terms = rate(self.model, log_likelihoods(self._supernet), self.aim_ms, self.config.seed)
        return [rating(terms, architecture) for architecture in architectures]

    def run(self, on_step: Callable[[SearchStep], None], stop: Callable[[], bool] = lambda: False) -> Found:
        """Trains from the current step to the end, and decides. Arguments and errors as for `Engine.run`."""
        self._engine.run(self._train_step, on_step, stop)
        return self._found()

    def _train_step(self, images: Tensor, labels: Tensor) -> SearchStep:
        if self._engine.step >= self.steps - self._finish.steps:
            return self._final_step(images, labels)
        engine, config, supernet = self._engine, self.config, self._supernet
        in_dropout = engine.step < self._dropout_steps
        set_learning_rate(self._weights, config.rate_at(engine.step / engine.steps_per_epoch))

        supernet.train()
        with torch.no_grad():
            norms = supernet.norms()
            resolution = self._resolution()
            runtime_ms = self._runtime(supernet.decide(superkernel.probability, norms), resolution).item()
            engine.refuse_if_not_finite(runtime_ms)
            choices = hard_architecture(supernet.space, supernet.decide(norms=norms), resolution).choices
        weight = 0.0 if in_dropout else self._runtime_weight.at(runtime_ms)

        def loss(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            if in_dropout:
                logits = supernet(images, steps=self._draws.steps(engine.step / self._dropout_steps))
            else:
                norms = supernet.norms()
                logits = supernet(images, supernet.decide(superkernel.sampled_indicator, norms), resolution=resolution)
            entropy = cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
            if in_dropout:
                return entropy, entropy
            runtime = self._runtime(supernet.decide(superkernel.probability, norms), resolution)
            return eq9_loss(entropy, runtime, weight), entropy

        entropy = engine.backward(loss, images, labels)
        self._weights.step()
        if not in_dropout:
            self._thresholds.step()
        phase: Phase = "dropout" if in_dropout else "search"
        return SearchStep(engine.step + 1, engine.steps, phase, entropy, runtime_ms, weight, choices)

    def _resolution(self) -> int:
        """Of this step where decisions are learned, in pixels: one of those that have networks on both sides of the target."""
        if len(self._resolutions) == 1:
            return self._resolutions[0]
        draws = random.Random(f"spnas-resolution-{self.config.seed}-{self._engine.step}")
        return draws.choice(self._resolutions)

    @cached_property
    def _resolutions(self) -> tuple[int, ...]:
        space = self.model.space
        if self.aim_ms is None or not space.smaller_resolutions:
            return space.resolutions
        ranges = {resolution: self.model.range_ms(resolution) for resolution in space.resolutions}
        within = tuple(resolution for resolution, (low, high) in ranges.items() if low <= self.aim_ms <= high)
        # In a gap between the ranges of two resolutions, the smaller one's networks are the slowest below the target.
        return within or tuple(resolution for resolution, (low, _) in ranges.items() if low <= self.aim_ms)[-1:]

    def _final_step(self, images: Tensor, labels: Tensor) -> SearchStep:
        engine, finish, chosen = self._engine, self._finish, self._choose()
        if finish.network is None:
            finish.begin(chosen.architecture.choices, extract(self._supernet, chosen.architecture))
            engine.trains(cast(Network, finish.network))
        step = engine.step - (self.steps - finish.steps)
        entropy = finish.train_step(lambda: engine.backward(finish.loss, images, labels), step)
        return SearchStep(engine.step + 1, engine.steps, "final", entropy, chosen.predicted_ms, 0.0, chosen.architecture.choices)

    def _require_in_step(self) -> None:
        """Checks what a checkpoint said of the last phase; raises one of `search.checkpoint.MISFITS` if it does not fit."""
        for step in self._engine.metrics:
            Architecture(space=self.model.space, choices=step.choices)
        choices, begun = self._finish.choices, self._engine.step > self.steps - self._finish.steps
        if (choices is not None) != begun:
            raise ValueError(f"a network is {'not ' if begun else ''}decided at step {self._engine.step}")
        if choices is not None:
            architecture = Architecture(space=self.model.space, choices=choices)
            self._finish.require_fitting([layer for _, layer in architecture.placed_layers()], self._supernet.classes)

    def _choice_of(self, folder: RunFolder) -> Architecture | None:
        """What the run had chosen before it was interrupted or had ended; another version may rate otherwise."""
        if self._finish.choices is not None:
            return Architecture(space=self.model.space, choices=self._finish.choices)
        if self.resumed_at < self.steps:
            return None
        file = folder.architecture
        return processes.from_main(lambda: load_architecture(str(file)) if file.exists() else None)

    def _choose(self) -> Score:
        """The network that the search ends with, as the supernet has it; decided once, the supernet being the same ever after."""
        if not self._candidates:
            config = self.config
            self._supernet.eval()
            scorer = self.scorer(batches=CANDIDATE_BATCHES, most_images=MOST_IMAGES)
            self._candidates = select(self.model, self._supernet, self.aim_ms, scorer, config.seed, self._chosen_before)
        return next(candidate.score for candidate in self._candidates if candidate.chosen)

    def _found(self) -> Found:
        chosen, supernet, network = self._choose(), self._supernet, self._finish.network
        if self._finish.steps and network is None:  # the run was finished before
            network = extract(supernet, chosen.architecture)
            self._finish.begin(chosen.architecture.choices, network)
        if network is not None:
            scorer = self.scorer(batches=BATCH_NORM_BATCHES, most_images=MOST_IMAGES)
            [own] = scorer.score_networks([chosen.architecture], [network])
            self._candidates = [each.trained(own) if each.chosen else each for each in self._candidates]
        return Found(tuple(self._candidates), supernet, tuple(self._engine.metrics), supernet.moved)


def make_weight_optimizer(supernet: Supernet, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The authors' RMSProp over all weights; batch norm and biases do not decay."""
    thresholds = {id(threshold) for threshold in supernet.thresholds()}
    weights = [parameter for parameter in supernet.parameters() if id(parameter) not in thresholds]
    return make_optimizer("rmsprop", weights, learning_rate, weight_decay)
