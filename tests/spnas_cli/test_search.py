"""`spnas search` from end to end, with real digits and a table made from multiply-adds; interrupted in processes of its own."""

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from pictures import write
from terminal import Terminal
from waiting import started, until

from latency_db.table import LatencyTable, Row
from profiling.conditions import Conditions
from profiling.space import SearchSpace, load_architecture
from search.convnet.saved import load_network
from spnas_cli.main import cli

SETTINGS_OF_SPACE = {
    "name": "small", "resolution": 12, "image_channels": 1, "classes": 12, "kernels": [3, 5], "expansions": [3, 6],
    "stem": {"channels": 8}, "stages": [{"layers": 2, "channels": 8, "stride": 2}], "head": {"channels": 32},
}  # fmt: skip
SPACE = SearchSpace.model_validate(SETTINGS_OF_SPACE, strict=False)
# Of 2,500 networks, so that there are many near a target.
DEEPER = SearchSpace.model_validate(SETTINGS_OF_SPACE | {"stages": [{"layers": 5, "channels": 8, "stride": 2}]}, strict=False)
SETTINGS = ["--data", "digits", "--epochs", "4", "--batch-size", "64"]
FILES = {
    "architecture.json",
    "candidates",
    "candidates.csv",
    "checkpoint.pt",
    "command.txt",
    "config.yaml",
    "decisions.png",
    "kernels.png",
    "metrics.csv",
    "network.png",
    "network.pt",
    "progress.png",
    "result.json",
    "table.json",
}


@pytest.fixture
def table(tmp_path) -> Path:
    return write_table(SPACE, tmp_path)


def write_table(space: SearchSpace, folder: Path) -> Path:
    """Each layer's latency is its hidden channels times its kernel's area, in µs: plausible, not measured."""
    conditions = Conditions(
        device="none", product="none", os_build="none", soc="none", runtime="none", tool="none",
        threads=1, cores="any", precision="fp32", delegate="none",
    )  # fmt: skip
    rows = {
        layer.key: Row(ms=1e-3 * getattr(layer, "hidden_channels", 8) * getattr(layer, "kernel", 1) ** 2)
        for layer in space.layers
    }
    table = LatencyTable(
        name="made-up", space=space, conditions=conditions, rows=rows, created_at="2026-01-01T00:00:00Z", source="a test"
    )
    path = folder / "table.json"
    path.write_text(table.model_dump_json(), encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["search", *map(str, arguments)])


