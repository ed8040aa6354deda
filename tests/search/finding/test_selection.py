"""What a search ends with: the best rated network near the target, and others beside it; and collapse, noticed once."""

import csv
from types import SimpleNamespace

import pytest
import torch

from profiling.space import Architecture, load_architecture
from search.config import SearchConfig
from search.finding.collapse import CollapseWatch, collapsed
from search.finding.scoring import Score, Scorer, reestimate_batch_norm
from search.finding.search import Search, table_digest
from search.finding.selection import OTHERS, select, write_candidates
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.run_folder import RunFolder
from search.supernet.decode import hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet, extract
from search.training.accuracy import accuracies


@pytest.fixture
def space(make_space):
    """Of 10,000 networks, so that there are dozens near any target."""
    return make_space(stages=[{"layers": 3, "channels": 8, "stride": 2}, {"layers": 3, "channels": 16}])


@pytest.fixture
def supernet(space):
    torch.manual_seed(0)
    supernet = Supernet(space, 10).eval()
    for t in supernet.thresholds():
        t.data.uniform_(0.5, 1.5)
    return supernet


@pytest.fixture
def config(model):
    return SearchConfig(
        table="test", space_digest=model.space.digest, table_digest=table_digest(model.table), data="digits",
        runtime_weight=0.1, batch_size=64,
    )  # fmt: skip


@pytest.fixture
def digits(space):
    return load_data("digits", space, 0)


