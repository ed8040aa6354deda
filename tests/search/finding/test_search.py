"""Whole searches on real digits: they answer, they meet their target, and they go on exactly where they stopped."""

from pathlib import Path

import pytest
import torch

from profiling.errors import InputError, TrainingError
from search import checkpoint
from search.config import (
    LEAST_STEPS,
    SearchConfig,
    SupernetConfig,
    course,
    search_schedule,
    sensible_learning_rate,
    sensible_schedule,
    supernet_schedule,
)
from search.finding import rating
from search.finding.search import Search, table_digest
from search.images.data import load_data
from search.run_folder import RunFolder
from search.training import engine


@pytest.fixture
def start(model, tmp_path):
    """Makes a search of a few dozen steps in a folder of this name."""
    data = load_data("digits", model.space, 0)

    def make(name: str = "run", runtime_model=model, **settings) -> Search:
        defaults = {"epochs": 4, "batch_size": 64, "learning_rate": 0.032, "checkpoint_seconds": 1e-9}
        settings = defaults | ({} if "target_ms" in settings else {"runtime_weight": 0.1}) | settings
        config = SearchConfig(
            table="test",
            space_digest=runtime_model.space.digest,
            table_digest=table_digest(runtime_model.table),
            data="digits",
            **settings,
        )
        (tmp_path / name).mkdir(exist_ok=True)
        return Search(runtime_model, data, config, RunFolder(tmp_path / name))

    return make


AIMED, FREE = course(44, 1.0), course(44, None)
# Searches of earlier versions have no final phase and drop subsets whatever the target is; begun ones go on so.
COURSES = pytest.mark.parametrize("phases", [{}, AIMED], ids=["phases before", "phases of today"])


def ignore(step):
    pass


@pytest.mark.parametrize("phases", [{}, FREE], ids=["phases before", "phases of today"])
def test_latency_falls_as_the_runtime_weight_rises_and_every_threshold_moves(start, phases):
    found = [start(f"weight-{weight}", epochs=6, runtime_weight=weight, **phases).run(ignore) for weight in (0.03, 0.3, 3.0)]
    latencies = [each.predicted_ms for each in found]
    assert latencies[0] > latencies[1] > latencies[2]
    assert all(each.moved == 1 for each in found)


def test_weights_move_with_their_thresholds(start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(epochs=2).run(ignore, lambda: True)
    after_one_step = checkpoint.load(RunFolder(tmp_path / "run").checkpoint, {})["supernet"]
    learned = start(epochs=2).run(ignore).supernet.state_dict()
    for name in after_one_step:
        if name.endswith(("depthwise.weight", "project.bn.gamma")):
            assert not torch.equal(learned[name], after_one_step[name]), name


@COURSES
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_target_is_met_from_below(start, model, share, phases):
    low, high = model.range_ms()
    target = low + share * (high - low)
    found = start(f"share-{share}", target_ms=target, **phases).run(ignore)
    assert found.predicted_ms <= target
    assert found.predicted_ms == pytest.approx(target, rel=0.02)
    assert model.predict(found.architecture).total_ms == found.predicted_ms


class KilledError(Exception):
    """As a kill would do, between checkpoints."""


@pytest.fixture
def aim(model):
    """A target with several networks within 1 % below it, and 44 steps: 4 of the dropout phase, 14 that decide, 26 at the end."""
    low, high = model.range_ms()
    return {"target_ms": low + 0.35 * (high - low), "epochs": 2}


@pytest.mark.parametrize(
    ("phases", "stops", "killed_at"),
    [({}, (14, 31), 40), (AIMED, (2, 4, 10, 18, 30), 40), (AIMED, (), 3), (AIMED, (), 13), (AIMED, (), 19)],
    ids=["phases before", "in and between all phases", "killed in the first", "killed in the second", "killed in the last"],
)
def test_a_search_that_is_stopped_anywhere_goes_on_bit_for_bit(start, tmp_path, aim, phases, stops, killed_at):
    aim |= phases
    whole = start("whole", **aim).run(ignore)

    def kill(step):
        if step.step == killed_at:
            raise KilledError

    for at in stops:
        taken = []
        with pytest.raises(KeyboardInterrupt):
            start("parts", **aim).run(taken.append, lambda at=at, taken=taken: taken[-1].step == at)
    with pytest.raises(KilledError):
        start("parts", **aim).run(kill)
    last = start("parts", **aim)
    assert last.resumed_at == killed_at - 1
    for found in (last.run(ignore), start("parts", **aim).run(ignore)):
        assert_same(found, whole)
    assert RunFolder(tmp_path / "parts").metrics.read_bytes() == RunFolder(tmp_path / "whole").metrics.read_bytes()


def assert_same(found, other):
    assert found.architecture == other.architecture
    assert found.accuracy == other.accuracy
    assert [(each.origin, each.rating, each.score.choosing_accuracy, each.chosen) for each in found.candidates] == [
        (each.origin, each.rating, each.score.choosing_accuracy, each.chosen) for each in other.candidates
    ]
    for mine, its in ((found.supernet, other.supernet), (found.network, other.network)):
        for name, value in its.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), name


def test_a_network_that_was_chosen_stays_whatever_a_later_version_rates_best(start, model, aim, monkeypatch):
    aim |= AIMED
    taken = []
    with pytest.raises(KeyboardInterrupt):
        start(**aim).run(taken.append, lambda: taken[-1].step == 20)
    # Now the worst is best.
    for name in ("activations", "multiply_adds"):
        terms = [{choice: -count for choice, count in layer.items()} for layer in getattr(rating, name)(model.space)]
        monkeypatch.setattr(rating, name, lambda space, terms=terms: terms)
    other = start("other", **aim).run(ignore)
    for found in (start(**aim).run(ignore), start(**aim).run(ignore)):
        assert found.architecture.choices == taken[-1].choices != other.architecture.choices


