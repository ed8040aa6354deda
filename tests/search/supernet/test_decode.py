"""The network within a budget, against trying every architecture."""

import itertools
from itertools import islice

import numpy as np
import pytest
import torch

from profiling.space import Architecture
from search.supernet.decode import hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet, superkernel


def every_architecture(space):
    return [Architecture(space=space, choices=names) for names in itertools.product(*(slot.choices for slot in space.searchable))]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_score_within_one_percent_below_the_target(model, space, seed):
    random = np.random.default_rng(seed)
    scores = [{name: random.normal() for name in slot.choices} for slot in space.searchable]
    everything = [
        (model.predict(architecture).total_ms, sum(score[name] for score, name in zip(scores, architecture.choices, strict=True)))
        for architecture in every_architecture(space)
    ]
    low, high = model.range_ms()
    for share in np.linspace(0.2, 0.9, 8):
        target = low + share * (high - low)
        likely = within_budget(model, scores, target)
        found = next(likely)
        ms = model.predict(found).total_ms
        score = sum(score[name] for score, name in zip(scores, found.choices, strict=True))
        # A hair inside the band, for the grid.
        in_band = [score for ms, score in everything if target * 0.9902 <= ms <= target * 0.9998]
        assert ms <= target * (1 + 1e-9)
        if in_band:
            assert ms >= 0.99 * target
            assert score >= max(in_band)
            others = [found, *islice(likely, 9)]
            totals = [sum(score[name] for score, name in zip(scores, other.choices, strict=True)) for other in others]
            assert len(set(others)) == len(others)
            assert totals == pytest.approx(sorted(totals, reverse=True))
            assert all(0.99 * target <= model.predict(other).total_ms <= target * (1 + 1e-9) for other in others)
        else:
            assert ms >= max(ms for ms, _ in everything if ms <= target * 0.9998)


def test_both_ends_of_the_range_are_reached(model, space):
    scores = [dict.fromkeys(slot.choices, 0.0) for slot in space.searchable]
    for extreme in model.extremes():
        ms = model.predict(extreme).total_ms
        assert model.predict(next(within_budget(model, scores, ms))).total_ms == pytest.approx(ms, rel=0.01)


@pytest.mark.parametrize("changes", [{}, {"kernels": [3, 5, 7], "expansions": [2, 4, 6]}, {"skip": False}], ids=str)
def test_likelihoods_are_those_of_sampled_indicators(make_space, changes):
    """Summing to one over the choices of a layer, and equal to the share of draws."""
    torch.manual_seed(0)
    supernet = Supernet(make_space(**changes), 10)
    for t in supernet.thresholds():
        t.data.uniform_(0.5, 1.5)
    likelihoods = log_likelihoods(supernet)
    draws = 3000
    counts = [dict.fromkeys(layer, 0) for layer in likelihoods]
    with torch.no_grad():
        for _ in range(draws):
            drawn = hard_architecture(supernet.space, supernet.decide(superkernel.sampled_indicator))
            for count, name in zip(counts, drawn.choices, strict=True):
                count[name] += 1
    for layer, count in zip(likelihoods, counts, strict=True):
        assert sum(np.exp(list(layer.values()))) == pytest.approx(1, abs=1e-5)
        for name, value in layer.items():
            assert count[name] / draws == pytest.approx(np.exp(value), abs=0.04)
