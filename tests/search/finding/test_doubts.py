"""Doubts about a result: each where it is due, none where all is well."""

import math

import numpy as np
import pytest

from search.config import TrainingConfig
from search.finding.doubts import DecisionFacts, TrainingFacts, decision_doubts, training_doubts
from search.images.data import Data

EVEN = (48, 48, 48, 48, 48)
FALLING = tuple(np.linspace(1.6, 0.7, 40))


def facts(accuracy=0.8, images=100, losses=FALLING, counts=EVEN, held_out=None, **settings) -> TrainingFacts:
    classes = tuple("abcdefghij"[: len(counts)])
    held_out = held_out or counts
    data = Data([], sum(counts), [], sum(held_out), classes, train_counts=counts, held_out_counts=held_out)
    return TrainingFacts(accuracy, images, losses, data, TrainingConfig(**{"data": "some", "batch_size": 16} | settings))


def kinds(*arguments, **settings):
    return [doubt.kind for doubt in training_doubts(facts(*arguments, **settings))]


def test_a_sound_training_has_no_doubts():
    assert kinds() == []


@pytest.mark.parametrize(
    ("accuracy", "images", "held_out", "doubted"),
    [
        (0.20, 1000, EVEN, True),
        (0.22, 1000, EVEN, True),  # what chance reaches once in twenty times
        (0.25, 1000, EVEN, False),
        (0.33, 24, EVEN, True),
        (0.50, 24, EVEN, False),
        (0.90, 1000, (900, 25, 25, 25, 25), True),
        (0.95, 1000, (900, 25, 25, 25, 25), False),
        (0.10, 1000, (900, 25, 25, 25, 25), True),
        (1.00, 50, (50, 0, 0, 0, 0), True),
    ],
)
def test_accuracy_is_held_against_guessing_the_most_frequent_class(accuracy, images, held_out, doubted):
    assert ("accuracy" in kinds(accuracy, images, held_out=held_out)) == doubted


def test_an_accuracy_at_chance_says_what_to_change():
    [doubt] = training_doubts(facts(0.2, 24))
    assert "20.0% on 24 held-out images, where guessing the most frequent class every time has 20.0%" in doubt.words
    assert "check the labels" in doubt.advice, "the training images were learned"
    [doubt] = training_doubts(facts(0.9, 24, held_out=(900, 25, 25, 25, 25)))
    assert "add images of the other classes" in doubt.advice
    doubt = next(training_doubts(facts(0.2, 24, losses=(1.6,) * 40, epochs=20)))
    assert "--epochs 60 instead of 20 (300 steps)" in doubt.advice
    assert "240 training images in 5 classes are few" in doubt.advice
    doubt = next(training_doubts(facts(0.2, 24, losses=(1.6,) * 40, counts=(5000,) * 5, batch_size=4096)))
    assert "--batch-size 1024 instead of 4096" in doubt.advice
    assert "few" not in doubt.advice


def test_cross_entropy_is_held_against_guessing_by_class_frequency():
    """With label smoothing, and whether the classes are equally frequent or not."""
    noise = np.random.default_rng(0).normal(0, 0.05, 40)
    assert kinds(losses=math.log(5) + noise) == ["loss"]
    assert kinds(losses=math.log(5) - 0.03 + noise) == ["loss"], "nothing to speak of, though steadily below"
    assert kinds(losses=math.log(5) - 0.3 + noise) == []
    assert kinds(losses=[*FALLING, *[1.7] * 20]) == ["loss"], "it fell and rose again"
    skewed = (900, 25, 25, 25, 25)
    shares = 0.9 * np.array(skewed) / 1000 + 0.1 / 5
    by_frequency = -float((shares * np.log(shares)).sum())
    assert by_frequency < math.log(5) - 0.5
    assert kinds(0.99, 1000, by_frequency + noise, skewed) == ["loss"]
    assert kinds(0.99, 1000, by_frequency - 0.3 + noise, skewed) == []


def test_a_loss_that_only_seems_to_fall_is_doubted():
    """A single lucky batch of few images, among others at chance."""
    assert kinds(losses=[1.9, 1.2] * 20) == ["loss"]
    assert kinds(losses=[1.1, 1.0, 0.9]) == [], "too few to test, and far below"


def decided(space, *, first="5x5-6", last, decided=None, runtime_ms=1.0, target_ms=1.0):
    layers = len(space.searchable)
    one, two, three = ((each,) * layers if isinstance(each, str) else each for each in (first, last, decided or last))
    return list(decision_doubts(DecisionFacts(space, one, two, three, runtime_ms, target_ms), facts()))


@pytest.fixture
def long(make_space):
    """Twenty layers, of which the first of each stage cannot be skipped."""
    return make_space(stages=[{"layers": 10, "channels": 8, "stride": 2}, {"layers": 10, "channels": 16}])


def test_a_sound_search_has_no_doubts(long):
    mixed = ("3x3-6", "5x5-3") * 10
    assert decided(long, last=mixed) == []
    assert decided(long, last=mixed, runtime_ms=1.09) == []
    assert decided(long, last=mixed, runtime_ms=0.91) == []
    assert decided(long, last=mixed, decided=("3x3-3",) * 6 + mixed[6:]) == [], "the budget step has the last word on a few"
    assert decided(long, last=mixed, target_ms=None) == []
    assert decided(long, last="5x5-6", runtime_ms=1.02) == [], "a target near the slowest network"


def test_a_network_that_the_budget_step_made_is_doubted(long):
    once = ("5x5-6", "3x3-6") * 10
    [doubt] = decided(long, first=once, last=once, decided=("skip", "3x3-6") * 9 + once[:2], runtime_ms=1.17)
    assert doubt.kind == "undecided"
    assert "R ended 17% above the target" in doubt.words
    assert "9 of 20 layers were changed from what the search had decided; 20 of 20 decisions are as they were" in doubt.words
    [doubt] = decided(long, last=("3x3-6", "5x5-3") * 10, runtime_ms=1.25)
    assert "R ended 25% above the target" in doubt.words
    assert "as they were" not in doubt.words
    [doubt] = decided(long, last=("3x3-6", "5x5-3") * 10, runtime_ms=0.75)
    assert "R ended 25% below the target" in doubt.words
    assert "--epochs 24 instead of 8" in doubt.advice


def test_a_collapse_is_doubted_unless_the_target_asks_for_it(long):
    [doubt] = decided(long, last="5x5-6", runtime_ms=1.3)
    assert (doubt.kind, "as large as it can be" in doubt.words) == ("collapsed", True)
    [doubt] = decided(long, last="3x3-3", target_ms=None)
    assert (doubt.kind, "smaller --runtime-weight" in doubt.advice) == ("collapsed", True)
