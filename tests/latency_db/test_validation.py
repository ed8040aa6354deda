"""The metrics of a validation, against figures worked out by hand."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_percentage_error, root_mean_squared_error

from latency_db.validation import validate


def test_metrics_by_hand():
    """Errors of +1, -1, +2 and 0 ms on 10, 20, 40 and 30 ms; one pair of networks in the wrong order would show in Spearman."""
    report = validate(
        predicted_ms=[11, 19, 42, 30],
        measured_ms=[10, 20, 40, 30],
        first_half_ms=[10, 21, 40, 30],
        second_half_ms=[12, 19, 40, 30],
    )
    assert asdict(report) == pytest.approx(
        {
            "networks": 4,
            "rmse_ms": 1.5**0.5,  # (1 + 1 + 4 + 0) / 4
            "rmse_pct": 1.5**0.5 / 25 * 100,
            "mean_error_pct": 5.0,  # (10 + 5 + 5 + 0) / 4
            "bias_pct": 2.5,  # (10 - 5 + 5 + 0) / 4
            "spearman": 1.0,
            "worst_pct": 10.0,
            "noise_floor_ms": 2**0.5 / 2,  # √((4 + 4 + 0 + 0) / 4) / 2
        }
    )


def test_spearman_counts_the_pairs_in_the_wrong_order():
    """1 - 6 Σd² / (n (n² - 1)) with two neighbours changed: d² = 1 + 1, n = 4."""
    report = validate([11, 10, 30, 40], [10, 20, 30, 40], [1, 1, 1, 1], [1, 1, 1, 1])
    assert report.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert report.noise_floor_ms == 0


def test_the_noise_floor_is_the_error_of_a_perfect_model():
    """By simulation: a model that knows the truth has the noise floor as its RMSE, when figures are means over all visits."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(5, 10, 4000)
    visits = truth + generator.normal(0, 0.1, (6, 4000))
    report = validate(truth, visits.mean(axis=0), visits[::2].mean(axis=0), visits[1::2].mean(axis=0))
    assert report.noise_floor_ms == pytest.approx(report.rmse_ms, rel=0.05)


def test_the_figures_are_those_of_scipy_and_scikit_learn():
    """Also where networks are equally fast. The core has neither of these libraries."""
    generator = np.random.default_rng(0)
    predicted, measured, first, second = generator.uniform(1, 3, (4, 30)).round(1)
    report = validate(predicted, measured, first, second)
    assert report.spearman == pytest.approx(spearmanr(predicted, measured).statistic, rel=1e-12)
    assert report.rmse_ms == pytest.approx(root_mean_squared_error(measured, predicted), rel=1e-12)
    assert report.mean_error_pct == pytest.approx(100 * mean_absolute_percentage_error(measured, predicted), rel=1e-12)
    assert report.noise_floor_ms == pytest.approx(root_mean_squared_error(first, second) / 2, rel=1e-12)
