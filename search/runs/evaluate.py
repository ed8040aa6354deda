"""The accuracy of a trained network, given the names of the network and a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from search import processes
from search.convnet.inputs import load_known_images
from search.convnet.named import Name, find_trained
from search.images.batches import held_out_batches, on_device
from search.images.framing import Framing
from search.images.options import ImageOptions
from search.listener import SILENT, Listener
from search.paired import Paired
from search.runs.framing import compare_framings
from search.runs.images import told
from search.training.accuracy import Accuracy, accuracies


@dataclass(frozen=True)
class Evaluated:
    """How accurate a network is on images of a data set.

    Attributes:
        origin: where its weights come from, in words.
        classes: their names, in the order of the counts.
        accuracy: counts of images.
        framing: of the images.
        centre_crop: side of their central square crop, as a fraction of the shorter side; 1 without a crop.
        framings: guesses in this framing and, second, in the other one, on at most 1,000 of the images; None where they do not
            differ.
    """

    origin: str
    classes: tuple[str, ...]
    accuracy: Accuracy
    framing: Framing
    centre_crop: float
    framings: Paired | None

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(self.accuracy.images)

    @property
    def top1(self) -> float:
        """Share of them whose class is the first guess, 0 to 1."""
        return self.accuracy.top1

    @property
    def top5(self) -> float | None:
        """Share of them whose class is among the first five guesses, 0 to 1; None for five classes or fewer."""
        return self.accuracy.top5

    @property
    def top1_by_class(self) -> dict[str, float | None]:
        """`top1` of the images of each class, None where there are none."""
        return dict(zip(self.classes, self.accuracy.top1_by_class, strict=True))


HELD_OUT = ImageOptions(split="held-out")


def evaluate(
    network: Name,
    data: str | os.PathLike[str],
    *,
    options: ImageOptions = HELD_OUT,
    seed: int = 0,
    batch_size: int = 256,
    workers: int = 0,
    listener: Listener = SILENT,
) -> Evaluated:
    """Measures the accuracy of a trained network on images of a data set with the same classes.

    Args:
        network: its file, or the run it comes from.
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        options: which images, and their framing; by default those that a training holds out, framed as the network was trained.
        seed: as in training: decides which images of a folder without parts are held out.
        batch_size: images per batch.
        workers: processes that load images; 0 loads them in the main process.
        listener: follows the progress.

    Raises:
        InputError: the network or the images cannot be used, or the classes differ.
    """
    saved = find_trained(network)
    images = told(listener, partial(load_known_images, saved, os.fspath(data), seed, options, listener.look))
    for line in images.notes:
        listener.note(line)
    device = processes.state().device
    batches = on_device(held_out_batches(images, batch_size, workers), device)
    [accuracy] = accuracies([saved.build().to(device)], batches, len(images.classes))
    framings = compare_framings(saved, images, workers=workers, listener=listener)
    return Evaluated(saved.origin, saved.classes, accuracy, images.framing, images.centre_crop, framings)
