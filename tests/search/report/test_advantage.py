"""Found networks against random and uniform ones: figures checked against other ways to compute them, and the words for them."""

import numpy as np
import pytest
from scipy import stats

from search.report.advantage import advantages

SETTINGS = {"recipe": "mnasnet", "epochs": 8, "data": "digits"}


def rows(role, top1, *, seeds=None, images=10_000, settings=SETTINGS, ms=10.0):
    """A row for each network (first axis) and seed (second axis); percent."""
    top1 = np.atleast_2d(np.asarray(top1, dtype=float).T).T
    seeds = range(top1.shape[1]) if seeds is None else seeds
    return [
        {
            "name": f"{role}-{number}-{seed}", "network": f"{role} {number}", "role": role, "seed": seed, "top1": value / 100,
            "held_out_images": images, "settings": settings, "predicted_ms": ms, "measured_ms": ms,
        }
        for number, network in enumerate(top1)
        for seed, value in zip(seeds, network, strict=True)
    ]  # fmt: skip


RANDOM = np.array([[66.0, 67.2], [68.1, 69.0], [67.0, 67.9], [65.4, 66.8], [67.7, 68.4]])


def test_several_found_networks_against_several_random_ones_is_welch_over_networks():
    found = np.array([[69.5, 70.6], [69.9, 70.7], [69.2, 70.5]])
    [against] = advantages(rows("found", found) + rows("random", RANDOM))
    expected = stats.ttest_ind(found.mean(1), RANDOM.mean(1), equal_var=False)
    assert against.difference == pytest.approx(found.mean() - RANDOM.mean())
    assert (against.low, against.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert against.beyond_chance
    assert expected.pvalue < 0.05
    assert against.words.startswith("Found: 2.72 points above the mean of 5 random networks (95 % interval +")
    assert "beyond chance. In pairs of the same seed, 2 each." in against.words


def test_one_found_network_is_one_more_draw_from_the_random_ones():
    """The t-test of two samples with equal variances, of which one has a single member and so no say in the variance."""
    means = RANDOM.mean(1)
    for value, beyond in ((68.5, False), (71.5, True), (63.0, True)):
        [against] = advantages(rows("found", [[value - 0.5, value + 0.5]]) + rows("random", RANDOM))
        t = (value - means.mean()) / (means.std(ddof=1) * np.sqrt(6 / 5))
        assert against.beyond_chance == (2 * stats.t.sf(abs(t), 4) < 0.05) == beyond
        assert ("within chance" in against.words) == (not beyond)
        assert ("above" if value > means.mean() else "below") in against.words


def test_only_shared_seeds_are_compared_so_that_an_easy_seed_decides_nothing():
    found = rows("found", [[70.0, 71.0, 90.0]], seeds=(0, 1, 7))
    [against] = advantages(found + rows("random", RANDOM))
    assert against.difference == pytest.approx(70.5 - RANDOM.mean())
    [apart] = advantages(rows("found", [[70.0, 71.0]], seeds=(5, 6)) + rows("random", RANDOM))
    assert "Their seeds differ" in apart.words


def test_the_best_uniform_network_is_compared_in_pairs():
    found, uniform = [[70.0, 71.2, 70.4]], [[69.0, 70.0, 69.5], [60.0, 61.0, 62.0]]
    [against] = advantages(rows("found", found) + rows("uniform", uniform))
    expected = stats.ttest_rel(found[0], uniform[0])
    assert (against.low, against.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert "the best uniform network, uniform-0-0" in against.words
    assert against.beyond_chance
    apart = rows("found", found, seeds=(3, 4, 5)) + rows("uniform", uniform[:1])
    welch = stats.ttest_ind(found[0], uniform[0], equal_var=False).confidence_interval()
    assert (advantages(apart)[0].low, advantages(apart)[0].high) == pytest.approx(tuple(welch))


def test_what_cannot_be_known_is_said():
    [single] = advantages(rows("found", [[70.0]]) + rows("uniform", [[69.0]]))
    assert (single.difference, single.low, single.beyond_chance) == (pytest.approx(1.0), None, None)
    assert "too few trainings" in single.words
    [identical] = advantages(rows("found", [[70.0, 71.0]]) + rows("uniform", [[69.0, 70.0]]))
    assert (identical.low, "too few trainings" in identical.words) == (None, True), "pairs that agree by chance"
    [unlike] = advantages(rows("found", [[70.0]]) + rows("random", RANDOM, settings=SETTINGS | {"epochs": 30}))
    assert (unlike.difference, unlike.beyond_chance) == (None, None)
    assert "trained differently (epochs 8 or 30)" in unlike.words
    [given] = advantages(rows("found", [[70.0]]) + rows("random", RANDOM, settings=None))
    assert "of some no training is known" in given.words
    later = SETTINGS | {"added_later": 1}
    assert advantages(rows("found", [[70.0]]) + rows("random", RANDOM, settings=later))[0].difference is not None
    assert advantages(rows("random", RANDOM)) == []
    assert advantages([{"name": "a", "top1": 0.9}, {"name": "b", "top1": None}]) == [], "rows of earlier versions"


def test_another_latency_and_few_images_are_said():
    [against] = advantages(rows("found", [[70.0, 71.2]]) + rows("uniform", [[69.0, 70.0]], ms=8.6))
    assert "found takes 10 ms, the other 8.6 ms (-14.0%)" in against.words
    assert "Other held-out images" not in against.words
    few = rows("found", [[70.0, 71.2]], images=359) + rows("uniform", [[69.0, 70.0]], images=359, ms=9.95)
    [against] = advantages(few)
    low, high = stats.binomtest(round(0.706 * 359), 359).proportion_ci()
    assert f"with 359 of them, an accuracy is known to ±{50 * (high - low):.1f} points" in against.words
    assert "Not at one latency" not in against.words
