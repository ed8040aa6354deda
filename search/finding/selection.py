"""What a search ends with: the best rated network near the target, and a few others to compare it with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from latency_db.runtime_model import RuntimeModel
from profiling.files import make_folder, write_text, written_whole
from profiling.space import Architecture
from search.finding.rating import rate, rating
from search.finding.scoring import Score, Scorer
from search.run_folder import RunFolder
from search.supernet.decode import hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet

NEAR = 0.03  # of the target: what counts as near it
OTHERS = 6

Origin = Literal["best", "decided", "rated"]


@dataclass(frozen=True)
class Candidate:
    """A network that a search may end with.

    Attributes:
        origin: the `best` rated, the one `decided` by the indicators alone, or another of the best `rated`.
        rating: see `search.finding.rating`; higher is better.
        score: with the supernet's weights; for the network that is chosen, with its own after it was trained.
        chosen: whether the search ends with it.
    """

    origin: Origin
    rating: float
    score: Score
    chosen: bool

    def trained(self, score: Score) -> Candidate:
        """The same with its own weights."""
        return replace(self, score=score)


def near(target_ms: float) -> tuple[float, float]:
    """The band of latencies near a target, in ms."""
    return target_ms * (1 - NEAR), target_ms * (1 + NEAR)


def select(
    model: RuntimeModel,
    supernet: Supernet,
    target_ms: float | None,
    scorer: Scorer,
    seed: int,
    before: Architecture | None = None,
) -> list[Candidate]:
    """Finds the best rated network within 1 % below the target, and others to compare it with.

    Args:
        model: the runtime model.
        supernet: after decisions were learned.
        target_ms: None with a fixed runtime weight; then the decided network's latency takes its place.
        scorer: of this supernet.
        seed: of the networks that ratings are compared among.
        before: the network that the run had chosen before; it stays the chosen one, whatever is rated best by now.

    Returns:
        The candidates, the best rated first.
    """
    likelihoods = log_likelihoods(supernet)
    if target_ms is None:
        decided = hard_architecture(supernet.space, supernet.decide())
        target_ms = model.predict(decided).total_ms
    else:
        decided = next(within_budget(model, likelihoods, target_ms))
    terms = rate(model, likelihoods, target_ms, seed)
    kept = list(islice(within_budget(model, terms, target_ms), 1 + OTHERS))
    chosen = before or kept[0]
    kept += [each for each in dict.fromkeys((decided, chosen)) if each not in kept]
    origins: list[Origin] = ["best" if rank == 0 else "decided" if each == decided else "rated" for rank, each in enumerate(kept)]
    return [
        Candidate(origin, rating(terms, each), score, each == chosen)
        for origin, each, score in zip(origins, kept, scorer.score(kept), strict=True)
    ]


def write_candidates(candidates: Sequence[Candidate], folder: RunFolder) -> None:
    """Writes an architecture file for each candidate, the chosen one as the run's architecture, and a CSV file of all."""
    make_folder(folder.candidate(1).parent)
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
                "rating": candidate.rating,
                "choosing_accuracy": score.choosing_accuracy,
                "accuracy": score.accuracy,
                "choices": " ".join(score.architecture.choices),
            }
        )
    with written_whole(folder.candidates) as new, new.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
