"""`spnas data`, and the options of the other commands that say how images are used, on folders of real little pictures."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from pictures import draw, write

from spnas_cli.main import cli

SPACE = {
    "name": "small", "resolution": 12, "image_channels": 3, "classes": 2, "kernels": [3, 5], "expansions": [3, 6],
    "stem": {"channels": 8}, "stages": [{"layers": 2, "channels": 8, "stride": 2}], "head": {"channels": 32},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def spnas(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.stderr
    return result


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert all(word in last for word in words), last


@pytest.fixture
def arch(tmp_path) -> Path:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"space": SPACE, "choices": ["3x3-3", "skip"]}), encoding="utf-8")
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """Two classes of twelve pictures to train on, three to validate, four to test."""
    for seed, (part, count) in enumerate({"Train": 12, "valid": 3, "TEST": 4}.items()):
        write(tmp_path / "images" / part, count=count, seed=seed)
    return tmp_path / "images"


def config(run: Path) -> dict:
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))


TWO_EPOCHS = ("--batch-size", 8, "--epochs", 2)


def test_a_data_set_is_counted_part_by_part(images):
    (images / "Train" / "disc" / "notes.txt").write_text("", encoding="utf-8")
    found = json.loads(done(spnas("data", images, "--json")).stdout)
    assert found["classes"] == {part: {"disc": n, "square": n} for part, n in (("train", 12), ("held out", 3), ("test", 4))}
    assert (found["images"], found["formats"], found["modes"]) == (38, {"PNG": 38}, {"RGB": 38})
    assert found["shorter_side"] == {"least": 20, "median": 20, "largest": 20}
    assert (found["augment"], found["unreadable"], found["notes"]) == ("shift", [], [])
    told = done(spnas("data", images)).stdout
    assert "31 files: 30 images, 1 .txt left out" in told
    assert "Held out: valid. Not used: TEST (spnas evaluate --split test)." in told
    assert "24 images in 2 classes: disc 12, square 12" in told


def test_everything_that_is_wrong_is_listed_at_once(images):
    (images / "Train" / "disc" / "3.png").write_bytes(b"")
    (images / "valid" / "square" / "1.png").write_bytes((images / "valid" / "square" / "1.png").read_bytes()[:60])
    (images / "TEST" / "disc" / "0.png").write_text("<html>", encoding="utf-8")
    (images / "valid" / "disc" / "copy.png").write_bytes((images / "Train" / "disc" / "5.png").read_bytes())
    result = spnas("data", images)
    refused(result, "3 of 39 images cannot be read", "--skip-unreadable 3")
    lines = [line for line in result.stdout.splitlines() if line.startswith("- ")]
    assert [
        name in "\n".join(lines)
        for name in ("Train/disc/3.png: the file is empty", "valid/square/1.png: ", "TEST/disc/0.png: it is a web page")
    ] == [True] * 3
    assert any("copy.png" in line and "also among the training images" in line for line in lines)
    assert len(json.loads(spnas("data", images, "--json").stdout)["unreadable"]) == 3


def test_named_data_sets_and_folders_of_a_single_part_have_an_overview_and_others_an_error(images):
    assert "1438 images in 10 classes" in done(spnas("data", "digits")).stdout
    assert "train  " not in done(spnas("data", images / "valid" / ".." / "valid")).stdout.replace("train         4", "")
    refused(spnas("data", "nothing"), "nothing: neither a data set (digits")
    alone = write(images.parent / "alone" / "val", count=3)
    assert "held out" in done(spnas("data", alone.parent)).stdout


def test_the_way_images_are_moved_is_said_first_and_recorded_and_a_run_goes_on_with_it(images, arch, tmp_path):
    run = tmp_path / "run"
    result = done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "-o", run))
    notes = result.stderr.splitlines()[:5]
    assert notes[1:4] == [
        "30 files: 30 images",
        "Held out: valid. Not used: TEST (spnas evaluate --split test).",
        "Training images are shifted by up to an eighth (--augment shift, by their size, 20 pixels at the median).",
    ]
    assert config(run)["augment"] == "shift"
    done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "-o", run, "--resume"))
    refused(spnas("train", arch, "--data", images, *TWO_EPOCHS, "--augment", "crop", "-o", run, "--resume"), "another config")
    other = tmp_path / "other"
    result = done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "--augment", "none", "-o", other))
    assert "Training images are taken as they are (--augment none)." in result.stderr
    assert config(other)["augment"] == "none"
    assert spnas("train", arch, "--data", images, "--augment", "sideways", "-o", tmp_path / "third").exit_code == 2


def test_a_run_of_a_version_that_always_cropped_and_mirrored_goes_on_so(images, arch, tmp_path):
    run = tmp_path / "run"
    done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "--augment", "crop-flip", "-o", run))
    settings = config(run)
    for name in ("augment", "left_out"):
        del settings[name]
    (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    assert '"augment":"crop-flip",' in state["config"]
    state["config"] = state["config"].replace('"augment":"crop-flip",', "")
    torch.save(state, run / "checkpoint.pt")
    result = done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "-o", run, "--resume"))
    assert "Training images are cropped at random and mirrored (--augment crop-flip)." in result.stderr
    assert config(run)["augment"] is None
    refused(spnas("train", arch, "--data", images, *TWO_EPOCHS, "--augment", "shift", "-o", run, "--resume"), "another config")


def test_unreadable_images_are_left_out_if_asked_for_and_the_run_remembers_which(images, arch, tmp_path):
    for name in ("Train/disc/3.png", "Train/square/7.png", "valid/disc/1.png"):
        (images / name).write_bytes(b"damaged")
    command = ("train", arch, "--data", images, *TWO_EPOCHS, "-o", tmp_path / "run")
    result = spnas(*command)
    refused(result, "Train/disc/3.png: the image cannot be read", "3 of 30 images cannot", "--skip-unreadable 3")
    named = [line.partition(": ")[0] for line in result.stderr.splitlines()[:-1]]
    assert named == ["Train/disc/3.png", "Train/square/7.png", "valid/disc/1.png"]
    refused(spnas(*command, "--skip-unreadable", 2), "3 of 30 images cannot")
    assert not (tmp_path / "run").exists()
    result = done(spnas(*command, "--skip-unreadable", 3))
    assert "22 training and 5 held-out images" in result.stderr
    assert "Left out as they cannot be read: Train/disc/3.png, Train/square/7.png, valid/disc/1.png." in result.stderr
    assert config(tmp_path / "run")["left_out"] == ["Train/disc/3.png", "Train/square/7.png", "valid/disc/1.png"]
    draw("disc", 7).save(images / "Train" / "disc" / "3.png")
    done(spnas(*command, "--resume"))
    evaluate = ("evaluate", tmp_path / "run", "--data", images)
    refused(spnas(*evaluate), "valid/disc/1.png: the image cannot be read")
    assert json.loads(done(spnas(*evaluate, "--skip-unreadable", 1, "--json")).stdout)["images"] == 5


def test_an_accuracy_is_measured_on_the_part_that_is_asked_for(images, arch, tmp_path):
    done(spnas("train", arch, "--data", images, *TWO_EPOCHS, "-o", tmp_path / "run"))

    def measured(data, *options):
        return json.loads(done(spnas("evaluate", tmp_path / "run", "--data", data, *options, "--json")).stdout)["images"]

    assert measured(images) == measured(images, "--split", "val") == 6
    assert measured(images, "--split", "test") == 8
    assert measured(images / "TEST", "--split", "all") == 8
    assert "Held out: TEST." in spnas("evaluate", tmp_path / "run", "--data", images, "--split", "test").stderr
    refused(spnas("evaluate", tmp_path / "run", "--data", images, "--split", "all"), "has train and val and test", "images/test")
