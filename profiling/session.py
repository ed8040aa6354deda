"""The schedule of a measuring session. It knows no database: what is measured is yielded, what stands already is handed in.

Every model is visited several times, each visit a process of its own, in rounds whose order is shuffled: clocks drift and
machines warm up, and whatever is to be compared must meet the same weather. A canary, always the same model, is measured in
between; when it is slow, the session waits for it to recover, and the models that it had passed meanwhile get a visit more. No
figure is ever thrown away: tables take the fastest visit, and what the slow ones were stands beside it.

The models themselves come from a supply, which hears before each round what will be asked for, in that order, and may still be
making the last of them while the first are measured.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from profiling.device import BuiltModel, Device, RunResult, RunSettings
from profiling.errors import MeasurementError, ToolOutputError
from profiling.measurement import DeviceState, Measurement
from profiling.stats import is_noisy, lower_quartile, visited_in_calm

CANARY_EVERY = 12
CANARY_SLOW = 0.05
# The first look back comes at once: a single slow process is no slow device.
COOL_DOWN_STEPS_S = (0.0, 2.0, 10.0, 30.0)
COOL_DOWN_LIMIT_S = 120.0
# Of the time spent measuring so far. A device that stays slow is not waited for again and again: that it is slow stands in its
# canary, and those that it was slow on get visits more.
COOL_DOWN_SHARE = 0.05
EXTRA_VISITS = 3
ATTEMPTS = 3
FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Progress:
    """Where a session stands.

    Attributes:
        done: visits made, with those of earlier sessions.
        planned: visits in all, as far as is known now.
        remaining_s: seconds that remain, None before the first visit.
        text: the model in hand and its last figure, or what is waited for.
    """

    done: int
    planned: int
    remaining_s: float | None
    text: str


class Supply(Protocol):
    """Where the models come from, by key."""

    def expect(self, keys: Sequence[str]) -> None:
        """Is told which models will be asked for next, in this order."""

    def __getitem__(self, key: str) -> BuiltModel:
        """The model, on the device; waits for it where it is still on its way."""


class Session:
    """One session on one device.

    Args:
        device: where to measure.
        supply: of the models.
        settings: how each process runs.
        canary: key of a model to watch the device by; None for none.
        on_progress: called before each visit and while waiting.
        sleep: waits for some seconds.

    Attributes:
        device_s: seconds that benchmark processes ran, the canary's among them, by the device's own clock where it has one.
        slow_canaries: how often the canary was slow.
    """

    def __init__(
        self,
        device: Device,
        supply: Supply,
        settings: RunSettings,
        *,
        canary: str | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._supply = supply
        self._settings = settings
        self._canary = canary
        self._on_progress = on_progress
        self._sleep = sleep
        self._canary_ms: list[float] = []
        self._history: list[tuple[str, float]] = []
        self._waited_s = 0.0
        self._visits = 0
        self._visits_s = 0.0
        self.device_s = 0.0
        self.slow_canaries = 0

    def measure(
        self, models: Sequence[str], *, visits: int, seed: int, done: Iterable[Measurement] = ()
    ) -> Iterator[Measurement]:
        """Visits each model `visits` times, and some more where it is noisy or was never met in calm.

        Args:
            models: what to measure, by key.
            visits: planned visits to each.
            seed: of the order within the rounds.
            done: measurements of earlier sessions under the same conditions; a visit that succeeded is not made again.

        Raises:
            MeasurementError: several models in a row failed, so something is wrong with the device rather than with a model.
            DeviceLostError: the device went away.
            SpnasError: what the supply raises.
        """
        figures: dict[str, dict[int, float]] = defaultdict(dict)
        failures: Counter[str] = Counter()
        for measurement in done:
            if measurement.figures is not None:
                figures[measurement.model][measurement.visit] = measurement.figures.fastest_ms
                self._history.append((measurement.model, measurement.figures.fastest_ms))
        planned = dict.fromkeys(models, visits)
        in_a_row: dict[str, ToolOutputError] = {}
        since_canary: list[str] = []
        shuffle = random.Random(f"spnas-session-{seed}")

        while True:
            visit_round = self._next_round(models, figures, failures, planned, visits)
            if not visit_round:
                break
            shuffle.shuffle(visit_round)
            self._supply.expect([*filter(None, [self._canary]), *(key for key, _ in visit_round)])
            for key, visit in visit_round:
                if self._canary is not None and (not self._canary_ms or len(since_canary) >= CANARY_EVERY):
                    if self._canary_was_slow():
                        for passed in since_canary:
                            planned[passed] = min(planned[passed] + 1, visits + EXTRA_VISITS)
                    since_canary.clear()
                self._report(figures, planned, failures, key)
                measurement, error = self._visit(key, visit)
                since_canary.append(key)
                if error is None and measurement.figures is not None:
                    figures[key][visit] = measurement.figures.fastest_ms
                    self._history.append((key, measurement.figures.fastest_ms))
                    in_a_row.clear()
                    yield measurement
                    continue
                assert error is not None
                failures[key] += ATTEMPTS if error.recurs else 1
                in_a_row[key] = error
                yield measurement
                if len(in_a_row) >= FAILURES_IN_A_ROW:
                    raise MeasurementError(
                        f"{len(in_a_row)} models in a row could not be measured, the last one: {error.problem}",
                        where=self._device.name,
                        hint="what was measured is kept, and the same command goes on from there",
                    )

    def _next_round(
        self,
        models: Sequence[str],
        figures: dict[str, dict[int, float]],
        failures: Counter[str],
        planned: dict[str, int],
        visits: int,
    ) -> list[tuple[str, int]]:
        """The models with the fewest visits among those that still need some, so that all keep abreast."""
        calm = visited_in_calm(self._history)
        for key in models:
            values = list(figures[key].values())
            if planned[key] <= len(values) < visits + EXTRA_VISITS and (is_noisy(values) or key not in calm):
                planned[key] = len(values) + 1
        open_keys = [key for key in models if len(figures[key]) < planned[key] and failures[key] < ATTEMPTS]
        fewest = min((len(figures[key]) for key in open_keys), default=0)
        return [(key, _first_free(figures[key])) for key in open_keys if len(figures[key]) == fewest]

    def _visit(self, key: str, visit: int) -> tuple[Measurement, ToolOutputError | None]:
        model = self._supply[key]
        started_at, start = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        error: ToolOutputError | None = None
        result: RunResult | None = None
        try:
            result = self._device.run(model, self._settings)
        except ToolOutputError as caught:
            error = caught
        visit_s = time.monotonic() - start
        process_s = visit_s if result is None or result.process_s is None else result.process_s
        self._visits += 1
        self._visits_s += visit_s
        self.device_s += process_s
        measurement = Measurement(
            model=key,
            visit=visit,
            status="ok" if result else "failed",
            figures=result.figures if result else None,
            reason=error.reason if error else None,
            started_at=started_at,
            duration_s=process_s,
            state=(result.state if result else error.state if error else None) or DeviceState(),
            canary_ms=self._canary_ms[-1] if self._canary_ms else None,
            output=result.output if result else str(error),
        )
        return measurement, error

    def _canary_was_slow(self) -> bool:
        """Measures the canary, and waits for it to recover when it is slow, as long as the limits of the session allow."""
        self._measure_canary()
        limit_s = min(COOL_DOWN_LIMIT_S, COOL_DOWN_SHARE * self.device_s)
        for step in COOL_DOWN_STEPS_S:
            slower = self._canary_ms[-1] / lower_quartile(self._canary_ms) - 1
            if slower <= CANARY_SLOW or self._waited_s + step > limit_s:
                break
            self.slow_canaries += 1
            if step > 0:
                text = f"the device is {slower:.0%} slower than before; waiting {step:g} s"
                self._on_progress(Progress(0, 0, None, text))
                self._sleep(step)
                self._waited_s += step
            self._measure_canary()
        else:
            return True
        return slower > CANARY_SLOW

    def _measure_canary(self) -> None:
        assert self._canary is not None
        for _ in range(ATTEMPTS):
            measurement, error = self._visit(self._canary, len(self._canary_ms))
            if measurement.figures is not None:
                self._canary_ms.append(measurement.figures.fastest_ms)
                return
        assert error is not None
        raise MeasurementError(f"the canary could not be measured: {error.problem}", where=self._device.name) from error

    def _report(self, figures: dict[str, dict[int, float]], planned: dict[str, int], failures: Counter[str], key: str) -> None:
        done = sum(len(values) for values in figures.values())
        total = sum(count for model, count in planned.items() if failures[model] < ATTEMPTS)
        remaining = self._visits_s / self._visits * (total - done) if self._visits else None
        last = f"{list(figures[key].values())[-1]:.3f} ms" if figures[key] else ""
        self._on_progress(Progress(done, total, remaining, f"{key} {last}"))


def _first_free(visits: dict[int, float]) -> int:
    return next(visit for visit in range(len(visits) + 1) if visit not in visits)
