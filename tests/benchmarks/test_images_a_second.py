"""The benchmark of images a second: what it averages, and that searches and trainings of a version are measured."""

from functools import partial

import pytest


@pytest.fixture(scope="module")
def script(benchmark):
    return benchmark("images_a_second")


def test_phases_count_by_their_steps_and_their_first_steps_do_not(script):
    """Two phases: steps of 1 s, and of 3 s after a first of 50 s."""
    ends = [("dropout", 7.0), ("dropout", 8.0), ("final", 58.0), ("final", 61.0), ("final", 64.0), ("final", 67.0)]
    assert script.seconds_a_step(ends) == pytest.approx((2 * 1 + 4 * 3) / 6)


def test_rounds_of_a_search_and_of_a_training_are_measured(script, monkeypatch):
    small = {name: script.Case(name, "ruler", 4, 24, 3, is_search=name == "search") for name in ("search", "training")}
    monkeypatch.setattr(script, "CASES", small)
    for case in small.values():
        model = case.model()
        choices = [slot.choices[0] for slot in model.space.searchable]
        start = partial(script.prepared, case, model, script.noise(case, model), choices)
        for _ in range(2):
            rates = script.images_a_second(start, case)
            assert set(rates) == {"processor", "wall"}
            assert all(rate > 0 for rate in rates.values())
