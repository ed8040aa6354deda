"""How a device slows itself down with heat, from what repeated visits to different models have in common.

Phones get slower as they work, by half and more, while their thermal status stays 0. No sensor need show it, but every visit
does: where one model takes 8 % longer than before, those measured around it do, too. The speed over time is fitted to all visits
at once, a canary's among them, and each visit can then be read as of the time when the device was at its fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from profiling.stats import spread

Floats = npt.NDArray[np.float64]

# Visits from one knot of the speed over time to the next, and how stiff it is between them. On simulated phones that heat up in
# 20 s to 5 minutes, and on such as change their clock at one stroke, finer and softer ones follow noise, coarser ones miss heat.
KNOT_VISITS = 8
STIFFNESS = 1.0
FEWEST_VISITS = 32
STEPS = 6
# A drift must be larger than this, and stand out of the noise. Visits that share nothing but noise give a curve too: its height
# is 1.3 to 3 times the deviation of a visit from it.
LEAST_DRIFT = 0.01
LEAST_TO_NOISE = 4.0


def slowdowns(models: Sequence[str], values_ms: Sequence[float]) -> Floats:
    """By how much the device was slower at each visit than at its fastest: 0.05 is 5 %.

    All are 0 where no drift that the models share stands out of the noise: a cool device is measured as it is.

    Args:
        models: of each visit, in the order in which they were made.
        values_ms: what the visits found, in ms.
    """
    _, model, visits = np.unique(np.array(models, dtype=np.str_), return_inverse=True, return_counts=True)
    # A model that was visited once tells nothing of the time.
    repeated = np.flatnonzero(visits[model] > 1)
    if len(repeated) < FEWEST_VISITS:
        return np.zeros(len(models))
    curve, noise = _shared_curve(model[repeated], np.log(np.array(values_ms)[repeated]))
    drift = curve - curve.min()
    if drift.max() < max(LEAST_DRIFT, LEAST_TO_NOISE * noise):
        return np.zeros(len(models))
    drift_of_all: Floats = np.interp(np.arange(len(models)), repeated, drift)
    return np.expm1(drift_of_all)


def _shared_curve(model: npt.NDArray[np.int_], logs: Floats) -> tuple[Floats, float]:
    """Fits logs = constant of the model + curve over the visits, and gives the curve and the deviation of a visit from it.

    Least squares with a penalty on the curve's bends; each step gives less weight to visits that lie off.
    """
    _, model = np.unique(model, return_inverse=True)
    knots, shares = _knots(len(logs))
    bends = np.diff(np.eye(knots.max() + 1), 2, axis=0)
    # The constants would take up any shift of the curve; this holds it.
    penalty = STIFFNESS * bends.T @ bends + 1e-9 * np.eye(bends.shape[1])
    weights, curve, deviation = np.ones(len(logs)), np.zeros(len(logs)), 0.0
    for _ in range(STEPS):
        of_model = np.bincount(model, weights)
        weighted = weights[:, None] * shares
        squares, products = np.zeros_like(penalty), np.zeros((len(of_model), len(penalty)))
        np.add.at(squares, (knots[:, :, None], knots[:, None, :]), weighted[:, :, None] * shares[:, None, :])
        np.add.at(products, (model[:, None], knots), weighted)
        # What is left of a visit when the weighted mean over its model is taken away: the constants drop out.
        normal = squares - products.T @ (products / of_model[:, None])
        above = logs - (np.bincount(model, weights * logs) / of_model)[model]
        height = np.linalg.solve(normal + penalty, np.bincount(knots.ravel(), (weighted * above[:, None]).ravel()))
        curve = (shares * height[knots]).sum(axis=1)
        left = logs - curve
        residuals = left - (np.bincount(model, weights * left) / of_model)[model]
        deviation = max(spread(residuals.tolist()), 1e-4)
        weights = 1 / (1 + (residuals / (2 * deviation)) ** 2)
    return curve, deviation


def _knots(count: int) -> tuple[npt.NDArray[np.int_], Floats]:
    """For each visit the two knots beside it, and its share in either: what interpolates linearly between knots."""
    intervals = max(1, -(-count // KNOT_VISITS))
    place = np.arange(count) * intervals / (count - 1)
    left = np.minimum(place.astype(int), intervals - 1)
    return np.stack([left, left + 1], axis=1), np.stack([1 - (place - left), place - left], axis=1)
