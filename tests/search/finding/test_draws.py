"""What the dropout phase trains: the largest network first, then networks around the target, the same for the same seed."""

import numpy as np
import pytest
import torch
from small import WIDE

from latency_db import sampling
from latency_db.runtime_model import RuntimeModel
from profiling.space import Architecture
from search.finding.draws import DroppedSubsets, NearTarget
from search.supernet.supernet import Supernet, extract


@pytest.fixture
def target_ms(model):
    fastest, slowest = model.range_ms()
    return (fastest + slowest) / 2


def drawn(model, draws, progress=0.5, count=300, seed=0):
    """Architectures drawn at one moment of the phase."""
    torch.manual_seed(seed)
    return [architecture_of(model.space, draws.steps(progress)) for _ in range(count)]


def architecture_of(space, steps):
    return Architecture(space=space, choices=tuple(step.choice.name for step in steps if step.choice is not None))


def milliseconds(model, architectures):
    return np.array([model.predict(each).total_ms for each in architectures])


def test_everything_is_trained_first_and_then_networks_on_both_sides_of_the_target(model, target_ms):
    draws = NearTarget(model, target_ms, 0.25, seed=0)
    for progress in (0.0, 0.05, 0.0999):
        assert set(drawn(model, draws, progress, 5)) == {model.space.uniform("5x5-6")}
    for progress in (0.1, 0.5, 0.999):
        ms = milliseconds(model, drawn(model, draws, progress))
        assert 0.75 * target_ms <= ms.min() < 0.9 * target_ms
        assert 1.1 * target_ms < ms.max() <= 1.25 * target_ms
        assert ms.mean() == pytest.approx(target_ms, rel=0.05)


def test_every_choice_of_every_layer_is_trained(model, target_ms):
    choices = [each.choices for each in drawn(model, NearTarget(model, target_ms, 0.25, seed=0))]
    assert [set(layer) for layer in zip(*choices, strict=True)] == [set(slot.choices) for slot in model.space.searchable]


def test_the_same_seeds_draw_the_same(model, target_ms):
    first, again, other = (drawn(model, NearTarget(model, target_ms, 0.25, seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert drawn(model, NearTarget(model, target_ms, 0.25, 0), seed=1) != first
    assert drawn(model, DroppedSubsets(model.space, 0.4)) == drawn(model, DroppedSubsets(model.space, 0.4))


def test_where_few_networks_are_near_those_are_trained_and_where_none_is_the_largest(make_space, make_table, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_DRAWS", 2 * sampling.BATCH)
    model = RuntimeModel(make_table(make_space(stages=[{"layers": 1, "channels": 8, "stride": 2}])))
    fastest, slowest = model.range_ms()
    assert set(drawn(model, NearTarget(model, fastest, 0.001, seed=0))) == {model.space.uniform("3x3-3")}
    nowhere = NearTarget(model, (3 * fastest + slowest) / 4, 0.001, seed=0)
    assert set(drawn(model, nowhere)) == {model.space.uniform("5x5-6")}


def test_without_a_target_every_subset_is_dropped_with_its_probability(model):
    """A layer that is left has each larger kernel and ratio only where it has every smaller one."""
    counts = [each.choices for each in drawn(model, DroppedSubsets(model.space, 0.4), count=4000)]
    for slot, layer in zip(model.space.searchable, zip(*counts, strict=True), strict=True):
        stays = 0.6 if "skip" in slot.choices else 1.0
        expected = {"3x3-3": 0.16, "3x3-6": 0.24, "5x5-3": 0.24, "5x5-6": 0.36}
        for name, share in expected.items():
            assert layer.count(name) / 4000 == pytest.approx(stays * share, abs=0.03), name
        assert layer.count("skip") / 4000 == pytest.approx(1 - stays, abs=0.03)


@pytest.mark.parametrize("changes", [{}, WIDE, WIDE | {"resolution": [16, 24]}], ids=["plain", "wide", "resolutions"])
@pytest.mark.parametrize("near", [True, False], ids=["near", "dropped"])
def test_what_is_trained_is_the_network_that_is_cut_out(make_space, make_table, changes, near):
    """Steps compute what the network does that `extract` gives, and reach the same weights."""
    torch.manual_seed(0)
    space = make_space(**changes)
    model, supernet = RuntimeModel(make_table(space)), Supernet(space, 10).eval()
    target_ms = sum(model.range_ms()) / 2
    images = torch.randn(4, 1, space.resolution, space.resolution)
    draws = NearTarget(model, target_ms, 0.25, seed=0) if near else DroppedSubsets(space, 0.4)
    for _ in range(5):
        steps = draws.steps(0.5)
        network = extract(supernet, architecture_of(space, steps)).eval()
        torch.testing.assert_close(supernet(images, steps=steps), network(images))
        supernet.zero_grad(set_to_none=True)
        supernet(images, steps=steps).square().sum().backward()
        network(images).square().sum().backward()
        reached = sum(int((p.grad != 0).sum()) for p in supernet.parameters() if p.grad is not None)
        assert reached == sum(int((p.grad != 0).sum()) for p in network.parameters())
