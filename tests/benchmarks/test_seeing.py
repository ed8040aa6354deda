"""What a ruler can see: simulated accuracies of known variances give these variances back."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr


@pytest.fixture(scope="module")
def seeing(ruler):
    return ruler("seeing")


def simulated(networks, seeds, network_sd, seed_sd, rest_sd, seed=0):
    """What networks are worth, (networks,), and accuracies, (networks, seeds)."""
    generator = np.random.default_rng(seed)
    worth = 70 + network_sd * generator.normal(size=networks)
    shared = seed_sd * generator.normal(size=seeds)
    return worth, worth[:, None] + shared + rest_sd * generator.normal(size=(networks, seeds))


def test_known_variances_come_back(seeing):
    _, accuracies = simulated(3000, 60, network_sd=1.3, seed_sd=0.8, rest_sd=0.6)
    seen = seeing.see(accuracies)
    assert (seen.networks, seen.seeds) == (3000, 60)
    assert seen.networks_sd == pytest.approx(1.3, rel=0.05)
    assert seen.paired_sd == pytest.approx(0.6, rel=0.02)
    assert seen.seeds_sd == pytest.approx((0.8**2 + 0.6**2) ** 0.5, rel=0.2)
    assert seen.reliability == pytest.approx(1.3**2 / (1.3**2 + 0.6**2 / 60), abs=0.001)


def test_few_networks_and_seeds_are_right_on_average(seeing):
    """Ten networks and two seeds, as in a study: no estimate is off by habit."""
    seen = [seeing.see(simulated(10, 2, 1.3, 0.8, 0.6, seed)[1]) for seed in range(2000)]
    assert np.mean([each.paired_sd**2 for each in seen]) == pytest.approx(0.6**2, rel=0.05)
    assert np.mean([each.seeds_sd**2 for each in seen]) == pytest.approx(0.8**2 + 0.6**2, rel=0.05)
    assert np.mean([each.networks_sd**2 for each in seen]) == pytest.approx(1.3**2, rel=0.05)


@pytest.mark.parametrize(("rest_sd", "seeds"), [(1.0, 2), (2.5, 3)])
def test_a_perfect_predictor_reaches_the_correlation_that_is_promised(seeing, rest_sd, seeds):
    worth, accuracies = simulated(4000, seeds, 1.0, 5.0, rest_sd)
    seen = seeing.see(accuracies)
    assert seen.best_spearman == pytest.approx(spearmanr(worth, accuracies.mean(1)).statistic, abs=0.03)
    assert seen.best_kendall == pytest.approx(kendalltau(worth, accuracies.mean(1)).statistic, abs=0.03)


def test_networks_that_differ_by_chance_alone_are_not_seen_to_differ(seeing):
    seen = [seeing.see(simulated(30, 2, 0.0, 1.0, 1.0, seed)[1]) for seed in range(200)]
    assert np.mean([each.reliability for each in seen]) < 0.2
    assert min(each.reliability for each in seen) == 0
    assert seeing.see([[50.0, 51.0], [50.0, 51.0]]).best_spearman == 0


def test_what_no_variance_can_be_taken_from_is_refused(seeing):
    for accuracies in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 2.0], [3.0, float("nan")]], [1.0, 2.0]):
        with pytest.raises(ValueError, match="at least two networks by two seeds"):
            seeing.see(accuracies)


def test_the_line_says_it_in_words(seeing):
    line = seeing.see(simulated(10, 3, 1.0, 1.0, 0.5)[1]).line()
    assert line.startswith("10 networks x 3 seeds")
    assert "Spearman" in line
