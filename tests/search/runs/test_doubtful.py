"""Searches and trainings that cannot succeed say so before their result, in the result and in its file."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from small import table_from_multiply_adds

from latency_db.table_files import write_table
from search.config import TrainingOptions
from search.listener import Listener
from search.runs.explore import explore
from search.runs.run import load_run
from search.runs.search import search
from spnas_cli.main import cli

QUICK = TrainingOptions(epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def table(make_space):
    return table_from_multiply_adds(make_space(classes=5))


class Notes(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def images_of_nothing(folder, counts):
    """Images of noise, so that there is nothing in them that tells a class from another."""
    generator = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (folder / f"class-{label}").mkdir(parents=True)
        for number in range(count):
            Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8)).save(
                folder / f"class-{label}" / f"{number}.png"
            )
    return folder


@pytest.mark.parametrize(
    ("counts", "advice"), [((48,) * 5, "192 training images in 5 classes are few"), ((200, 10, 10, 10, 10), "other classes")]
)
def test_a_search_that_learned_nothing_says_so(table, tmp_path, counts, advice):
    run = search(table, images_of_nothing(tmp_path / "images", counts), tmp_path / "run", runtime_weight=0.1, options=QUICK)
    assert "accuracy" in {doubt.kind for doubt in run.result.doubts}
    assert any(advice in doubt.advice for doubt in run.result.doubts)
    kept = json.loads(run.folder.result.read_text())["doubts"]
    assert [doubt["words"] for doubt in kept] == [doubt.words for doubt in run.result.doubts]
    assert load_run(run.folder) == run


def test_the_commands_say_it_first(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images_of_nothing(tmp_path / "images", (48,) * 5)
    write_table(table, tmp_path / "table.json")
    schedule = ("--epochs", "3", "--batch-size", "16")
    for command in (
        ["search", "--table", "table.json", "--runtime-weight", "0.1", "--data", "images", *schedule, "-o", "run"],
        ["train", "run/architecture.json", "--data", "images", *schedule, "-o", "trained"],
    ):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("Do not rely on this result:\n- Accuracy is not clearly above chance"), result.stdout
        assert "What to change: " in result.stdout
        again = CliRunner().invoke(cli, [*command, "--resume", "--json"])
        assert json.loads(again.stdout)["doubts"][0]["kind"] == "accuracy"
    told = Notes()
    explore("run", networks=3, listener=told)
    assert "is doubtful: Accuracy is not clearly above chance" in told.notes[1]
