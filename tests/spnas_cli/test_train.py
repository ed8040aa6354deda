"""`spnas train` and `spnas evaluate` from end to end, on real digits."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from pictures import write
from PIL import Image
from terminal import Terminal

import search.images.vision  # noqa: F401 (makes torchvision importable beside any build of PyTorch)
from search.convnet.saved import load_network
from spnas_cli.main import cli

SPACE = {
    "name": "small", "resolution": 12, "image_channels": 1, "classes": 12, "kernels": [3, 5], "expansions": [3, 6],
    "stem": {"channels": 8}, "stages": [{"layers": 2, "channels": 8, "stride": 2}], "head": {"channels": 32},
}  # fmt: skip
FILES = {
    "accuracy.csv",
    "checkpoint.pt",
    "command.txt",
    "config.yaml",
    "metrics.csv",
    "network.pt",
    "progress.png",
    "result.json",
}


# At a rate for so few steps.
TEN_EPOCHS = ("--epochs", 10, "--learning-rate", 0.064)


def spnas(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def write_architecture(folder: Path, name: str, *choices: str) -> Path:
    path = folder / name
    path.write_text(json.dumps({"space": SPACE, "choices": choices}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def arch(tmp_path_factory) -> Path:
    return write_architecture(tmp_path_factory.mktemp("architecture"), "a.json", "3x3-6", "3x3-3")


@pytest.fixture(scope="module")
def trained(arch, tmp_path_factory) -> tuple[Path, dict]:
    """The folder of a training of ten epochs, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    result = spnas("train", arch, "--data", "digits", *TEN_EPOCHS, "--json", "-o", folder)
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout)


def write_images(folder: Path, *classes: str) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.random.default_rng(number).integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_a_training_leaves_its_files_and_evaluate_finds_the_same_accuracy(trained):
    folder, printed = trained
    assert {path.name for path in folder.iterdir()} == FILES
    assert re.match(r"spnas train \S+a.json --data digits --epochs 10 .* -o \S+run\n$", (folder / "command.txt").read_text())
    assert printed["top1"] > 0.6
    assert printed == json.loads((folder / "result.json").read_text())
    assert yaml.safe_load((folder / "config.yaml").read_text())["epochs"] == 10
    evaluated = json.loads(spnas("evaluate", folder / "network.pt", "--data", "digits", "--json").stdout)
    assert (evaluated["top1"], evaluated["top5"]) == (printed["top1"], printed["top5"])
    assert evaluated["images"] == 359
    assert len(evaluated["top1_by_class"]) == 10
    told = spnas("evaluate", folder / "network.pt", "--data", "digits")
    assert f"{printed['top1']:.2%}" in told.stdout


def test_what_is_there_is_not_overwritten(trained, arch):
    folder, _ = trained
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(spnas("train", arch, "--data", "digits", "-o", folder), "the folder is not empty", "--resume")
    refused(spnas("train", arch, "--data", "digits", "--epochs", 3, "--resume", "-o", folder), "another config")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_of_a_search_or_a_training_are_a_start_that_the_result_tells(trained, arch, tmp_path):
    """From good weights, one epoch with a tiny learning rate stays good; from random ones it would be mere chance."""
    folder, printed = trained
    settings = ["--data", "digits", "--epochs", 1, "--learning-rate", 1e-4, "--json"]
    result = spnas("train", arch, *settings, "--init", f"supernet:{folder}", "-o", tmp_path / "next")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["top1"] == pytest.approx(printed["top1"], abs=0.1)
    assert found["origin"].endswith(f"starting from: {printed['origin']}")
    other = write_architecture(tmp_path, "other.json", "5x5-6", "skip")
    run = tmp_path / "other"
    refused(spnas("train", other, *settings, "--init", folder / "network.pt", "-o", run), "of another network", "its layer 1 is")
    assert not (run / "config.yaml").exists()


def test_the_run_of_a_network_is_trained_on_from_its_weights_or_from_random_ones(trained, tmp_path):
    folder, printed = trained
    result = spnas("train", folder, "--data", "digits", "-o", tmp_path / "tuned")
    assert result.exit_code == 0, result.stderr
    first = f"Starting from the weights in {folder / 'network.pt'} (top-1 {printed['top1']:.2%}), by the recipe finetune."
    assert result.stderr.splitlines()[0] == first
    assert yaml.safe_load((tmp_path / "tuned" / "config.yaml").read_text())["init"] == str(folder / "network.pt")
    result = spnas("train", folder, "--data", "digits", "--init", "random", "--epochs", 1, "-o", tmp_path / "scratch")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[0] == "Starting from random weights, by the recipe mnasnet."
    assert yaml.safe_load((tmp_path / "scratch" / "config.yaml").read_text())["init"] is None