def test_a_search_leaves_all_its_files_and_one_json_object_and_is_not_overwritten(table, tmp_path):
    folder = tmp_path / "run"
    result = run("--table", table, *SETTINGS, "--target-ms", "1.5", "--json", "-o", folder)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) == {
        "architecture", "predicted_ms", "target_ms", "accuracy", "held_out_images", "chance", "memory_mb", "size_mb", "doubts",
    }  # fmt: skip
    assert 0.98 * 1.5 <= found["predicted_ms"] <= found["target_ms"] == 1.5
    assert {path.name for path in folder.iterdir()} == FILES
    assert list(load_architecture(str(folder / "architecture.json")).choices) == found["architecture"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["target_ms"] == 1.5
    assert "10 classes and the table a head of 12" in result.stderr
    again = run("--table", table, *SETTINGS, "--target-ms", "1.5", "-o", folder)
    assert (again.exit_code, len(again.stderr.strip().splitlines())) == (2, 1)
    assert "add --resume" in again.stderr


def test_interrupted_and_killed_the_same_command_goes_on_to_the_same_end(table, tmp_path):
    """Ctrl-C once, kill -9 once; metrics and network are those of a run that nothing happened to, bit for bit."""
    command = ["--table", table, *SETTINGS, "--runtime-weight", "0.1"]
    assert run(*command, "-o", tmp_path / "whole").exit_code == 0
    folder = tmp_path / "run"
    with Terminal("search", *command, "--resume", "-o", folder) as terminal:
        terminal.until_step(10)
        assert terminal.send(signal.SIGINT) == 130
        assert "Interrupted. Finished work is kept" in terminal.shown
        assert "Traceback" not in terminal.shown
    kept = (folder / "checkpoint.pt").read_bytes()
    with Terminal("search", *command, "--resume", "-o", folder) as terminal:
        terminal.until_step(50)
        assert terminal.send(signal.SIGKILL) == -signal.SIGKILL
    assert (folder / "checkpoint.pt").read_bytes() == kept
    last = run(*command, "--resume", "-o", folder)
    assert last.exit_code == 0, last.stderr
    assert 10 <= int(re.search(r"from step (\d+)", last.stderr)[1]) < 50
    assert (folder / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()
    mine, other = (load_network(tmp_path / name / "network.pt") for name in ("run", "whole"))
    assert mine.layers == other.layers
    assert all(torch.equal(mine.state[name], weights) for name, weights in other.state.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "digits"], "either --target-ms or --runtime-weight"),
        (["--data", "digits", "--target-ms", "0.001"], "cannot be reached: the networks of small take"),
        (["--data", "digit", "--target-ms", "1.5"], "neither a data set"),
        (["--data", "digits", "--target-ms", "1.5", "--space", "digits"], "digits"),
        (["--data", "digits", "--target-ms", "1.5", "--batch-size", "2000"], "2000"),
    ],
    ids=str,
)
def test_wrong_input_is_one_line_and_leaves_nothing(table, tmp_path, arguments, words):
    result = run("--table", table, *arguments, "-o", tmp_path / "run")
    assert result.exit_code in (2, 6)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_exploring_a_finished_run_trains_nothing_and_scores_no_network_twice(tmp_path):
    """First at random, stopped by Ctrl-C, then at random to the end, then on by evolution: one front over all of them."""
    folder = tmp_path / "run"
    command = ["--table", write_table(DEEPER, tmp_path), *SETTINGS, "--target-ms", "3", "--resume", "-o", folder, "--explore"]
    kept = folder / "explored.json"
    words = [sys.executable, "-m", "spnas_cli", "search", *map(str, command), "random", "--explore-networks", "1000"]
    with started(words, stderr=subprocess.PIPE) as process:
        until(lambda: kept.exists() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        assert "Interrupted" in process.communicate()[1]
        assert process.returncode == 130
    before = json.loads(kept.read_text())["networks"]
    assert 0 < len(before) < 1000
    metrics = (folder / "metrics.csv").read_bytes()
    assert run(*command, "random", "--explore-networks", len(before) + 2).exit_code == 0
    result = run(*command, "evolution", "--explore-networks", "6")
    assert result.exit_code == 0, result.stderr
    assert "from step" in result.stderr
    assert (folder / "metrics.csv").read_bytes() == metrics
    after = json.loads(kept.read_text())["networks"]
    assert after[: len(before)] == before
    assert [network["found_by"] for network in after[len(before) :]] == ["random"] * 2 + ["evolution"] * 6
    assert len({tuple(network["choices"]) for network in after}) == len(after)
    assert all(0.97 * 3 <= network["predicted_ms"] <= 1.03 * 3 for network in after)
    assert (folder / "front.png").exists()
    rows = list(csv.DictReader((folder / "front.csv").open()))
    assert {path.name for path in (folder / "front").iterdir()} == {Path(row["file"]).name for row in rows}
    for row in rows:
        assert " ".join(load_architecture(str(folder / row["file"])).choices) == row["choices"]


def test_a_search_says_and_records_how_its_images_are_moved_and_which_are_left_out(table, tmp_path):
    images = write(tmp_path / "images", count=20)
    (images / "disc" / "3.png").write_bytes(b"damaged")
    command = (
        "--table",
        table,
        "--runtime-weight",
        1,
        "--data",
        images,
        "--batch-size",
        8,
        "--epochs",
        4,
        "-o",
        tmp_path / "run",
    )
    refused = run(*command)
    assert (refused.exit_code, "disc/3.png: the image cannot be read" in refused.stderr) == (2, True)
    result = run(*command, "--augment", "crop", "--skip-unreadable", 1)
    assert result.exit_code == 0, result.stderr
    assert "Training images are cropped at random (--augment crop)." in result.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["augment"], config["left_out"]) == ("crop", ["disc/3.png"])
    again = run(*command, "--resume", "--explore", "random", "--explore-networks", 2)
    assert again.exit_code == 0, again.stderr
