"""From a table to its validation, on this machine: what is reported, and against what it can be reckoned again."""

import json
import sqlite3
from dataclasses import asdict

import numpy as np
import pandas
import pytest

from latency_db.store import Store
from latency_db.validate import latest_validation, require_even
from profiling.errors import InputError

PROFILE = ("profile", "--space", "tiny.yaml", "--calibrate", "5", "--rounds", "2", "--runs", "3", "--name", "tiny", "--json")


def test_profile_then_validate_and_profile_again(folder, spnas):
    """The table serves, a validation of it is reported in full, and wrong uses of it are refused in words."""
    assert spnas(*PROFILE).returncode == 0

    common = ("--networks", "4", "--rounds", "2", "--runs", "3")
    validation = spnas("validate", "--table", "tiny", *common, "--max-error", "0", "--json")
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

    again = spnas(*PROFILE)
    assert json.loads(again.stdout)["measured"] == 0
    with Store(folder / "spnas.db", read_only=True) as store:
        assert store.tables() == [table], "its validation would no longer be known"

    other = spnas("validate", "--table", "tiny", "--threads", "2", *common)
    assert other.returncode == 6
    assert "threads was 1 and is 2" in other.stderr

    clash = spnas(*PROFILE, "--precision", "int8")
    assert clash.returncode == 6
    assert "--name" in clash.stderr


def test_an_odd_number_of_rounds_has_no_halves():
    require_even(8)
    with pytest.raises(InputError, match="must be even, not 7"):
        require_even(7)
