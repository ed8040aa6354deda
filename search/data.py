"""Images for training: data sets by name, and folders of images.

All randomness is a function of the seed, the epoch and the index of the image, so that a resumed run sees what an uninterrupted
one would have seen, without a word about random number generators in its checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import platformdirs
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from profiling.errors import InputError
from profiling.space import SearchSpace
from search.vision import datasets, transforms

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
NAMES = ("digits", "fashion-mnist", "cifar10")
HELD_OUT = 0.2
# Where Debian's package dataset-fashion-mnist puts the files that torchvision otherwise downloads.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


class Images(Protocol):
    """Images with labels, before any transform."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]: ...


@dataclass(frozen=True)
class Data:
    """Training and held-out images, as tensors of (channels, resolution, resolution) in the space's form, and class names."""

    train: AugmentedImages
    held_out: AugmentedImages
    classes: tuple[str, ...]


class AugmentedImages(Dataset[tuple[Tensor, int]]):
    """Images under a transform whose randomness depends on seed, epoch and index alone."""

    def __init__(self, images: Images, transform: Callable[[Any], Tensor], seed: int) -> None:
        self._images, self._transform, self._seed = images, transform, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        """The image of (epoch, index)."""
        epoch, index = item
        image, label = self._images[index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self._seed, epoch, index)) % 2**63)
            return self._transform(image), label


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for some steps of an endless run; each epoch is a new permutation, its remainder is dropped."""

    def __init__(self, images: int, batch_size: int, seed: int, first_step: int, last_step: int) -> None:
        self._images, self._batch_size, self._seed = images, batch_size, seed
        self._steps = range(first_step, last_step)

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self._images // self._batch_size
        order: list[int] = []
        ordered_epoch = -1
        for step in self._steps:
            epoch, position = divmod(step, per_epoch)
            if epoch != ordered_epoch:
                generator = torch.Generator().manual_seed(hash((self._seed, epoch)) % 2**63)
                order, ordered_epoch = torch.randperm(self._images, generator=generator).tolist(), epoch
            first = position * self._batch_size
            yield [(epoch, index) for index in order[first : first + self._batch_size]]


def training_batches(
    data: Data, batch_size: int, seed: int, first_step: int, last_step: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of steps [first_step, last_step): images (batch, channels, height, width) and labels (batch,)."""
    sampler = EpochSampler(len(data.train), batch_size, seed, first_step, last_step)
    return iter(DataLoader(data.train, batch_sampler=sampler, num_workers=workers, pin_memory=torch.cuda.is_available()))


def held_out_batches(data: Data, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every held-out image once, in order."""
    images = len(data.held_out)
    batches = [[(0, index) for index in range(first, min(first + batch_size, images))] for first in range(0, images, batch_size)]
    return iter(DataLoader(data.held_out, batch_sampler=batches, num_workers=workers))


def load_data(name_or_folder: str, space: SearchSpace, seed: int) -> Data:
    """The images of a named data set, or of a folder.

    A folder holds one folder of images per class; or `train` and `val` folders that do (as ImageNet is laid out). Without `val`,
    one image in five is held out, by the seed.

    Raises:
        InputError: neither name nor folder, no classes, an empty class, an image that cannot be read, or different classes in
            `train` and `val`.
    """
    if name_or_folder == "digits":
        train, held_out, classes = _digits(seed)
    elif name_or_folder in ("fashion-mnist", "cifar10"):
        train, held_out, classes = _downloaded(name_or_folder)
    elif Path(name_or_folder).is_dir():
        train, held_out, classes = _folder(Path(name_or_folder), seed)
    else:
        raise InputError(f"neither a data set ({', '.join(NAMES)}) nor a folder of images", where=name_or_folder)
    photographs = name_or_folder not in NAMES
    return Data(
        AugmentedImages(train, _transform(space, training=True, photographs=photographs), seed),
        AugmentedImages(held_out, _transform(space, training=False, photographs=photographs), seed),
        tuple(classes),
    )


def _transform(space: SearchSpace, *, training: bool, photographs: bool) -> Callable[[Any], Tensor]:
    size = space.resolution
    steps: list[Any] = [
        transforms.ToImage(),
        transforms.Grayscale(space.image_channels) if space.image_channels == 1 else transforms.RGB(),
    ]
    if photographs and training:
        steps += [transforms.RandomResizedCrop(size, antialias=True), transforms.RandomHorizontalFlip()]
    elif photographs:
        steps += [transforms.Resize(size * 8 // 7, antialias=True), transforms.CenterCrop(size)]
    else:
        steps.append(transforms.Resize((size, size), antialias=True))
        if training:
            steps.append(transforms.RandomCrop(size, padding=size // 8))
    middle = [0.5] * space.image_channels
    steps += [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize(middle, middle)]
    composed: Callable[[Any], Tensor] = transforms.Compose(steps)
    return composed


class _Pairs:
    """Images and labels that are in memory already."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._images[index], int(self._labels[index])


def _digits(seed: int) -> tuple[Images, Images, Sequence[str]]:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # 0 to 16 in the file, 0 to 255 here.
    images = torch.from_numpy(digits.images * (255 / 16)).to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target)
    train, held_out = train_test_split(range(len(labels)), test_size=HELD_OUT, random_state=seed, stratify=labels)
    return (
        _Pairs(images[train], labels[train]),
        _Pairs(images[held_out], labels[held_out]),
        [str(name) for name in digits.target_names],
    )


