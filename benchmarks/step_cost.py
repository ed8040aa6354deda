"""What does a step of the search cost: against a plain network, and against a supernet with a path for every choice?

Three networks of the paper's space train on the same images with the same optimizer, one step after the other in turn: the
superkernel supernet, by the very function that `spnas search` trains it with, at steps spread over the phases of its default
schedule; the plain network that is the largest; and a supernet as earlier methods have it (Eq. 5), in which every choice of a
layer, `skip` among them, is a path with weights of its own and the outputs are added up by the softmax of α. All are made of the
same blocks in the same layout.

Ratios of times are of steps in the same round: the median over the rounds, and the mean where what is dropped differs from step
to step. Activation memory is what autograd keeps for going back, each storage counted once and parameters not at all; it is
computed from shapes alone, so that it is exact and the same on every machine. What a step costs whatever its batch, such as the
optimizer and the decisions, weighs more here than in a search with the paper's 1024 images a step. Exits with 1 where a bound is
missed.

With --table, all this on that table's space. Where stages have a choice of channels there is no supernet of paths beside it:
earlier methods have none.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import load_table
from profiling.places import SKIP, Slot
from profiling.space import SearchSpace
from search.config import SearchConfig
from search.convnet.network import MBConvBlock, Network, build_block
from search.finding.search import Search, table_digest
from search.images.data import Data
from search.run_folder import RunFolder
from search.supernet import superkernel
from search.supernet.supernet import Supernet
from search.training.optimizers import make_optimizer

CLASSES = 1000
IMAGES = 1000 * 1024
MEMORY_BATCH = 1024
DRAWS = 3  # steps a round with other subsets dropped, as they differ
AT_MOST = {
    "superkernel / plain, nothing dropped": 1.05,
    "superkernel / plain, nothing dropped, with channels to choose": 1.10,
    "superkernel / plain, average over a search": 0.75,
    "superkernel / multi-path": 0.40,
    "activation memory, superkernel / multi-path": 0.36,
    "activation memory, superkernel / plain": 1.01,
}


class MultiPathMBConv(nn.Module):
    """Eq. 5: the sum of the outputs of all choices of a place, by softmax(α)."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Identity() if name == SKIP.name else MBConvBlock(slot.layers[name]) for name in slot.choices
        )
        self.alpha = nn.Parameter(torch.zeros(len(slot.choices)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        return sum(weight * path(x) for weight, path in zip(self.alpha.softmax(0), self.paths, strict=True))


def multi_path_supernet(space: SearchSpace) -> nn.Module:
    """The supernet of a space with a path for every choice."""
    blocks = (MultiPathMBConv(slot) if slot.is_searchable else build_block(slot.layers["fixed"], CLASSES) for slot in space.slots)
    return nn.Sequential(*blocks)


def plain_network(space: SearchSpace) -> nn.Module:
    """The largest network of a space, on its own."""
    return Network([layer for _, layer in space.largest.placed_layers()], CLASSES)


def megabytes_per_image(
    make: Callable[[], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor], space: SearchSpace
) -> float:
    """What a forward pass in training keeps for the backward pass, without the parameters, for each image of a large batch."""
    with torch.device("meta"):  # everything but the numbers
        model = make().train()
        images = torch.empty(MEMORY_BATCH, 3, space.resolution, space.resolution).to(memory_format=torch.channels_last)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = forward(model, images)
    assert logits.requires_grad
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in kept.values()) / MEMORY_BATCH / 1e6


def memory_ratios(space: SearchSpace) -> dict[str, float]:
    """Prints the activation memory of all at two resolutions; the ratios at that of the space."""

    def decided(supernet: nn.Module, images: Tensor) -> Tensor:
        return supernet(images, supernet.decide(superkernel.sampled_indicator))

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        return network(images)

    kinds: dict[str, tuple[Callable[[SearchSpace], nn.Module], Callable[[nn.Module, Tensor], Tensor]]] = {
        "superkernel": (lambda space: Supernet(space, CLASSES), decided),
        "plain": (plain_network, forward),
    }
    if space.most_widths == 1:
        kinds["multi-path"] = multi_path_supernet, forward
    for resolution in (space.resolution // 2, space.resolution):
        resized = space.with_parameters(resolution=resolution)
        megabytes = {
            name: megabytes_per_image(lambda make=make, resized=resized: make(resized), by, resized)
            for name, (make, by) in kinds.items()
        }
        words = " · ".join(f"{name} {each:.1f}" for name, each in megabytes.items())
        print(f"activations in MB an image at {resolution}×{resolution}: {words}")
    others = [name for name in megabytes if name != "superkernel"]
    return {f"activation memory, superkernel / {name}": megabytes["superkernel"] / megabytes[name] for name in others}


def trainer(network: nn.Module, config: SearchConfig) -> Callable[[Tensor, Tensor], float]:
    """A step of training a network, or a multi-path supernet with its α: the loss of images and labels."""
    optimizer = make_optimizer("rmsprop", network.train().parameters(), config.rate_at(0), config.weight_decay)

    def step(images: Tensor, labels: Tensor) -> float:
        network.zero_grad()
        loss = cross_entropy(network(images), labels, label_smoothing=config.label_smoothing)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def time_ratios(model: RuntimeModel, batch_size: int, rounds: int, folder: Path) -> dict[str, float]:
    """Trains all in turn, prints the median seconds of a step, and returns the ratios."""
    space = model.space
    is_wide = space.most_widths > 1
    config = SearchConfig(
        table=model.table.name,
        space_digest=space.digest,
        table_digest=table_digest(model.table),
        data="noise",
        batch_size=batch_size,
        runtime_weight=0.1,
    )
    # The search is not run, it is only asked for single steps, with the images below.
    data = Data([], IMAGES, [], 0, tuple(map(str, range(CLASSES))))
    torch.manual_seed(0)
    search = Search(model, data, config, RunFolder(folder))
    plain = trainer(plain_network(space), config)
    multi = None if is_wide else trainer(multi_path_supernet(space), config)

    def search_step(step: int) -> None:
        search._engine.step = step
        search._train_step(images, labels)

    def dropping_steps(index: int) -> None:
        for step in range(index * DRAWS, (index + 1) * DRAWS):
            search_step(step * search._dropout_steps // (DRAWS * (rounds + 1)))

    images = torch.randn(batch_size, 3, space.resolution, space.resolution).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch_size,))
    seconds: dict[str, list[float]] = {}
    order = random.Random(0)
    for index in range(rounds + 1):
        steps: dict[str, Callable[[], object]] = {
            "plain": lambda: plain(images, labels),
            "superkernel": lambda: search_step(search.steps - 1),
            "dropping": lambda index=index: dropping_steps(index),
        }
        if multi is not None:
            steps["multi-path"] = lambda: multi(images, labels)
        for name in order.sample(list(steps), len(steps)):
            start = time.perf_counter()
            steps[name]()
            if index:  # the first round only warms up
                seconds.setdefault(name, []).append((time.perf_counter() - start) / (DRAWS if name == "dropping" else 1))
    print("seconds a step: " + " · ".join(f"{name} {statistics.median(values):.3f}" for name, values in seconds.items()))

    def ratios(one: str, other: str) -> list[float]:
        return [a / b for a, b in zip(seconds[one], seconds[other], strict=True)]

    deciding, dropping = statistics.median(ratios("superkernel", "plain")), statistics.mean(ratios("dropping", "plain"))
    print(f"superkernel / plain while subsets are dropped: {dropping:.3f} of a step, in {config.dropout_phase:.1%} of the steps")
    found = {
        f"superkernel / plain, nothing dropped{', with channels to choose' if is_wide else ''}": deciding,
        "superkernel / plain, average over a search": config.dropout_phase * dropping + (1 - config.dropout_phase) * deciding,
    }
    return found if is_wide else found | {"superkernel / multi-path": statistics.median(ratios("superkernel", "multi-path"))}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16, help="images a step [default: 16]")
    parser.add_argument("--rounds", type=int, default=14, help="steps of each network [default: 14]")
    parser.add_argument("--table", default="pixel1", help="latency table: its file, or one that ships [default: pixel1]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = RuntimeModel(load_table(arguments.table, Path(folder) / "none.db"))
    space = model.space
    print(
        f"the space {space.name} at {space.resolution}×{space.resolution}, {CLASSES} classes, {arguments.batch_size} images"
        f" a step, {arguments.rounds} rounds, PyTorch {torch.__version__} with {torch.get_num_threads()} threads"
    )
    memory = memory_ratios(space)
    with tempfile.TemporaryDirectory() as folder:
        ratios = time_ratios(model, arguments.batch_size, arguments.rounds, Path(folder)) | memory
    for name, ratio in ratios.items():
        print(f"{name:62} {ratio:.3f}  at most {AT_MOST[name]:.2f}")
    missed = [f"{name}: {ratio:.3f} is above {AT_MOST[name]:.2f}" for name, ratio in ratios.items() if ratio > AT_MOST[name]]
    sys.exit("\n".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
