"""Comparisons: the Pareto front against its definition, and what counts as an interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_db.pareto import pareto_front
from profiling.stats import lower_quartile, most_visits

points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12)


@given(points)
def test_the_pareto_front_is_what_no_other_beats(points):
    def beats(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    front = [points[index] for index in pareto_front(points)]
    assert front == sorted({point for point in points if not any(beats(other, point) for other in points)})


def test_the_interval_holds_nine_in_ten_visits_and_the_figure_of_another_run():
    """In runs of 20 visits with noise that only ever adds time, on a device that is the same from run to run."""
    generator = np.random.default_rng(0)
    runs = 10 * (1 + generator.exponential(0.03, (2000, 20)))
    inside = hits = 0
    for run, other in zip(runs, np.roll(runs, 1, axis=0), strict=True):
        low, high = most_visits(run)
        inside += np.mean((low <= run) & (run <= high))
        hits += low <= lower_quartile(other) <= high
    assert inside / len(runs) == pytest.approx(0.9)
    assert hits / len(runs) > 0.95
