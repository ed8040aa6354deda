"""Selection by a fitted model: scores as a sum over layers, fitted on scored networks, and the best network by that sum.

The score of one network is partly noise, so the best of many scores is partly luck. A sum of one term per layer and choice is
fitted to all scores at once, which averages the noise, and it is what `within_budget` finds the optimum of. Nothing here trains
or looks at images: whoever calls says how networks are scored, so that it works on a table of results too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_near
from profiling.errors import InputError
from profiling.places import FIXED
from profiling.space import Architecture, SearchSpace
from search.supernet.decode import within_budget

BAND = 0.02  # of the target: networks this near it are scored
FIRST = 100
ALLOWANCE = 120
AT_ONCE = 10
FEWEST = 20
FOLDS = 10
STRENGTHS = np.logspace(-2, 3, 21)  # of the ridge; cross-validation chooses
CONFIDENT = 1.96  # standard errors in half of a 95 % interval


Evaluate = Callable[[Sequence[Architecture]], Sequence[float]]
"""Scores architectures, in the same order; higher is better."""


@dataclass(frozen=True)
class AdditiveFit:
    """A network's score as a constant and one term per layer.

    Attributes:
        constant: what all networks share.
        terms: for each searchable layer, by choice; higher is better.
    """

    constant: float
    terms: tuple[Mapping[str, float], ...]

    def score(self, architecture: Architecture) -> float:
        """The score that the fit expects of a network."""
        return self.constant + sum(terms[choice] for terms, choice in zip(self.terms, architecture.choices, strict=True))

    def of_steps(self, space: SearchSpace) -> tuple[Mapping[str, float], ...]:
        """The terms as `within_budget` takes them: a step has that of its choice, whatever stands before it."""
        terms = iter(self.terms)
        by_slot = ((slot, next(terms) if slot.is_searchable else {FIXED: 0.0}) for slot in space.varying)
        return tuple({name: own[step.choice_name] for name, step in slot.steps.items()} for slot, own in by_slot)


@dataclass(frozen=True)
class Agreement:
    """How well a fit orders networks that it has not seen.

    Attributes:
        rank_correlation: Spearman's, between scores and what a fit on other networks expects; −1 to 1.
        low, high: its 95 % interval.
        networks: how many it rests on.
    """

    rank_correlation: float
    low: float
    high: float
    networks: int


@dataclass(frozen=True)
class Selection:
    """What a selection by a fitted model ends with.

    Attributes:
        architecture: the best within the budget by the last fit.
        fit: the last one.
        agreement: between scores and fits.
        scores: every network that was scored, in order.
        settled: whether the best stopped moving; otherwise the allowance of scores ended it.
    """

    architecture: Architecture
    fit: AdditiveFit
    agreement: Agreement
    scores: Mapping[Architecture, float]
    settled: bool


def select_by_fit(
    model: RuntimeModel, evaluate: Evaluate, target_ms: float, *, seed: int, first: int = FIRST, allowance: int = ALLOWANCE
) -> Selection:
    """Scores random networks near the target, then by turns fits, and scores the best by the fit, until the best stays.

    Args:
        model: the runtime model.
        evaluate: scores networks; it is called with a hundred at first and a few at a time later.
        target_ms: the network selected takes this or up to 1 % less, as `within_budget` says; scored ones are within 2 % of it.
        seed: of the random networks.
        first: how many random networks; fewer where the band holds no more.
        allowance: of scores in all.

    Raises:
        InputError: the target is out of reach, or there are fewer than 20 networks near it.
    """
    drawn = networks_near(model, target_ms, BAND, min(first, allowance), seed)
    if len(drawn) < FEWEST:
        problem = f"only {len(drawn)} networks take about {target_ms:g} ms, and a fit needs {FEWEST}"
        raise InputError(problem, where=model.space.name)
    scores = dict(zip(drawn, evaluate(drawn), strict=True))
    best = None
    while True:
        fit = fit_additive(model.space, scores)
        ranking = within_budget(model, fit.of_steps(model.space), target_ms)
        before, best = best, next(ranking)
        unseen = (architecture for architecture in chain([best], ranking) if architecture not in scores)
        new = list(islice(unseen, min(AT_ONCE, allowance - len(scores))))
        settled = best == before
        if settled or not new:
            return Selection(best, fit, agreement(model.space, scores), scores, settled)
        scores.update(zip(new, evaluate(new), strict=True))


def fit_additive(space: SearchSpace, scores: Mapping[Architecture, float]) -> AdditiveFit:
    """Fits scores by ridge regression, its strength chosen by leave-one-out cross-validation.

    Args:
        space: of the architectures.
        scores: at least 20.
    """
    ridge = RidgeCV(STRENGTHS).fit(_features(space, scores), list(scores.values()))
    terms = iter(ridge.coef_.tolist())
    return AdditiveFit(
        float(ridge.intercept_), tuple({choice: next(terms) for choice in slot.choices} for slot in space.searchable)
    )


def agreement(space: SearchSpace, scores: Mapping[Architecture, float]) -> Agreement:
    """How well additive fits order these networks: each is predicted by a fit on the nine tenths that it is not in.

    The interval is that of Bonett and Wright (2000) for independent pairs. Here the fits share networks, so it holds the truth
    about nine times in ten instead of nineteen in twenty. Scores are noisy: with what networks are truly worth a fit agrees more.

    Args:
        space: of the architectures.
        scores: at least 20.
    """
    features, measured = _features(space, scores), np.array(list(scores.values()))
    expected = np.empty(len(scores))
    for rest, left_out in KFold(FOLDS, shuffle=True, random_state=0).split(features):
        ridge = RidgeCV(STRENGTHS).fit(features[rest], measured[rest])
        # The mean of the rest is high just where what is left out is low; with it, mere chance would correlate at −0.3.
        expected[left_out] = ridge.predict(features[left_out]) - measured[rest].mean()
    # What is all alike has no order to agree with.
    ordered = min(np.ptp(measured), np.ptp(expected)) > 0
    correlation = float(spearmanr(measured, expected).statistic) if ordered else 0.0
    return Agreement(correlation, *correlation_interval(correlation, len(scores)), len(scores))


def correlation_interval(correlation: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a Spearman correlation over `count` pairs, more than three (Bonett and Wright 2000)."""
    middle = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
    half = CONFIDENT * math.sqrt((1 + correlation**2 / 2) / (count - 3))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))


def _features(space: SearchSpace, architectures: Iterable[Architecture]) -> npt.NDArray[np.float64]:
    """(networks, choices of all layers together): 1 where a network's layer is that choice."""
    return np.array(
        [
            [name == chosen for slot, chosen in zip(space.searchable, architecture.choices, strict=True) for name in slot.choices]
            for architecture in architectures
        ],
        dtype=np.float64,
    )
