"""The bench of commands and notebooks: networks by name, and progress that is shown."""

import re

import pytest

from profiling.device import RunSettings
from profiling.errors import InputError
from profiling.space import load_space
from spnas_cli.bench import Bench


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_networks_are_compared_by_name_and_progress_is_shown(inside, monkeypatch, capsys):
    monkeypatch.setattr("spnas_cli.output.PLAIN_PROGRESS_SECONDS", 0.0)
    (inside / "mine.json").write_text(load_space("digits").uniform("3x3-3").to_json())
    with Bench(rounds=2, settings=RunSettings(runs=3)) as bench:
        [row] = bench.compare(["mine.json"]).rows
    assert 0 < row.p5_ms <= row.measured_ms <= row.p95_ms
    assert bench.outcome.measured >= 2, "noise may bring more"
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"^  host: 1/\d network-", shown.err, re.MULTILINE)


def test_with_a_watch_of_ones_own_nothing_is_shown_and_a_name_is_refused_with_those_there_are(capsys):
    seen = []
    with Bench(watch=seen.append) as bench, pytest.raises(InputError, match="mobilenet-v2"):
        bench.compare(["mobilenet-v9"])
    assert (seen, capsys.readouterr()) == ([], ("", ""))
