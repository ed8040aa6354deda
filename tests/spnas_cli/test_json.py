"""What commands print with `--json` is what docs/json.md says: every field, its type, and none besides."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from command_tree import all_commands
from json_page import PAGE, schemas
from jsonschema import Draft202012Validator, ValidationError

from latency_db.store import Store
from profiling.host.host import HostDevice
from spnas_cli.main import EXIT_CODES, FAILED, INTERRUPTED, cli

MADE = Path(__file__).parent.parent / "made_before"
SCHEMAS = schemas()
MEASURING = ("--device", "host", "--rounds", "2", "--runs", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Finished runs and the database of their measurements, made on this machine as far as the commands know."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPNAS_DB", "spnas.db")
    with Store(Path("spnas.db"), read_only=True) as store:
        [campaign] = store.campaigns("profile")
    monkeypatch.setattr(HostDevice, "conditions", lambda self, settings: campaign.conditions)
    return tmp_path


def printed(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def command_of(run: str) -> list[str]:
    return shlex.split(Path(run, "command.txt").read_text(encoding="utf-8"))[1:]


PROFILE = ("profile", *MEASURING, "--space", "tiny.yaml", "--resolution", "160", "--calibrate", "5", "--name", "large")
COMPARE = ("compare", *MEASURING, "random/random-01.json", "random/random-02.json", "--table", "large")
CUT_FOR = ("--table", "run/table.json")
COMMANDS = {
    "devices": ("devices",),
    "init": ("init", "photos"),
    "profile": PROFILE,
    "table list": ("table", "list"),
    "table show": ("table", "show", "large"),
    "table show of a published one": ("table", "show", "pixel3"),
    "table diff": ("table", "diff", "large", "table.json"),
    "table diff without a layer in common": ("table", "diff", "large", "raspi4"),
    "predict": ("predict", "run/architecture.json", "--table", "table.json"),
    "predict without calibration": ("predict", "single-path-nas", "--table", "pixel1"),
    "data": ("data", "digits"),
    "data of a folder": ("data", "photos"),
    "search --supernet": ("search", "--supernet", *CUT_FOR, "--data", "digits", "--epochs", "1", "-o", "supernet"),
    "search --from": ("search", "--from", "run", *CUT_FOR, "--target-ms", "50%", "-o", "cut"),
    "random": ("random", "--table", "large", "--between", "0", "100", "--networks", "2", "-o", "drawn"),
    "random of uniform networks": ("random", "--table", "pixel1", "--uniform", "--target-ms", "80", "-o", "uniform"),
    "evaluate": ("evaluate", "run/network.pt", "--data", "digits"),
    "evaluate of photos": ("evaluate", "run/network.pt", "--data", "photos", "--split", "all"),
    "validate": ("validate", *MEASURING, "--table", "large", "--networks", "4", "--also", "random/random-01.json"),
    "export": ("export", "trained/network.pt", "--to", "onnx", "--data", "digits", "-o", "a.onnx"),
    "export without images": ("export", "trained/network.pt", "--to", "onnx", "--softmax", "-o", "b.onnx"),
    "compare": COMPARE,
}


def make_photos(folder: Path) -> None:
    """Two images in each of the ten classes that the networks know; they are wide, so that framing matters."""
    import numpy as np
    from PIL import Image

    for name in range(10):
        (folder / str(name)).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(10 * name + number).integers(0, 255, (16, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(name) / f"{number}.png")


def check(name: str, value: Any) -> None:
    command = next(known for known in sorted(SCHEMAS, key=len, reverse=True) if name.startswith(known))
    Draft202012Validator(SCHEMAS[command]).validate(value)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_the_page_says(name, folder):
    make_photos(folder / "photos")
    check(name, printed(*COMMANDS[name]))


def test_a_search_and_a_training_print_what_the_page_says_and_their_files_hold(folder):
    for name, run, options in (("search", "run", ()), ("train", "trained", ("--resume",))):
        check(name, printed(*(word for word in command_of(run) if word != "--json"), *options))
        check(name, json.loads(Path(run, "result.json").read_text(encoding="utf-8")))


def test_a_broken_image_and_a_missing_layer_are_said_as_the_page_says(folder):
    make_photos(folder / "photos")
    (folder / "photos" / "3" / "0.png").write_bytes(b"no image")
    result = CliRunner().invoke(cli, ["data", "photos", "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    check("data", found)
    assert [each["file"] for each in found["unreadable"]] == ["photos/3/0.png"]


def test_every_command_that_prints_json_is_on_the_page_and_no_other():
    printing = {
        " ".join(path)
        for path, command in all_commands()
        if any(isinstance(each, click.Option) and "--json" in each.opts for each in command.params)
    }
    assert {name.partition(" --")[0] for name in SCHEMAS} == printing


def test_the_page_itself_is_strict():
    """A field that it lacks, one too many and one of another type are all found."""
    whole = {"total_ms": 1.0, "low_ms": None, "high_ms": None, "memory_mb": 1.0, "size_mb": 1.0, "layers": []}
    check("predict", whole)
    for change in ({"total_ms": "1"}, {"more": 1}, {"low_ms": "none"}, {"layers": [{"position": 1}]}):
        with pytest.raises(ValidationError):
            check("predict", whole | change)
    with pytest.raises(ValidationError):
        check("predict", {"total_ms": 1.0})


def test_exit_codes_on_the_page_are_those_of_the_program():
    text = PAGE.read_text(encoding="utf-8").partition("## Exit codes")[2]
    listed = {
        int(line.split("|")[1]) for line in text.splitlines() if line.startswith("| ") and line.split("|")[1].strip().isdigit()
    }
    assert listed == {0, FAILED, INTERRUPTED, *EXIT_CODES.values()}
