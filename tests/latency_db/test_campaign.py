"""The whole way from a space to a table and its validation, on this machine, with real models and real kills."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
import pytest
from click.testing import CliRunner
from waiting import started, until

from latency_db.store import Store
from latency_db.validate import latest_validation
from spnas_cli.main import cli

SPACE = """
name: tiny
resolution: 16
image_channels: 1
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 8}
stages:
  - {layers: 2, channels: 8}
  - {layers: 1, channels: 16, stride: 2}
head: {channels: 32}
"""
PROFILE = ("profile", "--space", "tiny.yaml", "--calibrate", "5", "--rounds", "4", "--runs", "3", "--name", "tiny", "--json")


def spnas(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spnas_cli", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def measured(folder: Path) -> int:
    if not (folder / "spnas.db").exists():
        return 0
    try:
        database = sqlite3.connect(f"file:{folder}/spnas.db?mode=ro", uri=True)
        return database.execute("SELECT count(*) FROM measurements").fetchone()[0]
    except sqlite3.Error:  # not migrated yet
        return 0


@pytest.mark.timeout(800)
def test_kill_9_at_ten_random_moments_loses_nothing_and_repeats_nothing(folder):
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
    result = spnas(folder, *PROFILE)
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


def test_profile_then_validate_and_predict(folder):
    """The table serves, a validation of it is reported in full, and wrong uses of it are refused in words."""
    profile = (*PROFILE[:5], "--rounds", "2", *PROFILE[7:])
    assert spnas(folder, *profile).returncode == 0

    common = ("--networks", "4", "--rounds", "2", "--runs", "3")
    validation = spnas(folder, "validate", "--table", "tiny", *common, "--max-error", "0", "--json")
    assert validation.returncode == 5
    assert "mean error" in validation.stderr
    report = json.loads(validation.stdout)
    assert report["networks"] == 4
    assert set(report) >= {"rmse_ms", "rmse_pct", "mean_error_pct", "bias_pct", "spearman", "worst_pct", "noise_floor_ms"}
    assert report["mean_error_pct"] > 0
    assert (folder / "validation-tiny.png").stat().st_size > 10_000

    with Store(folder / "spnas.db", read_only=True) as store:
        table = store.tables()[0]
        kept = latest_validation(table, store)
        assert latest_validation(table.model_copy(update={"created_at": "later"}), store) is None
    assert kept is not None
    assert asdict(kept.report) | {"drift_pct": kept.drift_pct, "as_stored": asdict(kept.as_stored)} == report
    assert kept.report.noise_floor_ms == kept.as_stored.noise_floor_ms
    database = sqlite3.connect(folder / "spnas.db")
    query = "SELECT model, low_ms FROM measurements JOIN campaigns ON campaign = campaigns.id WHERE purpose = 'validate'"
    visits = pandas.read_sql(query, database).groupby("model").low_ms.min()
    then = pandas.Series({network.key: network.measured_ms for network in table.calibration})
    assert len(then) == 5
    assert kept.drift_pct == pytest.approx(((visits / then - 1) * 100).median())
    sums = pandas.Series({network.key: network.sum_ms for network in table.calibration})
    for fitted, assessed in ((visits[then.index], kept.report), (then, kept.as_stored)):
        slope, offset = np.polyfit(sums, fitted, 1)
        predicted = pandas.Series({network.name: slope * network.prediction.sum_ms + offset for network in kept.networks})
        errors = predicted / visits[predicted.index] - 1
        assert assessed.mean_error_pct == pytest.approx(errors.abs().mean() * 100)
        assert assessed.bias_pct == pytest.approx(errors.mean() * 100)

    again = spnas(folder, *profile)
    assert json.loads(again.stdout)["measured"] == 0
    with Store(folder / "spnas.db", read_only=True) as store:
        assert store.tables() == [table], "its validation would no longer be known"

    other = spnas(folder, "validate", "--table", "tiny", "--threads", "2", *common)
    assert other.returncode == 6
    assert "threads was 1 and is 2" in other.stderr

    clash = spnas(folder, *profile, "--precision", "int8")
    assert clash.returncode == 6
    assert "--name" in clash.stderr


def test_two_runs_at_once_do_not_meet(folder):
    """The second one names the first and stops; the first goes on."""
    long = (*PROFILE, "--rounds", "1000")
    command = [sys.executable, "-m", "spnas_cli", "-q", *long]
    with started(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        until(lambda: measured(folder) or first.poll() is not None)
        second = spnas(folder, *PROFILE)
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        before = measured(folder)
        until(lambda: measured(folder) > before or first.poll() is not None)
        first.send_signal(signal.SIGINT)
        assert first.wait() == 130
    assert measured(folder) > before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("profile", "--space", "nowhere"), 2, "digits, fashion-mnist, imagenet"),
        (("profile", "--device", "nobody"), 3, "nobody"),
        (("profile", "--calibrate", "3"), 2, "at least 5"),
        (("profile", "--space", "tiny.yaml", "--delegate", "gpu"), 2, "allowed: xnnpack, none"),
        (("profile", "--space", "tiny.yaml", "--db", "no/such/folder/x.db"), 6, "folder"),
        (("profile", "--space", "tiny.yaml", "--db", "tiny.yaml"), 6, "--db"),
        (("validate", "--table", "nothing"), 6, "pixel1"),
        (("validate", "--table", "pixel1", "--device", "host", "--networks", "2"), 6, "other conditions"),
        (("validate", "--table", "pixel1", "--rounds", "3"), 2, "even"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(folder, monkeypatch, arguments, code, words):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli, ["-q", *arguments])
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
