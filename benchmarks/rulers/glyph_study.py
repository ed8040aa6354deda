"""Is a search worth its cost? The proof on the glyph ruler: networks of one latency, all trained alike from scratch.

Those that searches found, random ones and the uniform ones, each with the same seeds, on as many images as a search sees; the
networks as the searches leave them, untouched and after the recipe `finetune`; and how well the searches' ratings order the
random networks. Accuracies are on font families that neither searches nor trainings have seen.

Every finished run is a line of the results, and is not done again. One command does it all, in less than an hour on two cores:

    python benchmarks/rulers/glyph_study.py --images FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from glyph_results import FOUND, RANDOM, RATED, SHIPPED, TUNED, summary
from glyphs import load_glyphs
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from study import Result, Run, Study, in_processes, read_results

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.table_files import read_table
from latency_db.uniform import uniform_networks
from profiling.errors import InputError
from profiling.places import SKIP
from profiling.space import Architecture
from search.config import SearchConfig, course
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.finding.search import Search, table_digest
from search.images.batches import held_out_batches
from search.images.data import Data
from search.images.one_image import ImageDataset
from search.run_folder import RunFolder
from search.training.accuracy import accuracies
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training

RESULTS = Path(__file__).parents[1] / "results"
TARGET = 0.3  # of the way from the fastest to the slowest network
BAND = 0.01
RANDOM_NETWORKS = 20
SEARCHES = 5
SEEDS = 2
BATCH = 64
EPOCHS = 4
RATE = 0.064  # of searches and trainings, for 256 images
TUNED_ON = 3  # a twelfth of the images that a search sees

RECIPE = TrainConfig(
    recipe="glyphs",
    epochs=EPOCHS,
    optimizer="rmsprop",
    learning_rate=RATE,
    schedule="cosine",
    warmup_epochs=0.05 * EPOCHS,
    weight_decay=1e-5,
    label_smoothing=0.1,
    dropout=0.2,
    data="glyphs",
    batch_size=BATCH,
    network="",
)


class Every(ImageDataset):
    """Every so manieth image of a data set, from the first on."""

    def __init__(self, images: ImageDataset, stride: int) -> None:
        self._images, self._stride = images, stride

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        """The image of (epoch, index)."""
        epoch, index = item
        return self._images[epoch, self._stride * index]


class GlyphStudy(Study):
    """All runs of the study.

    Args:
        model: predicts latencies.
        file: of the results.
        images: folder of the glyphs; they are rendered into it where it does not exist.
        searches: with the seeds 0, 1, 2, …
        seeds: of each training from scratch, likewise.

    Attributes:
        epochs: of searches and trainings.
        tuned_on: finetune sees every so manieth image, `tuned_epochs` times; by the recipe `tuned_by`.
    """

    epochs, tuned_on, tuned_epochs, tuned_by = EPOCHS, TUNED_ON, 1, "finetune"

    def __init__(self, model: RuntimeModel, file: Path, images: Path, searches: int = SEARCHES, seeds: int = SEEDS) -> None:
        super().__init__(file)
        self._model, self._images, self._searches, self._seeds = model, images, range(searches), range(seeds)
        fastest, slowest = model.range_ms()
        self._target_ms = fastest + TARGET * (slowest - fastest)

    @cached_property
    def _random(self) -> dict[str, Architecture]:
        drawn = networks_between(self._model, self._target_ms * (1 - BAND), self._target_ms, seed=0)
        return {f"{RANDOM} {index}": network for index, network in enumerate(itertools.islice(drawn, RANDOM_NETWORKS))}

    def _data(self, seed: int, *, choosing: bool = False) -> Data:
        return load_glyphs(self._images, self._model.space, seed, "val" if choosing else "test")

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`; trainings of found networks once all are found, since searches may end with the same."""
        for seed in self._searches:
            yield "search", SHIPPED, seed, partial(self._search, seed)
        networks: dict[str, Architecture] = {}
        ends = {result.seed: result.choices for result in read_results(self._file) if result.name == SHIPPED}
        for seed in self._searches if len(ends) >= len(self._searches) else ():
            found = Architecture(space=self._model.space, choices=tuple(ends[seed].split()))
            if found not in networks.values():
                networks[f"{FOUND} {seed}"] = found
        networks |= {f"uniform {name}": each for name, each in uniform_networks(self._model, self._target_ms).items()}
        networks |= self._random
        for seed, (name, network) in itertools.product(self._seeds, networks.items()):
            yield "networks", name, seed, partial(self._train, name, network, seed)

    def _search(self, seed: int, folder: Path) -> list[Result]:
        """A search; its network untouched and fine-tuned; and its ratings of the random networks."""
        start = time.process_time()
        data = self._data(seed, choosing=True)
        images = self.epochs * data.train_images
        config = SearchConfig(
            table=self._model.table.name,
            space_digest=self._model.space.digest,
            table_digest=table_digest(self._model.table),
            data="glyphs",
            target_ms=self._target_ms,
            epochs=self.epochs,
            batch_size=BATCH,
            learning_rate=RATE,
            seed=seed,
            **course(images // BATCH, self._target_ms),
        )
        search = Search(self._model, data, config, RunFolder(folder))
        found = search.run(on_step=lambda step: None)
        shipped = self._result(SHIPPED, seed, found.architecture, self._tested(found.network), images, start)
        start, ratings = time.process_time(), search.rate(list(self._random.values()))
        rated = [
            self._result(f"{RATED} {name}", seed, network, rating, images, start)
            for (name, network), rating in zip(self._random.items(), ratings, strict=True)
        ]
        return [shipped, self._tune(TUNED, found.architecture, found.network, seed, folder / "tuned"), *rated]

    def _tune(self, name: str, architecture: Architecture, network: Network, seed: int, folder: Path) -> Result:
        start, data = time.process_time(), self._data(seed)
        layers = [layer for _, layer in architecture.placed_layers()]
        some = Every(data.train, self.tuned_on)
        data = replace(data, train=some, train_images=data.train_images // self.tuned_on)
        recipe = load_recipe(self.tuned_by)
        config = TrainConfig(**dict(recipe.adapted(self.tuned_epochs)), batch_size=BATCH, seed=seed, data="glyphs", network="")
        folder.mkdir()
        saved = SavedNetwork(name, tuple(layers), data.classes, network.state_dict(), None, "search")
        trained = Training(layers, data, config, RunFolder(folder), saved).run(on_step=lambda step: None)
        return self._result(name, seed, architecture, trained.top1, self.tuned_epochs * data.train_images, start)

    def _train(self, name: str, network: Architecture, seed: int, folder: Path) -> list[Result]:
        start = time.process_time()
        layers = [layer for _, layer in network.placed_layers()]
        data = self._data(seed)
        config = RECIPE.adapted(self.epochs).model_copy(update={"seed": seed})
        trained = Training(layers, data, config, RunFolder(folder)).run(on_step=lambda step: None)
        return [self._result(name, seed, network, trained.top1, self.epochs * data.train_images, start)]

    def _tested(self, network: Network) -> float:
        data = self._data(0)
        return accuracies([network], held_out_batches(data, 500, 0), len(data.classes))[0].top1

    def _result(self, name: str, seed: int, network: Architecture, top1: float, images: int, start: float) -> Result:
        predicted_ms = round(self._model.predict(network).total_ms, 5)
        seconds = round(time.process_time() - start, 1)
        return Result(name, seed, " ".join(in_order(network).choices), predicted_ms, round(top1, 4), images, seconds)


def in_order(network: Architecture) -> Architecture:
    """The same network with its skips last among layers with equal choices, where it does not matter which of them is skipped."""
    choices: list[str] = []
    slots = zip(network.space.searchable, network.choices, strict=True)
    for _, alike in itertools.groupby(slots, key=lambda each: each[0].layers):
        choices += sorted((name for _, name in alike), key=lambda name: name == SKIP.name)
    return Architecture(space=network.space, choices=tuple(choices))


def work(table: Path, results: Path, images: Path, searches: int, seeds: int) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    GlyphStudy(RuntimeModel(read_table(table)), results, images, searches, seeds).run(["search", "networks"])


def study_parser(description: str | None, results: str, table: str) -> argparse.ArgumentParser:
    """The options of a study by one table; `results` and `table` are the default files, of those that are here."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path(tempfile.gettempdir()) / "glyphs", help="folder of the glyphs")
    parser.add_argument("--table", type=Path, default=RESULTS / table, help="latency table [default: ours]")
    parser.add_argument("--results", type=Path, default=RESULTS / results, help="results so far [default: ours]")
    parser.add_argument("--processes", type=int, default=2)
    return parser


def main() -> None:
    """The command line."""
    parser = study_parser(__doc__, "glyphs.csv", "fashion-mnist-table.json")
    parser.add_argument("--searches", type=int, default=SEARCHES, help=f"how many [default: {SEARCHES}]")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"trainings from scratch of each network [default: {SEEDS}]")
    arguments = parser.parse_args()
    model = RuntimeModel(read_table(arguments.table))
    load_glyphs(arguments.images, model.space, 0)  # once, before several processes need them
    of_study = (arguments.table, arguments.results, arguments.images, arguments.searches, arguments.seeds)
    in_processes(arguments.processes, work, *of_study)
    print(summary(read_results(arguments.results)))


if __name__ == "__main__":
    main()
