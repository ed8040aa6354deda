"""`spnas init` on folders of real pictures, and the way from it to a model that MediaPipe runs, by what each command prints."""

import json
import re
import shlex
from pathlib import Path

import matplotlib
import photos
import pytest
import yaml
from click.testing import CliRunner, Result
from mediapipe_or_not import needs_mediapipe
from pictures import draw, write
from PIL import Image

from profiling.space import load_space
from spnas_cli.main import cli


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # its list of fonts takes longer to make than the rest
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spnas(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    last = result.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), last
    assert list(Path().glob("*.yaml")) == []


def images(folder: str, size: tuple[int, int], mode: str = "RGB", classes=("one", "two"), count: int = 3) -> None:
    for name in classes:
        Path(folder, name).mkdir(parents=True)
        for number in range(count):
            draw("disc", number, size).convert(mode).save(Path(folder, name, f"{number}.png"))


@pytest.mark.parametrize(
    ("size", "mode", "resolution", "channels"),
    [
        ((24, 20), "RGB", 20, 3),
        ((7, 9), "L", 16, 1),
        ((40, 30), "1", 28, 1),
        ((70, 65), "P", 64, 3),
        ((150, 140), "LA", 128, 1),
        ((640, 480), "RGBA", 128, 3),
    ],
)
def test_resolution_and_channels_are_those_of_the_images(size, mode, resolution, channels):
    images("mine", size, mode, count=2)
    shown = json.loads(done(spnas("init", "mine", "--json")).stdout)
    space = load_space("mine.yaml")
    assert (space.resolution, space.image_channels, space.classes, space.data) == (resolution, channels, 2, "mine")
    assert (shown["resolution"], shown["image_channels"], shown["classes"]) == (resolution, channels, {"one": 1, "two": 1})
    assert shown["layers"] == len(space.layers)
    assert 4 <= space.slots[-1].layers["fixed"].resolution <= 8, "something is left for the last stage to see"


@pytest.mark.parametrize("resolution", [8, 9, 31, 96, 129, 224, 1000])
def test_a_resolution_that_is_asked_for(resolution):
    write(Path("mine"))
    done(spnas("init", "mine", "--resolution", resolution))
    space = load_space("mine.yaml")
    assert space.resolution == resolution
    assert len(space.searchable) >= 9


def test_many_large_images_get_the_space_of_the_paper():
    from search.runs.proposal import MANY_IMAGES, layout_for  # tens of thousands of files are too many for a test

    paper, mine = load_space("imagenet"), layout_for(224, MANY_IMAGES)
    assert [stage["channels"] for stage in mine["stages"]] == [stage.channels for stage in paper.stages]
    assert len(layout_for(224, MANY_IMAGES - 1)["stages"]) < len(paper.stages)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Meine  Fotos (2024)", "meine-fotos-2024"),
        ("写真", "images"),
        ("Größe'n; rm $HOME", "groe-n-rm-home"),
        ("imagenet", "own-imagenet"),
        ("-rf", "rf"),
        ("x" * 200, "x" * 40),
        ("a.b_c", "a-b-c"),
    ],
)
def test_a_space_is_called_what_its_folder_is_as_far_as_that_goes(folder, name):
    write(Path(folder))
    result = done(spnas("init", "--", folder))
    space = load_space(f"{name}.yaml")
    assert space.name == name
    commands = [shlex.split(line) for line in re.findall(r"^  (spnas .+)$", result.stdout, re.MULTILINE)]
    assert [command[1] for command in commands] == ["profile", "search", "evaluate", "export"]
    for command in commands[1:]:
        assert Path(command[command.index("--data") + 1]).samefile(folder), command
    assert commands[1][commands[1].index("--table") + 1] == f"{name}-host"
    assert commands[1][commands[1].index("--target-ms") + 1] == "50%"


def test_what_is_there_stays_but_the_same_again_is_no_fault():
    write(Path("mine"))
    first = done(spnas("init", "mine"))
    assert done(spnas("init", "mine")).stdout == first.stdout
    text = Path("mine.yaml").read_text().replace("3, 5", "3, 5, 7")
    Path("mine.yaml").write_text(text)
    result = spnas("init", "mine")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mine.yaml: the file already exists; add --force to replace it" in result.stderr
    assert Path("mine.yaml").read_text() == text
    done(spnas("init", "mine", "--force"))
    assert load_space("mine.yaml").kernels == (3, 5)


def test_folders_that_give_no_space():
    refused(spnas("init", "missing"), "missing: neither a data set")
    Path("empty").mkdir()
    refused(spnas("init", "empty"), "empty: ", "one per class")
    write(Path("single"), ("disc",))
    refused(spnas("init", "single"), "single: ", "at least two folders")
    write(Path("broken"))
    Path("broken/disc/0.png").write_bytes(b"no image")
    refused(spnas("init", "broken"), "broken: 1 of 10 images cannot be read", "spnas data broken names them")
    write(Path("measured/test"))
    refused(spnas("init", "measured"), "measured: no images to train on")
    write(Path("mine"))
    refused(spnas("init", "mine", "-o", "mine.txt"), "mine.txt: the name of this file ends in .yaml or .yml")
    refused(spnas("init", "mine", "--resolution", 65536), "resolution 65536 is out of range")
    refused(spnas("init", "mine", "-o", "no/such/place.yaml"), "no/such")


def test_data_sets_with_a_name_have_a_space_too():
    done(spnas("init", "digits"))
    space = load_space("own-digits.yaml")
    assert (space.resolution, space.image_channels, space.classes) == (16, 1, 10)


def test_the_images_are_no_part_of_the_space():
    """Tables, architectures and runs are for any images; an older version reads them as well."""
    write(Path("mine"))
    done(spnas("init", "mine"))
    space = load_space("mine.yaml")
    other = space.model_copy(update={"data": None})
    assert space.digest == other.digest
    assert "data" not in space.model_dump_json()
    assert yaml.safe_load(space.uniform("3x3-3").to_json()) == yaml.safe_load(other.uniform("3x3-3").to_json())


def following(result: Result, command: str) -> list[str]:
    """The words of a command that was printed."""
    [line] = re.findall(rf"^(?:Next:|) +(spnas {command} .+)$", result.output, re.MULTILINE)
    return shlex.split(line)[1:]


@needs_mediapipe
@pytest.mark.timeout(600)
def test_four_commands_from_photos_to_a_model_that_mediapipe_runs(inside):
    """Each as the one before printed it, made shorter: five classes with sixty photos each."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    photos.write(Path("my photos"), most_pixels=64)
    begun = done(spnas("init", "my photos", "--resolution", 16))
    smaller = Path("my-photos.yaml").read_text().replace("layers: 3", "layers: 1").replace("[3, 6]", "[6]")
    Path("my-photos.yaml").write_text(smaller)
    profiled = done(spnas(*following(begun, "profile"), "--rounds", 2, "--runs", 2, "--calibrate", 0))
    searched = done(spnas(*following(profiled, "search"), "--epochs", 1))
    assert following(begun, "search") == following(profiled, "search")
    exported = done(spnas(*following(searched, "export")))
    assert following(begun, "export") == following(searched, "export")
    assert "top-1 agreement  100.00%" in exported.stdout
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path="my-photos-run/network.tflite"))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        pixels = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=_pixels("my photos/key/IMG_0003.jpg"))
        [guesses] = classifier.classify(pixels).classifications
    assert {guess.category_name for guess in guesses.categories} == set(photos.THINGS)


def _pixels(file: str):
    import numpy as np

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
