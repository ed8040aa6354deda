"""Random networks within a band of latency: within it, spread, and an error instead of an endless search."""

import itertools
import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from scipy.stats import ks_2samp
from small import small_space, table_from_multiply_adds

from latency_db import sampling
from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between, networks_near, networks_over_range, random_choices
from profiling.draws import random_architectures
from profiling.errors import InputError
from profiling.space import Architecture


@pytest.fixture(scope="module")
def pixel1() -> RuntimeModel:
    return RuntimeModel(published_table("pixel1"))


def milliseconds(model, choices):
    return model.fixed_ms + sum(cost[name] for cost, name in zip(model.costs, choices, strict=True))


@pytest.mark.parametrize("target_ms", [45, 80, 125])
def test_networks_are_distinct_within_the_bounds_and_the_same_for_the_same_seed(pixel1, target_ms):
    low, high = 0.99 * target_ms, 1.01 * target_ms
    first, again, other = (list(islice(networks_between(pixel1, low, high, seed), 20)) for seed in (1, 1, -2))
    assert first == again != other
    assert len({architecture.choices for architecture in first}) == 20
    assert all(low <= pixel1.predict(architecture).total_ms <= high for architecture in first)


def test_networks_over_the_range_are_distinct_and_as_many_in_each_part_of_it_as_there_are(pixel1):
    drawn = networks_over_range(pixel1, 480, 0)
    fastest, slowest = pixel1.range_ms()
    latencies = np.array([pixel1.predict(each).total_ms for each in drawn])
    assert (latencies.min(), latencies.max()) == (fastest, slowest)
    assert len(set(drawn[2:])) == len(drawn[2:])
    counts, edges = np.histogram(latencies, bins=np.geomspace(fastest, slowest * (1 + 1e-9), 13))
    blind = [pixel1.predict(each).total_ms for each in islice(random_architectures(pixel1.space, 0), 480)]
    assert counts.max() <= 42
    assert (counts[2:-2] >= 40).all()
    assert np.histogram(blind, bins=edges)[0].max() > 2 * counts.max(), "drawn without regard to latency, they crowd"
    assert drawn == networks_over_range(pixel1, 480, 0) != networks_over_range(pixel1, 480, 1)


def test_networks_of_one_latency_are_made_of_very_different_choices(pixel1):
    """For each choice there are networks with hardly any and others with a third of their layers of it or more.

    Layers drawn uniformly have about four of each choice, and spread far less, even in the same band.
    """
    names = list(pixel1.space.choices_by_name)
    counts = [Counter(architecture.choices) for architecture in islice(networks_between(pixel1, 79.2, 80.8, 0), 100)]
    generator = random.Random(0)
    uniform = [tuple(generator.choice(slot.choices) for slot in pixel1.space.searchable) for _ in range(2000)]
    crowd = [Counter(choices) for choices in uniform if 79.2 <= milliseconds(pixel1, choices) <= 80.8]
    for name in names:
        layers = [count[name] for count in counts]
        low, high = np.quantile(layers, [0.05, 0.95])
        assert (low <= 1, high >= 6) == (True, True), (name, low, high)
        assert np.std(layers) > 1.3 * np.std([count[name] for count in crowd]), name


def test_they_are_what_rejection_leaves_of_random_architectures(pixel1):
    """Both proposals have the same distribution of latency and of every choice, by the Kolmogorov-Smirnov test."""
    names = list(pixel1.space.choices_by_name)
    drawn, _ = random_choices(pixel1.space, 2000, np.random.default_rng(0))
    places = pixel1.space.searchable
    fast = [tuple(slot.choices[index] for slot, index in zip(places, row, strict=True)) for row in drawn]
    slow = [architecture.choices for architecture in islice(random_architectures(pixel1.space, 0), 2000)]
    assert ks_2samp([milliseconds(pixel1, c) for c in fast], [milliseconds(pixel1, c) for c in slow]).pvalue > 0.01
    for name in names:
        assert ks_2samp([c.count(name) for c in fast], [c.count(name) for c in slow]).pvalue > 0.01, name


def test_networks_of_chosen_depths_are_drawn_also_where_no_other_layer_may_be_skipped():
    """By the thousand as one by one: every number of channels, and of layers, and nothing skipped elsewhere."""
    stages = [{"layers": [1, 2, 4], "channels": [8, 16]}, {"layers": 2, "channels": 16}]
    model = RuntimeModel(table_from_multiply_adds(small_space(stages=stages, skip=False)))
    low, high = model.range_ms()
    drawn = [each.choices for each in islice(networks_between(model, low, high, 0), 400)]
    one_by_one = [each.choices for each in islice(random_architectures(model.space, 0), 400)]
    for networks in (drawn, one_by_one):
        assert {names[0].split("-")[-1] for names in networks} == {"8", "16"}
        assert {sum(name != "skip" for name in names[:4]) for names in networks} == {1, 2, 4}
        assert all("skip" not in names[4:] for names in networks)


def test_a_band_that_is_empty_out_of_reach_or_exhausted_is_one_clear_error(pixel1, table, monkeypatch):
    with pytest.raises(InputError, match=r"from 81 to 79 ms is empty"):
        networks_between(pixel1, 81, 79, 0)
    for low, high in ((10, 20), (200, 300), (float("nan"), 80)):
        with pytest.raises(InputError, match=r"those of imagenet take 30.63 to 131.5 ms|is empty"):
            networks_between(pixel1, low, high, 0)
    monkeypatch.setattr(sampling, "MOST_DRAWS", 2 * sampling.BATCH)
    small = RuntimeModel(table)
    fastest, slowest = small.range_ms()
    everything: list[object] = []  # 4 · 5⁴ networks, each of which was drawn
    with pytest.raises(InputError, match=r"16,384 random draws gave no more than 2500 networks"):
        everything.extend(networks_between(small, fastest, slowest, 0))
    assert len(everything) == 2500
    with pytest.raises(InputError, match=r"draws gave no network between"):
        next(networks_between(small, fastest + 0.0101, fastest + 0.0102, 0))


def test_networks_near_are_as_many_as_wanted_or_as_there_are(pixel1, table, monkeypatch):
    near, again, other = (networks_near(pixel1, 80, 0.25, 50, seed) for seed in (0, 0, 1))
    assert near == again != other
    assert len(set(near)) == 50
    ms = [pixel1.predict(each).total_ms for each in near]
    assert 60 <= min(ms) < 70
    assert 90 < max(ms) <= 100
    monkeypatch.setattr(sampling, "MOST_DRAWS", 2 * sampling.BATCH)
    small = RuntimeModel(table)
    fastest, slowest = small.range_ms()
    target_ms = (fastest + slowest) / 2
    names = itertools.product(*(slot.choices for slot in small.space.searchable))
    every = [Architecture(space=small.space, choices=each) for each in names]
    expected = {each for each in every if abs(small.predict(each).total_ms / target_ms - 1) <= 0.02}
    assert 10 < len(expected) < 1000
    assert set(networks_near(small, target_ms, 0.02, 1000, 0)) == expected
    assert networks_near(small, 2 * slowest, 0.1, 10, 0) == networks_near(small, fastest + 0.01, 1e-6, 10, 0) == []
