"""Data sets for training: by name, as folders of images, or as shards of them."""

from __future__ import annotations

import gzip
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch

from profiling.errors import InputError
from profiling.files import written_whole
from profiling.outside import is_folder
from search.images.one_image import Augment, Form, ImageDataset, ImageFiles, SmallImages, uncropped
from search.images.shards import Member, find_shards, is_held_out, read_shards
from search.images.vision import datasets

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
DOWNLOADED = {"fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}
VALIDATION_FOLDERS = ("val", "validation", "test")
HELD_OUT = 0.2
# Where Debian's package dataset-fashion-mnist puts the files that torchvision otherwise downloads.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


Part = tuple[list[str], list[tuple[Path | Member, int]]]
"""Class names in order, and image files with the number of their class."""


@dataclass(frozen=True)
class Data:
    """Training and held-out images in the form of a space, how many there are, and the names of the classes.

    Attributes:
        centre_crop: side of the central square crop of a held-out image, as a fraction of its shorter side.
        train_counts, held_out_counts: the images of each class; empty where they were not counted.
    """

    train: ImageDataset
    train_images: int
    held_out: ImageDataset
    held_out_images: int
    classes: tuple[str, ...]
    centre_crop: float = 1.0
    train_counts: tuple[int, ...] = ()
    held_out_counts: tuple[int, ...] = ()


def load_data(name_or_folder: str, form: Form, seed: int, augment: Augment | None = None) -> Data:
    """The images of a named data set, or of a folder.

    A folder holds one folder of images per class; or `train` and `val` folders that do (as ImageNet is laid out). Or it holds
    shards in WebDataset's layout, or is a pattern of such, `train-{000..099}.tar`; those that have `val` or `test` in their name
    are held out. Where nothing is, one image in five is, by the seed.

    Args:
        name_or_folder: as above.
        form: resolution and channels of the images.
        seed: of the split and of everything random in training images.
        augment: changes training images beyond the random crops or shifts that all of them get.

    Raises:
        InputError: neither name nor folder, no classes, an empty class, an image that cannot be read, or different classes in
            `train` and `val`.
    """
    if name_or_folder == "digits":
        return _digits(form, seed, augment)
    if name_or_folder in DOWNLOADED:
        return _downloaded(name_or_folder, form, seed, augment)
    shards = find_shards(name_or_folder)
    if shards:
        return _shards(shards, name_or_folder, form, seed, augment)
    if is_folder(name_or_folder):
        return _folder(Path(name_or_folder), form, seed, augment)
    names = ", ".join(("digits", *DOWNLOADED))
    raise InputError(f"neither a data set ({names}) nor a folder of images, nor shards of them (.tar)", where=name_or_folder)


def _digits(form: Form, seed: int, augment: Augment | None) -> Data:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).to(torch.uint8)[:, None]  # 0 to 16 in the file
    labels = digits.target.tolist()
    train, held_out = _split(labels, seed)
    return Data(
        SmallImages(images[train], [labels[index] for index in train], form, seed, augment),
        len(train),
        SmallImages(images[held_out], [labels[index] for index in held_out], form, None),
        len(held_out),
        tuple(str(name) for name in digits.target_names),
        train_counts=_counts([labels[index] for index in train], 10),
        held_out_counts=_counts([labels[index] for index in held_out], 10),
    )


def data_folder() -> Path:
    """The folder for downloaded and unpacked data sets."""
    return Path(platformdirs.user_cache_dir("spnas")) / "data"


