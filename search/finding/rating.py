"""Rates networks near a target by what they can hold and by what the search has learned: a sum over layers.

Two counts say most: multiply-adds, and activations, which are the outputs of all convolutions (Radosavovic et al., "Designing
Network Design Spaces", CVPR 2020). Of two networks that take a phone equally long, the one that has more of both is more accurate
as a rule. What the indicators have learned counts less: weights that many networks share say little about how accurate each of
them is on its own. docs/glyph-study.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_near
from profiling.layers import LayerSpec
from profiling.space import Architecture, SearchSpace

Terms = tuple[Mapping[str, float], ...]
"""For each varying place a number for each of its steps."""

INDICATORS = 0.1  # how much they count, each of the two counts being 1: about in proportion to how well each orders networks
# No indicator is surer than this of a choice, so that none overrules everything else.
LEAST_LIKELY = math.log(0.01)
SAMPLE = 256
BAND = 0.02


def rate(model: RuntimeModel, likelihoods: Sequence[Mapping[str, float]], target_ms: float, seed: int) -> Terms:
    """The terms of the rating: activations + multiply-adds + a tenth of the log-likelihood under the indicators.

    Each of the three is divided by its standard deviation among random networks near the target, so that their units do not
    matter, nor how much of them the space leaves to choose.

    Args:
        model: the runtime model.
        likelihoods: of each step of each place, see `decode.log_likelihoods`.
        target_ms: within the range of the space.
        seed: of the random networks.

    Returns:
        Terms for `within_budget`; higher is better, and only differences mean something.
    """
    return rate_by(model.space, likelihoods, networks_near(model, target_ms, BAND, SAMPLE, seed))


def rate_by(space: SearchSpace, likelihoods: Sequence[Mapping[str, float]], near: Sequence[Architecture]) -> Terms:
    """The same, where the random networks near the target are known."""
    likely = tuple({name: max(each, LEAST_LIKELY) for name, each in layer.items()} for layer in likelihoods)
    parts = [(activations(space), 1.0), (multiply_adds(space), 1.0), (likely, INDICATORS)]
    weights = [weight / spread if (spread := _spread(terms, near)) else 0.0 for terms, weight in parts]
    return tuple(
        {name: sum(weight * layer[name] for weight, layer in zip(weights, layers, strict=True)) for name in layers[0]}
        for layers in zip(*(terms for terms, _ in parts), strict=True)
    )


def rating(terms: Terms, architecture: Architecture) -> float:
    """The sum of an architecture's terms."""
    return sum(layer[name] for layer, name in zip(terms, architecture.step_names, strict=True))


def nothing_learned(space: SearchSpace) -> Terms:
    """The log-likelihoods where no training has decided anything."""
    return tuple(dict.fromkeys(slot.steps, 0.0) for slot in space.varying)


def activations(space: SearchSpace) -> Terms:
    """The outputs of all convolutions of each step, for one image."""
    return _counted(space, lambda layer: sum(each.out_channels * each.out_resolution**2 for each in layer.convolutions))


def multiply_adds(space: SearchSpace) -> Terms:
    """Of each step, for one image."""
    return _counted(space, lambda layer: layer.multiply_adds)


def _counted(space: SearchSpace, count: Callable[[LayerSpec], float]) -> Terms:
    return tuple(
        {name: 0.0 if step.layer is None else float(count(step.layer)) for name, step in slot.steps.items()}
        for slot in space.varying
    )


def _spread(terms: Terms, networks: Sequence[Architecture]) -> float:
    """The standard deviation of the networks' sums; 0 where there are none."""
    return float(np.std([rating(terms, network) for network in networks])) if networks else 0.0
