"""How training images are moved: not at all, shifted, cropped at random, or mirrored as well; and when mirroring does harm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.images.options import Moves
from search.images.reading import Source, read_image
from search.images.vision import transforms

IN_WORDS: Mapping[Moves, str] = {
    "none": "taken as they are",
    "shift": "shifted by up to an eighth",
    "crop": "cropped at random",
    "crop-flip": "cropped at random and mirrored",
    "light": "cropped at random to at least half of their area",
    "light-flip": "cropped at random to at least half of their area and mirrored",
}
LIGHTER: Mapping[Moves, Moves] = {"crop": "light", "crop-flip": "light-flip"}
# The share of the area that a light crop leaves; others leave 8 % and more, as on ImageNet.
LIGHT = (0.5, 1.0)

# Images whose shorter side has fewer pixels, such as letters and icons, show one thing that fills them.
SMALL = 64
# The quick check looks at so many images, shrunk to this side in grey; of a class with too few of them nothing is known.
LOOKED_AT, SIDE, LEAST_OF_CLASS, MOST_OF_CLASS = 400, 16, 4, 20
# Of a class and its mirrored images, so many must be nearest to one class each.
CLEARLY = 0.75


def random_crops(moves: Moves, size: int) -> list[Callable[[Any], Any]]:
    """The random crops of some moves, to `size` pixels in height and width, and their mirroring; none for the others."""
    kind, _, mirrored = moves.partition("-")
    scale = {"crop": {}, "light": {"scale": LIGHT}}.get(kind)
    if scale is None:
        return []
    crop = transforms.RandomResizedCrop(size, antialias=True, **scale)
    return [crop, transforms.RandomHorizontalFlip()] if mirrored else [crop]


def shifted(image: Tensor, size: int) -> Tensor:
    """The square of `size` pixels in the middle of an image (channels, height, width), by up to an eighth beside it.

    What would lie outside the image is as its edge.
    """
    margin = size // 8
    rows, columns = (_places(length, size, margin) for length in image.shape[-2:])
    return image[..., rows, :][..., columns]


def _places(length: int, size: int, margin: int) -> Tensor:
    first = (length - size) // 2 + int(torch.randint(-margin, margin + 1, ()))
    return torch.arange(first, first + size).clamp(0, length - 1)


def sensible_moves(shorter_side: int) -> Moves:
    """How to move training images whose shorter sides have so many pixels."""
    return "shift" if shorter_side < SMALL else "crop-flip"


def mirrored_classes(files: Sequence[tuple[Source, int]], tops: Mapping[str, float]) -> tuple[int, int] | None:
    """Two classes of which mirrored images of either look like the other; None if the quick check finds none.

    Each image, and each mirrored one, is compared with all others, as small grey ones: if most images of a class are nearest to
    their own class, and most of its mirrored images to one other, and the same holds the other way round, mirroring would teach
    the wrong class.

    Raises:
        InputError: an image cannot be read.
    """
    labels, grey = _sample(files, tops)
    if len(labels) == 0:
        return None
    nearest, of_mirrored = (labels[_nearest(images, grey)] for images in (grey, grey[:, :, ::-1]))
    becomes: dict[int, int] = {}
    for label in map(int, np.unique(labels)):
        mine = labels == label
        other = int(np.bincount(of_mirrored[mine]).argmax())
        if (nearest[mine] == label).mean() >= CLEARLY and (of_mirrored[mine] == other).mean() >= CLEARLY:
            becomes[label] = other
    return next(((one, other) for one, other in becomes.items() if one != other and becomes.get(other) == one), None)


def _sample(files: Sequence[tuple[Source, int]], tops: Mapping[str, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels (images,) and grey images (images, side, side) of mean 0 and length 1, of the classes with enough of them."""
    of_class: dict[int, list[Source]] = defaultdict(list)
    for source, label in files:
        of_class[label].append(source)
    count = min(MOST_OF_CLASS, LOOKED_AT // len(of_class))
    labels, grey = [], []
    for label, sources in of_class.items():
        if min(len(sources), count) < LEAST_OF_CLASS:
            continue
        for source in sources[:: -(-len(sources) // count)]:
            small = read_image(source, tops).convert("L").resize((SIDE, SIDE))
            values = np.asarray(small, np.float64) - np.asarray(small, np.float64).mean()
            labels.append(label)
            grey.append(values / max(1e-9, float(np.linalg.norm(values))))
    return np.array(labels, np.int64), np.array(grey)


def _nearest(images: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """The most similar of the others for each image, except the one that it is, or that it is the mirror of."""
    similarity = images.reshape(len(images), -1) @ others.reshape(len(others), -1).T
    np.fill_diagonal(similarity, -np.inf)
    nearest: NDArray[Any] = similarity.argmax(1)
    return nearest
