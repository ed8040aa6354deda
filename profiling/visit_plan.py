"""How often the models are visited, and in what order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from profiling.measurement import Measurement
from profiling.visits import Visits

EXTRA_VISITS = 3
ATTEMPTS = 3


class VisitPlan:
    """Rounds of visits, each shuffled, no model visited again before all others were.

    Every model is visited `visits` times, and up to `extra_visits` times more where it is noisy, was never met in calm or was
    passed while the device was slow. Where heat slows the device, calm may never come, and its figures are put back to full speed
    anyway: then one visit more has to do. A model that failed three times is given up.

    Args:
        models: by key.
        visits: planned for each.
        seed: of the order within the rounds.
        made: visits of earlier sessions under the same conditions, which are not made again; those that follow are added to it.
        extra_visits: to one model, at most.
        work: multiply-adds of the models by key, where they are known.

    Attributes:
        models, visits, work: as given.
        made: every visit that succeeded, of this session and of earlier ones.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        visits: int,
        seed: int,
        made: Visits | None = None,
        extra_visits: int = EXTRA_VISITS,
        work: Mapping[str, int] | None = None,
    ) -> None:
        self.models, self.visits, self.work = models, visits, work or {}
        self.made = Visits() if made is None else made
        self._most = visits + extra_visits
        self._planned = dict.fromkeys(models, visits)
        self._failures: Counter[str] = Counter()
        self._shuffle = random.Random(f"spnas-session-{seed}").shuffle

    def rounds(self) -> Iterator[list[tuple[str, int]]]:
        """The models of each round with the numbers of their visits; the next round takes account of what this one gave."""
        while visit_round := self._next_round():
            self._shuffle(visit_round)
            yield visit_round

    def _next_round(self) -> list[tuple[str, int]]:
        """The models with the fewest visits among those that still need some, so that all keep pace."""
        calm = self.made.in_calm()
        most_for_calm = min(self._most, self.visits + 1) if self.made.slowed_down else self._most
        for key in self.models:
            count = self.made.count(key)
            most = self._most if self.made.is_noisy(key) else 0 if key in calm else most_for_calm
            if self._planned[key] <= count < most:
                self._planned[key] = count + 1
        wanted = [key for key in self.models if self.made.count(key) < self._planned[key] and not self._is_given_up(key)]
        fewest = min((self.made.count(key) for key in wanted), default=0)
        return [(key, self.made.next_visit(key)) for key in wanted if self.made.count(key) == fewest]

    def _is_given_up(self, key: str) -> bool:
        return self._failures[key] >= ATTEMPTS

    def add(self, measurement: Measurement, *, will_recur: bool = False) -> None:
        """Records the result of a visit; a model whose failure will recur is not tried again."""
        self.made.add(measurement)
        if measurement.status == "failed":
            self._failures[measurement.model] += ATTEMPTS if will_recur else 1

    def visit_again(self, keys: Iterable[str]) -> None:
        """Plans one more visit to each of these models."""
        for key in keys:
            self._planned[key] = min(self._planned[key] + 1, self._most)

    @property
    def done(self) -> int:
        """How many visits to the models were made."""
        return sum(self.made.count(key) for key in self.models)

    @property
    def planned(self) -> int:
        """How many visits there will be in all, as far as is known now."""
        return sum(count for key, count in self._planned.items() if not self._is_given_up(key))
