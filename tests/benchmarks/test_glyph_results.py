"""The tables of the study on glyphs, of made-up results whose figures are computed here in another way."""

import math
import re
import statistics

import numpy as np
import pytest
from scipy import stats

from profiling.space import Architecture, load_space

SEEDS = 3
OF_SEED = np.array([0.3, -0.2, 0.5])  # what a seed is worth to all networks, in points
# What networks are worth, in percent; every training has that and what its seed is worth.
WORTH = {
    **{f"found {index}": worth for index, worth in enumerate((71.0, 71.5, 70.75))},
    **{f"random {index}": worth for index, worth in enumerate((68.0, 69.5, 67.25, 70.0, 68.75, 66.5))},
    "uniform 3x3-6": 69.0,
    "uniform 5x5-6, 14 of 20 layers": 70.5,
}
UNTOUCHED, TUNED = (70.9, 71.1, 70.8), (71.4, 71.9, 71.0)
# Of the random networks, by each search.
RATINGS = ((3.0, 5.0, 2.0, 6.0, 4.0, 1.0), (4.0, 5.0, 2.0, 6.0, 3.0, 1.0), (3.0, -6.0, 2.0, 5.0, 4.0, 1.0))


@pytest.fixture(scope="module")
def glyph_results(ruler):
    return ruler("glyph_results")


def made_up(result, noise=0.0):
    """Lines of results in an order that several processes might leave; seconds are 80 a search, 8 a finetune, 40 a training."""
    generator = np.random.default_rng(0)
    accuracy = {
        (name, seed): worth + OF_SEED[seed] + noise * generator.normal() for name, worth in WORTH.items() for seed in range(SEEDS)
    }
    # A network is known by its choices: those of `found 1` are `choices 1`.
    lines = [
        result(name, seed, name.replace("found", "choices"), 1.25, each / 100, 96, 40.0)
        for (name, seed), each in reversed(accuracy.items())
    ]
    for search, ratings in enumerate(RATINGS):
        rated = [result(f"rated random {index}", search, "3x3-3", 1.25, each, 96, 0.5) for index, each in enumerate(ratings)]
        shipped, tuned = ((UNTOUCHED[search], "shipped", 80.0), (TUNED[search], "tuned", 8.0))
        lines += [
            result(name, search, f"choices {search}", 1.25, each / 100, 96, seconds) for each, name, seconds in (shipped, tuned)
        ] + rated
    return lines, {name: np.array([accuracy[name, seed] for seed in range(SEEDS)]) for name in WORTH}


def means(accuracies, kind):
    return [float(each.mean()) for name, each in accuracies.items() if name.startswith(kind)]


def interval(differences):
    """The mean and half of the 95 % interval, as a table has them."""
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    return f"{np.mean(differences):+.2f} ± {(high - low) / 2:.2f} points"


@pytest.fixture(scope="module", params=[0.0, 0.4], ids=["no noise", "noise"])
def study(glyph_results, request):
    """What is printed, and the accuracies that it is about."""
    lines, accuracies = made_up(glyph_results.Result, request.param)
    return glyph_results.summary(lines), accuracies


def test_networks_are_listed_with_their_mean_and_each_seed(study):
    printed, accuracies = study
    for name, each in accuracies.items():
        row = f"{each.mean():.2f} | {' '.join(f'{one:.2f}' for one in each)} |"
        if not name.startswith("random"):
            assert f"| {name} | 1.2500 | {row}" in printed
    best = max((name for name in accuracies if name.startswith("random")), key=lambda name: accuracies[name].mean())
    assert f"| {best}, the best of 6 | 1.2500 | {accuracies[best].mean():.2f}" in printed
    random = means(accuracies, "random")
    assert f"| 6 random, mean | 1.2500 | {statistics.mean(random):.2f} | sd {statistics.stdev(random):.2f} |" in printed


def test_found_networks_are_compared_with_random_ones_as_draws_like_them_and_with_the_best_uniform_one_in_pairs(study):
    printed, accuracies = study
    found, random = means(accuracies, "found"), means(accuracies, "random")
    gain = statistics.mean(found) - statistics.mean(random)
    p = stats.t.sf(gain / math.sqrt(statistics.variance(random) * (1 / len(found) + 1 / len(random))), len(random) - 1)
    [line] = [line for line in printed.splitlines() if line.startswith("Found against random")]
    assert line.startswith(f"Found against random: {gain:+.2f} points, {gain / statistics.stdev(random):.1f} standard deviations")
    assert float(re.search(r"by chance: p = ([^;]+);", line)[1]) == pytest.approx(p, rel=0.05)
    assert p < 0.05
    on_average = float(re.search(r"on average: p = ([^;]+);", line)[1])
    assert on_average < 0.5 * p, "that a mean of means is sure does not hang on how far single networks lie apart"
    uniform = accuracies["uniform 5x5-6, 14 of 20 layers"]
    pairs = np.mean([accuracies[f"found {index}"] - uniform for index in range(3)], axis=0)
    assert f"the best uniform network, 5x5-6, 14 of 20 layers: {interval(pairs)}" in printed


