"""One image for training: how it is read, resized and augmented.

All randomness is a function of the seed, the epoch and the index of the image, so that a resumed run sees what an uninterrupted
one would have seen, without the state of random number generators in its checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from profiling.errors import InputError
from profiling.space import SearchSpace
from search.images.shards import Member
from search.images.vision import transforms

ImageDataset = Dataset[tuple[Tensor, int] | InputError]
"""By (epoch, index): an image of (channels, resolution, resolution) from −1 to 1 and its class, or why there is none."""


@dataclass(frozen=True)
class ImageForm:
    """The form of images that a network expects: height and width in pixels, and 1 or 3 channels."""

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
        form: resolution and channels.
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
        form: resolution and channels.
        seed: of random crops, mirroring and `augment`, for training; None resizes and crops the centre.
        augment: changes the images further.
    """

    def __init__(
        self, files: Sequence[tuple[Path | Member, int]], form: Form, seed: int | None, augment: Augment | None = None
    ) -> None:
        self._files, self._seed = files, seed
        size = form.resolution
        if seed is None:
            crop = [transforms.Resize(uncropped(size), antialias=True), transforms.CenterCrop(size)]
        else:
            crop = [transforms.RandomResizedCrop(size, antialias=True), transforms.RandomHorizontalFlip()]
            crop += [] if augment is None else [augment]
        middle = [0.5] * form.image_channels
        scale = [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize(middle, middle)]
        self._transform = transforms.Compose([transforms.ToImage(), _colours(form), *crop, *scale])

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        """The image of (epoch, index); an error is returned, since one raised in a loading process would lose its message."""
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
    """Inside, PyTorch's random numbers depend on these numbers alone; outside, they continue as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(*numbers))
        yield


def uncropped(size: int) -> int:
    """The length in pixels to which the shorter side of an image file is scaled before the centre crop."""
    return size * 8 // 7


def _colours(form: Form) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = transforms.Grayscale() if form.image_channels == 1 else transforms.RGB()
    return made


def mixed(*numbers: int) -> int:
    """One seed from several numbers, the same in every process (integers, unlike text, have the same hash in all of them)."""
    return hash(numbers) % 2**63


def _read_image(path: Path | Member) -> Any:
    """The image in 8-bit RGB, turned as its EXIF data say.

    Raises:
        InputError: it is not an image, or a broken one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path.open() if isinstance(path, Member) else path) as image:
            # Pillow would clip the 16 bits of such a mode to 8; keep the upper ones.
            readable = image.point(lambda value: value / 256).convert("L") if image.mode.startswith("I") else image
            return ImageOps.exif_transpose(readable).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"the image cannot be read: {error}", where=str(path), hint="remove or replace it") from error