def test_the_settings_of_a_search_of_earlier_versions_are_the_text_in_its_checkpoint():
    folder = RunFolder(Path(__file__).parents[2] / "made_before" / "stopped-search")
    config = folder.read_config(SearchConfig)
    assert checkpoint.load(folder.checkpoint, {})["config"] == config.decisive
    assert (config.draw_within, config.final_phase) == (0, 0)
    for name, value in AIMED.items():
        assert config.model_copy(update={name: value}).decisive != config.decisive, name


def test_a_checkpoint_of_something_else_is_refused(start, tmp_path, model):
    def stopped(name):
        with pytest.raises(KeyboardInterrupt):
            start(name).run(ignore, lambda: True)
        return RunFolder(tmp_path / name).checkpoint

    stopped("other-settings")
    with pytest.raises(InputError, match="belongs to another config"):
        start("other-settings", seed=1)
    cut = stopped("cut")
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged, cut off, or not a checkpoint"):
        start("cut")
    other = stopped("no-checkpoint")
    torch.save({"weights": 1}, other)
    with pytest.raises(InputError, match="not a checkpoint that this version"):
        start("no-checkpoint")


def test_a_target_out_of_reach_says_the_range(start, model):
    low, high = model.range_ms()
    for target in (low / 2, high * 2):
        with pytest.raises(InputError, match=f"{low:.4g} to {high:.4g} ms"):
            start(target_ms=target)


def test_a_loss_that_is_not_finite_ends_the_search_and_keeps_the_checkpoint(start, tmp_path):
    with pytest.raises(TrainingError, match="no longer finite at step"):
        start("wild", learning_rate=1e30).run(ignore)
    assert start("wild", learning_rate=1e30).resumed_at == 1


def test_the_paper_schedule_for_imagenet_and_more_epochs_for_small_data():
    assert sensible_schedule(1_281_167) == (1024, 8)
    batch_size, epochs = sensible_schedule(1437)
    assert batch_size == 64
    assert 1437 // batch_size * epochs >= LEAST_STEPS
    assert search_schedule(1437, None, None) == (batch_size, epochs)
    assert [supernet_schedule(images, None, None) for images in (1_281_167, 25_600)] == [(1024, 8), (32, 8)]


@pytest.mark.parametrize("images", [2, 30, 240, 999])
def test_a_search_on_few_images_takes_more_steps_unless_it_was_begun_with_fewer(images):
    batch_size, epochs = sensible_schedule(images)
    begun = SearchConfig(table="t", space_digest="s", table_digest="t", data="photos", target_ms=1, epochs=epochs)
    assert search_schedule(images, None, begun) == (batch_size, epochs)
    steps = search_schedule(images, None, None)[1] * (images // batch_size)
    assert 900 <= steps < 900 + images // batch_size
    assert search_schedule(images, None, begun.model_copy(update={"epochs": 1}))[1] > epochs


@pytest.mark.parametrize("images", [9, 240, 1437, 25_600, 50_000, 400_000, 1_281_167, 14_000_000])
def test_a_supernet_takes_as_many_steps_as_the_authors_or_as_small_batches_allow(images):
    """And on data like theirs their batch and rate; `batch_size` and a run that is there already decide otherwise."""
    batch_size, epochs = supernet_schedule(images, None, None)
    usual, of_search = search_schedule(images, None, None)
    assert batch_size <= usual
    assert epochs == of_search
    assert 10_000 <= images * epochs / batch_size < 20_000 or batch_size in {min(usual, 32), 1024}
    assert supernet_schedule(images, 8, None) == search_schedule(images, 8, None)
    begun = SupernetConfig(tables=["t"], space_digest="s", tables_digest="t", data="photos", epochs=3, batch_size=48)
    assert supernet_schedule(images, None, begun) == (48, 3)


def test_the_learning_rate_is_that_of_the_authors_at_their_batch_and_falls_less_than_smaller_batches():
    rates = [sensible_learning_rate(batch, 10_008) for batch in (4096, 1024, 256, 64, 32, 8)]
    assert rates == [0.016, 0.016, 0.032, 0.064, 0.064, 0.064]
    rates = [sensible_learning_rate(batch, steps) for batch in (1024, 256, 64) for steps in (999, 1000)]
    assert rates == [0.032, 0.016, 0.032, 0.032, 0.064, 0.064]


def test_tracked_metrics_are_those_of_the_metrics_file(start, tmp_path):
    """Real event files, of a run that is stopped once and goes on."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    taken = []
    with pytest.raises(KeyboardInterrupt):
        start("run", epochs=2, track="tensorboard").run(taken.append, lambda: len(taken) == 15)
    found = start("run", epochs=2, track="tensorboard").run(ignore)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"cross_entropy", "runtime_ms", "runtime_weight"}
    for name in events.Tags()["scalars"]:
        tracked = [(event.step, event.value) for event in events.Scalars(name)]
        assert tracked == [(step.step, pytest.approx(getattr(step, name))) for step in found.metrics]


def test_a_tracker_that_is_not_installed_is_named_with_the_command_that_installs_it(start, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="wandb is not installed; pip install wandb"):
        start(track="wandb")
