"""A search within limits: what it ends with, and what it explores, keeps to them; what cannot be is said before it trains."""

import re

import pytest
import yaml
from small import small_space, table_from_multiply_adds

from latency_db.limits import Limits
from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from profiling.footprint import footprint
from profiling.space import Architecture
from search.config import SearchConfig, TrainingOptions
from search.finding.search import check_target
from search.runs.explore import explore
from search.runs.search import search

TABLE = table_from_multiply_adds(small_space(classes=1000))
FREE = RuntimeModel(TABLE)
QUICK = TrainingOptions(epochs=2, batch_size=64)
# The file is that of the ten classes of the images: with the thousand of the table every one would be larger.
TIGHT = Limits(memory_mb=0.0082, size_mb=0.04)


def needs(architecture):
    return footprint(architecture.network.with_classes(10), "fp32")


def keeps(architecture):
    return needs(architecture).memory_mb <= TIGHT.memory_mb and needs(architecture).size_mb <= TIGHT.size_mb


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The target is the slowest network of the space, which needs far more than the limits."""
    folder = tmp_path_factory.mktemp("limited") / "run"
    return search(TABLE, "digits", folder, target_ms=FREE.range_ms()[1], limits=TIGHT, options=QUICK)


def test_the_network_found_and_all_candidates_keep_to_the_limits(run):
    assert all(keeps(candidate.score.architecture) for candidate in run.found.candidates)
    assert run.result.memory_mb == needs(run.architecture).memory_mb
    assert run.result.size_mb == needs(run.architecture).size_mb
    assert run.search.aim_ms < 0.99 * run.config.target_ms, "no network within the limits is as slow as the target"
    assert 0.99 * run.search.aim_ms <= run.predicted_ms <= run.search.aim_ms * (1 + 1e-9)


def test_what_it_explores_keeps_to_the_limits_also_when_it_is_read_again(run):
    """The space has no more than two such networks within 3 % of the slowest one."""
    explored = explore(run.folder.path, "random", 2).networks
    assert len(explored) == 2
    assert all(keeps(Architecture(space=TABLE.space, choices=each.choices)) for each in explored)


def test_the_limits_are_settings_of_the_run(run):
    config = yaml.safe_load(run.folder.config.read_text())
    assert (config["max_memory_mb"], config["max_size_mb"]) == (TIGHT.memory_mb, TIGHT.size_mb)
    free = {name: value for name, value in config.items() if not name.startswith("max_")}
    assert "max_" not in SearchConfig.model_validate(free, strict=False).decisive, "runs of before can be resumed"
    with pytest.raises(InputError, match="max_memory_mb"):
        search(TABLE, "digits", run.folder.path, target_ms=run.config.target_ms, options=QUICK)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(memory_mb=0.005), "0.005 MB cannot be reached: the networks of small need 0.005184 to 0.009216 MB of memory"),
        (Limits(size_mb=0.01), "0.01 MB cannot be reached: the networks of small need 0.01398 to 0.05950 MB in a file"),
    ],
    ids=str,
)
def test_a_limit_out_of_reach_is_said_before_any_training(limits, words, tmp_path):
    with pytest.raises(InputError) as raised:
        search(TABLE, "digits", tmp_path / "run", target_ms=0.03, limits=limits, options=QUICK)
    assert words in str(raised.value)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_target_that_only_networks_beyond_the_limits_meet():
    """Where larger layers are the faster ones, which a phone may well find for a kernel that it is made for."""
    slowest = max(row.ms for row in TABLE.rows.values())
    rows = {key: row.model_copy(update={"ms": 1.01 * slowest - row.ms}) for key, row in TABLE.rows.items()}
    table = TABLE.model_copy(update={"rows": rows})
    target_ms = 1.001 * RuntimeModel(table).range_ms()[0]
    with pytest.raises(InputError, match="the fastest such network of small takes") as raised:
        check_target(RuntimeModel(table, Limits(size_mb=0.02, classes=10)), target_ms)
    reachable = float(re.search(r"takes (\S+) ms", str(raised.value))[1])
    check_target(RuntimeModel(table, Limits(size_mb=0.02, classes=10)), reachable)
