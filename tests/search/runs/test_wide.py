"""Searches of a space with channels, layers and resolutions to choose, on real digits: from the first step to what is left."""

import pytest
import torch
from small import WIDE, small_space, table_from_multiply_adds
from stopping import Stopping

from latency_db.runtime_model import RuntimeModel
from profiling.space import Architecture
from search import checkpoint
from search.config import TrainingOptions
from search.finding.scoring import Scorer
from search.run_folder import RunFolder
from search.runs.explore import explore
from search.runs.run import load_run
from search.runs.search import search
from search.runs.supernet import Wanted, networks_from, train_supernet

SPACE = small_space(**WIDE | {"resolution": [12, 16], "kernels": [3, 5], "expansions": [1, 2]})
TABLE = table_from_multiply_adds(SPACE)
MODEL = RuntimeModel(TABLE)
TARGET_MS = sum(MODEL.range_ms()) / 3
SHORT = TrainingOptions(epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return search(TABLE, "digits", tmp_path_factory.mktemp("wide") / "run", target_ms=TARGET_MS, options=SHORT)


def test_a_search_ends_within_one_percent_below_the_target_with_a_network_that_can_be_trained_and_exported(run):
    assert 0.99 * TARGET_MS <= run.predicted_ms <= TARGET_MS * (1 + 1e-9)
    loaded = load_run(run.folder.path)
    assert loaded.architecture == run.architecture
    assert run.found.network.resolution == run.architecture.resolution
    assert {path.name for path in run.folder.figure("progress").parent.iterdir()} >= {
        "decisions.png",
        "kernels.png",
        "network.png",
    }


def test_decisions_are_learned_at_every_resolution_that_has_networks_around_the_target(run):
    deciding = [step for step in run.found.metrics if step.phase == "search"]
    assert run.search._resolutions == (12, 16)
    assert {step.choices[0] for step in deciding} <= {"r12", "r16"}
    for step in deciding:
        Architecture(space=SPACE, choices=step.choices)
    thresholds = run.found.supernet.t_w
    assert thresholds.shape == (3, 2)
    assert bool((thresholds[run.found.supernet.has_width == 1] != 0).all()), "the number of channels is learned"


def test_a_search_that_was_stopped_goes_on_bit_for_bit(run, tmp_path):
    # In the dropout phase, where decisions are learned, and with the network that is left.
    for steps in (5, 10, 8):
        with pytest.raises(KeyboardInterrupt):
            search(TABLE, "digits", tmp_path / "again", target_ms=TARGET_MS, options=SHORT, listener=Stopping(steps))
    again = search(TABLE, "digits", tmp_path / "again", target_ms=TARGET_MS, options=SHORT)
    assert again.architecture == run.architecture
    for name, part in run.found.network.state_dict().items():
        assert torch.equal(part, again.found.network.state_dict()[name]), name


def test_an_exploration_scores_networks_of_all_resolutions_near_the_target(run):
    """The first twenty are drawn, the others are made of them."""
    mine = explore(run.folder.path, "evolution", 24).networks
    assert len({each.choices for each in mine}) == 24
    assert all(0.97 * TARGET_MS <= each.predicted_ms <= 1.03 * TARGET_MS for each in mine)
    assert {each.choices[0] for each in mine} == {"r12", "r16"}


def test_one_supernet_gives_networks_of_every_target(tmp_path):
    train_supernet([TABLE], "digits", tmp_path / "all", options=SHORT)
    wanted = [Wanted(TABLE, f"{share}%", tmp_path / str(share)) for share in (10, 50, 90)]
    for each, network in zip(wanted, networks_from(tmp_path / "all", wanted), strict=True):
        target_ms = network.config.target_ms
        assert 0.99 * target_ms <= network.predicted_ms <= target_ms * (1 + 1e-9), each.target_ms
    state = checkpoint.load(RunFolder(tmp_path / "all").checkpoint, {})["supernet"]
    assert "t_w" in state


def test_the_scores_of_a_network_are_those_that_it_has_on_its_own_images(run):
    """A network that is cut out brings images to its resolution by itself."""
    small = Architecture(space=SPACE, choices=("r12", *SPACE.largest.choices[1:]))
    scorer: Scorer = run.search.scorer(batches=2, most_images=100)
    [score] = scorer.score([small])
    assert score.network.resolution == 12
    assert score.right.shape == (scorer.images,)
