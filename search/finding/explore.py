"""Exploration: many networks in a range of latency, scored with a trained supernet's weights, and their Pareto front."""

from __future__ import annotations

import csv
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from latency_db.pareto import pareto_front
from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from profiling.errors import InputError
from profiling.files import make_folder, write_text, written_whole
from profiling.space import Architecture
from profiling.specfile import SpecModel, read_spec
from search.finding.additive import FEWEST, Agreement, agreement
from search.finding.scoring import Score, Scorer
from search.run_folder import RunFolder

BATCH_NORM_BATCHES = 8
MOST_IMAGES = 4000
AT_ONCE = 5
FIRST_GENERATION = 20
PARENTS = 10
MUTATED = 0.1  # of the layers
TRIES = 2000
ALIKE = 0.07  # latencies whose logarithms differ by less count as equal among parents

Way = Literal["random", "evolution"]
Share = Annotated[float, Field(ge=0, le=1)]


class Explored(SpecModel):
    """One network that was scored.

    Attributes:
        found_by: how it was found.
        choices: one per searchable layer.
        predicted_ms: by the runtime model.
        choosing_accuracy: on the held-out images that networks are chosen by.
        accuracy: on the others.
    """

    found_by: Way
    choices: tuple[str, ...]
    predicted_ms: Annotated[float, Field(gt=0)]
    choosing_accuracy: Share
    accuracy: Share


class Exploration(SpecModel):
    """The file of an exploration: what was scored so far, in order, and which run's weights were used."""

    run: str
    networks: tuple[Explored, ...] = ()


@dataclass(frozen=True)
class Explorer:
    """Finds networks, scores them, and saves them in a file, a few at a time, so that none is scored twice.

    Attributes:
        way: `random` draws networks independently; `evolution` changes and crosses the best so far, however they were found.
        model: the runtime model.
        scorer: of the trained supernet.
        band: of predicted latency, in ms.
        seed: of all that is random; with the same file, the same networks follow.
        file: what is kept.
        run: identifies the supernet's weights.
    """

    way: Way
    model: RuntimeModel
    scorer: Scorer
    band: tuple[float, float]
    seed: int
    file: Path
    run: str

    def explore(
        self, count: int, on_scored: Callable[[int], None], stop: Callable[[], bool] = lambda: False
    ) -> tuple[Explored, ...]:
        """Continues until `count` networks have been found in this way, including those in the file; returns all of them.

        Args:
            count: number of networks found in this way in all.
            on_scored: called with the number scored so far.
            stop: called now and then; returns whether to stop here.

        Raises:
            InputError: the file is damaged or of another run, or the band contains too few networks.
            KeyboardInterrupt: `stop` returned True; what was scored is in the file.
        """
        networks = self._read()
        drawn = networks_between(self.model, *self.band, self.seed)
        while (found := sum(network.found_by == self.way for network in networks)) < count:
            on_scored(found)
            if stop():
                raise KeyboardInterrupt
            next_ones = list(islice(self._proposals(networks, drawn), min(AT_ONCE, count - found)))
            networks = (*networks, *(_explored(self.way, score) for score in self.scorer.score(next_ones)))
            self._write(networks)
        on_scored(found)
        return networks

    def _proposals(self, networks: Sequence[Explored], drawn: Iterator[Architecture]) -> Iterator[Architecture]:
        """New networks of the band, without end."""
        known = {network.choices for network in networks}
        evolving = self.way == "evolution" and len(networks) >= FIRST_GENERATION
        parents = best_by_fronts(networks, PARENTS, self.band[0])
        generator = random.Random(f"spnas-evolution-{self.seed}-{len(networks)}")
        while True:
            child = self._child(parents, known, generator) if evolving else None
            # Where no child is found in the band, a newly drawn network is taken.
            architecture = child or next(each for each in drawn if each.choices not in known)
            known.add(architecture.choices)
            yield architecture

    def _child(self, parents: Sequence[Explored], known: set[tuple[str, ...]], generator: random.Random) -> Architecture | None:
        """A new network of the band, made from one parent by mutation or from two by crossing them layer by layer."""
        at_least_ms, at_most_ms = self.band
        slots = self.model.space.searchable
        for _ in range(TRIES):
            one, other = generator.choice(parents).choices, generator.choice(parents).choices
            if generator.random() < 0.5:
                choices = tuple(
                    generator.choice(slot.choices) if generator.random() < MUTATED else name
                    for slot, name in zip(slots, one, strict=True)
                )
            else:
                choices = tuple(generator.choice(pair) for pair in zip(one, other, strict=True))
            choices = self.model.space.completed(choices)
            if choices in known:
                continue
            child = Architecture(space=self.model.space, choices=choices)
            if at_least_ms <= self.model.predict(child).total_ms <= at_most_ms and self.model.limited.fits(child):
                return child
        return None

    def _read(self) -> tuple[Explored, ...]:
        if not os.path.lexists(self.file):
            return ()
        hint = "move it away to start a new exploration"
        try:
            kept = read_spec(self.file, Exploration)
            for network in kept.networks:
                Architecture(space=self.model.space, choices=network.choices)
        except (InputError, ValidationError) as error:
            reason = f": {error}" if isinstance(error, InputError) else ""
            problem = f"this is not the file of an exploration of this space{reason}"
            raise InputError(problem, where=str(self.file), hint=hint) from error
        if kept.run != self.run:
            raise InputError("it was scored with the weights of another run", where=str(self.file), hint=hint)
        return kept.networks

    def _write(self, networks: tuple[Explored, ...]) -> None:
        write_text(self.file, Exploration(run=self.run, networks=networks).model_dump_json(indent=1))