def test_a_teacher_must_know_the_classes(trained, tmp_path):
    folder, _ = trained
    student = write_architecture(tmp_path, "student.json", "3x3-3", "skip")
    result = spnas("train", student, "--data", "digits", "--epochs", 1, "--teacher", folder, "--json", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["origin"].endswith(f"with the teacher {folder / 'network.pt'}")
    settings = ["--data", write_images(tmp_path / "images", "cat", "dog"), "--batch-size", 4, "--epochs", 1]
    refused(
        spnas("train", student, *settings, "--teacher", folder, "-o", tmp_path / "other"),
        str(folder / "network.pt"), "knows 10 classes, these images have 2",
    )  # fmt: skip
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_interrupted_it_goes_on_to_the_same_end(trained, arch, tmp_path):
    """Ctrl-C in the midst of a process of its own; then the same command goes on to what an undisturbed run found."""
    folder = tmp_path / "run"
    command = ["train", arch, "--data", "digits", *TEN_EPOCHS, "--resume", "-o", folder, "--json"]
    with Terminal(*command) as terminal:
        terminal.until_step(20)
        assert terminal.send(signal.SIGINT) == 130
        assert "Interrupted. Finished work is kept" in terminal.shown
        assert "Traceback" not in terminal.shown
    assert {path.name for path in folder.iterdir()} >= {"checkpoint.pt", "metrics.csv"}
    assert not (folder / "network.pt").exists()
    result = spnas(*command)
    assert result.exit_code == 0, result.stderr
    assert int(re.search(r"from step (\d+)", result.stderr)[1]) >= 20
    for name in ("metrics.csv", "accuracy.csv"):
        assert (folder / name).read_bytes() == (trained[0] / name).read_bytes()


def test_a_network_of_the_zoo_is_trained_in_the_size_asked_for(tmp_path):
    images = write_images(tmp_path / "images", "cat", "dog", "eel")
    settings = ["--data", images, "--resolution", 16, "--width", 0.1, "--batch-size", 8, "--epochs", 1, "--recipe", "modern"]
    result = spnas("train", "mobilenet-v1", *settings, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert "n/a (five classes or fewer)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "mnas"], ["mnas", "mnasnet, modern"]),
        (["--init", "nothing.pt"], ["nothing.pt"]),
        (["--teacher", "larger"], ["larger", "accepted: a trained network (.pt), the folder of a run"]),
        (["--batch-size", "2000"], ["2000", "training images"]),
        (["--resolution", "60000"], ["60000", "2 GiB of a TFLite tensor"]),
        (["--data", "digit"], ["neither a data set"]),
    ],
    ids=lambda value: value[0],
)
def test_wrong_input_is_one_line_and_leaves_nothing(arch, tmp_path, arguments, words):
    run = tmp_path / "run"
    refused(spnas("train", arch, "--data", "digits", *arguments, "-o", run), *words)
    assert not run.exists() or not any(run.iterdir())


def test_an_unknown_network_names_the_zoo(tmp_path):
    refused(spnas("train", "mobilenet-v9", "--data", "digits", "-o", tmp_path / "run"), "mobilenet-v1, mobilenet-v2")


def test_classes_that_differ_and_broken_images_are_named(trained, arch, tmp_path):
    folder, _ = trained
    network = folder / "network.pt"
    result = spnas("evaluate", network, "--data", write_images(tmp_path / "a", "cat", "dog"))
    refused(result, "knows 10 classes, these images have 2", "unknown to it: cat, dog", "not in these: 0, 1, 2")
    write_images(tmp_path / "b" / "train", "cat", "dog")
    write_images(tmp_path / "b" / "val", "cat", "eel")
    refused(spnas("train", arch, "--data", tmp_path / "b", "-o", tmp_path / "run"), "the classes differ", "dog, eel")
    (tmp_path / "a" / "cat" / "3.png").write_bytes(b"no image")
    settings = ["--batch-size", 4, "--epochs", 2]
    refused(spnas("-q", "train", arch, "--data", tmp_path / "a", *settings, "-o", tmp_path / "run2"), "3.png", "cannot be read")
    assert not (tmp_path / "run2" / "network.pt").exists()
    refused(spnas("evaluate", arch, "--data", "digits"), "this is an architecture file", "accepted: a trained network (.pt)")


def test_weights_of_torchvision_s_own_from_a_file(tmp_path, monkeypatch):
    """Of other classes, at another resolution; a resumed run goes on, and without a connection it is said what to do."""
    from torchvision import models

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    write(Path("photos"), count=8)
    torch.manual_seed(0)
    torch.save(models.mobilenet_v2(num_classes=7, width_mult=0.35).state_dict(), "theirs.pth")
    command = ["mobilenet-v2", "--width", "0.35", "--resolution", "32", "--init", "theirs.pth", "--data", "photos"]
    settings = ["--batch-size", "4", "--epochs", "2"]
    result = spnas("train", *command, *settings, "--recipe", "few-images", "-o", "run")
    assert result.exit_code == 0, result.output
    assert "Starting from the weights in theirs.pth, by the recipe few-images; the data has other classes" in result.stderr
    saved = load_network(Path("run/network.pt"))
    assert saved.classes == ("disc", "square")
    assert "starting from: theirs.pth, trained by torchvision" in saved.origin
    again = spnas("train", *command, *settings, "--recipe", "few-images", "-o", "run", "--resume")
    assert again.exit_code == 0, again.output
    refused = spnas("train", *command[:1], *command[3:], "-o", "other")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "theirs.pth: these are not torchvision's weights of mobilenet-v2 at width 1: " in refused.stderr
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    offline = spnas("train", "mnasnet", "--init", "torchvision", "--data", "photos", "-o", "other")
    assert (offline.exit_code, offline.stdout) == (2, "")
    assert "mnasnet1_0: torchvision's weights cannot be downloaded" in offline.stderr
    assert "give the file: --init FILE.pth" in offline.stderr
