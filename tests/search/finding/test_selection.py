"""What a search ends with: candidates near the target, compared fairly; and collapse, noticed once."""

import csv
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from latency_db.sampling import networks_between
from profiling.space import Architecture, load_architecture
from search.config import SearchConfig
from search.finding import selection
from search.finding.collapse import CollapseWatch, collapsed
from search.finding.scoring import Score, Scorer, reestimate_batch_norm
from search.finding.search import Search, table_digest
from search.finding.selection import LIKELY, SEEN, gather, is_clearly_better, near, select, write_candidates
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.run_folder import RunFolder
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


def test_candidates_are_the_decided_network_the_likeliest_and_those_seen_near_the_target(model, supernet):
    low, high = model.range_ms()
    target = (low + high) / 2
    within = [each.choices for each in islice(networks_between(model, *near(target), 0), 12)]
    without = next(networks_between(model, low, 0.96 * target, 0)).choices
    found = gather(model, supernet, target, [without, within[-1], within[-1], *within])
    origins = list(found.values())
    assert origins == ["decided"] + ["likely"] * LIKELY + ["seen"] * SEEN
    assert all(0.99 * target <= model.predict(each).total_ms <= target for each, o in found.items() if o != "seen")
    seen = [each.choices for each, origin in found.items() if origin == "seen"]
    assert set(seen) <= set(within)
    assert within[-1] in {each.choices for each in found}, "the latest is the first to be taken"


class FixedScorer:
    """Gives each architecture in turn the next of these sets of right guesses."""

    def __init__(self, model, rights):
        self.model, self.rights = model, rights

    def score(self, architectures):
        return [
            Score(each, self.model.predict(each).total_ms, right, SimpleNamespace())
            for each, right in zip(architectures, self.rights, strict=False)
        ]


def guesses(*right, images=200):
    """Right on every second image given by these numbers; images that do not choose are all wrong."""
    made = torch.zeros(2 * images, dtype=torch.bool)
    made[[2 * index for group in right for index in group]] = True
    return made


def test_another_network_is_chosen_only_beyond_chance_and_within_the_target(model, supernet):
    low, high = model.range_ms()
    target = (low + high) / 2
    decided = guesses(range(100))
    little, much = guesses(range(5, 110)), guesses(range(100), range(100, 150))
    rest = [decided] * 20

    def chosen(*rights):
        candidates = select(model, supernet, target, [], FixedScorer(model, [*rights, *rest]))
        assert [each.chosen for each in candidates].count(True) == 1
        accuracies = [each.score.choosing_accuracy for each in candidates]
        assert accuracies == sorted(accuracies, reverse=True)
        return next(each for each in candidates if each.chosen)

    assert chosen(decided, little).origin == "decided"
    better = chosen(decided, little, much)
    assert (better.origin, better.score.choosing_accuracy, better.score.accuracy) == ("likely", 0.75, 0.0)
    # Only one that was seen, slower than the target, is much better.
    slower = next(networks_between(model, 1.01 * target, near(target)[1], 0))
    scorer = FixedScorer(model, [*[decided] * (1 + LIKELY), much])
    candidates = select(model, supernet, target, [slower.choices], scorer)
    assert candidates[0].score.architecture == slower
    assert next(each for each in candidates if each.chosen).origin == "decided"


def test_beyond_chance_counts_only_images_that_the_two_networks_disagree_on():
    base = torch.arange(1000) < 500
    ten_more = torch.arange(1000) < 510
    assert is_clearly_better(ten_more, base), "ten wins to none are beyond chance, however many images there are"
    mixed = base.clone()
    mixed[400:500], mixed[500:610] = False, True
    assert not is_clearly_better(mixed, base), "110 wins to 100 losses are not, though it is also ten more"
    assert not is_clearly_better(base, base)
    assert not is_clearly_better(base, ten_more)


def test_candidates_are_written_with_the_chosen_one_as_the_architecture(model, supernet, tmp_path, monkeypatch):
    low, high = model.range_ms()
    monkeypatch.setattr(selection, "LIKELY", 4)
    rights = [guesses(range(n)) for n in (100, 160, 90, 80, 70)]
    candidates = select(model, supernet, (low + high) / 2, [], FixedScorer(model, rights))
    write_candidates(candidates, RunFolder(tmp_path))
    rows = list(csv.DictReader((tmp_path / "candidates.csv").open()))
    assert [row["file"] for row in rows] == ["architecture.json", *(f"candidates/0{n}.json" for n in (2, 3, 4, 5))]
    assert [float(row["choosing_accuracy"]) for row in rows] == [0.8, 0.5, 0.45, 0.4, 0.35]
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
