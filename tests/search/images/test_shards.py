"""Images in WebDataset shards: what comes out is what went in, in the order of a folder, and every fault is named."""

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from profiling.errors import InputError
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.images.options import ImageOptions


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((12, 12), grey, np.uint8)).save(file, "png")
    return file.getvalue()


def write_shard(path, samples) -> None:
    """Samples are (key, {ending: content})."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, files in samples:
            for ending, content in files.items():
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def sample(number: int, kind: str = "cls"):
    """An image as grey as its number, of class 2, 10 or 11."""
    label = (2, 10, 11)[number % 3]
    files = {"cls": str(label).encode()} if kind == "cls" else {"json": json.dumps({"label": label, "width": 12}).encode()}
    return f"{number:06d}", {"png": png(number)} | files


def test_shards_by_folder_and_by_pattern_hold_the_images_that_were_put_in(tmp_path, make_space):
    space = make_space(image_channels=3)
    for shard in range(12):
        kind = "json" if shard % 2 else "cls"
        write_shard(tmp_path / "set" / f"train-{shard:03d}.tar", [sample(6 * shard + i, kind) for i in range(6)])
    write_shard(tmp_path / "set" / "val-000.tar", [sample(200 + i) for i in range(6)])

    data = load_data(str(tmp_path / "set"), space, 0)
    assert data.classes == ("2", "10", "11"), "classes that are numbers stand in the order of numbers"
    assert (data.train_images, data.held_out_images) == (72, 6)
    seen = {}
    for images, labels in training_batches(data, 8, 0, 0, 9, 2):
        seen |= {round((image.mean().item() + 1) * 127.5): label.item() for image, label in zip(images, labels, strict=True)}
    assert seen == {number: number % 3 for number in range(72)}
    held_out = torch.cat([images.mean((1, 2, 3)) for images, _ in held_out_batches(data, 4, 0)])
    assert ((held_out + 1) * 127.5).round().tolist() == list(range(200, 206))

    pattern = load_data(str(tmp_path / "set" / "train-{000..009}.tar"), space, 0)
    assert pattern.train_images + pattern.held_out_images == 60, "without held-out shards some images are held out"


def test_a_shard_is_read_again_only_when_it_has_changed(tmp_path, space, monkeypatch):
    shard = tmp_path / "set" / "a.tar"
    write_shard(shard, [sample(i) for i in range(15)])
    load_data(str(shard), space, 0)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        assert load_data(str(shard), space, 0).train_images == 12
    write_shard(shard, [sample(i) for i in range(30)])
    assert load_data(str(shard), space, 0).train_images == 24


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: write_shard(f / "a.tar", [("1", {"png": png(1)})]), "1 images have no class, the first is 1.png"),
        (lambda f: write_shard(f / "a.tar", [("1", {"png": png(1), "cls": b"1"})]), "at least two classes"),
        (lambda f: (f / "a.tar").write_bytes(b"no tar" * 500), "a.tar: the shard cannot be read"),
    ],
    ids=["no class", "one class", "no tar"],
)
def test_shards_that_are_no_data_set_are_refused_in_one_line(tmp_path, space, make, words):
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    with pytest.raises(InputError, match=words) as raised:
        load_data(str(tmp_path / "set"), space, 0)
    assert "\n" not in str(raised.value)


def test_missing_shards_of_a_pattern_and_a_broken_image_in_one_are_named(tmp_path, space):
    write_shard(tmp_path / "t-0.tar", [(key, files | {"png": files["png"][:40]}) for key, files in map(sample, range(15))])
    with pytest.raises(InputError, match=r"t-1\.tar: 2 of 3 shards are missing"):
        load_data(str(tmp_path / "t-{0..2}.tar"), space, 0)
    with pytest.raises(InputError, match=r"t-0\.tar/0000..\.png: the image cannot be read"):
        list(training_batches(load_data(str(tmp_path / "t-0.tar"), space, 0), 4, 0, 0, 1, 0))


@pytest.mark.parametrize(
    ("held_out", "unused"),
    [
        ("valid-000.tar", None),
        ("flowers-Validation-000.tar", None),
        ("dev/000.tar", None),
        ("Val/shards/000.tar", None),
        ("validation-000.tar", "test-000.tar"),
        ("eval-000.tar", "Testing/000.tar"),
        ("test-000.tar", None),
    ],
)
def test_parts_of_shards_are_those_of_folders(tmp_path, space, held_out, unused):
    folder = tmp_path / "set"
    write_shard(folder / "train-000.tar", [sample(i) for i in range(12)])
    write_shard(folder / "imagenet-001.tar", [sample(i) for i in range(12, 24)])
    write_shard(folder / held_out, [sample(100 + i) for i in range(6)])
    if unused is not None:
        write_shard(folder / unused, [sample(200 + i) for i in range(9)])
    data = load_data(str(folder), space, 0)
    assert (data.train_images, data.held_out_images) == (24, 6)
    line = next(line for line in data.notes if line.startswith("Held out: "))
    assert ("(spnas evaluate --split test)" in line) == (unused is not None)
    if unused is not None:
        assert load_data(str(folder), space, 0, options=ImageOptions(split="test")).held_out_images == 9


def test_a_shard_whose_name_and_folder_disagree_is_refused(tmp_path, space):
    write_shard(tmp_path / "set" / "test" / "train-000.tar", [sample(i) for i in range(12)])
    with pytest.raises(InputError, match=r"train-000\.tar: by its name and its folder this shard is in two parts: test, train"):
        load_data(str(tmp_path / "set"), space, 0)


def test_members_with_several_dots_count_by_the_last(tmp_path, space):
    def with_mask(number):
        key, files = sample(number)
        return key, files | {"mask.png": png(number)}

    samples = [(f"photo.v2.{number}", sample(number)[1]) for number in range(6)]
    samples += [(f"x{number}", {"a.b.jpg": png(number), "cls": b"10"}) for number in range(3)]
    samples += [with_mask(number) for number in range(10, 16)]
    samples += [("._1", {"png": png(1)}), ("__MACOSX/2", {"png": png(1)}), ("3", {"txt": b"", "xml": b""})]
    write_shard(tmp_path / "a.tar", samples)
    data = load_data(str(tmp_path / "a.tar"), space, 0)
    assert data.train_images + data.held_out_images == 15
    assert data.notes[0] == "23 files: 15 images, 6 .png, 1 .txt and 1 .xml left out"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: f.write_bytes(gzip.compress(b"x" * 5000)), r"compressed \(gzip\), whatever its name says; unpack it"),
        (lambda f: write_shard(f, [("1", {"png": png(1), "cls": b"\xff"})]), r"a\.tar/1\.cls: the class .*not UTF-8"),
        (lambda f: write_shard(f, [("1", {"png": png(1), "json": b"[" * 10**5})]), r"a\.tar/1\.json: the class .*not JSON"),
        (lambda f: write_shard(f, [(str(n), {"png": png(1), "cls": b" "}) for n in range(2)]), "at least two classes"),
        (lambda f: write_shard(f, [("1", {"png": png(1), "cls": b"a b"}), ("2", {"png": png(1), "cls": b"a  b"})]), "same label"),
        (lambda f: write_shard(f, [("1", {"png": png(1), "cls": b"a"}), ("2", {"png": png(1), "cls": b""})]), "name .* is empty"),
    ],
    ids=["gzip", "not UTF-8", "deep JSON", "one empty class", "same label", "empty"],
)
def test_what_cannot_be_a_shard_or_a_class_is_named(tmp_path, space, make, words):
    make(tmp_path / "a.tar")
    with pytest.raises(InputError, match=words) as raised:
        load_data(str(tmp_path / "a.tar"), space, 0)
    assert "\n" not in str(raised.value)


def test_labels_are_one_class_in_whatever_unicode_form_they_are_written(tmp_path, space):
    forms = ("caf\u00e9", "cafe\u0301", "tea", "tea")
    write_shard(tmp_path / "a.tar", [(str(n), {"png": png(n), "cls": forms[n % 4].encode()}) for n in range(20)])
    assert load_data(str(tmp_path / "a.tar"), space, 0).classes == ("caf\u00e9", "tea")
    numbers = [(str(n), {"png": png(n), "cls": (b"7" * 5000, b"8")[n % 2]}) for n in range(20)]
    write_shard(tmp_path / "b.tar", numbers)
    assert load_data(str(tmp_path / "b.tar"), space, 0).classes == ("7" * 5000, "8")