def _downloaded(name: str) -> tuple[Images, Images, Sequence[str]]:
    root = Path(platformdirs.user_cache_dir("spnas")) / "data"
    kind = datasets.FashionMNIST if name == "fashion-mnist" else datasets.CIFAR10
    raw = root / "FashionMNIST" / "raw"
    if name == "fashion-mnist" and DEBIAN_FASHION_MNIST.is_dir() and not raw.exists():
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.symlink_to(DEBIAN_FASHION_MNIST)
    try:
        train, test = (kind(str(root), train=training, download=True) for training in (True, False))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot be downloaded: {reason}", where=name, hint=f"put its files into {root}") from error
    return train, test, train.classes


class _ImageFolder:
    """The images of class folders; each is opened when it is asked for."""

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image, ImageOps, UnidentifiedImageError

        path, label = self._files[index]
        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                # Pillow would clip 16 bits to 8; keep the upper ones.
                upright = upright.point(lambda value: value / 256).convert("L")
            return upright.convert("RGB"), label
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise InputError(f"the image cannot be read: {error}", where=str(path), hint="remove or replace it") from error


def _folder(folder: Path, seed: int) -> tuple[Images, Images, Sequence[str]]:
    train_folder = folder / "train"
    if train_folder.is_dir():
        classes, train = _scan(train_folder)
        val_folder = next((folder / name for name in ("val", "validation", "test") if (folder / name).is_dir()), None)
        if val_folder is not None:
            held_out_classes, held_out = _scan(val_folder)
            if held_out_classes != classes:
                odd = sorted(set(classes) ^ set(held_out_classes))
                raise InputError(f"the classes differ from those of {train_folder}: {', '.join(odd)}", where=str(val_folder))
            return _ImageFolder(train), _ImageFolder(held_out), classes
    else:
        classes, train = _scan(folder)
    from sklearn.model_selection import train_test_split

    few = [name for label, name in enumerate(classes) if sum(found == label for _, found in train) < 2]
    if few:
        raise InputError(f"classes with a single image cannot be split: {', '.join(few)}", where=str(folder))
    held = max(round(len(train) * HELD_OUT), len(classes))
    kept, held_out = train_test_split(train, test_size=held, random_state=seed, stratify=[label for _, label in train])
    return _ImageFolder(kept), _ImageFolder(held_out), classes


def _scan(folder: Path) -> tuple[list[str], list[tuple[Path, int]]]:
    """Class names in order, and the image files with the number of their class; hidden folders and other files are no matter."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError("there must be at least two folders, one per class, each with its images", where=str(folder))
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not found:
            raise InputError(f"the class folder holds no image ({', '.join(IMAGE_ENDINGS)})", where=str(folder / name))
        files += [(path, label) for path in found]
    return names, files
