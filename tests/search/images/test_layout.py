"""Which folder is what: parts by any of their names, classes, and what is refused because it could be either."""

import os

import pytest
from pictures import draw, write

from profiling.errors import InputError
from search.images.data import load_data
from search.images.names import role_of
from search.images.one_image import ImageForm
from search.images.options import ImageOptions

FORM = ImageForm(12, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def load(folder, split=None, **options):
    return load_data(str(folder), FORM, 0, options=ImageOptions(split=split, **options))


def counts(folder, split=None):
    data = load(folder, split)
    return data.train_images, data.held_out_images


@pytest.mark.parametrize(
    ("part", "names"),
    {
        "train": ("train", "Train", "TRAIN", "training", "training_set", "train2017", "trainset", "TrainImages", "Train Data"),
        "val": ("val", "VALID", "validation", "Validation_set", "dev", "eval", "valset", "val2017", "dev-images"),
        "test": ("test", "Test", "testing", "test_images", "TestSet", "testset"),
    }.items(),
)
def test_parts_go_by_many_names_in_any_case(part, names):
    assert {name: role_of(name) for name in names} == dict.fromkeys(names, (part, ""))


@pytest.mark.parametrize(
    "name", ["cat", "devil", "latest", "contest", "trainer", "interval", "évaluation-x-y", "TrainVal", "2017"]
)
def test_other_names_are_not_parts(name):
    role = role_of(name)
    assert role is None or role.rest


@pytest.mark.parametrize(
    ("names", "expected", "held_out", "unused"),
    [
        (("train", "val"), (10, 4), "val", None),
        (("Train", "valid", "TEST"), (10, 4), "valid", "TEST"),
        (("training", "dev"), (10, 4), "dev", None),
        (("train_images", "eval_images"), (10, 4), "eval_images", None),
        (("flowers-train", "flowers-validation", "flowers-test"), (10, 4), "flowers-validation", "flowers-test"),
        (("train", "test"), (10, 4), "test", None),
        (("Training",), (8, 2), "one image in five", None),
    ],
)
def test_a_validation_part_alone_is_held_out_and_the_test_part_is_named(tmp_path, names, expected, held_out, unused):
    for number, name in enumerate(names):
        write(tmp_path / name, count=2 if number else 5, seed=number)
    data = load(tmp_path)
    assert (data.train_images, data.held_out_images) == expected
    line = next(line for line in data.notes if line.startswith("Held out: "))
    assert held_out in line
    assert (f"Not used: {unused} (spnas evaluate --split test)" in line) == (unused is not None)


def test_an_accuracy_is_measured_on_the_part_that_is_asked_for(tmp_path):
    for seed, (name, count) in enumerate({"train": 5, "valid": 2, "Test": 3}.items()):
        write(tmp_path / "parts" / name, count=count, seed=seed)
    assert [counts(tmp_path / "parts", split)[1] for split in ("held-out", "val", "test")] == [4, 4, 6]
    with pytest.raises(InputError, match="without parts, it has train and val and test"):
        load(tmp_path / "parts", "all")
    write(tmp_path / "whole", count=5)
    assert [counts(tmp_path / "whole", split)[1] for split in ("held-out", "val", "all")] == [2, 2, 10]
    with pytest.raises(InputError, match=r"there is no test part.*--split all takes all"):
        load(tmp_path / "whole", "test")
    write(tmp_path / "two" / "train")
    write(tmp_path / "two" / "test", count=3, seed=1)
    assert counts(tmp_path / "two", "test")[1] == 6
    with pytest.raises(InputError, match="there is no val part, it has train and test"):
        load(tmp_path / "two", "val")
    write(tmp_path / "alone" / "val", count=3)
    assert counts(tmp_path / "alone", "held-out") == (0, 6)
    with pytest.raises(InputError, match="there is nothing to train on, it has val"):
        load(tmp_path / "alone")
    assert load_data("digits", ImageForm(8, 1), 0, options=ImageOptions(split="all")).held_out_images == 1797


def test_classes_beside_a_part_are_what_is_trained_on(tmp_path):
    write(tmp_path, count=5)
    write(tmp_path / "Validation", count=2, seed=1)
    assert load(tmp_path).classes == ("disc", "square")
    assert counts(tmp_path) == (10, 4)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train", "test"], "test: 5 images and no class folders .*part of the data set, and cannot be a class"),
        (["Training", "Valid"], "cannot be a class"),
        (["seg_train", "seg_test"], "cannot be a class"),
        (["disc", "square", "test"], "test: 5 images .*as the classes disc, square; or rename it if it is a class"),
        (["disc/train", "disc/test", "square/train", "square/test"], "disc: parts of the data set are inside this class folder"),
        (["train/disc", "train/square", "val"], "val: 5 images .*ImageNet"),
        (
            ["train/disc", "train/square", "val/disc", "val/square", "dev/disc", "dev/square"],
            "dev and val are both named as the val",
        ),
        (["train/disc", "train/square", "val/disc", "val/right"], "val: the classes differ from those of .*train: right, square"),
        (["pictures/disc", "pictures/square"], "at least two folders.*give the folder in it, .*pictures"),
        (["."], "5 images and no class folders: there must be at least two folders"),
    ],
    ids=str,
)
def test_a_folder_that_would_teach_something_else_is_refused_with_the_reason(tmp_path, folders, words):
    for seed, folder in enumerate(folders):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(5):
            draw("disc", 100 * seed + number).save(tmp_path / folder / f"{number}.png")
    with pytest.raises(InputError, match=words) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_train_among_vehicles_is_a_class_and_images_without_classes_are_not_used(tmp_path):
    write(tmp_path / "vehicles", ("bus", "car", "train"))
    assert load(tmp_path / "vehicles").classes == ("bus", "car", "train")
    write(tmp_path / "kaggle" / "train")
    write(tmp_path / "kaggle", ["test"])  # to be recognised, without classes
    data = load(tmp_path / "kaggle")
    assert (data.train_images, data.held_out_images) == (8, 2)
    assert any("Not used: test has no class folders" in line for line in data.notes)