def _explored(way: Way, score: Score) -> Explored:
    return Explored(
        found_by=way,
        choices=score.architecture.choices,
        predicted_ms=score.predicted_ms,
        choosing_accuracy=score.choosing_accuracy,
        accuracy=score.accuracy,
    )


def front(networks: Iterable[Explored], latency: Callable[[Explored], float] = lambda each: each.predicted_ms) -> list[Explored]:
    """The Pareto front: fastest first, each more accurate (on the images for choosing) than all faster ones."""
    those = list(networks)
    return [those[index] for index in pareto_front([(latency(each), each.choosing_accuracy) for each in those])]


def agreement_of(model: RuntimeModel, scored: Sequence[Explored], images: int) -> Agreement | None:
    """How well additive fits to the scores of some networks order the others; None if there are too few.

    Args:
        model: the runtime model.
        scored: the networks.
        images: that their accuracies for choosing are of; half of one stands for no error at all.
    """
    if len(scored) < FEWEST:
        return None
    scores = {
        Architecture(space=model.space, choices=each.choices): -math.log(max(1 - each.choosing_accuracy, 0.5 / images))
        for each in scored
    }
    return agreement(model.space, scores)


def best_by_fronts(networks: Sequence[Explored], count: int, fastest_ms: float) -> list[Explored]:
    """The front, then the front of the rest, and so on, until there are enough.

    Latencies that differ by a few percent count as equal here. Otherwise the fastest network of a narrow band would stand in the
    front, and have children, however bad it is; so near a target the most accurate come first.
    """
    left = list(networks)
    best: list[Explored] = []
    while left and len(best) < count:
        outermost = front(left, lambda each: math.log(each.predicted_ms / fastest_ms) // ALIKE)
        best += outermost
        left = [network for network in left if network not in outermost]
    return best[:count]


def write_front(model: RuntimeModel, best: Sequence[Explored], folder: RunFolder) -> None:
    """Writes a CSV file of the front, and an architecture file for each network in it, in place of those of an earlier front."""
    make_folder(folder.front_architecture(1).parent)
    with written_whole(folder.front) as new, new.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["file", *Explored.model_fields])
        writer.writeheader()
        for number, network in enumerate(best, start=1):
            file = folder.front_architecture(number)
            write_text(file, Architecture(space=model.space, choices=network.choices).to_json())
            writer.writerow({"file": folder.relative(file), **dict(network), "choices": " ".join(network.choices)})
    for stale in folder.front_architectures()[len(best) :]:
        stale.unlink()
