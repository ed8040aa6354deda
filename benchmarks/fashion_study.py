"""Does the search find better networks? A study on Fashion-MNIST that can be run again.

Networks of one latency, all trained alike from scratch with several seeds: those that searches found, random ones, uniform ones;
whether the shared weights of short and long searches tell the random ones apart; then Table 2 of the paper, kernels trained as
subsets of one network against kernels trained alone; and what it all cost.

Every finished run is a line of the results, and is not done again. Start the study twice to use two cores: each run is done by
one of the processes. A run that was interrupted begins anew.

Networks learn from the first 20,000 training images, and so do searches; where a search compares networks it does so on the last
10,000. The test images are for the accuracies of the results alone.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from fashion_results import CORE, FOUND, LONGER, SEARCH, SHARED, WHOLE, summary
from study import Result, Run, Study, read_results
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.table_files import read_table
from profiling.errors import InputError
from profiling.space import Architecture
from search.config import SearchConfig
from search.finding.scoring import reestimate_batch_norm
from search.finding.search import Search, table_digest
from search.images.batches import held_out_batches, training_batches
from search.images.data import Data, data_folder, load_data
from search.images.one_image import ImageDataset, SmallImages
from search.images.vision import datasets
from search.run_folder import RunFolder
from search.training.accuracy import accuracies
from search.training.recipe import TrainConfig
from search.training.train import Training

RESULTS = Path(__file__).parent / "results"
TARGET_MS = 0.0545  # just above the uniform 3x3-6 network, so that this one counts
BAND = 0.01
RANDOM_NETWORKS = 10
SEEDS = (0, 1, 2)
TRAINING_IMAGES = 20_000
CHOOSING_IMAGES = 10_000
BATCH_NORM_BATCHES = 50

RECIPE = TrainConfig(
    recipe="short",
    epochs=1,
    optimizer="rmsprop",
    learning_rate=0.064,
    schedule="cosine",
    warmup_epochs=0.1,
    weight_decay=1e-5,
    label_smoothing=0.1,
    dropout=0.2,
    data="fashion-mnist",
    batch_size=32,
    network="",
)
SEARCH_EPOCHS = (6, 24)
SEARCH_BATCH = 64
SEARCH_LEARNING_RATE = 0.048

LONGER_IMAGES = 50_000
LONGER_SEEDS = range(6)

PARTS = ("search", "networks", "kernels", "longer")


class Last(ImageDataset):
    """The images of a data set from `first` on."""

    def __init__(self, images: ImageDataset, first: int) -> None:
        self._images, self._first = images, first

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int] | InputError:
        """The image of (epoch, index)."""
        epoch, index = item
        return self._images[epoch, self._first + index]


class SubsetTraining(Training):
    """Training of a 5×5 network whose inner 3×3 kernels are to work alone too (paper, 4.3).

    The losses of both subsets are added up in each step.
    """

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        whole, _ = super()._loss(images, labels)
        with_core = Core(self._network)
        core = cross_entropy(with_core(images), labels, label_smoothing=self._config.label_smoothing)
        return whole + core, whole


class Core(nn.Module):
    """A network of which only the inner 3×3 of each depthwise kernel is used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """As the network's."""
        cores = {}
        for name, w in self.network.named_parameters():
            if name.endswith("depthwise.weight"):
                border = (w.shape[-1] - 3) // 2
                cores[name] = w[..., border : border + 3, border : border + 3]
        logits: Tensor = torch.func.functional_call(self.network, cores, images)
        return logits