def _downloaded(name: str, form: Form, seed: int, augment: Augment | None) -> Data:
    root, kind = data_folder(), DOWNLOADED[name]
    try:
        if name == "fashion-mnist" and DEBIAN_FASHION_MNIST.is_dir():
            raw = root / kind.__name__ / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            # Unpacked, as torchvision leaves them: it checks the packed files by sums that those of Debian do not have.
            for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
                unpacked = raw / packed.stem
                if not unpacked.exists():
                    with gzip.open(packed) as source, written_whole(unpacked) as new, new.open("wb") as target:
                        shutil.copyfileobj(source, target)
        train, held_out = (kind(str(root), train=training, download=True) for training in (True, False))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot be downloaded: {reason}", where=name, hint=f"put its files into {root}") from error
    images = [torch.as_tensor(part.data) for part in (train, held_out)]
    # Grey images come without channels, coloured ones with them at the end.
    images = [part[:, None] if part.dim() == 3 else part.permute(0, 3, 1, 2) for part in images]
    labels = [torch.as_tensor(part.targets).tolist() for part in (train, held_out)]
    return Data(
        SmallImages(images[0], labels[0], form, seed, augment),
        len(labels[0]),
        SmallImages(images[1], labels[1], form, None),
        len(labels[1]),
        tuple(train.classes),
        train_counts=_counts(labels[0], len(train.classes)),
        held_out_counts=_counts(labels[1], len(train.classes)),
    )


def _folder(folder: Path, form: Form, seed: int, augment: Augment | None) -> Data:
    root = folder / "train" if (folder / "train").is_dir() else folder
    val = next((folder / name for name in VALIDATION_FOLDERS if root != folder and (folder / name).is_dir()), None)
    return _files(_scan(root), None if val is None else _scan(val), str(root), str(val), form, seed, augment)


def _shards(shards: Sequence[Path], name: str, form: Form, seed: int, augment: Augment | None) -> Data:
    parts: list[Part | None] = []
    for held_out in (False, True):
        chosen = [shard for shard in shards if is_held_out(shard) == held_out]
        classes, members = read_shards(chosen, IMAGE_ENDINGS)
        numbers = {label: number for number, label in enumerate(classes)}
        parts.append((classes, [(member, numbers[label]) for member, label in members]) if chosen else None)
    train = parts[0]
    if train is None or len(train[0]) < 2:
        raise InputError("there must be training shards with images of at least two classes", where=name)
    return _files(train, parts[1], name, f"held-out shards of {name}", form, seed, augment)


def _files(train: Part, val: Part | None, train_name: str, val_name: str, form: Form, seed: int, augment: Augment | None) -> Data:
    """Data from image files; without `val`, some of `train` are held out."""
    classes, files = train
    if val is None:
        kept, held = _split([label for _, label in files], seed, where=train_name, classes=classes)
        files, held_out = [files[index] for index in kept], [files[index] for index in held]
    else:
        val_classes, held_out = val
        if val_classes != classes:
            odd = ", ".join(sorted(set(classes) ^ set(val_classes)))
            raise InputError(f"the classes differ from those of {train_name}: {odd}", where=val_name)
    return Data(
        ImageFiles(files, form, seed, augment),
        len(files),
        ImageFiles(held_out, form, None),
        len(held_out),
        tuple(classes),
        form.resolution / uncropped(form.resolution),
        _counts([label for _, label in files], len(classes)),
        _counts([label for _, label in held_out], len(classes)),
    )


def _counts(labels: Sequence[int], classes: int) -> tuple[int, ...]:
    """The images of each class."""
    counts = Counter(labels)
    return tuple(counts[label] for label in range(classes))


def _split(labels: Sequence[int], seed: int, *, where: str = "", classes: Sequence[str] = ()) -> tuple[list[int], list[int]]:
    """Indices to train on, and one in five of each class to hold out."""
    from sklearn.model_selection import train_test_split

    counts = Counter(labels)
    few = [name for label, name in enumerate(classes) if counts[label] < 2]
    if few:
        raise InputError(f"a class with a single image cannot be split: {', '.join(few)}", where=where)
    held = max(round(len(labels) * HELD_OUT), len(counts))
    kept, held_out = train_test_split(range(len(labels)), test_size=held, random_state=seed % 2**32, stratify=labels)
    return kept, held_out


def _scan(folder: Path) -> Part:
    """Class names in order, and the image files with the number of their class; hidden folders and other files are ignored."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError("there must be at least two folders, one per class, each with its images", where=str(folder))
    files: list[tuple[Path | Member, int]] = []
    for label, name in enumerate(names):
        found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not found:
            raise InputError(f"the class folder holds no image ({', '.join(IMAGE_ENDINGS)})", where=str(folder / name))
        files += [(path, label) for path in found]
    return names, files
