"""The schedule: rounds, resume, retries, the canary.

The device here is a stand-in whose figures follow a script, so that drift, noise and failures come when a test wants them; what
it cannot show is how real processes fail, which the tests of the host do. The schedule itself is the real one.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from profiling.device import BuiltModel, RunResult, RunSettings
from profiling.errors import DeviceLostError, MeasurementError, ToolOutputError
from profiling.events import Progress, Waiting
from profiling.measurement import DeviceState, Figures
from profiling.session import FAILURES_IN_A_ROW, Session
from profiling.visit_plan import ATTEMPTS, EXTRA_VISITS, VisitPlan
from profiling.visits import Visits

MODELS = [f"model-{index}" for index in range(6)]
CANARY = "canary"


class Ready:
    """A supply that has every model at once, and remembers what it was told."""

    def __init__(self):
        self.told = []

    def expect(self, keys):
        self.told.append(list(keys))

    def __getitem__(self, key):
        return BuiltModel(key, Path("unused"), "", 0)


class ScriptedDevice:
    """Answers each run with what `script(key, count of runs of this key so far)` gives: ms, or an error to raise."""

    name = "scripted"

    def __init__(self, script):
        self.script, self.runs, self.order = script, Counter(), []

    def run(self, model, settings):
        answer = self.script(model.key, self.runs[model.key])
        self.runs[model.key] += 1
        self.order.append(model.key)
        if isinstance(answer, Exception):
            raise answer
        return RunResult(Figures(count=1, mean_ms=answer, min_ms=answer, max_ms=answer, std_ms=0), "", DeviceState(load=answer))


class Clocked(ScriptedDevice):
    """One that tells the time of a process itself: 7 s each."""

    def run(self, model, settings):
        return replace(super().run(model, settings), process_s=7.0)


def steady(key, count):
    return 1.0


def session(device, waits=None, supply=None, **options):
    return Session(device, supply or Ready(), RunSettings(), sleep=(waits if waits is not None else []).append, **options)


def plan(visits, done=(), models=MODELS):
    return VisitPlan(models, visits=visits, seed=1, made=Visits(done))


def test_no_model_is_visited_again_before_all_others_were():
    """So a stop at any time leaves the most even table there can be."""
    device = ScriptedDevice(steady)
    list(session(device).measure(plan(4)))
    rounds = [device.order[first : first + 6] for first in range(0, 24, 6)]
    assert all(set(visited) == {*MODELS} for visited in rounds)
    assert len({tuple(visited) for visited in rounds}) > 1, "each round has its own order"


def test_the_supply_hears_before_each_round_what_is_asked_for_in_that_order():
    device, supply = ScriptedDevice(steady), Ready()
    whole = list(session(device, supply=supply, canary=CANARY).measure(plan(3)))
    asked = [key for key in device.order if key != CANARY]
    assert supply.told == [[CANARY, *asked[first : first + 6]] for first in (0, 6, 12)]
    assert list(session(device, supply=(finished := Ready())).measure(plan(3, whole))) == []
    assert finished.told == [], "what is finished needs no model"


def test_time_on_the_device_is_by_its_own_clock_where_it_has_one():
    clocked = session(Clocked(steady))
    assert {measurement.duration_s for measurement in clocked.measure(plan(1))} == {7.0}
    assert clocked.device_s == 42.0


def test_a_session_goes_on_where_another_stopped_and_repeats_nothing():
    whole = list(session(ScriptedDevice(steady)).measure(plan(3)))
    for stopped_after in (0, 1, 5, 6, 7, 17, 18):
        rest = list(session(ScriptedDevice(steady)).measure(plan(3, whole[:stopped_after])))
        made = Counter((measurement.model, measurement.visit) for measurement in whole[:stopped_after] + rest)
        assert set(made.values()) == {1}
        assert len(made) == 18


def test_a_noisy_model_gets_more_visits_and_then_no_more():
    device = ScriptedDevice(lambda key, count: 1.0 + 0.1 * count if key == "model-0" else 1.0)
    list(session(device).measure(plan(4)))
    assert device.runs["model-0"] == 4 + EXTRA_VISITS
    assert device.runs["model-1"] == 4


def test_a_model_met_only_while_all_were_slow_gets_more_visits():
    """It rains in the first half of each round. The visits to a model that was never met in the dry agree: noise cannot tell."""
    models = [f"model-{index}" for index in range(32)]
    device = ScriptedDevice(lambda key, count: 1.05 if count < 4 and len(device.order) % 32 < 16 else 1.0)
    figures = list(session(device).measure(plan(4, models=models)))
    in_the_rain = {key for key in models if {m.figures.min_ms for m in figures if m.model == key and m.visit < 4} == {1.05}}
    in_the_dry = {key for key in models if sum(m.figures.min_ms == 1.0 for m in figures if m.model == key and m.visit < 4) > 1}
    assert in_the_rain
    assert in_the_dry
    assert {min(m.figures.min_ms for m in figures if m.model == key) for key in in_the_rain} == {1.0}
    assert {device.runs[key] for key in in_the_dry} == {4}


def test_a_failed_visit_is_tried_again_but_not_for_ever():
    def script(key, count):
        return ToolOutputError("crash", "crashed") if key == "model-0" or (key, count) == ("model-1", 0) else 1.0

    device = ScriptedDevice(script)
    measurements = list(session(device).measure(plan(2)))
    assert device.runs["model-0"] == ATTEMPTS
    succeeded = Counter(m.model for m in measurements if m.status == "ok")
    assert succeeded == {f"model-{index}": 2 for index in range(1, 6)}
    assert [m.reason for m in measurements if m.model == "model-0"] == ["crash"] * ATTEMPTS


def test_a_failure_that_will_come_again_is_not_tried_again():
    device = ScriptedDevice(lambda key, count: ToolOutputError("fallback", "fell back", recurs=True) if key == "model-0" else 1.0)
    list(session(device).measure(plan(2)))
    assert device.runs["model-0"] == 1


@pytest.mark.parametrize(("recurs", "tries"), [(True, 1), (False, ATTEMPTS)])
def test_a_canary_that_fails_ends_the_session_with_the_next_step(recurs: bool, tries: int):
    broken = ToolOutputError("failed", "it broke", recurs=recurs, hint="mend it")
    device = ScriptedDevice(lambda key, count: broken)
    with pytest.raises(MeasurementError, match="the canary could not be measured: it broke") as caught:
        list(session(device, canary=CANARY).measure(plan(2)))
    assert (caught.value.hint, device.runs[CANARY]) == ("mend it", tries)


def test_each_measurement_has_the_state_that_its_own_run_met():
    def script(key, count):
        error = ToolOutputError("crash", "crashed")
        error.state = DeviceState(load=9.0)
        return error if count == 1 else 1.0 + count

    made = list(session(ScriptedDevice(script)).measure(plan(2, models=MODELS[:1])))
    assert [(each.status, each.state.load) for each in made[:3]] == [("ok", 1.0), ("failed", 9.0), ("ok", 3.0)]


def test_when_one_model_after_the_other_fails_the_session_stops():
    device = ScriptedDevice(lambda key, count: ToolOutputError("crash", "crashed"))
    with pytest.raises(MeasurementError, match=f"{FAILURES_IN_A_ROW} models in a row"):
        list(session(device).measure(plan(2)))


def test_a_lost_device_is_not_a_failed_measurement():
    device = ScriptedDevice(lambda key, count: DeviceLostError("gone"))
    with pytest.raises(DeviceLostError):
        list(session(device).measure(plan(2)))


def test_a_canary_that_is_slow_once_makes_nobody_wait():
    waits: list[float] = []
    device = ScriptedDevice(lambda key, count: 1.3 if (key, count) == ("canary", 1) else 1.0)
    list(session(device, waits, canary=CANARY).measure(plan(6)))
    assert waits == []


def test_while_the_canary_is_slow_the_session_waits_and_later_visits_again_what_it_passed():
    waits: list[float] = []
    seen = []
    device = Clocked(lambda key, count: 1.3 if key == "canary" and count >= 2 else 1.0)
    slow = session(device, waits, canary=CANARY, watch=seen.append)
    list(slow.measure(plan(6)))
    waited = [event for event in seen if isinstance(event, Waiting)]
    assert [event.seconds for event in waited] == waits
    assert waited[0].reason == "the device is 30% slower than before"
    assert 0 < sum(waits) <= 120, "it waits, but within its limit"
    assert sum(waits) <= 0.05 * slow.device_s, "which grows with the time spent measuring"
    assert sum(device.runs[key] for key in MODELS) > 36


def test_progress_counts_to_the_end():
    seen = []
    list(session(ScriptedDevice(steady), watch=seen.append).measure(plan(2)))
    assert {type(step) for step in seen} == {Progress}
    assert [step.done for step in seen] == list(range(12))
    assert {step.planned for step in seen} == {12}
    assert seen[0].remaining_s is None
    assert seen[-1].remaining_s is not None
