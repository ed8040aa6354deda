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
from typing_extensions import override

from profiling.errors import InputError
from profiling.space import SearchSpace
from search.images.framing import Framing, centre_crop, uncropped
from search.images.moves import random_crops, shifted
from search.images.options import Moves
from search.images.reading import DEFAULT_TOPS, Source, read_image
from search.images.vision import transforms


class ImageDataset(Dataset[tuple[Tensor, int] | InputError]):
    """By (epoch, index): an image of (channels, resolution, resolution) from −1 to 1 and its class, or why there is none.

    Attributes:
        centre_crop: side of the central square crop of a held-out image, as a fraction of its shorter side; 1 without a crop.
    """

    centre_crop = 1.0

    def framed(self, framing: Framing) -> ImageDataset:
        """The same images in a framing. Square ones that are taken whole are the same in every framing."""
        return self


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
        seed: of moves and `augment`, for training; None takes every image as `framing` says.
        augment: changes the images further.
        moves: how training images are moved.
        tops: the value that is white in images of more than 8 bits; see `read_image`.
        framing: of held-out images, and what the moves of training images start from.
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
        framing: Framing = "crop",
    ) -> None:
        self._files, self._form, self._seed, self._augment, self._moves, self._tops = files, form, seed, augment, moves, tops
        size, stretched = form.resolution, framing == "stretch"
        self.centre_crop = centre_crop(framing, size)
        crop = [transforms.Resize((size, size) if stretched else uncropped(size), antialias=True)]
        crop += [partial(shifted, size=size) if seed is not None and moves == "shift" else transforms.CenterCrop(size)]
        if seed is not None:
            random_crop = random_crops(moves, size)
            crop = [*([_squeezed] if stretched else []), *random_crop] if random_crop else crop
            crop += [] if augment is None else [augment]
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

    @override
    def framed(self, framing: Framing) -> ImageFiles:
        """The same files in a framing."""
        return ImageFiles(self._files, self._form, self._seed, self._augment, moves=self._moves, tops=self._tops, framing=framing)


@contextmanager
def _seeded(*numbers: int) -> Iterator[None]:
    """Inside, PyTorch's random numbers depend on these numbers alone; outside, they continue as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed(*numbers))
        yield


def _squeezed(image: Tensor) -> Tensor:
    """An image with its longer side made as short as the other."""
    shorter = min(image.shape[-2:])
    squeezed: Tensor = transforms.functional.resize(image, [shorter, shorter], antialias=True)
    return squeezed


def _colours(form: Form) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = transforms.Grayscale() if form.image_channels == 1 else transforms.RGB()
    return made


def mixed(*numbers: int) -> int:
    """One seed from several numbers, the same in every process (integers, unlike text, have the same hash in all of them)."""
    return hash(numbers) % 2**63
