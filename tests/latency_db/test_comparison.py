"""Comparisons: what can be compared, and what a row is called where people keep it."""

import pytest

from latency_db.comparison import ComparedNetwork, Entrant, require_comparable
from profiling.errors import InputError
from profiling.network import NetworkSpec


def network(space, classes: int) -> NetworkSpec:
    sized = space.with_parameters(classes=classes)
    return sized.uniform("3x3-3").network


def test_a_row_keeps_the_names_that_files_and_scripts_know():
    row = ComparedNetwork(
        name="a", parameters=1, multiply_adds=2, predicted_ms=None, measured_ms=1.5, p5_ms=1.25, p95_ms=2.0, runs=1,
        top1=None, top1_from=None, family="a", width=1.0, note=None,
    )  # fmt: skip
    kept = row.to_json()
    assert list(kept)[:8] == ["name", "parameters", "multiply_adds", "predicted_ms", "measured_ms", "low_ms", "high_ms", "runs"]
    assert (kept["low_ms"], kept["high_ms"]) == (1.25, 2.0)


def test_only_networks_of_one_task_with_names_of_their_own_are_compared(space):
    ten, other = network(space, 10), network(space, 12)
    require_comparable([Entrant("a", ten), Entrant("b", ten), Entrant("c", None)])
    for entrants, words in (
        ([], "no network to measure"),
        ([Entrant("a", None, note="is not published")], "a is not published"),
        ([Entrant("a", ten), Entrant("a", ten)], "a: this network is given twice"),
        ([Entrant("a", ten), Entrant("b", other)], "a has 10, b has 12"),
    ):
        with pytest.raises(InputError, match=words):
            require_comparable(entrants)
