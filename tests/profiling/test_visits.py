"""What is made of the visits to models, and which visits are planned."""

import pytest

from profiling.measurement import DeviceState, Figures, Measurement
from profiling.visit_plan import ATTEMPTS, VisitPlan
from profiling.visits import Visits


def visit(key: str, number: int, ms: float | None) -> Measurement:
    figures = None if ms is None else Figures(count=1, mean_ms=ms, min_ms=ms, max_ms=ms, std_ms=0)
    status = "failed" if ms is None else "ok"
    return Measurement(model=key, visit=number, status=status, figures=figures, started_at="2026", duration_s=0.1)


def test_figures_are_those_of_the_visits_that_succeeded():
    visits = Visits([visit("a", 0, 3.0), visit("b", 0, None), visit("a", 1, 1.0), visit("a", 2, 2.0)])
    assert (visits.ms("a"), visits.count("a"), visits.undisturbed_ms("a")) == ([3.0, 1.0, 2.0], 3, 1.0)
    assert visits.spread_ms("a") == pytest.approx(1.4826, rel=1e-4)
    assert (visits.ms("b"), visits.count("b"), visits.next_visit("b")) == ([], 0, 0)
    assert visits.missing(["a", "b", "c"], 3) == ["b", "c"]


def test_the_next_visit_fills_the_gap_that_a_failed_one_left():
    assert Visits([visit("a", 0, 1.0), visit("a", 1, None), visit("a", 2, 1.0)]).next_visit("a") == 1


def test_the_halves_are_the_even_visits_and_the_odd_ones_whatever_their_order():
    visits = Visits([visit("a", 3, 1.4), visit("a", 0, 1.2), visit("a", 2, 1.1), visit("a", 1, 1.3)])
    assert visits.halves_ms(["a", "a"]) == ([1.1, 1.1], [1.3, 1.3])


def test_noisy_is_a_model_whose_fastest_visit_stands_alone():
    visits = Visits([visit("calm", 0, 1.0), visit("calm", 1, 1.005), visit("noisy", 0, 1.0), visit("noisy", 1, 1.02)])
    assert [key for key in ("calm", "noisy", "never") if visits.is_noisy(key)] == ["noisy"]


def test_a_figure_that_the_device_flagged_counts_only_where_there_is_no_other():
    fast = visit("a", 0, 1.0).model_copy(update={"state": DeviceState(flag="other cores")})
    visits = Visits([fast, visit("a", 1, 2.0), visit("a", 2, 2.01), fast.model_copy(update={"model": "b"})])
    assert (visits.undisturbed_ms("a"), visits.flag("a"), visits.count("a")) == (2.0, None, 3)
    assert (visits.undisturbed_ms("b"), visits.flag("b"), visits.flag("never")) == (1.0, "other cores", None)
    assert visits.halves_ms(["a"]) == ([2.01], [2.0])


def test_a_plan_counts_only_its_own_models():
    """A database may hold visits to others under the same conditions."""
    plan = VisitPlan(["a", "b"], visits=2, seed=0, made=Visits([visit("a", 0, 1.0), visit("other", 0, 1.0)]))
    assert (plan.done, plan.planned) == (1, 4)
    assert next(plan.rounds()) == [("b", 0)], "those with the fewest visits come first"


def test_a_plan_gives_up_what_failed_too_often_or_will_fail_again():
    plan = VisitPlan(["a", "b", "c"], visits=1, seed=0)
    plan.add(visit("a", 0, None), will_recur=True)
    for _ in range(ATTEMPTS - 1):
        plan.add(visit("b", 0, None))
    assert sorted(next(plan.rounds())) == [("b", 0), ("c", 0)]
    assert plan.planned == 2


def test_a_plan_adds_visits_to_those_that_it_is_told_of_up_to_its_limit():
    plan = VisitPlan(["a", "b"], visits=2, seed=0, extra_visits=1)
    plan.visit_again(["a"])
    plan.visit_again(["a"])
    visited = []
    for visit_round in plan.rounds():
        for key, number in visit_round:
            visited.append((key, number))
            plan.add(visit(key, number, 1.0))
    assert sorted(visited) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]


def printed(min_us: float, mean_us: float, *, grid_us: float = 1.0, mean_grid_us: float = 0.0) -> Figures:
    """As the benchmark tool prints the runs of a small layer."""
    return Figures(
        count=9000, mean_ms=mean_us / 1000, min_ms=min_us / 1000, max_ms=1.0, std_ms=0.001,
        resolution_ms=grid_us / 1000, mean_resolution_ms=mean_grid_us / 1000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "fastest_us", "resolution_us"),
    [
        (printed(8, 8.37421), 8.37421, 0),  # the mean is printed with six digits
        (printed(8, 12.5), 9, 1),  # but a disturbed one only says what the minimum allows
        (printed(850, 861.2), 850, 1),  # here whole microseconds are fine enough
        (printed(120, 120, grid_us=10, mean_grid_us=10), 120, 10),  # LiteRT's own tool prints nothing finer
    ],
)
def test_the_statistic_is_one_that_the_tool_prints_finely_enough(figures, fastest_us, resolution_us):
    assert figures.fastest_ms * 1000 == pytest.approx(fastest_us)
    assert figures.fastest_resolution_ms * 1000 == pytest.approx(resolution_us)


def test_visits_that_agree_on_a_coarse_grid_are_not_without_noise():
    coarse = visit("a", 0, 1.0).model_copy(update={"figures": printed(120, 120, grid_us=10, mean_grid_us=10)})
    visits = Visits([coarse.model_copy(update={"visit": number}) for number in range(6)])
    assert visits.spread_ms("a") == pytest.approx(0.01 / 12**0.5)
    assert visits.flag("a") == "coarse"
