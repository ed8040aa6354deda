"""Batches of images for the steps of a training, and of held-out images in order."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from profiling.errors import InputError, TrainingError
from search import processes
from search.images.data import Data
from search.images.one_image import ImageDataset, mixed

PREFETCH = 4  # batches that each loading process is ahead


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
        workers: processes that load images; 0 loads them in the main process.
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
    """The batches on the device that computes them, images with channels last in memory."""
    for images, labels in batches:
        yield channels_last(images.to(device, non_blocking=True)), labels.to(device, non_blocking=True)


def channels_last(images: Tensor) -> Tensor:
    """Images (batch, channels, height, width) with their channels last in memory, so that all layers compute in that order.

    For a single channel both orders are the same bytes, and `torch.Tensor.contiguous` returns such images as they are; but
    layers go by the strides, and a copy has those of the order asked for.
    """
    return images if images.stride(1) == 1 else images.clone(memory_format=torch.channels_last)


def _collate(items: Sequence[tuple[Tensor, int] | InputError]) -> tuple[Tensor, Tensor] | InputError:
    images, labels = [], []
    for item in items:
        if isinstance(item, InputError):
            return item
        images.append(item[0])
        labels.append(item[1])
    return torch.stack(images), torch.tensor(labels)


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; only the training process decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