@pytest.mark.parametrize("place", ["", "train"])
def test_synset_folders_get_readable_names_from_a_list_beside_them(tmp_path, place):
    for part in ("train", "val"):
        for number, name in enumerate(("n02", "n01")):
            write(tmp_path / part, [name], seed=number)
    lines = ["n01 tench, Tinca tinca", "n02: goldfish", "n03 not there"]
    (tmp_path / place / "classes.txt").write_text("\n".join(lines), encoding="utf-8")
    data = load(tmp_path)
    assert data.classes == ("tench, Tinca tinca", "goldfish")
    assert data.class_keys == ("n01", "n02")
    assert data.notes[0] == "20 files: 20 images", "the list is not a file that is left out"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n01 crane\nn02 crane\n", r"n02: this class would have the same label as .*n01: crane"),
        ("n01 tench\n", r"classes\.txt: no names for 1 of the class folders: n02"),
        ("n01 tench\nn01 pike\nn02 x", r"classes\.txt:2: another name for n01"),
    ],
)
def test_a_list_that_does_not_name_every_class_once_is_refused(tmp_path, text, words):
    write(tmp_path, ("n01", "n02"))
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load(tmp_path)


def test_a_list_of_another_kind_is_left_alone(tmp_path):
    write(tmp_path, ("blue", "blue whale"))
    (tmp_path / "classes.txt").write_text("blue\nblue whale\n", encoding="utf-8")
    assert load(tmp_path).classes == ("blue", "blue whale")


def test_names_are_compared_in_one_unicode_form(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write(tmp_path / "ok" / "train", (composed, "disc"))
    write(tmp_path / "ok" / "val", (decomposed, "disc"), seed=1)
    assert load(tmp_path / "ok").classes == (composed, "disc")
    write(tmp_path / "twice", (composed, decomposed))
    with pytest.raises(InputError, match="would have the same label as"):
        load(tmp_path / "twice")
    write(tmp_path / "spaces", ("red  fox", "red fox"))
    with pytest.raises(InputError, match=r"would have the same label as .*red fox"):
        load(tmp_path / "spaces")


def test_a_name_that_is_not_utf8_is_refused_and_can_be_printed(tmp_path):
    write(tmp_path, ("disc",))
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    draw("disc").save(odd / "1.png")
    with pytest.raises(InputError, match="the name of this class is not UTF-8") as raised:
        load(tmp_path)
    assert r"caf\xe9" in str(raised.value)
    str(raised.value).encode()
