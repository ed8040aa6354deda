"""Selection by an additive fit: it finds what one score cannot, keeps to its allowance, and says how well it orders networks."""

import math
from itertools import islice

import numpy as np
import pytest
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from profiling.errors import InputError
from search.finding.additive import agreement, correlation_interval, fit_additive, select_by_fit

STAGES = [{"layers": 4, "channels": 8, "stride": 2}, {"layers": 4, "channels": 16}]


@pytest.fixture(scope="module")
def model():
    return RuntimeModel(table_from_multiply_adds(small_space(stages=STAGES)))


@pytest.fixture(scope="module")
def target_ms(model):
    fastest, slowest = model.range_ms()
    return fastest + 0.5 * (slowest - fastest)


class Evaluator:
    """Networks whose worth is a sum over layers, and noise that is the same whenever a network is scored again."""

    def __init__(self, space, noise=0.0):
        generator = np.random.default_rng(3)
        self._terms = [dict(zip(s.choices, 0.15 * generator.random(len(s.choices)), strict=True)) for s in space.searchable]
        self._noise = noise
        self.calls = []

    def worth(self, architecture):
        return 1 + sum(terms[choice] for terms, choice in zip(self._terms, architecture.choices, strict=True))

    def __call__(self, architectures):
        self.calls.append(list(architectures))
        noises = [np.random.default_rng([*map(ord, "".join(each.choices))]).normal() for each in architectures]
        return [self.worth(each) - self._noise * noise for each, noise in zip(architectures, noises, strict=True)]


def around(model, target_ms, count, width=0.01):
    return list(islice(networks_between(model, target_ms * (1 - width), target_ms, seed=9), count))


def test_a_fit_expects_of_unseen_networks_what_their_layers_add_up_to(model, target_ms):
    evaluate = Evaluator(model.space)
    networks = around(model, target_ms, 220, width=0.05)
    fit = fit_additive(model.space, dict(zip(networks[:200], evaluate(networks[:200]), strict=True)))
    for network in networks[200:]:
        assert fit.score(network) == pytest.approx(evaluate.worth(network), abs=0.01)
    assert all(set(terms) == set(slot.choices) for terms, slot in zip(fit.terms, model.space.searchable, strict=True))


def test_from_noisy_scores_it_selects_what_is_better_than_the_best_scored_ones(model, target_ms):
    evaluate = Evaluator(model.space, noise=0.1)
    band = around(model, target_ms, 1000)
    true, noisy = np.array([evaluate.worth(each) for each in band]), np.array(evaluate(band))
    of_best_scored = true[np.argsort(noisy[:120])[-5:]].mean()
    for seed in range(3):
        selected = select_by_fit(model, evaluate, target_ms, seed=seed).architecture
        assert 0.99 * target_ms <= model.predict(selected).total_ms <= target_ms * (1 + 1e-9)
        assert evaluate.worth(selected) > of_best_scored
        assert (true > evaluate.worth(selected)).mean() < 0.05


def test_without_noise_the_best_is_found_and_stays(model, target_ms):
    evaluate = Evaluator(model.space)
    selection = select_by_fit(model, evaluate, target_ms, seed=0)
    assert selection.settled
    assert selection.agreement.rank_correlation > 0.95
    best = max(evaluate.worth(each) for each in around(model, target_ms, 1000))
    assert evaluate.worth(selection.architecture) >= best - 0.01


def test_no_network_is_scored_twice_and_none_beyond_the_allowance(model, target_ms):
    evaluate = Evaluator(model.space, noise=0.5)
    selection = select_by_fit(model, evaluate, target_ms, seed=1, first=40, allowance=57)
    scored = [each for call in evaluate.calls for each in call]
    assert len(evaluate.calls[0]) == 40
    assert len(evaluate.calls) > 1
    assert len(scored) == len(set(scored)) <= 57
    assert list(selection.scores.items()) == list(zip(scored, Evaluator(model.space, noise=0.5)(scored), strict=True))
    assert all(0.98 * target_ms <= model.predict(each).total_ms <= 1.02 * target_ms for each in scored)


def test_the_same_seed_selects_the_same(model, target_ms):
    selections = [select_by_fit(model, Evaluator(model.space, noise=0.3), target_ms, seed=5) for _ in range(2)]
    assert selections[0] == selections[1]


def test_a_band_with_few_networks_is_scored_whole_and_with_too_few_refused():
    model = RuntimeModel(table_from_multiply_adds(small_space()))
    fastest, slowest = model.range_ms()
    target_ms = (fastest + slowest) / 2
    evaluate = Evaluator(model.space)
    selection = select_by_fit(model, evaluate, target_ms, seed=0)
    assert 20 <= len(selection.scores) < 100
    with pytest.raises(InputError, match="networks"):
        select_by_fit(model, evaluate, slowest, seed=0)


def test_scores_of_chance_alone_agree_with_no_fit_and_the_interval_says_so(model, target_ms):
    networks, generator = around(model, target_ms, 100), np.random.default_rng(0)
    found = []
    for _ in range(30):
        found.append(agreement(model.space, dict(zip(networks, generator.normal(size=100).tolist(), strict=True))))
    assert abs(np.mean([each.rank_correlation for each in found])) < 0.1
    assert sum(each.low < 0 < each.high for each in found) >= 20
    assert found[0].networks == 100


def test_scores_that_are_all_alike_have_no_order_to_agree_with(model, target_ms):
    same = dict.fromkeys(around(model, target_ms, 40), 0.5)
    assert agreement(model.space, same).rank_correlation == 0


def test_the_interval_of_a_correlation_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    truth = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's of normal pairs whose Pearson correlation is 0.6
    held = 0
    for _ in range(1000):
        x, noise = generator.normal(size=(2, 60))
        y = 0.6 * x + 0.8 * noise
        ranks = [np.argsort(np.argsort(values)) for values in (x, y)]
        low, high = correlation_interval(float(np.corrcoef(*ranks)[0, 1]), 60)
        held += low <= truth <= high
    assert 930 <= held <= 970
