"""The schedule of a measuring session. It knows no database: it yields each measurement and is given the earlier ones.

Every model is visited several times, each visit a process of its own, in rounds whose order is shuffled: clocks drift and
machines warm up, and whatever is compared must share the same conditions. A canary, always the same model, is measured in
between; when it is slow, the session waits for it to recover, and the models that it had passed meanwhile get a visit more. Where
the visits and the canary show that the device slows itself down with heat, it rests between visits, the longer the slower it is.
No figure is ever discarded: tables take the fastest visit at full speed and record the spread of the others beside it.

The models themselves come from a supply, which learns before each round what will be needed, in that order, and may still be
making the last of them while the first are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from profiling.device import BuiltModel, Device, RunResult, RunSettings
from profiling.errors import MeasurementError, ToolOutputError
from profiling.events import Notice, Progress, Waiting, Watch, silent
from profiling.measurement import DeviceState, Measurement
from profiling.plausibility import refuse_equal_times
from profiling.stats import FULL_SPEED, lower_quartile
from profiling.visit_plan import ATTEMPTS, VisitPlan
from profiling.visits import Visits

CANARY_EVERY = 12
CANARY_SLOW = 0.05
# The first look back comes at once: a single slow process does not make a slow device.
COOL_DOWN_STEPS_S = (0.0, 2.0, 10.0, 30.0)
COOL_DOWN_LIMIT_S = 120.0
# Of the time spent measuring so far. A device that stays slow is not waited for again and again: that it is slow stands in its
# canary, and those that it was slow on get visits more.
COOL_DOWN_SHARE = 0.05
# A device that heat makes slower by this much rests as long as it may.
FULL_REST_AT = 0.05
FAILURES_IN_A_ROW = 5


class Supply(Protocol):
    """Where the models come from, by key."""

    def expect(self, keys: Sequence[str]) -> None:
        """Announces which models will be needed next, in this order."""

    def __getitem__(self, key: str) -> BuiltModel:
        """The model, on the device; waits for it where it is still on its way."""


class Session:
    """One session on one device.

    Args:
        device: where to measure.
        supply: of the models.
        settings: how each process runs.
        canary: key of a model to watch the device by; None for none.
        watch: called with a `Progress` before each visit, and with each `Waiting`.
        rest: of a device that heat slows down, at most so many seconds for each second that a visit takes.
        clock: seconds that pass here; sleep: waits for some of them.

    Attributes:
        device_s: seconds that benchmark processes ran, the canary's among them, by the device's own clock where it has one.
        rest_s: seconds that the session left the device alone, so that it recovers.
    """

    def __init__(
        self,
        device: Device,
        supply: Supply,
        settings: RunSettings,
        *,
        canary: str | None = None,
        watch: Watch = silent,
        rest: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._supply = supply
        self._settings = settings
        self._canary = canary
        self._watch = watch
        self._most_rest, self._rest, self._told_of_rest = rest, 0.0, False
        self._clock, self._sleep = clock, sleep
        self._canary_ms: list[float] = []
        self._waited_s = 0.0
        self._visits = 0
        self._visits_s = self._last_visit_s = 0.0
        self.device_s = self.rest_s = 0.0

    def measure(self, plan: VisitPlan) -> Iterator[Measurement]:
        """Makes the visits of a plan, which learns what each of them gave.

        Raises:
            MeasurementError: several models in a row failed, so something is wrong with the device rather than with a model.
            DeviceLostError: the device went away.
            SpnasError: what the supply raises.
        """
        in_a_row: dict[str, ToolOutputError] = {}
        since_canary: list[str] = []
        for visit_round in plan.rounds():
            self._supply.expect([*filter(None, [self._canary]), *(key for key, _ in visit_round)])
            for key, visit in visit_round:
                if self._canary is not None and (not self._canary_ms or len(since_canary) >= CANARY_EVERY):
                    # What heat explains is put back to full speed without more visits, which would only heat it further.
                    if self._canary_was_slow() and not plan.made.slowed_down:
                        plan.visit_again(since_canary)
                    since_canary.clear()
                    self._rest = self._rest_needed(plan.made)
                self._pause(self._rest * self._last_visit_s)
                self._report(plan, key)
                measurement, error = self._visit(key, visit, plan)
                since_canary.append(key)
                if error is None:
                    in_a_row.clear()
                else:
                    in_a_row[key] = error
                plan.add(measurement, will_recur=error is not None and error.recurs)
                yield measurement
                if error is not None and len(in_a_row) >= FAILURES_IN_A_ROW:
                    raise MeasurementError(
                        f"{len(in_a_row)} models in a row could not be measured, the last one: {error.problem}",
                        where=self._device.name,
                        hint="what was measured is kept; run the same command again to continue",
                    )

    def _visit(self, key: str, visit: int, plan: VisitPlan | None = None) -> tuple[Measurement, ToolOutputError | None]:
        model = self._supply[key]
        started_at, start = datetime.now(UTC).isoformat(timespec="milliseconds"), self._clock()
        error: ToolOutputError | None = None
        result: RunResult | None = None
        try:
            ran = self._device.run(model, self._settings)
            if plan is not None:
                refuse_equal_times(key, ran.figures, plan.work, plan.made, self._settings.delegate)
            result = ran
        except ToolOutputError as caught:
            error = caught
        visit_s = self._last_visit_s = self._clock() - start
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
            if step > 0:
                self._watch(Waiting(step, f"the device is {slower:.0%} slower than before"))
                self._pause(step)
                self._waited_s += step
            self._measure_canary()
        else:
            return True
        return slower > CANARY_SLOW

    def _rest_needed(self, made: Visits) -> float:
        """Seconds of rest for each second of the next visits, in proportion to how much heat slows the device now."""
        slower = float(made.slowdowns[-1]) if self._most_rest and made.slowed_down else 0.0
        if slower > FULL_SPEED and not self._told_of_rest:
            self._told_of_rest = True
            self._watch(Notice(f"{self._device.name}: it is {slower:.0%} slower than when it was cool; it rests between visits"))
        return self._most_rest * min(1.0, slower / FULL_REST_AT)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
            self.rest_s += seconds

    def _measure_canary(self) -> None:
        assert self._canary is not None
        for _ in range(ATTEMPTS):
            measurement, error = self._visit(self._canary, len(self._canary_ms))
            if measurement.figures is not None:
                self._canary_ms.append(measurement.figures.fastest_ms)
                return
            if error is not None and error.recurs:
                break
        assert error is not None
        raise MeasurementError(
            f"the canary could not be measured: {error.problem}", where=self._device.name, hint=error.hint
        ) from error

    def _report(self, plan: VisitPlan, key: str) -> None:
        done, planned = plan.done, plan.planned
        remaining_s = (self._visits_s + self.rest_s) / self._visits * (planned - done) if self._visits else None
        last = f"{plan.made.ms(key)[-1]:.3f} ms" if plan.made.count(key) else ""
        self._watch(Progress(done, planned, remaining_s, f"{key} {last}"))
