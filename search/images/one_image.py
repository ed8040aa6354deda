"""One image for training: how it is read, resized and augmented.

All randomness is a function of the seed, the epoch and the index of the image, so that a resumed run sees what an uninterrupted
one would have seen, without the state of random number generators in its checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from profiling.errors import InputError
from profiling.space import SearchSpace
from search.images.moves import random_crops, shifted
from search.images.options import Moves
from search.images.reading import DEFAULT_TOPS, Source, read_image
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
    """Images that are in memory, resized once.

    Args:
        images: (images, channels, height, width) of 8 bits.
        labels: class of each.
        form: resolution and channels.
        seed: of the moves and of `augment`; None leaves the images where they are.
        augment: changes the images further.
        moves: how training images are moved.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Sequence[int],
        form: Form,
        seed: int | None,
        augment: Augment | None = None,
        moves: Moves = "shift",
    ) -> None:
        self._size, self._seed = form.resolution, seed
        changes = [] if seed is None else random_crops(moves, form.resolution) + ([] if augment is None else [augment])
        self._change = transforms.Compose(changes) if changes else None
        self._margin = form.resolution // 8 if seed is not None and moves == "shift" else 0
        steps = [_colours(form), transforms.Resize(self._size, antialias=True), transforms.Pad(self._margin)]
        self._images: Tensor = transforms.Compose(steps)(images)
        self._labels = list(labels)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        """The image of (epoch, index)."""
        epoch, index = item
        shift = random.Random(mixed(self._seed or 0, epoch, index))
        top, left = (shift.randint(0, 2 * self._margin) for _ in range(2))
        image = self._images[index, :, top : top + self._size, left : left + self._size]
        if self._change is not None:
            with _seeded(self._seed or 0, epoch, index):
                image = self._change(image)
        return image.float().div_(127.5).sub_(1), self._labels[index]


class ImageFiles(ImageDataset):
    """Image files, each opened when it is asked for.

    Args:
        files: each with its class; files of their own, or within shards.
        form: resolution and channels.
        seed: of moves and `augment`, for training; None resizes and crops the centre.
        augment: changes the images further.
        moves: how training images are moved.
        tops: the value that is white in images of more than 8 bits; see `read_image`.
    """

    def __init__(
        self,
        files: Sequence[tuple[Source, int]],
        form: Form,
        seed: int | None,
        augment: Augment | None = None,
        *,
        moves: Moves = "crop-flip",
        tops: Mapping[str, float] = DEFAULT_TOPS,
    ) -> None:
        self._files, self._seed, self._tops = files, seed, tops
        size = form.resolution
        crop = [transforms.Resize(uncropped(size), antialias=True)]
        crop += [partial(shifted, size=size) if seed is not None and moves == "shift" else transforms.CenterCrop(size)]
        if seed is not None:
            crop = (random_crops(moves, size) or crop) + ([] if augment is None else [augment])
        middle = [0.5] * form.image_channels
        scale = [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize(middle, middle)]
        self._transform = transforms.Compose([transforms.ToImage(), _colours(form), *crop, *scale])

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        """The image of (epoch, index); an error is returned, since one raised in a loading process would lose its message."""
        epoch, index = item
        path, label = self._files[index]
        try:
            image = read_image(path, self._tops)
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
