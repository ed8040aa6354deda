"""Images for training: data sets by name, and folders of images.

All randomness is a function of the seed, the epoch and the index of the image, so that a resumed run sees what an uninterrupted
one would have seen, without a word about random number generators in its checkpoint.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from profiling.errors import InputError, TrainingError
from profiling.space import SearchSpace
from search import processes
from search.images.shards import Member, find_shards, is_held_out, read_shards
from search.images.vision import datasets, transforms

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
DOWNLOADED = {"fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}
VALIDATION_FOLDERS = ("val", "validation", "test")
HELD_OUT = 0.2
PREFETCH = 4  # batches that each loading process is ahead
# Where Debian's package dataset-fashion-mnist puts the files that torchvision otherwise downloads.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


Part = tuple[list[str], list[tuple[Path | Member, int]]]
"""Class names in order, and image files with the number of their class."""

ImageDataset = Dataset[tuple[Tensor, int] | InputError]
"""By (epoch, index): an image of (channels, resolution, resolution) from −1 to 1 and its class, or why there is none."""


@dataclass(frozen=True)
class Data:
    """Training and held-out images in the form of a space, how many there are, and the names of the classes.

    Attributes:
        centre_crop: of the shorter side of an original image, the share that the square in its centre has which becomes a
            held-out image, 0 to 1.
    """

    train: ImageDataset
    train_images: int
    held_out: ImageDataset
    held_out_images: int
    classes: tuple[str, ...]
    centre_crop: float = 1.0


@dataclass(frozen=True)
class ImageForm:
    """What images must become for a network: their height and width in pixels, and 1 or 3 channels."""

    resolution: int
    image_channels: int


Form = SearchSpace | ImageForm
Augment = Callable[[Tensor], Tensor]
"""From an image (channels, resolution, resolution) of 8 bits to a changed one, by PyTorch's random numbers."""


class SmallImages(ImageDataset):
    """Images that are in memory, resized once; for training shifted at random by up to an eighth of their size.

    Args:
        images: (images, channels, height, width) of 8 bits.
        labels: class of each.
        form: gives resolution and channels.
        seed: of the shifts and of `augment`; None leaves the images where they are.
        augment: changes the images further.
    """

    def __init__(
        self, images: Tensor, labels: Sequence[int], form: Form, seed: int | None, augment: Augment | None = None
    ) -> None:
        self._size, self._seed, self._augment = form.resolution, seed, augment
        self._margin = 0 if seed is None else form.resolution // 8
        steps = [_colours(form), transforms.Resize(self._size, antialias=True), transforms.Pad(self._margin)]
        self._images: Tensor = transforms.Compose(steps)(images)
        self._labels = list(labels)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        """The image of (epoch, index)."""
        epoch, index = item
        shift = random.Random(mixed(self._seed or 0, epoch, index))
        top, left = (shift.randint(0, 2 * self._margin) for _ in range(2))
        image = self._images[index, :, top : top + self._size, left : left + self._size]
        if self._augment is not None:
            with _seeded(self._seed or 0, epoch, index):
                image = self._augment(image)
        return image.float().div_(127.5).sub_(1), self._labels[index]


class ImageFiles(ImageDataset):
    """Image files, each opened when it is asked for.

    Args:
        files: each with its class; files of their own, or within shards.
        form: gives resolution and channels.
        seed: of random crops, mirroring and `augment`, for training; None resizes and crops the centre.
        augment: changes the images further.
    """

    def __init__(
        self, files: Sequence[tuple[Path | Member, int]], form: Form, seed: int | None, augment: Augment | None = None
    ) -> None:
        self._files, self._seed = files, seed
        size = form.resolution
        if seed is None:
            crop = [transforms.Resize(_uncropped(size), antialias=True), transforms.CenterCrop(size)]
        else:
            crop = [transforms.RandomResizedCrop(size, antialias=True), transforms.RandomHorizontalFlip()]
            crop += [] if augment is None else [augment]
        middle = [0.5] * form.image_channels
        scale = [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize(middle, middle)]
        self._transform = transforms.Compose([transforms.ToImage(), _colours(form), *crop, *scale])

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        """The image of (epoch, index); an error is returned, as one that is raised in a loading process would lose its words."""
        epoch, index = item
        path, label = self._files[index]
        try:
            image = _read_image(path)
        except InputError as error:
            return error
        with _seeded(self._seed or 0, epoch, index):
            return self._transform(image), label


@contextmanager
def _seeded(*numbers: int) -> Iterator[None]:
    """PyTorch's random numbers are a function of these numbers inside, and go on as before outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(*numbers))
        yield


def _uncropped(size: int) -> int:
    """To how many pixels the shorter side of an image file is scaled before its centre is cut out."""
    return size * 8 // 7


def _colours(form: Form) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = transforms.Grayscale() if form.image_channels == 1 else transforms.RGB()
    return made


def mixed(*numbers: int) -> int:
    """One seed from several numbers, the same in every process (integers, unlike text, have the same hash in all of them)."""
    return hash(numbers) % 2**63


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for some steps of an endless run; each epoch is a new permutation, its remainder is dropped."""

    def __init__(self, images: int, batch_size: int, seed: int, first_step: int, last_step: int) -> None:
        self._images, self._batch_size, self._seed = images, batch_size, seed
        # Each process takes its part of every batch: the order does not depend on their number.
        part = batch_size // processes.count()
        self._part = slice(processes.index() * part, (processes.index() + 1) * part)
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
                generator = torch.Generator().manual_seed(mixed(self._seed, epoch))
                order, ordered_epoch = torch.randperm(self._images, generator=generator).tolist(), epoch
            first = position * self._batch_size
            yield [(epoch, index) for index in order[first : first + self._batch_size][self._part]]


def training_batches(
    data: Data, batch_size: int, seed: int, first_step: int, last_step: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's part of the batches of steps [first_step, last_step).

    Images (batch / processes, channels, height, width) and labels (batch / processes,).

    Raises:
        InputError: an image cannot be read.
    """
    return _batches(data.train, EpochSampler(data.train_images, batch_size, seed, first_step, last_step), workers)


def held_out_batches(
    data: Data, batch_size: int, workers: int, indices: Sequence[int] | None = None, *, shared: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Held-out images in order.

    Args:
        data: images.
        batch_size: images a batch; the last may have fewer.
        workers: processes that load images; 0 loads in this one.
        indices: of the images; all when None.
        shared: of several processes, each takes its share of the batches; or each takes all of them.

    Raises:
        InputError: an image cannot be read.
    """
    items = [(0, index) for index in (range(data.held_out_images) if indices is None else indices)]
    batches = [items[first : first + batch_size] for first in range(0, len(items), batch_size)]
    return _batches(data.held_out, batches[processes.index() :: processes.count()] if shared else batches, workers)


def _batches(dataset: ImageDataset, batches: Iterable[list[tuple[int, int]]], workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    # One pass over the loader is the whole run, so that its processes last from the first epoch to the last.
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        collate_fn=_collate,
        worker_init_fn=_ignore_interrupts,
        pin_memory=torch.cuda.is_available(),
    )
    loaded = iter(loader)
    while True:
        try:
            batch = next(loaded)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            hint = "if memory ran out, try fewer --workers"
            raise TrainingError("a process that loads images has ended unexpectedly", hint=hint) from error
        if isinstance(batch, InputError):
            raise batch
        yield batch


def on_device(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches where they are computed, images with their channels last in memory."""
    for images, labels in batches:
        channels_last = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        yield channels_last, labels.to(device, non_blocking=True)


def _collate(items: Sequence[tuple[Tensor, int] | InputError]) -> tuple[Tensor, Tensor] | InputError:
    images, labels = [], []
    for item in items:
        if isinstance(item, InputError):
            return item
        images.append(item[0])
        labels.append(item[1])
    return torch.stack(images), torch.tensor(labels)


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; when to stop is for the training process alone to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def load_data(name_or_folder: str, form: Form, seed: int, augment: Augment | None = None) -> Data:
    """The images of a named data set, or of a folder.

    A folder holds one folder of images per class; or `train` and `val` folders that do (as ImageNet is laid out). Or it holds
    shards in WebDataset's layout, or is a pattern of such, `train-{000..099}.tar`; those that have `val` or `test` in their name
    are held out. Where nothing is, one image in five is, by the seed.

    Args:
        name_or_folder: as above.
        form: gives resolution and channels of the images.
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
    if Path(name_or_folder).is_dir():
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
    )


def data_folder() -> Path:
    """Where data sets are kept that were downloaded or unpacked."""
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
                    partial = unpacked.with_suffix(f".{os.getpid()}.partial")
                    with gzip.open(packed) as source, partial.open("wb") as target:
                        shutil.copyfileobj(source, target)
                    partial.replace(unpacked)
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
        form.resolution / _uncropped(form.resolution),
    )


def _split(labels: Sequence[int], seed: int, *, where: str = "", classes: Sequence[str] = ()) -> tuple[list[int], list[int]]:
    """Indices to train on, and one in five of each class to hold out."""
    from sklearn.model_selection import train_test_split

    counts = Counter(labels)
    few = [name for label, name in enumerate(classes) if counts[label] < 2]
    if few:
        raise InputError(f"a class with a single image cannot be split: {', '.join(few)}", where=where)
    held = max(round(len(labels) * HELD_OUT), len(counts))
    kept, held_out = train_test_split(range(len(labels)), test_size=held, random_state=seed, stratify=labels)
    return kept, held_out


def _read_image(path: Path | Member) -> Any:
    """The image in 8-bit RGB, turned as its EXIF data say.

    Raises:
        InputError: it is no image, or a broken one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path.open() if isinstance(path, Member) else path) as image:
            # Pillow would clip the 16 bits of such a mode to 8; keep the upper ones.
            readable = image.point(lambda value: value / 256).convert("L") if image.mode.startswith("I") else image
            return ImageOps.exif_transpose(readable).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"the image cannot be read: {error}", where=str(path), hint="remove or replace it") from error


def _scan(folder: Path) -> Part:
    """Class names in order, and the image files with the number of their class; hidden folders and other files are no matter."""
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
