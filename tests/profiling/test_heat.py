"""A simulated phone that slows itself down with heat while its thermal status stays 0, as phones of today do.

After a public report of one network that took 113.9 ms in the first minute and 186.7 ms from then on. The session, the plan and
what is made of the visits are the real ones; what the phone takes follows the heat of the work it was given.
"""

import math
import random
import statistics
from dataclasses import dataclass
from pathlib import Path

import pytest

from profiling.device import BuiltModel, RunResult, RunSettings
from profiling.drift import slowdowns
from profiling.events import Notice
from profiling.measurement import DeviceState, Figures, Measurement
from profiling.session import Session
from profiling.stats import undisturbed
from profiling.sustained import measure_sustained
from profiling.visit_plan import VisitPlan
from profiling.visits import Visits

OVERHEAD_S, NOISE = 0.6, 0.005
# Wall time of six visits to all models, one canary before every twelve, on a phone that stays cool.
COOL_S = 312


@dataclass
class HeatedPhone:
    """Takes `gain` longer when it is as hot as it gets; `heats_s` and `cools_s` are time constants."""

    heats_s: float
    cools_s: float
    gain: float
    seed: int = 0
    name = "simulated"
    heat = passed_s = 0.0

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.truth = {f"layer-{index:02d}": 0.08 * 1.09**index for index in range(44)}
        self.truth |= {f"network-{index}": 3 + self.random.random() * 5 for index in range(20)}

    def cool(self, seconds):
        self.heat *= math.exp(-seconds / self.cools_s)
        self.passed_s += seconds

    def run(self, model, settings):
        self.cool(OVERHEAD_S)
        ms = self.truth[model.key]
        runs = max(15, int(100 / ms))
        busy_s = max((runs + max(3, 50 / ms)) * ms / 1000, settings.min_seconds)
        low = ms * (1 + self.gain * self.heat) * (1 + abs(self.random.gauss(0, NOISE)))
        self.heat = 1 - (1 - self.heat) * math.exp(-busy_s / self.heats_s)
        self.passed_s += busy_s
        figures = Figures(count=runs, mean_ms=low * 1.02, min_ms=low, max_ms=low * 1.2, std_ms=low * 0.01)
        return RunResult(figures, "", DeviceState(), busy_s)

    def expect(self, keys):
        pass

    def __getitem__(self, key):
        return BuiltModel(key, Path("unused"), "0", 1)


def profiled(phone, rest=0.8):
    """Six visits to every model; their plan, and what was noted."""
    notes = []
    session = Session(
        phone,
        phone,
        RunSettings(),
        canary="network-0",
        rest=rest,
        clock=lambda: phone.passed_s,
        sleep=phone.cool,
        watch=notes.append,
    )
    plan = VisitPlan(list(phone.truth), visits=6, seed=phone.seed)
    list(session.measure(plan))
    return plan, session, [note.text for note in notes if isinstance(note, Notice)]


def errors_pct(phone, visits):
    """Mean error and scatter of the layers, in percent of the truth."""
    ratios = [visits.undisturbed_ms(key) / ms for key, ms in phone.truth.items() if key.startswith("layer")]
    return (statistics.mean(ratios) - 1) * 100, statistics.pstdev(ratios) / statistics.mean(ratios) * 100


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("heats_s", "cools_s"), [(60, 60), (300, 300), (20, 120)])
def test_a_phone_that_slows_down_by_64_percent_gives_the_figures_of_a_cool_one(seed, heats_s, cools_s):
    phone = HeatedPhone(heats_s, cools_s, 0.64, seed)
    plan, session, notes = profiled(phone)
    mean, scatter = errors_pct(phone, plan.made)
    assert abs(mean) < 0.5
    assert scatter < 0.5
    assert phone.passed_s < 2 * COOL_S
    assert 0.2 * phone.passed_s < session.rest_s < 0.5 * phone.passed_s
    assert len(notes) == 1
    assert "slower than when it was cool; it rests between visits" in notes[0]


@pytest.mark.parametrize("seed", range(2))
def test_a_cool_phone_loses_nothing(seed):
    phone = HeatedPhone(60, 60, 0.0, seed)
    plan, session, notes = profiled(phone)
    assert not plan.made.slowed_down
    assert {key: plan.made.undisturbed_ms(key) for key in phone.truth} == {key: min(plan.made.ms(key)) for key in phone.truth}
    assert phone.passed_s < 1.02 * COOL_S
    assert session.rest_s == 0
    assert notes == []