def test_networks_side_by_side_score_as_each_alone(model, supernet, config, digits):
    """Batch norm over the same training images, accuracy over the same held-out images, one network after the other."""
    architectures = [model.space.uniform("3x3-3"), Architecture(space=model.space, choices=("5x5-6", "skip", "3x3-6") * 2)]
    scores = Scorer(model, supernet, digits, config, steps=7, batches=3, most_images=10_000).score(architectures)
    for architecture, score in zip(architectures, scores, strict=True):
        network = extract(supernet, architecture)
        reestimate_batch_norm(network, (images for images, _ in training_batches(digits, 64, config.seed, 7, 10, 0)))
        assert float(score.right.double().mean()) == accuracies([network], held_out_batches(digits, 64, 0), 10)[0].top1
        assert score.predicted_ms == model.predict(architecture).total_ms
        assert len(score.right) == digits.held_out_images == len(score.choosing) + len(score.right[1::2])
    fewer = Scorer(model, supernet, digits, config, steps=7, batches=3, most_images=100)
    assert 50 < fewer.images <= 100
    stride = -(-digits.held_out_images // 100)
    assert torch.equal(fewer.score(architectures)[1].right, scores[1].right[::stride]), "every so manieth image, not the first"


class FixedScorer:
    """Gives each architecture in turn the next of these sets of right guesses, the last one to all that follow."""

    def __init__(self, model, rights):
        self.model, self.rights = model, list(rights)

    def score(self, architectures):
        rights = [*self.rights, *[self.rights[-1]] * len(architectures)]
        return [
            Score(each, self.model.predict(each).total_ms, right, SimpleNamespace())
            for each, right in zip(architectures, rights, strict=False)
        ]


def guesses(right, images=200):
    """Right on so many of the images that choose; those that do not choose are all wrong."""
    made = torch.zeros(2 * images, dtype=torch.bool)
    made[: 2 * right : 2] = True
    return made


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_candidates_are_the_best_rated_within_the_target_and_what_the_indicators_decided(model, supernet, share):
    low, high = model.range_ms()
    target = low + share * (high - low)
    candidates = select(model, supernet, target, FixedScorer(model, [guesses(100)]), seed=0)
    networks = [each.score.architecture for each in candidates]
    assert len(set(networks)) == len(networks)
    assert all(0.99 * target <= model.predict(each).total_ms <= target * (1 + 1e-9) for each in networks)
    decided = next(within_budget(model, log_likelihoods(supernet), target))
    assert decided in networks
    assert [each.origin for each in candidates[1:]] == ["decided" if each == decided else "rated" for each in networks[1:]]
    rated = candidates[: 1 + OTHERS]
    assert [each.rating for each in rated] == sorted((each.rating for each in rated), reverse=True)
    assert all(each.rating <= rated[-1].rating for each in candidates[len(rated) :])
    again = select(model, supernet, target, FixedScorer(model, [guesses(100)]), seed=0)
    assert [(each.score.architecture, each.rating) for each in again] == list(
        zip(networks, [each.rating for each in candidates], strict=True)
    )


def test_the_best_rated_is_chosen_whatever_shared_weights_score(model, supernet):
    low, high = model.range_ms()
    candidates = select(model, supernet, (low + high) / 2, FixedScorer(model, [guesses(1), guesses(199)]), seed=0)
    assert [each.chosen for each in candidates] == [True] + [False] * (len(candidates) - 1)
    assert (candidates[0].origin, candidates[0].score.choosing_accuracy, candidates[0].score.accuracy) == ("best", 0.005, 0.0)


def test_with_a_fixed_runtime_weight_the_decided_latency_is_the_target(model, supernet):
    decided = hard_architecture(supernet.space, supernet.decide())
    candidates = select(model, supernet, None, FixedScorer(model, [guesses(100)]), seed=0)
    assert decided in [each.score.architecture for each in candidates]
    target = model.predict(decided).total_ms
    assert all(0.99 * target <= each.score.predicted_ms <= target * (1 + 1e-9) for each in candidates)


def test_candidates_are_written_with_the_chosen_one_as_the_architecture(model, supernet, tmp_path):
    low, high = model.range_ms()
    candidates = select(model, supernet, (low + high) / 2, FixedScorer(model, map(guesses, range(100, 0, -5))), seed=0)
    write_candidates(candidates, RunFolder(tmp_path))
    rows = list(csv.DictReader((tmp_path / "candidates.csv").open()))
    assert len(rows) == len(candidates) > 1
    names = ["architecture.json", *(f"candidates/{rank:02}.json" for rank in range(2, 1 + len(rows)))]
    assert [row["file"] for row in rows] == names
    assert [int(row["rank"]) for row in rows] == list(range(1, 1 + len(rows)))
    assert [float(row["choosing_accuracy"]) for row in rows] == [(100 - 5 * rank) / 200 for rank in range(len(rows))]
    assert [(row["origin"], float(row["rating"])) for row in rows] == [(each.origin, each.rating) for each in candidates]
    for row, candidate in zip(rows, candidates, strict=True):
        assert load_architecture(str(tmp_path / row["file"])) == candidate.score.architecture


def test_what_counts_as_a_collapse(make_space):
    space = make_space()  # of whose four layers the first of each stage cannot be skipped
    assert collapsed(space, ("5x5-6",) * 4) == "largest"
    assert collapsed(space, ("3x3-3",) * 4) == "smallest"
    assert collapsed(space, ("3x3-3", "3x3-3", "3x3-3", "skip")) == "smallest"
    assert collapsed(space, ("5x5-6", "skip", "3x3-3", "skip")) == "skip"
    assert collapsed(space, ("5x5-6", "skip", "5x5-6", "5x5-6")) is None
    assert collapsed(make_space(skip=False), ("3x3-3",) * 4) == "smallest"


def test_a_runtime_weight_far_too_large_is_noticed_in_a_search_and_said_once(model, digits, config, tmp_path):
    changed = {"runtime_weight": 1000.0, "epochs": 4, "learning_rate": 0.032, "threshold_learning_rate": 3.0}
    search = Search(model, digits, config.model_copy(update=changed), RunFolder(tmp_path))
    watch, said = CollapseWatch(model, None, search.deciding_steps), []

    def on_step(step):
        text = watch.look(step.choices, step.runtime_ms) if step.phase == "search" else None
        if text is not None:
            said.append((step.step, text))

    search.run(on_step)
    ((step, text),) = said
    assert "have collapsed: every layer that can be skipped is skipped" in text
    assert "smaller --runtime-weight" in text
    assert step < search.steps, "during the search, not at its end"


def test_with_a_target_it_is_a_collapse_only_where_r_stays_off_the_target(model):
    _, slowest = model.range_ms()
    largest = model.space.uniform("5x5-6").choices
    watch = CollapseWatch(model, 1.0, 99)
    assert [watch.look(largest, ms) for ms in [1.09] * 99 + [0.91] * 99] == [None] * 198
    said = [watch.look(largest, 1.2) for _ in range(99)]
    assert [bool(text) for text in said] == [False] * 32 + [True] + [False] * 66
    assert f"every layer is as large as it can be, which takes {slowest:.4g} ms" in said[32]
    assert "--epochs" in said[32]


def test_decisions_that_pass_through_a_collapse_are_none(model):
    largest, other = model.space.uniform("5x5-6").choices, model.space.uniform("3x3-6").choices
    watch = CollapseWatch(model, None, 99)
    assert not any(watch.look(choices, 1.0) for choices in ([largest] * 32 + [other]) * 3)
