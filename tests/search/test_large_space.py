"""A space of 100 layers, 5 kernels and 4 ratios: what is computed over all of it takes seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.table_files import read_table, write_table
from profiling.draws import random_architectures
from profiling.network import NetworkSpec
from profiling.space import SearchSpace, load_architecture, load_space
from profiling.visit_plan import VisitPlan
from search.supernet.decode import hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet

MOST_SECONDS = 5.0


@contextmanager
def quick(what: str) -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < MOST_SECONDS, what


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    """Its layers are nearly all different, so that 2,000 models are to be measured."""
    stages = [{"layers": 1, "channels": 16 + 8 * (n // 2), "stride": 2 if n % 25 == 0 else 1} for n in range(100)]
    settings = {"resolution": 64, "kernels": [3, 5, 7, 9, 11], "expansions": [2, 3, 4, 6], "stages": stages}
    return small_space(name="large", **settings)


def test_the_plan_of_a_profile(space, tmp_path):
    path = tmp_path / "large.json"
    path.write_text(space.model_dump_json())
    with quick("plan"):
        again = load_space(str(path))
        networks = [NetworkSpec.of(layer) for layer in again.layers]
        networks += [architecture.network for architecture in islice(random_architectures(again, 0), 20)]
        first = next(VisitPlan([network.key for network in networks], visits=6, seed=0).rounds())
    assert len(first) == len(networks) > 2000


def test_predictions_from_its_table(space, tmp_path):
    table = table_from_multiply_adds(space)
    architecture = space.uniform("7x7-4")
    (tmp_path / "arch.json").write_text(architecture.to_json())
    for name in ("table.json", "table.csv"):
        path: Path = tmp_path / name
        write_table(table, path)
        with quick(name):
            model = RuntimeModel(read_table(path))
            ms = model.predict(load_architecture(str(tmp_path / "arch.json"))).total_ms
        assert ms == pytest.approx(sum(table.rows[layer.key].ms for layer in architecture.network.layers))
    with quick("random networks"):
        low, high = model.range_ms()
        assert len(list(islice(networks_between(model, low + (high - low) / 3, high - (high - low) / 3, 0), 10))) == 10


def test_the_decode(space):
    model = RuntimeModel(table_from_multiply_adds(space))
    scores = [{name: np.random.default_rng(0).normal() for name in slot.choices} for slot in space.searchable]
    target_ms = sum(model.range_ms()) / 2
    with quick("decode"):
        found = next(within_budget(model, scores, target_ms))
    assert 0.99 * target_ms <= model.predict(found).total_ms <= target_ms * (1 + 1e-9)
    supernet = Supernet(space, 10)
    with quick("indicators"):
        assert len(log_likelihoods(supernet)) == 100
        assert len(hard_architecture(space, supernet.decide()).choices) == 100


def test_the_decode_of_25_layers_with_three_numbers_of_channels_each():
    channels = ([16, 24, 32], [24, 32, 40], [40, 48, 64], [80, 96, 112], [160, 192, 224])
    stages = [{"layers": [3, 4, 5], "channels": each, "stride": 2} for each in channels]
    space = small_space(name="deep", kernels=[3, 5, 7], expansions=[3, 6], resolution=64, stages=stages)
    model, random = RuntimeModel(table_from_multiply_adds(space)), np.random.default_rng(0)
    scores = [{name: random.normal() for name in slot.steps} for slot in space.varying]
    target_ms = sum(model.range_ms()) / 2
    with quick("decode"):
        found = next(within_budget(model, scores, target_ms))
    assert len(space.searchable) == 25
    assert 0.99 * target_ms <= model.predict(found).total_ms <= target_ms * (1 + 1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [{"layers": 4, "channels": list(range(8, 8 * 60, 8))}]}, "choices of one layer are more than"),
        ({"stages": [{"layers": 1000, "channels": 8}], "resolution": list(range(8, 96))}, "choices of all layers are more than"),
        ({"stages": [{"layers": 1001, "channels": 8}]}, "1001 layers are more than the 1000"),
        ({"stages": [{"layers": 65536, "channels": 8}] * 3}, "196608 layers are more than the 1000"),
        ({"stages": [{"layers": 1000, "channels": 8}], "expansions": list(range(2, 14))}, "choices of all layers are more than"),
        ({"expansions": list(range(2, 20000))}, "choices of one layer are more than"),
        ({"stages": [{"layers": 2, "channels": 65536}]}, "largest network would not fit into the 2 GiB"),
        ({"resolution": 65536}, "largest activation would not fit into the 2 GiB"),
        ({"width_multiplier": 16.0, "stages": [{"layers": 100, "channels": 2048}]}, "would not fit into the 2 GiB"),
    ],
)
def test_what_no_machine_could_measure_is_refused(changes, words):
    with quick("check"), pytest.raises(ValueError, match=words):
        small_space(**changes)
