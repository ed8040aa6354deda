"""Why the result of a search or a training should not be relied on, and what to change. A sound result has no doubts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from profiling.space import SearchSpace
from profiling.specfile import SpecModel
from search.finding.collapse import ON_TARGET, WORDS, advice, collapsed

if TYPE_CHECKING:
    from search.config import TrainingConfig
    from search.images.data import Data

UNLIKELY = 0.01
# Share of the way from chance to a perfect fit that cross-entropy falls at least where anything is learned.
LEARNED = 0.05
# What counts as the end of a training: the last tenth of the steps that were kept, at least ten of them.
END = 0.1
FEWEST_AT_END = 10
# A sound search leaves to the budget step what its indicators are split on, at most about a third of the layers.
FROM_BUDGET = 1 / 3
ALWAYS_FROM_BUDGET = 2
STAYED = 0.9
# The phase in which decisions bring R to the target is short: on small data even a sound search may end it a tenth off.
OFF_TARGET = 0.2
FEW_PER_CLASS = 100
FEW_STEPS_PER_EPOCH = 10
SMALL_BATCH = 16


class Doubt(SpecModel):
    """One reason not to rely on a result.

    Attributes:
        kind: `accuracy` at chance, a `loss` that never fell, decisions that `collapsed`, or a network left `undecided`.
        words: what is wrong, with the figures that show it.
        advice: what to change.
    """

    kind: Literal["accuracy", "loss", "collapsed", "undecided"]
    words: str
    advice: str


@dataclass(frozen=True)
class TrainingFacts:
    """How a training went.

    Attributes:
        accuracy: on held-out images, 0 to 1; images: how many these were.
        losses: cross-entropy of the steps that were kept, in nats, with the label smoothing of the settings; empty where the
            weights are those of another training.
        data, config: that it was trained with.
    """

    accuracy: float
    images: int
    losses: Sequence[float]
    data: Data
    config: TrainingConfig


@dataclass(frozen=True)
class DecisionFacts:
    """How a search decided.

    Attributes:
        space: that it searched.
        first, last: the most probable choice of each layer when decisions began to be learned, and at the end of that.
        decided: the choices after the budget step, which makes the network meet the target.
        runtime_ms: R at the end, in ms.
        target_ms: None with a fixed runtime weight.
    """

    space: SearchSpace
    first: tuple[str, ...]
    last: tuple[str, ...]
    decided: tuple[str, ...]
    runtime_ms: float
    target_ms: float | None


def training_doubts(facts: TrainingFacts) -> Iterator[Doubt]:
    """Doubts about what was learned: an accuracy that guessing has too, a loss that never left chance."""
    loss = _loss_doubt(facts)
    accuracy = _accuracy_doubt(facts, learned=loss is None)
    yield from (doubt for doubt in (accuracy, loss) if doubt is not None)


def decision_doubts(decisions: DecisionFacts, facts: TrainingFacts) -> Iterator[Doubt]:
    """Doubts about what was decided: a collapse, or a network that comes from the budget step instead of the search."""
    target_ms, layers = decisions.target_ms, len(decisions.last)
    off = 0.0 if target_ms is None else decisions.runtime_ms / target_ms - 1
    changed = sum(one != other for one, other in zip(decisions.last, decisions.decided, strict=True))
    stayed = sum(one == other for one, other in zip(decisions.first, decisions.last, strict=True))
    is_changed, has_stayed = changed > max(ALWAYS_FROM_BUDGET, FROM_BUDGET * layers), stayed >= STAYED * layers
    is_off = abs(off) > (ON_TARGET if is_changed or has_stayed else OFF_TARGET)
    kind = collapsed(decisions.space, decisions.last) if target_ms is None or is_off else None
    if kind is not None:
        words = f"The decisions have collapsed: at the end of the search {WORDS[kind]}"
        yield Doubt(kind="collapsed", words=f"{words}.", advice=advice(kind, target_ms))
        return
    if not is_off:
        return
    reasons = [f"R ended {abs(off):.0%} {'above' if off > 0 else 'below'} the target"]
    if is_changed:
        reasons.append(f"to meet the target, {changed} of {layers} layers were changed from what the search had decided")
    if has_stayed:
        reasons.append(f"{stayed} of {layers} decisions are as they were at first")
    words = f"The search has not decided on this network: {'; '.join(reasons)}."
    yield Doubt(kind="undecided", words=words, advice=_longer(facts))


def chance(data: Data) -> float:
    """The accuracy of always guessing the most frequent class of the held-out images, 0 to 1."""
    return min(1.0, max(_shares(data.held_out_counts, len(data.classes))))


def _accuracy_doubt(facts: TrainingFacts, learned: bool) -> Doubt | None:
    """Tests against always guessing the most frequent class of the held-out images, by a one-sided binomial test."""
    from scipy.stats import binomtest

    shares = _shares(facts.data.held_out_counts, len(facts.data.classes))
    test = binomtest(round(facts.accuracy * facts.images), facts.images, chance(facts.data), alternative="greater")
    if test.pvalue <= UNLIKELY:
        return None
    words = (
        f"Accuracy is not clearly above chance: {facts.accuracy:.1%} on {facts.images} held-out images, where guessing the most"
        f" frequent class every time has {max(shares):.1%}."
    )
    if max(shares) > 0.5 and len(shares) > 2:
        return Doubt(kind="accuracy", words=words, advice="One class has most of the images: add images of the other classes.")
    if learned:
        text = "The training images were learned and the held-out ones were not: check the labels, and add training images."
        return Doubt(kind="accuracy", words=words, advice=text)
    return Doubt(kind="accuracy", words=words, advice=_longer(facts))


def _loss_doubt(facts: TrainingFacts) -> Doubt | None:
    """Tests the end of the training against the best that guessing by class frequency can do, by a one-sided t-test."""
    if len(facts.losses) == 0:
        return None
    import numpy as np
    from scipy.stats import entropy, ttest_1samp

    classes, smoothing = len(facts.data.classes), facts.config.label_smoothing
    at_chance = float(entropy((1 - smoothing) * np.array(_shares(facts.data.train_counts, classes)) + smoothing / classes))
    least = float(entropy((1 - smoothing) * np.eye(classes)[0] + smoothing / classes))
    end = np.array(facts.losses[-max(FEWEST_AT_END, round(END * len(facts.losses))) :])
    fell = end.mean() <= at_chance - LEARNED * (at_chance - least)
    # Few batches say too little for a test, and equal losses have no spread to test by.
    if fell and (len(end) < FEWEST_AT_END or not np.ptp(end)):
        return None
    if fell and ttest_1samp(end, at_chance, alternative="less").pvalue <= UNLIKELY:
        return None
    rate = facts.config.learning_rate
    return Doubt(
        kind="loss",
        words=f"Cross-entropy has not fallen clearly below chance: it ended at {end.mean():.2f}, and guessing by class"
        f" frequency has {at_chance:.2f}.",
        advice=f"{_longer(facts)} If it rose or jumped, a smaller --learning-rate, such as {rate / 4:g} instead of {rate:g}.",
    )


def _shares(counts: Sequence[int], classes: int) -> list[float]:
    """The share of each class in some images; all the same where they were not counted."""
    return [count / sum(counts) for count in counts] if sum(counts) else [1 / classes] * classes


def _longer(facts: TrainingFacts) -> str:
    """How to give a training more to learn from."""
    config, images, classes = facts.config, facts.data.train_images, len(facts.data.classes)
    per_epoch = images // config.batch_size
    text = f"Train for longer: --epochs {3 * config.epochs} instead of {config.epochs} ({config.epochs * per_epoch} steps)"
    if per_epoch < FEW_STEPS_PER_EPOCH and config.batch_size > SMALL_BATCH:
        text += f", or --batch-size {max(SMALL_BATCH, config.batch_size // 4)} instead of {config.batch_size}"
    if images < FEW_PER_CLASS * classes:
        text += f". {images} training images in {classes} classes are few: more images help most"
    return f"{text}."
