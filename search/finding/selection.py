"""The end of a search: the decided network, the other candidates near it, and which of them is chosen."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import Tensor

from latency_db.runtime_model import RuntimeModel
from profiling.files import write_text, written_whole
from profiling.space import Architecture
from search.finding.scoring import Score, Scorer
from search.run_folder import RunFolder
from search.supernet.decode import TOLERANCE, hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet

NEAR = 0.03  # of the target: what counts as near it
LIKELY = 4
SEEN = 4
# Standard errors by which another network must be better to be taken instead of the decided one. With eight to compare, chance
# alone gets there once in twenty searches.
CLEARLY = 2.5

Origin = Literal["decided", "likely", "seen"]


@dataclass(frozen=True)
class Candidate:
    """A network that a search may end with.

    Attributes:
        origin: `decided` by the indicators, the next most `likely` within the budget, or `seen` as a decision on the way.
        score: with the supernet's weights.
        chosen: whether the search ends with it.
    """

    origin: Origin
    score: Score
    chosen: bool


def near(target_ms: float) -> tuple[float, float]:
    """The band of latencies near a target, in ms."""
    return target_ms * (1 - NEAR), target_ms * (1 + NEAR)


def select(
    model: RuntimeModel, supernet: Supernet, target_ms: float | None, seen: Iterable[tuple[str, ...]], scorer: Scorer
) -> list[Candidate]:
    """Decides, gathers nearby candidates, scores all of them and chooses.

    The decided network is what the weights were trained for in the end, so another one takes its place only if it is
    significantly better on the images for choosing, and not slower than this search allows.

    Args:
        model: the runtime model.
        supernet: trained.
        target_ms: None with a fixed runtime weight; then the decided network's latency takes its place.
        seen: choices that the search went through while it decided, the latest first.
        scorer: of this supernet.

    Returns:
        The candidates, the best on the images for choosing first.
    """
    origins = gather(model, supernet, target_ms, seen)
    scores = scorer.score(list(origins))
    decided = scores[0]
    least_ms = 0.0 if target_ms is None else min(decided.predicted_ms, target_ms * (1 - TOLERANCE))
    allowed = [score for score in scores if least_ms <= score.predicted_ms <= (target_ms or decided.predicted_ms)]
    best = max(allowed, key=lambda score: score.choosing_accuracy, default=decided)
    chosen = best if is_clearly_better(best.choosing, decided.choosing) else decided
    ranked = sorted(scores, key=lambda score: -score.choosing_accuracy)
    return [Candidate(origins[score.architecture], score, score is chosen) for score in ranked]


def gather(
    model: RuntimeModel, supernet: Supernet, target_ms: float | None, seen: Iterable[tuple[str, ...]]
) -> dict[Architecture, Origin]:
    """The decided network first, then others whose predicted latency is near; arguments as for `select`."""
    likelihoods = log_likelihoods(supernet)
    if target_ms is None:
        decided = hard_architecture(supernet.space, supernet.decide())
        target_ms = model.predict(decided).total_ms
        likely = within_budget(model, likelihoods, target_ms)
    else:
        likely = within_budget(model, likelihoods, target_ms)
        decided = next(likely)
    found: dict[Architecture, Origin] = {decided: "decided"}
    _add(found, "likely", likely, LIKELY)
    at_least_ms, at_most_ms = near(target_ms)
    passed = (Architecture(space=supernet.space, choices=choices) for choices in dict.fromkeys(seen))
    _add(found, "seen", (each for each in passed if at_least_ms <= model.predict(each).total_ms <= at_most_ms), SEEN)
    return found


def _add(found: dict[Architecture, Origin], origin: Origin, more: Iterator[Architecture], count: int) -> None:
    for architecture in islice((each for each in more if each not in found), count):
        found[architecture] = origin


def is_clearly_better(these: Tensor, those: Tensor) -> bool:
    """Whether a network is significantly better than another on the same images (McNemar): each (images,) of bool.

    Images on which both are right or both wrong say nothing; of the others, chance gives each network half.
    """
    wins, losses = int((these & ~those).sum()), int((those & ~these).sum())
    return wins - losses > CLEARLY * math.sqrt(wins + losses)


def write_candidates(candidates: Sequence[Candidate], folder: RunFolder) -> None:
    """Writes an architecture file for each candidate, the chosen one as the run's architecture, and a CSV file of all."""
    folder.candidate(1).parent.mkdir(exist_ok=True)
    rows = []
    for rank, candidate in enumerate(candidates, start=1):
        file = folder.architecture if candidate.chosen else folder.candidate(rank)
        score = candidate.score
        write_text(file, score.architecture.to_json())
        rows.append(
            {
                "rank": rank,
                "file": folder.relative(file),
                "origin": candidate.origin,
                "predicted_ms": score.predicted_ms,
                "choosing_accuracy": score.choosing_accuracy,
                "accuracy": score.accuracy,
                "choices": " ".join(score.architecture.choices),
            }
        )
    with written_whole(folder.candidates) as new, new.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
