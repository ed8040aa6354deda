"""The schedule of a measuring session. It knows no database: it yields each measurement and is given the earlier ones.

Every model is visited several times, each visit a process of its own, in rounds whose order is shuffled: clocks drift and
machines warm up, and whatever is compared must share the same conditions. A canary, always the same model, is measured in
between; when it is slow, the session waits for it to recover, and the models that it had passed meanwhile get a visit more. No
figure is ever discarded: tables take the fastest visit and record the spread of the others beside it.

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
from profiling.events import Progress, Waiting, Watch, silent
from profiling.measurement import DeviceState, Measurement
from profiling.stats import lower_quartile
from profiling.visit_plan import ATTEMPTS, VisitPlan

CANARY_EVERY = 12
CANARY_SLOW = 0.05
# The first look back comes at once: a single slow process does not make a slow device.
COOL_DOWN_STEPS_S = (0.0, 2.0, 10.0, 30.0)
COOL_DOWN_LIMIT_S = 120.0
# Of the time spent measuring so far. A device that stays slow is not waited for again and again: that it is slow stands in its
# canary, and those that it was slow on get visits more.
COOL_DOWN_SHARE = 0.05
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
        sleep: waits for some seconds.

    Attributes:
        device_s: seconds that benchmark processes ran, the canary's among them, by the device's own clock where it has one.
    """

    def __init__(
        self,
        device: Device,
        supply: Supply,
        settings: RunSettings,
        *,
        canary: str | None = None,
        watch: Watch = silent,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._supply = supply
        self._settings = settings
        self._canary = canary
        self._watch = watch
        self._sleep = sleep
        self._canary_ms: list[float] = []
        self._waited_s = 0.0
        self._visits = 0
        self._visits_s = 0.0
        self.device_s = 0.0

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
                    if self._canary_was_slow():
                        plan.visit_again(since_canary)
                    since_canary.clear()
                self._report(plan, key)
                measurement, error = self._visit(key, visit)
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
            if step > 0:
                self._watch(Waiting(step, f"the device is {slower:.0%} slower than before"))
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

    def _report(self, plan: VisitPlan, key: str) -> None:
        done, planned = plan.done, plan.planned
        remaining_s = self._visits_s / self._visits * (planned - done) if self._visits else None
        last = f"{plan.made.ms(key)[-1]:.3f} ms" if plan.made.count(key) else ""
        self._watch(Progress(done, planned, remaining_s, f"{key} {last}"))
