"""From a space to a table, on this machine, with real models and real kills."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import started, until

from latency_db.profile import default_name, require_enough
from latency_db.store import Store
from latency_db.table_files import load_table
from profiling.device import RunSettings
from profiling.errors import InputError
from profiling.space import load_space

PROFILE = ("profile", "--space", "tiny.yaml", "--calibrate", "5", "--rounds", "4", "--runs", "3", "--name", "tiny", "--json")


def measured(folder: Path) -> int:
    if not (folder / "spnas.db").exists():
        return 0
    try:
        database = sqlite3.connect(f"file:{folder}/spnas.db?mode=ro", uri=True)
        return database.execute("SELECT count(*) FROM measurements").fetchone()[0]
    except sqlite3.Error:  # not migrated yet
        return 0


@pytest.mark.timeout(800)
def test_kill_9_at_ten_random_moments_loses_nothing_and_repeats_nothing(folder, spnas):
    """After each kill the same command goes on; in the end the table is complete and every visit stands once.

    Three kills come at a moment since the start of the program, seven at a moment since its first measurement.
    """
    moments = random.Random(7)
    for kill in range(10):
        before = measured(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "spnas_cli", "-q", *PROFILE], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while kill >= 3 and measured(folder) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1) if kill >= 3 else moments.uniform(0.2, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = spnas(*PROFILE)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    # stem, 4 variants of the first layer (which changes nothing in shape), its twin, 4 of the stride-2 layer, head; 5 networks
    assert summary["cells"] == 1 + 4 + 4 + 1 + 5
    database = sqlite3.connect(folder / "spnas.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    visits = database.execute("SELECT model, visit, count(*) FROM measurements GROUP BY model, visit").fetchall()
    assert {count for _, _, count in visits} == {1}, "no finished measurement was made twice"
    assert len({model for model, _, _ in visits}) == summary["cells"]
    assert len(visits) == summary["measured"] + summary["resumed"]
    assert summary["resumed"] > 0, "none of the killed runs got to measure: the moments are badly chosen"


def test_a_table_of_this_machine_tells_what_memory_the_weights_are_packed_into(folder, spnas, monkeypatch):
    """Every row does, and each calibration network has the sum of its rows; the same call again leaves the table as it is.

    The hash seed moves the heap, so that the second process would find some kB more or less.
    """
    assert spnas(*PROFILE).returncode == 0
    table = load_table("tiny", folder / "spnas.db")
    with Store(folder / "spnas.db", read_only=True) as store:
        known = store.architectures(network.key for network in table.calibration)
    assert len(known) == len(table.calibration) == 5
    for network in table.calibration:
        layers = known[network.key].network.layers
        assert network.packed_bytes == sum(table.rows[layer.key].packed_bytes for layer in layers)
    of_all = {layer.key: table.rows[layer.key].packed_bytes for layer in table.space.layers}
    assert min(of_all.values()) == 0
    assert max(of_all.values()) > 1000
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert spnas(*PROFILE).returncode == 0
    assert load_table("tiny", folder / "spnas.db") == table


def test_a_table_from_before_packed_weights_were_known_gets_them_and_keeps_its_date(folder, spnas):
    """Its measurements are the same, so that the validations that go by its date are still its own."""
    assert spnas(*PROFILE).returncode == 0
    table = load_table("tiny", folder / "spnas.db")
    earlier = table.without_packed_weights.model_copy(update={"created_at": "2026-01-02T03:04:05+00:00"})
    database = sqlite3.connect(folder / "spnas.db")
    with database:
        database.execute("UPDATE latency_tables SET content = ?", (earlier.model_dump_json(),))
    database.close()
    assert spnas(*PROFILE).returncode == 0
    assert load_table("tiny", folder / "spnas.db") == table.model_copy(update={"created_at": earlier.created_at})


def test_two_runs_at_once_do_not_meet(folder, spnas):
    """The second one names the first and stops; the first goes on."""
    long = (*PROFILE, "--rounds", "1000")
    command = [sys.executable, "-m", "spnas_cli", "-q", *long]
    with started(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        until(lambda: measured(folder) or first.poll() is not None)
        second = spnas(*PROFILE)
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        before = measured(folder)
        until(lambda: measured(folder) > before or first.poll() is not None)
        first.send_signal(signal.SIGINT)
        assert first.wait() == 130
    assert measured(folder) > before


@pytest.mark.parametrize(
    ("settings", "size", "name"),
    [
        ({}, {}, "imagenet-host"),
        ({}, {"resolution": 192, "width_multiplier": 0.5, "classes": 100}, "imagenet-r192-w0.5-c100-host"),
        ({"threads": 2, "cores": "big", "precision": "int8", "delegate": "gpu"}, {}, "imagenet-host-t2-cores-big-int8-gpu"),
        ({}, {"resolution": 224}, "imagenet-r224-host"),
    ],
)
def test_a_table_is_called_after_its_space_its_device_and_what_is_not_usual(settings, size, name):
    assert default_name(load_space("imagenet"), "host", RunSettings(**settings), **size) == name


def test_a_calibration_is_on_no_network_or_on_enough_of_them():
    require_enough(0)
    require_enough(5)
    for few in (-1, 1, 4):
        with pytest.raises(InputError, match="at least 5"):
            require_enough(few)