def test_rest_keeps_the_heat_down():
    heat = {rest: HeatedPhone(60, 60, 0.64) for rest in (0.0, 0.8)}
    slowest = {rest: profiled(phone, rest)[0].made.slowdowns.max() for rest, phone in heat.items()}
    assert slowest[0.8] < 0.85 * slowest[0.0]


def test_sustained_latency_is_that_of_the_warm_phone():
    phone = HeatedPhone(60, 60, 0.64)
    found = measure_sustained(
        phone,
        phone["network-0"],
        RunSettings(),
        cool_ms=phone.truth["network-0"],
        watch=lambda event: None,
        clock=lambda: phone.passed_s,
    )
    assert found.settled
    assert found.after_s >= 120
    assert found.factor == pytest.approx(1 + 0.64 * phone.heat, rel=0.02)
    assert found.factor > 1.5


def test_on_this_machine_figures_stay_as_measured():
    """Here a drift that all models share is other programs' work, which slows each of them in its own way."""
    phone = HeatedPhone(60, 60, 0.64)
    session = Session(phone, phone, RunSettings(), canary="network-0", sleep=phone.cool)
    plan = VisitPlan(list(phone.truth), visits=3, seed=0, made=Visits(heats=False))
    list(session.measure(plan))
    assert {key: plan.made.undisturbed_ms(key) for key in phone.truth} == {key: min(plan.made.ms(key)) for key in phone.truth}


def visited(slower, noise=NOISE, seed=0):
    """Six shuffled rounds of visits to 64 models of 1 ms, while the device is slower by what is said of each visit."""
    draw = random.Random(seed)
    models = [f"model-{index}" for _ in range(6) for index in draw.sample(range(64), 64)]
    return models, [(1 + slower(place, draw)) * (1 + abs(draw.gauss(0, noise))) for place, _ in enumerate(models)]


@pytest.mark.parametrize(
    "slower",
    [
        pytest.param(lambda place, draw: 0.0, id="nothing"),
        pytest.param(lambda place, draw: abs(draw.gauss(0, 0.02)), id="noise"),
        pytest.param(lambda place, draw: 0.3 if draw.random() < 0.15 else 0.0, id="single slow visits"),
    ],
)
def test_what_the_visits_do_not_share_is_no_drift(slower):
    for seed in range(4):
        assert not slowdowns(*visited(slower, seed=seed)).any()


@pytest.mark.parametrize(
    "slower",
    [
        pytest.param(lambda place, draw: 0.5 if place > 200 else 0.0, id="once and for all"),
        pytest.param(lambda place, draw: 0.1 * (place // 100), id="in steps"),
        pytest.param(lambda place, draw: 0.2 if place // 80 % 2 else 0.0, id="to and fro"),
        pytest.param(lambda place, draw: 0.5 * math.exp(-place / 60), id="at first"),
    ],
)
def test_a_clock_that_changes_at_one_stroke_misleads_no_figure(slower):
    """The curve rounds such a step off; figures from visits beside it err to both sides, so none rests on them alone."""
    for seed in range(2):
        models, values_ms = visited(slower, seed=seed)
        found = Visits(
            Measurement(
                model=model, visit=place, status="ok", started_at="", duration_s=1,
                figures=Figures(count=1, mean_ms=ms, min_ms=ms, max_ms=ms, std_ms=0),
            )
            for place, (model, ms) in enumerate(zip(models, values_ms, strict=True))
        )  # fmt: skip
        assert found.slowed_down
        latencies = [found.undisturbed_ms(model) for model in set(models)]
        assert statistics.mean(latencies) == pytest.approx(1.0, abs=0.005)
        assert 0.975 < min(latencies) < max(latencies) < 1.015


def test_a_visit_at_full_speed_counts_for_more_than_many_that_were_put_back_to_it():
    assert undisturbed([1.0, 1.5, 1.2], [0.005, 0.55, 0.3]) == pytest.approx(1.0 / 1.005)
    assert undisturbed([1.1, 1.2, 1.3], [0.1, 0.2, 0.2]) == pytest.approx(1.0)