def test_networks_as_shipped_are_compared_with_the_same_from_scratch(study):
    printed, accuracies = study
    scratch = means(accuracies, "found")
    for search, own in enumerate(scratch):
        assert f"| {search} | {UNTOUCHED[search]:.2f} | {TUNED[search]:.2f} | {own:.2f} |" in printed
    assert f"Untouched, against from scratch: {interval(np.subtract(UNTOUCHED, scratch))}" in printed
    assert f"After finetune, against from scratch: {interval(np.subtract(TUNED, scratch))}" in printed


def test_searches_that_end_with_the_same_network_are_each_compared_with_its_trainings(glyph_results):
    lines, accuracies = made_up(glyph_results.Result)
    twin = [
        glyph_results.Result(name, 3, "choices 1", 1.25, top1, 96, 8.0) for name, top1 in (("shipped", 0.708), ("tuned", 0.719))
    ]
    rated = [glyph_results.Result(f"rated random {index}", 3, "3x3-3", 1.25, index, 96, 0.5) for index in range(6)]
    printed, scratch = glyph_results.summary([*lines, *twin, *rated]), means(accuracies, "found")
    assert f"| 3 | 70.80 | 71.90 | {scratch[1]:.2f} |" in printed
    against = np.subtract((*UNTOUCHED, 70.8), (*scratch, scratch[1]))
    assert f"Untouched, against from scratch: {interval(against)}" in printed
    assert "3 different networks against 6" in printed, "it counts once among those found"


def test_ratings_are_ranked_against_trainings_with_what_the_ruler_allows(study, ruler):
    printed, accuracies = study
    random = means(accuracies, "random")
    for search, ratings in enumerate(RATINGS):
        apart = np.argsort(np.argsort(ratings)) - np.argsort(np.argsort(random))
        rho = 1 - 6 * float(apart @ apart) / (6 * (6**2 - 1))
        middle, half = math.atanh(min(rho, 1 - 1e-12)), 1.96 * math.sqrt((1 + rho**2 / 2) / (6 - 3))
        low, high = math.tanh(middle - half), math.tanh(middle + half)
        assert (
            f"Search {search} rates the random networks with a rank correlation of {rho:.2f} ({low:.2f} to {high:.2f})."
            in printed
        )
    best = ruler("seeing").see([each for name, each in accuracies.items() if name.startswith("random")]).best_spearman
    assert f"The ruler allows {best:.2f}; 0.6 of that is {0.6 * best:.2f}." in printed


def test_the_cost_is_that_of_every_run_once(study):
    total = 3 * (80 + 8) + len(WORTH) * SEEDS * 40
    assert f"Processor seconds: a search 80, finetune 8, a training from scratch 40; in all {total}." in study[0]


def test_networks_without_noise_are_seen_perfectly(glyph_results):
    printed = glyph_results.summary(made_up(glyph_results.Result)[0])
    assert "Search 0 rates the random networks with a rank correlation of 1.00 (1.00 to 1.00)." in printed
    assert "The ruler allows 1.00; 0.6 of that is 0.60." in printed
    assert "in pairs of the same seed 0.00" in printed


def test_a_seed_that_is_not_finished_with_every_network_is_left_out_and_too_little_gives_no_tables(glyph_results):
    lines, accuracies = made_up(glyph_results.Result)
    without = [line for line in lines if (line.name, line.seed) != ("random 3", 2)]
    printed = glyph_results.summary(without)
    rest = means({name: np.delete(each, 2) for name, each in accuracies.items()}, "random")
    assert f"| 6 random, mean | 1.2500 | {statistics.mean(rest):.2f} |" in printed
    for kind in ("found", "random", "uniform"):
        few = [line for line in lines if not line.name.startswith(kind)]
        assert glyph_results.summary(few) == "The study has not got far enough for its tables."
    assert glyph_results.summary([]) == "The study has not got far enough for its tables."


def test_networks_that_skip_different_layers_of_the_same_kind_are_one(ruler):
    in_order, space = ruler("glyph_study").in_order, load_space("fashion-mnist")
    one, other, third = (
        Architecture(space=space, choices=(*first.split(), *("3x3-6", "5x5-3", "skip", "3x3-3") * 2))
        for first in ("3x3-6 skip 5x5-6 skip", "skip 3x3-6 skip 5x5-6", "5x5-6 3x3-6 skip skip")
    )
    assert in_order(one) == in_order(other) != in_order(third)
    for network in (one, third):
        kept, reordered = ([layer for _, layer in each.placed_layers() if layer] for each in (network, in_order(network)))
        assert kept == reordered
