"""Figures over visits: what counts as an interval, as noise and as calm."""

import numpy as np
import pytest

from profiling.stats import is_noisy, lower_quartile, most_visits


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


def test_noisy_is_a_fastest_visit_that_no_other_comes_near():
    assert is_noisy([1.02, 1.0])
    assert not is_noisy([1.3, 1.005, 1.0])
    assert not is_noisy([1.0])
    assert not is_noisy([])
