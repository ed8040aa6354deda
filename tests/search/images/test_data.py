"""Images from folders and by name: what is read, what is refused, and that a resumed run sees what an uninterrupted one saw."""

import gzip
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from profiling.errors import InputError
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.images.one_image import ImageForm


def write_images(folder, count=5, mode="RGB", size=(20, 15), ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        if mode == "I;16":
            pixels = Image.fromarray(np.full(size[::-1], 51400, np.uint16))
        else:
            shape = (*size[::-1], {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode])
            pixels = Image.fromarray(random.integers(0, 256, shape, np.uint8).squeeze(), mode)
        pixels.save(folder / f"{index}{ending}")


def all_batches(data, workers=0):
    return [*training_batches(data, 4, 0, 0, 3, workers), *held_out_batches(data, 4, workers)]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_image_becomes_the_channels_of_the_space(tmp_path, make_space, channels):
    kinds = {"grey": "L", "colour": "RGB", "alpha": "RGBA", "print": "CMYK", "deep": "I;16"}
    for name, mode in kinds.items():
        write_images(tmp_path / name, mode=mode, ending=".jpg" if mode in ("RGB", "CMYK") else ".png")
    (tmp_path / ".hidden").mkdir()
    data = load_data(str(tmp_path), make_space(image_channels=channels), 0)
    assert data.classes == ("alpha", "colour", "deep", "grey", "print")
    for images, _ in all_batches(data):
        assert images.shape[1:] == (channels, 12, 12)
        assert images.abs().max() <= 1
    deep = [
        image
        for images, labels in held_out_batches(data, 4, 0)
        for image, label in zip(images, labels, strict=True)
        if label == 2
    ]
    assert deep
    assert torch.stack(deep).mean().item() == pytest.approx(51400 / 65535 * 2 - 1, abs=0.01), "16 bits were clipped to 8"


def test_classes_stand_in_the_order_of_their_names_whatever_their_case_or_place(tmp_path, space):
    for part in ("train", "val"):
        for name in ("b", "a", "c"):
            write_images(tmp_path / part / name, count=2)
    data = load_data(str(tmp_path), space, 0)
    assert data.classes == ("a", "b", "c")
    assert (data.train_images, data.held_out_images) == (6, 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named(tmp_path, space, workers):
    for name in ("a", "b"):
        write_images(tmp_path / name)
    for part in tmp_path.rglob("3.png"):
        part.write_bytes(part.read_bytes()[:60])
    with pytest.raises(InputError, match=r"3\.png: the image cannot be read") as raised:
        all_batches(load_data(str(tmp_path), space, 0), workers)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({}, "at least two folders"),
        ({"a": 5}, "at least two folders"),
        ({"a": 5, "b": 0}, "b: the class folder holds no image"),
        ({"a": 5, "b": 1}, "single image cannot be split: b"),
        ({"train/a": 2, "train/b": 2, "val/a": 2}, "at least two folders"),
        ({"train/a": 2, "train/b": 2, "val/a": 2, "val/c": 2}, "val: the classes differ from those of .*train: b, c"),
    ],
    ids=str,
)
def test_a_folder_that_is_no_data_set_is_refused_in_one_line(tmp_path, space, layout, words):
    for name, count in layout.items():
        write_images(tmp_path / name, count)
    with pytest.raises(InputError, match=words) as raised:
        load_data(str(tmp_path), space, 0)
    assert "\n" not in str(raised.value)


def test_neither_name_nor_folder(space):
    with pytest.raises(InputError, match="neither a data set"):
        load_data("digit", space, 0)


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_a_run_from_the_middle_sees_the_very_images_of_a_whole_run(tmp_path, space, source):
    """Across an epoch's end, shifted and cropped alike, with and without loading processes."""
    if source == "folder":
        for name in ("a", "b"):
            write_images(tmp_path / name, count=8)
    data = load_data("digits" if source == "digits" else str(tmp_path), space, 0)
    batch = 500 if source == "digits" else 5
    whole = list(training_batches(data, batch, 3, 0, 5, 0))
    rest = list(training_batches(data, batch, 3, 2, 5, 2))
    for (images, labels), (expected_images, expected_labels) in zip(rest, whole[2:], strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)
    assert not torch.equal(whole[0][0], whole[-1][0])


def test_digits_are_held_out_by_class_and_never_trained_on():
    data = load_data("digits", ImageForm(7, 1), 0)  # too small to be shifted by an eighth: training images are as held-out ones
    assert data.train_images + data.held_out_images == 1797
    labels = torch.cat([labels for _, labels in held_out_batches(data, 100, 0)])
    assert labels.bincount().min() >= 0.8 * data.held_out_images / 10
    original = {image.numpy().tobytes() for images, _ in held_out_batches(data, 100, 0) for image in images}
    trained = {data.train[0, index][0].numpy().tobytes() for index in range(data.train_images)}
    assert len(trained) == data.train_images
    assert not original & trained


def test_fashion_mnist_is_taken_from_where_debian_puts_it_without_a_network(tmp_path, monkeypatch, make_space):
    from search.images import data as data_module

    debian = tmp_path / "debian"
    debian.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    files = {"images-idx3": pixels, "labels-idx1": np.arange(6, dtype=np.uint8)}
    for part, (kind, values) in itertools.product(("train", "t10k"), files.items()):
        head = bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape)
        (debian / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    monkeypatch.setattr(data_module, "DEBIAN_FASHION_MNIST", debian)
    monkeypatch.setattr(data_module.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    data = load_data("fashion-mnist", make_space(resolution=28, image_channels=1), 0)
    images, labels = next(held_out_batches(data, 6, 0))
    assert labels.tolist() == list(range(6))
    assert torch.equal(images[:, 0], torch.from_numpy(pixels) / 127.5 - 1)
    assert data.classes[9] == "Ankle boot"
