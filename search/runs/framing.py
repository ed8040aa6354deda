"""What the other framing costs, on the user's own images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from search import processes
from search.convnet.saved import SavedNetwork
from search.export.check import paired
from search.finding.scoring import right_guesses
from search.images.batches import held_out_batches, on_device
from search.images.data import Data
from search.images.framing import FRAMINGS, Framing
from search.listener import SILENT, Listener
from search.paired import Paired

BATCH = 64
MOST = 1000


def other_than(framing: Framing) -> Framing:
    """The other framing."""
    return FRAMINGS[1 - FRAMINGS.index(framing)]


def compare_framings(
    saved: SavedNetwork, data: Data, most: int = MOST, workers: int = 0, listener: Listener = SILENT
) -> Paired | None:
    """How many held-out images a network guesses right in the framing of the data and, second, in the other one.

    Args:
        saved: the network.
        data: images; None comes back for square ones that are taken whole, for which framings do not differ.
        most: held-out images that are looked at, spread over all of them.
        workers: processes that load images; 0 loads them in the main process.
        listener: told how many have been looked at.

    Raises:
        InputError: an image cannot be read.
    """
    if not data.framings_differ:
        return None
    device = processes.state().device
    network, indices = saved.build().to(device), data.spread_over_held_out(most)
    listener.note("Comparing crop and stretch …")
    listener.begin(0, len(indices) * len(FRAMINGS))
    right: list[Tensor] = []
    for framing in (data.framing, other_than(data.framing)):
        batches = held_out_batches(data.framed(framing), BATCH, workers, indices, shared=False)
        done = len(right) * len(indices)
        right.append(right_guesses(network, on_device(_reported(batches, done, len(indices), listener), device)))
    listener.end()
    return paired(*right)


def _reported(
    batches: Iterable[tuple[Tensor, Tensor]], done: int, images: int, listener: Listener
) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in batches:
        yield batch
        done += len(batch[1])
        listener.progress(done, images * len(FRAMINGS), "")
