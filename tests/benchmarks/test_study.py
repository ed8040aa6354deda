"""The base of studies: no run is done twice, whoever does it and however often it is begun, and processes share what is open."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def study(benchmark):
    return benchmark("study")


@pytest.fixture
def begin(study, tmp_path, monkeypatch):
    """Runs parts of a study whose runs are listed here by part, name and seed, and returns which of them were done."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Listed(study.Study):
        def __init__(self, listed, failing):
            super().__init__(tmp_path / "results.csv")
            self.listed, self.failing, self.done = listed, failing, []

        def runs(self):
            for part, name, seed in self.listed:
                yield part, name, seed, partial(self.do, name, seed)

        def do(self, name, seed, folder):
            assert list(folder.iterdir()) == []
            if name == self.failing:
                raise RuntimeError(name)
            self.done.append((name, seed))
            return [study.Result(each, seed, "3x3-3 skip", 1.25, 0.875, 96, 2.5) for each in (name, f"rest of {name}")]

    def begin(listed, parts, failing=None):
        made = Listed(listed, failing)
        made.run(parts)
        return made.done

    return begin


def test_runs_are_done_in_order_once_and_only_those_of_the_parts_wanted(study, begin, tmp_path):
    listed = [("a", "one", 0), ("b", "other", 0), ("a", "one", 1), ("a", "with spaces", 0)]
    assert begin(listed, ["a"]) == [("one", 0), ("one", 1), ("with spaces", 0)]
    assert begin(listed, ["a"]) == []
    assert begin(listed, ["a", "b"]) == [("other", 0)]
    results = study.read_results(tmp_path / "results.csv")
    names = [(name, seed) for name, seed in (("one", 0), ("one", 1), ("with spaces", 0), ("other", 0))]
    assert [(each.name, each.seed) for each in results] == [
        pair for name, seed in names for pair in ((name, seed), (f"rest of {name}", seed))
    ]
    assert results[0] == study.Result("one", 0, "3x3-3 skip", 1.25, 0.875, 96, 2.5)


def test_a_run_that_failed_leaves_no_line_and_is_done_again(study, begin, tmp_path):
    listed = [("a", "one", 0), ("a", "two", 0), ("a", "three", 0)]
    with pytest.raises(RuntimeError, match="two"):
        begin(listed, ["a"], failing="two")
    assert [each.name for each in study.read_results(tmp_path / "results.csv")] == ["one", "rest of one"]
    assert begin(listed, ["a"]) == [("two", 0), ("three", 0)]


def test_two_processes_share_the_runs_and_one_waits_for_what_the_other_opens(study, tmp_path):
    """The first run ends only once the other process has nothing to do; each of the last two only while the other is at it."""
    script, results = Path(__file__).with_name("one_of_two.py"), tmp_path / "results.csv"
    command = [sys.executable, str(script), str(results)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    done = [each.name for each in study.read_results(results)]
    assert (done[0], sorted(done[1:])) == ("opener", ["left", "right"])
    assert results.read_text().count("name,seed") == 1
    assert sorted(text.count(", seed 0: 50.00%") for text in said) == [1, 2], "each process did what the other could not"
