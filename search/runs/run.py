"""A finished run: the result of a search or a training, also when read from its folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latency_db.table import LatencyTable
from profiling.errors import InputError
from profiling.space import Architecture, load_architecture
from profiling.specfile import read_spec
from search.config import SearchConfig
from search.results import SearchResult, TrainResult
from search.run_folder import RunFolder
from search.training.recipe import TrainConfig

if TYPE_CHECKING:
    from search.convnet.network import Network
    from search.finding.search import Found, Search


@dataclass(frozen=True)
class Run(os.PathLike[str]):
    """A finished run. It can be passed wherever a path is expected, and means its folder.

    Attributes:
        folder: the folder with its files.
    """

    folder: RunFolder

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def network(self) -> Network:
        """The network with its weights, a torch module in evaluation mode; takes images (batch, channels, height, width).

        Raises:
            InputError: its file is missing or damaged.
        """
        from search.convnet.saved import load_network

        return load_network(self.folder.network).build()


@dataclass(frozen=True)
class SearchRun(Run):
    """A finished search.

    Attributes:
        config: its settings.
        result: what was found.
        architecture: of the network found.
        search, found: the search in memory if this process ran it, None if the run was read from its folder.
    """

    config: SearchConfig
    result: SearchResult
    architecture: Architecture
    search: Search | None = field(default=None, repr=False, compare=False)
    found: Found | None = field(default=None, repr=False, compare=False)

    @property
    def predicted_ms(self) -> float:
        """The latency of the network found in ms, predicted from the table of the search."""
        return self.result.predicted_ms

    @property
    def accuracy(self) -> float:
        """Top-1 with the weights of `network()`, on held-out images that took no part in choosing it, 0 to 1."""
        return self.result.accuracy

    @property
    def table(self) -> LatencyTable:
        """The latency table of the search.

        Raises:
            InputError: its file is missing or damaged.
        """
        table = self.folder.read_table()
        if table is None:
            raise InputError("the latency table of this search is missing", where=str(self.folder.table))
        return table


@dataclass(frozen=True)
class TrainRun(Run):
    """A finished training.

    Attributes:
        config: its settings.
        result: how accurate the network became.
    """

    config: TrainConfig
    result: TrainResult

    @property
    def accuracy(self) -> float:
        """Its top-1 on held-out images, 0 to 1."""
        return self.result.top1


def load_run(folder: str | os.PathLike[str]) -> SearchRun | TrainRun:
    """Loads a finished search or training from its folder; nothing is trained.

    Raises:
        InputError: the folder has no finished run, or a file of it is missing or damaged.
    """
    run = RunFolder(folder)
    match run.kind:
        case "search":
            config, result = read_spec(run.config, SearchConfig), read_spec(run.result, SearchResult)
            return SearchRun(run, config, result, load_architecture(str(run.architecture)))
        case "training":
            return TrainRun(run, read_spec(run.config, TrainConfig), read_spec(run.result, TrainResult))
    raise run.nothing_finished("search or train")
