"""One supernet for many tables and targets, on real digits: what it trains, and what is cut out of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import multiply_adds, small_space, table_from_multiply_adds
from stopping import Stopping

from latency_db.runtime_model import RuntimeModel
from latency_db.table import Row
from profiling.errors import InputError
from search import checkpoint
from search.config import TrainingOptions
from search.finding.derive import best_rated, config_of, load_source
from search.run_folder import RunFolder
from search.runs import supernet
from search.runs.run import load_run
from search.runs.search import search
from search.runs.supernet import Wanted, networks_from, train_supernet
from search.supernet.supernet import extract

MADE_BEFORE = Path(__file__).parents[2] / "made_before"
SPACE = small_space(stages=[{"layers": 4, "channels": 8, "stride": 2}, {"layers": 3, "channels": 16}])
TABLE = table_from_multiply_adds(SPACE)
# Of a device on which 5x5 kernels cost next to nothing more than 3x3 ones, but channels do.
OTHER = TABLE.model_copy(
    update={
        "name": "other",
        "rows": {
            layer.key: Row(ms=0.002 + multiply_adds(replace(layer, kernel=3) if "k5" in layer.key else layer) / 1e6)
            for layer in SPACE.layers
        },
    }
)
SHORT = TrainingOptions(epochs=2, batch_size=128)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a supernet that has learned a little, for both tables."""
    folder = tmp_path_factory.mktemp("runs") / "all"
    train_supernet([TABLE, OTHER], "digits", folder, options=SHORT)
    return folder


def test_a_supernet_that_was_stopped_goes_on_bit_for_bit(trained, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_supernet([TABLE, OTHER], "digits", tmp_path / "again", options=SHORT, listener=Stopping(9))
    assert RunFolder(tmp_path / "again").kind is None, "it is not finished"
    result = train_supernet([TABLE, OTHER], "digits", tmp_path / "again", options=SHORT)
    once, again = (checkpoint.load(RunFolder(each).checkpoint, {})["supernet"] for each in (trained, tmp_path / "again"))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert result.steps == 22
    with pytest.raises(InputError, match="another tables"):
        train_supernet([TABLE], "digits", tmp_path / "again", options=SHORT)


def test_every_table_and_target_gets_its_network_with_the_supernets_weights(trained, tmp_path):
    wanted = [
        Wanted(table, f"{share}%", tmp_path / f"{table.name}-{share}")
        for table in (TABLE, OTHER)
        for share in (15, 30, 50, 70, 85)
    ]
    runs = networks_from(trained, wanted)
    for run, each in zip(runs, wanted, strict=True):
        assert 0.95 <= run.predicted_ms / run.config.target_ms <= 1, "networks of this small space are far apart"
        assert run.predicted_ms == pytest.approx(RuntimeModel(each.table).predict(run.architecture).total_ms)
        model = RuntimeModel(each.table)
        source = load_source(RunFolder(trained), config_of(RunFolder(trained)), model.space, 10)
        assert run.architecture == best_rated(model, source, run.config.target_ms)
        own, cut = run.network().state_dict(), extract(source.supernet, run.architecture).state_dict()
        weights = [name for name in own if "running" not in name]
        assert all(torch.equal(own[name], cut[name]) for name in weights)
        assert any(not torch.equal(own[name], cut[name]) for name in set(own) - set(weights)), "batch norm is re-estimated"
        assert load_run(run.folder).result == run.result
    by_table = [{run.architecture.choices for run in runs[:3]}, {run.architecture.choices for run in runs[3:]}]
    assert by_table[0] != by_table[1], "another device gets other networks"


def test_a_search_and_a_run_of_an_earlier_version_give_networks_of_other_targets_too(tmp_path):
    run = search(TABLE, "digits", tmp_path / "run", target_ms="40%", options=SHORT)
    [other] = networks_from(run, [Wanted(TABLE, "60%", tmp_path / "other")])
    assert other.predicted_ms > 1.1 * run.predicted_ms
    before = load_run(MADE_BEFORE / "run")
    [from_before] = networks_from(before, [Wanted(before.table, "70%", tmp_path / "before")])
    assert from_before.config.supernet == str(MADE_BEFORE / "run")


def test_what_is_there_stays_and_nothing_else_is_overwritten(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(supernet, "AT_ONCE", 1)
    wanted = [Wanted(TABLE, share, tmp_path / share) for share in ("30%", "60%")]
    with pytest.raises(KeyboardInterrupt):
        networks_from(trained, wanted, listener=Stopping(1))
    written = RunFolder(tmp_path / "30%").network.stat().st_mtime_ns
    runs = networks_from(trained, wanted)
    assert RunFolder(tmp_path / "30%").network.stat().st_mtime_ns == written
    assert runs[1].folder.kind == "search"
    with pytest.raises(InputError, match="not empty"):
        networks_from(trained, wanted, resume=False)
    with pytest.raises(InputError, match="something else than this network"):
        networks_from(trained, [Wanted(TABLE, "31%", tmp_path / "30%")])
    with pytest.raises(InputError, match="cut out of the supernet"):
        search(TABLE, "digits", tmp_path / "30%", target_ms="30%", options=SHORT)
    with pytest.raises(InputError, match="taken from the supernet of another run"):
        networks_from(tmp_path / "30%", [Wanted(TABLE, "50%", tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_had_is_refused_before_anything_is_written(trained, tmp_path):
    with pytest.raises(InputError, match="cannot be reached"):
        networks_from(trained, [Wanted(TABLE, "50%", tmp_path / "one"), Wanted(TABLE, 1e3, tmp_path / "two")])
    with pytest.raises(InputError, match="search space small is not the one"):
        networks_from(trained, [Wanted(table_from_multiply_adds(small_space()), "50%", tmp_path / "one")])
    with pytest.raises(InputError, match="no finished run"):
        networks_from(tmp_path, [Wanted(TABLE, "50%", tmp_path / "one")])
    RunFolder(tmp_path / "stopped").path.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train_supernet([TABLE], "digits", tmp_path / "stopped", options=SHORT, listener=Stopping(5))
    with pytest.raises(InputError, match="no finished run"):
        networks_from(tmp_path / "stopped", [Wanted(TABLE, "50%", tmp_path / "one")])
    assert not (tmp_path / "one").exists()
