"""The 8-bit images that an export is made and checked with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from search.convnet.saved import MEAN, STD
from search.export.card import WHITE, ModelCard, Pixels
from search.images.batches import held_out_batches, training_batches
from search.images.data import Data

BATCH = 64
# A rare class is searched for among this many times the images needed, no further.
SEARCH_FACTOR = 20


def representative_pixels(data: Data, count: int, seed: int, workers: int = 0) -> Pixels:
    """Training images (images, height, width, channels), as many of each class as far as the data allows.

    Raises:
        InputError: an image cannot be read.
    """
    count = min(count, data.train_images)
    batch = min(BATCH, data.train_images)
    steps = min(data.train_images // batch, math.ceil(count * SEARCH_FACTOR / batch))
    quota = math.ceil(count / len(data.classes))
    taken: list[Pixels] = []
    spare: list[Pixels] = []
    of_class: Counter[int] = Counter()
    for images, labels in training_batches(data, batch, seed, 0, steps, workers):
        for image, label in zip(as_pixels(images), labels.tolist(), strict=True):
            fits = of_class[label] < quota
            of_class[label] += fits
            # The list is never longer than what it may have to fill up.
            (taken if fits else spare).append(image)
            del spare[count:]
        if len(taken) >= count:
            break
    return np.stack((taken + spare)[:count])


def held_out_pixels(data: Data, most: int, workers: int = 0) -> Iterator[tuple[Pixels, Tensor]]:
    """Batches of held-out images (images, height, width, channels) and their labels, spread over all of them."""
    indices = data.spread_over_held_out(most)
    return ((as_pixels(images), labels) for images, labels in held_out_batches(data, BATCH, workers, indices))


def random_pixels(card: ModelCard, count: int, seed: int) -> Iterator[tuple[Pixels, None]]:
    """Batches of random images (images, height, width, channels), without labels."""
    generator = np.random.default_rng(seed % 2**64)
    shape = (card.resolution, card.resolution, card.channels)
    sizes = [min(BATCH, count - first) for first in range(0, count, BATCH)]
    return ((generator.integers(0, WHITE + 1, (size, *shape), np.uint8), None) for size in sizes)


def as_pixels(images: Tensor) -> Pixels:
    """Images as networks are trained on, (images, channels, height, width), as the 8-bit pixels that they were made from."""
    values = (images * STD + MEAN) * WHITE
    pixels: Pixels = values.round().clamp(0, WHITE).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels
