"""The rating: counts that a network's own modules give, no matter their units, and the best of a target by them."""

import itertools
import math

import numpy as np
import pytest
import torch
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_near
from profiling.draws import random_architectures
from profiling.space import Architecture
from search.convnet.network import ConvBN, Network
from search.finding import rating as ratings
from search.finding.rating import activations, multiply_adds, rate, rating
from search.supernet.decode import within_budget

STAGES = [
    {"layers": 1, "channels": 8, "kernel": 3, "expansion": 1},
    {"layers": 3, "channels": 8, "stride": 2},
    {"layers": 2, "channels": 16, "stride": 2},
]


@pytest.fixture(scope="module")
def model():
    """Of 4 · 5² · 4 · 5 networks, with a fixed layer before those that are searched, on images of an odd size."""
    return RuntimeModel(table_from_multiply_adds(small_space(stages=STAGES, resolution=13)))


@pytest.fixture(scope="module")
def everything(model):
    space = model.space
    return [Architecture(space=space, choices=names) for names in itertools.product(*(slot.choices for slot in space.searchable))]


@pytest.fixture(scope="module")
def target_ms(model):
    fastest, slowest = model.range_ms()
    return fastest + 0.4 * (slowest - fastest)


@pytest.fixture(scope="module")
def likelihoods(model):
    """Of random indicators; of the first layer one that is as sure as can be."""
    generator = np.random.default_rng(0)
    layers = [dict(zip(s.choices, generator.dirichlet(np.ones(len(s.choices))), strict=True)) for s in model.space.searchable]
    layers[0] = dict.fromkeys(layers[0], 1e-30) | {"3x3-3": 1.0}
    return [{name: math.log(p) for name, p in layer.items()} for layer in layers]


def sums(terms, networks):
    return np.array([rating(terms, each) for each in networks])


def counted_by_modules(architecture):
    """The outputs and multiply-adds of all convolutions of the layers that are searched, as they happen."""
    network = Network([layer for _, layer in architecture.placed_layers()], 10).eval()
    counts = np.zeros(2)

    def count(module, _, output):
        counts[:] += output.numel() * np.array([1, module.weight[0].numel()])

    for slot, block in zip(architecture.space.slots, network.blocks, strict=True):
        for module in block.modules() if slot.is_searchable else ():
            if isinstance(module, ConvBN):
                module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 1, 13, 13))
    return counts


def test_activations_and_multiply_adds_are_those_of_the_networks_own_modules(model):
    for architecture in itertools.islice(random_architectures(model.space, 0), 20):
        counted = [rating(terms, architecture) for terms in (activations(model.space), multiply_adds(model.space))]
        assert counted == counted_by_modules(architecture).tolist(), architecture.choices


def test_a_rating_is_the_two_counts_and_a_tenth_of_the_likelihood_in_standard_deviations(model, target_ms, likelihoods):
    near = networks_near(model, target_ms, 0.02, 256, seed=3)
    assert len(near) > 20
    counts = np.array([counted_by_modules(each) for each in near]).T
    # No choice is taken for less likely than one in a hundred.
    likely = [
        sum(max(layer[name], math.log(0.01)) for layer, name in zip(likelihoods, each.choices, strict=True)) for each in near
    ]
    expected = sum(
        share * (part - np.mean(part)) / np.std(part) for part, share in zip((*counts, likely), (1, 1, 0.1), strict=True)
    )
    rated = sums(rate(model, likelihoods, target_ms, seed=3), near)
    assert rated - rated.mean() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["activations", "multiply_adds"])
def test_units_do_not_matter(model, everything, target_ms, likelihoods, monkeypatch, name):
    before = sums(rate(model, likelihoods, target_ms, 0), everything)
    counts = getattr(ratings, name)(model.space)
    larger = tuple({choice: 1000 * value for choice, value in layer.items()} for layer in counts)
    monkeypatch.setattr(ratings, name, lambda space: larger)
    assert sums(rate(model, likelihoods, target_ms, 0), everything) == pytest.approx(before, rel=1e-9)


def test_indicators_that_know_nothing_leave_it_to_the_counts(model, everything, target_ms, likelihoods):
    alike = [dict.fromkeys(layer, math.log(0.2)) for layer in likelihoods]
    rated = sums(rate(model, alike, target_ms, 0), everything)
    near = networks_near(model, target_ms, 0.02, 256, 0)
    counts = [sums(part(model.space), everything) / sums(part(model.space), near).std() for part in (activations, multiply_adds)]
    assert np.diff(rated) == pytest.approx(np.diff(sum(counts)), abs=1e-9)


@pytest.mark.parametrize("share", [0.25, 0.4, 0.6, 0.8])
def test_the_best_rated_of_all_networks_within_one_percent_below_the_target_is_found(model, everything, likelihoods, share):
    fastest, slowest = model.range_ms()
    target_ms = fastest + share * (slowest - fastest)
    terms = rate(model, likelihoods, target_ms, 0)
    found = next(within_budget(model, terms, target_ms))
    # A hair inside the band, for the grid.
    in_band = [each for each in everything if 0.9902 * target_ms <= model.predict(each).total_ms <= 0.9998 * target_ms]
    assert len(in_band) > 3
    assert 0.99 * target_ms <= model.predict(found).total_ms <= target_ms * (1 + 1e-9)
    assert rating(terms, found) >= sums(terms, in_band).max()
    assert rating(terms, found) > np.median(sums(terms, in_band))
