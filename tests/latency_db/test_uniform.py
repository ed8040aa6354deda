"""Uniform networks of a latency: within 1 % below it where the space allows, with layers skipped evenly."""

import math

import numpy as np
import pytest
from small import small_space, table_from_multiply_adds

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.uniform import uniform_name, uniform_networks
from profiling.space import Architecture, SearchSpace


@pytest.fixture(scope="module")
def pixel1() -> RuntimeModel:
    return RuntimeModel(published_table("pixel1"))


def nearest_of_all(model, choice, target_ms):
    """The latency nearest below a target of all ways to skip layers, tried one by one."""
    can_skip = np.array(["skip" in slot.choices for slot in model.space.searchable])
    costs = np.array([layer[choice] for layer in model.costs])
    kept = (np.arange(2 ** can_skip.sum())[:, None] >> np.arange(can_skip.sum())) & 1
    sums = model.fixed_ms + costs[~can_skip].sum() + kept @ costs[can_skip]
    ms = model.calibration.scale * sums + model.calibration.offset_ms
    return ms[ms <= target_ms].max(initial=-math.inf)


@pytest.mark.parametrize("target_ms", [46, 55, 62.5, 80, 100, 120])
def test_it_comes_near_the_target_where_any_way_of_skipping_does(pixel1, target_ms):
    networks = uniform_networks(pixel1, target_ms)
    found = {architecture.choices[0]: architecture for architecture in networks.values()}
    for choice in ("3x3-3", "5x5-3", "3x3-6", "5x5-6"):
        best_ms = nearest_of_all(pixel1, choice, target_ms)
        if math.isinf(best_ms):
            assert choice not in found
            continue
        ms = pixel1.predict(found[choice]).total_ms
        assert ms <= target_ms
        assert ms >= 0.96 * best_ms, (choice, ms, best_ms)
        if target_ms == 80 and best_ms >= 79.2:
            assert ms >= 79.2, choice


def test_layers_are_skipped_over_the_whole_depth(pixel1):
    """The layers kept up to any depth are as many as an even spread has, give or take two."""
    for architecture in uniform_networks(pixel1, 80).values():
        kept = [choice != "skip" for choice, slot in zip(architecture.choices, pixel1.space.searchable, strict=True)
                if "skip" in slot.choices]  # fmt: skip
        share = sum(kept) / len(kept)
        assert all(abs(sum(kept[:depth]) - depth * share) <= 2 for depth in range(len(kept))), kept


def test_names_say_the_choice_and_how_many_layers_have_it(pixel1):
    networks = uniform_networks(pixel1, 80)
    assert [name.split(",")[0] for name in networks] == ["3x3-3", "5x5-3", "3x3-6", "5x5-6"]
    assert networks["3x3-3"].choices == ("3x3-3",) * 20
    for name, architecture in networks.items():
        assert uniform_name(architecture) == name

    def name(**others):
        free = iter(others.get("free", ()))
        choices = (next(free) if "skip" in slot.choices else others["fixed"] for slot in pixel1.space.searchable)
        return uniform_name(Architecture(space=pixel1.space, choices=tuple(choices)))

    can_skip = sum("skip" in slot.choices for slot in pixel1.space.searchable)
    assert name(fixed="5x5-6", free=["skip"] * can_skip) == f"5x5-6, {20 - can_skip} of 20 layers"
    assert name(fixed="3x3-3", free=["3x3-3"] * (can_skip - 1) + ["5x5-3"]) is None


def test_stages_with_a_choice_of_channels_or_layers_are_scaled_alike():
    """Of all stages together the same level, or from some stage on the next; the slowest below the target."""
    stages = [{"layers": [1, 2, 3], "channels": [8, 16, 24]}, {"layers": [2, 3], "channels": 16}]
    model = RuntimeModel(table_from_multiply_adds(small_space(stages=stages)))
    fastest, slowest = model.range_ms()
    assert uniform_networks(model, slowest)["5x5-6"].choices == model.space.largest.choices
    levels = set()
    for target_ms in np.linspace(fastest, slowest, 60):
        for name, architecture in uniform_networks(model, target_ms).items():
            assert model.predict(architecture).total_ms <= target_ms
            assert uniform_name(architecture) == name
            if name.startswith("3x3-3"):
                kept = [step.layer.out_channels for step in architecture.decided if step.layer is not None]
                levels.add((kept[0], sum(name != "skip" for name in architecture.choices)))
    assert {channels for channels, _ in levels} == {8, 16, 24}
    assert {depth for _, depth in levels} == {3, 4, 5, 6}


def test_a_target_below_a_uniform_network_leaves_it_out_and_one_above_takes_it_whole(pixel1, table):
    fastest, slowest = pixel1.range_ms()
    assert uniform_networks(pixel1, fastest / 2) == {}
    assert list(uniform_networks(pixel1, slowest)) == ["3x3-3", "5x5-3", "3x3-6", "5x5-6"]
    small = RuntimeModel(table)  # layers of very different latencies, few of which can be skipped
    assert uniform_networks(small, small.range_ms()[1])["5x5-6"] == Architecture(space=small.space, choices=("5x5-6",) * 5)


def test_a_space_without_skips_has_each_choice_whole_or_not_at_all(table):
    rigid = SearchSpace.model_validate(table.space.model_dump() | {"skip": False})
    model = RuntimeModel(table.model_copy(update={"space": rigid}))
    ms = {choice: model.predict(rigid.uniform(choice)).total_ms for choice in rigid.choices_by_name}
    target_ms = sorted(ms.values())[1]
    assert set(uniform_networks(model, target_ms * 1.001)) == {choice for choice in ms if ms[choice] <= target_ms}