class FashionStudy(Study):
    """All runs of the study.

    Args:
        model: predicts latencies.
        file: of the results.
    """

    def __init__(self, model: RuntimeModel, file: Path) -> None:
        super().__init__(file)
        self._model = model

    @cached_property
    def _training_set(self) -> Data:
        """The training images, not shifted: in so short a training that would only be a handicap; and the test images."""
        tested = load_data(RECIPE.data, self._model.space, seed=0)
        raw = datasets.FashionMNIST(str(data_folder()), train=True)
        images = SmallImages(raw.data[:, None], raw.targets.tolist(), self._model.space, None)
        return replace(tested, train=images, train_images=len(raw))

    @property
    def _data(self) -> Data:
        """For training: the first of the training images, and the test images."""
        return replace(self._training_set, train_images=TRAINING_IMAGES)

    @property
    def _search_data(self) -> Data:
        """For searches: the same to train on, and the last of the training images to compare networks on."""
        whole = self._training_set
        last = Last(whole.train, whole.train_images - CHOOSING_IMAGES)
        return replace(self._data, held_out=last, held_out_images=CHOOSING_IMAGES)

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """Every run with its part of the study, its name and its seed; those of found networks once they are found."""
        space = self._model.space
        drawn = networks_between(self._model, TARGET_MS * (1 - BAND), TARGET_MS * (1 + BAND), seed=0)
        random = {f"random {index}": network for index, network in enumerate(itertools.islice(drawn, RANDOM_NETWORKS))}
        for epochs, seed in itertools.product(SEARCH_EPOCHS, SEEDS):
            yield "search", f"{SEARCH}-{epochs}", seed, partial(self._search, epochs, random, seed)
        networks = {f"uniform {choice}": space.uniform(choice) for choice in ("3x3-6", "5x5-3")} | random
        for result in read_results(self._file):
            kind, _, epochs = result.name.partition("-")
            if kind == SEARCH:
                found = Architecture(space=space, choices=tuple(result.choices.split()))
                if found not in networks.values():  # searches may end with the same
                    networks[f"{FOUND}-{epochs} {result.seed}"] = found
        for seed, (name, network) in itertools.product(SEEDS, networks.items()):
            yield "networks", name, seed, partial(self._train, name, network, seed)
        for seed in SEEDS:
            yield "kernels", "uniform 5x5-6", seed, partial(self._train, "uniform 5x5-6", space.uniform("5x5-6"), seed)
            yield "kernels", WHOLE, seed, partial(self._train_subsets, seed)
        for seed, (name, network) in itertools.product(LONGER_SEEDS, networks.items()):
            longer = f"{LONGER} {name}"
            yield LONGER, longer, seed, partial(self._train, longer, network, seed, images=LONGER_IMAGES)

    def _search(self, epochs: int, random: Mapping[str, Architecture], seed: int, folder: Path) -> list[Result]:
        """What a search finds; and random networks with the weights of its supernet, by the images it compares networks on."""
        start = time.process_time()
        config = SearchConfig(
            table=self._model.table.name,
            space_digest=self._model.space.digest,
            table_digest=table_digest(self._model.table),
            data=RECIPE.data,
            target_ms=TARGET_MS,
            epochs=epochs,
            batch_size=SEARCH_BATCH,
            learning_rate=SEARCH_LEARNING_RATE,
            seed=seed,
        )
        search, images = Search(self._model, self._search_data, config, RunFolder(folder)), epochs * TRAINING_IMAGES
        found = search.run(on_step=lambda step: None)
        results = [self._result(f"{SEARCH}-{epochs}", seed, found.architecture, found.accuracy, images, start)]
        scorer = search.scorer(batches=BATCH_NORM_BATCHES, most_images=CHOOSING_IMAGES)
        for name, network in random.items():
            start = time.process_time()
            [score] = scorer.score([network])
            accuracy = float(score.right.double().mean())
            results.append(self._result(f"{SHARED}-{epochs} {name}", seed, network, accuracy, images, start))
        return results

    def _train(self, name: str, network: Architecture, seed: int, folder: Path, images: int = TRAINING_IMAGES) -> list[Result]:
        start = time.process_time()
        trained = self._training(Training, network, seed, folder, images).run(on_step=lambda step: None)
        return [self._result(name, seed, network, trained.top1, RECIPE.epochs * images, start)]

    def _train_subsets(self, seed: int, folder: Path) -> list[Result]:
        start = time.process_time()
        space = self._model.space
        trained = self._training(SubsetTraining, space.uniform("5x5-6"), seed, folder).run(on_step=lambda step: None)
        results = []
        for name, subset in ((CORE, Core(trained.saved.build())), (WHOLE, trained.saved.build())):
            # In training, batch norm saw both subsets by turns.
            steps = self._training_steps
            batches = training_batches(self._data, RECIPE.batch_size, seed, steps, steps + BATCH_NORM_BATCHES, 0)
            reestimate_batch_norm(subset, (images for images, _ in batches))
            [found] = accuracies([subset], held_out_batches(self._data, RECIPE.batch_size, 0), len(self._data.classes))
            network = space.uniform("5x5-6" if name == WHOLE else "3x3-6")
            results.append(self._result(name, seed, network, found.top1, RECIPE.epochs * TRAINING_IMAGES, start))
        return results

    @property
    def _training_steps(self) -> int:
        return RECIPE.epochs * (TRAINING_IMAGES // RECIPE.batch_size)

    def _training(
        self, kind: type[Training], network: Architecture, seed: int, folder: Path, images: int = TRAINING_IMAGES
    ) -> Training:
        layers = [layer for _, layer in network.placed_layers()]
        data = replace(self._data, train_images=images)
        return kind(layers, data, RECIPE.model_copy(update={"seed": seed}), RunFolder(folder))

    def _result(self, name: str, seed: int, network: Architecture, top1: float, images: int, start: float) -> Result:
        predicted_ms = round(self._model.predict(network).total_ms, 5)
        seconds = round(time.process_time() - start, 1)
        return Result(name, seed, " ".join(network.choices), predicted_ms, round(top1, 4), images, seconds)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=RESULTS / "fashion-mnist-table.json", help="latency table [default: ours]")
    parser.add_argument("--results", type=Path, default=RESULTS / "fashion-mnist.csv", help="results so far [default: ours]")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to do; [default: all]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = FashionStudy(RuntimeModel(read_table(arguments.table)), arguments.results)
    study.run(arguments.parts)
    print(summary(read_results(arguments.results)))


if __name__ == "__main__":
    main()
