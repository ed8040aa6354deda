"""What does a search do on a GPU? Steps of the supernet and of the plain network, a whole search, and a kill in the middle.

    python benchmarks/gpu.py -o benchmarks/results/gpu.json     # under 8 minutes on one card
    python benchmarks/gpu.py --quick                            # in small, on a CPU too

Steps are those of the paper's space at 224×224 with 1000 classes: the superkernel supernet where decisions are learned, by the
equations of the search, and the plain network that is all 5x5-6. Both train on the same images with the same optimizer, in turn,
so that the ratio is of steps in the same round. Each way of computing is its own line: float32 as PyTorch has it (convolutions in
TF32), bfloat16 by autocast, and the same compiled; images with their channels last in memory, or first.

The search is that of `import spnas` on the digits that scikit-learn ships, enlarged to 28×28, by the table of the study on
Fashion-MNIST. It runs from start to end twice, and once more stopped at half of its steps, continued, ended by `kill -9` at three
quarters, and continued; the weights and thresholds that these end with are compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import published_table, read_table
from profiling.files import write_text
from search.convnet.network import Network
from search.finding.search import make_weight_optimizer
from search.run_folder import RunFolder
from search.supernet import superkernel
from search.supernet.runtime_loss import RuntimeTerm, eq9_loss
from search.supernet.supernet import Supernet
from search.supernet.thresholds import ThresholdDescent
from search.training.optimizers import make_optimizer

LARGEST = "5x5-6"
CLASSES = 1000
RATE, DECAY, SMOOTHING, RUNTIME_WEIGHT = 0.016, 1e-5, 0.1, 0.1
STEPS_PER_EPOCH = 22  # 1438 images in batches of 64
TABLE = Path(__file__).parent / "results" / "fashion-mnist-table.json"
# Run by a process of its own, so that it can be killed: stopped or killed after so many steps where these are not 0.
SEARCH = """
import os, signal, sys
from latency_db.table_files import load_table
from search.config import TrainingOptions
from search.listener import Listener
from search.runs.search import search

table, folder, epochs, target_ms, stop_at, kill_at = sys.argv[1:]

class Fate(Listener):
    taken = 0
    def step(self, step):
        self.taken = step.step
        if self.taken == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
    def stop(self):
        return self.taken == int(stop_at)

options = TrainingOptions(epochs=int(epochs))
try:
    run = search(load_table(table), "digits", folder, target_ms=float(target_ms), options=options, listener=Fate())
except KeyboardInterrupt:
    sys.exit(130)
print(run.result.accuracy)
"""

Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Way:
    """One way to compute a step.

    Attributes:
        batch: images a step.
        bf16: whether bfloat16 by autocast computes what it can.
        compiled: whether `torch.compile` made the forward and backward pass.
        channels_last: how images lie in memory.
    """

    batch: int
    bf16: bool = False
    compiled: bool = False
    channels_last: bool = True

    @property
    def name(self) -> str:
        """In words."""
        words = ("bfloat16" if self.bf16 else "float32", "compiled" if self.compiled else "eager")
        return ", ".join((*words, "channels last" if self.channels_last else "channels first"))


@dataclass(frozen=True)
class Measured:
    """What one way took; seconds are medians over the rounds, memory the peak of one network's steps in GiB (0 on a CPU)."""

    way: str
    batch: int
    supernet_s: float
    plain_s: float
    ratio: float
    supernet_images_per_s: float
    plain_images_per_s: float
    supernet_gib: float
    plain_gib: float


def computing(way: Way, device: torch.device) -> AbstractContextManager[Any]:
    """The precision of the forward pass."""
    return torch.autocast(device.type, torch.bfloat16) if way.bf16 else nullcontext()


def supernet_step(model: RuntimeModel, way: Way, device: torch.device) -> Step:
    """A step in which decisions are learned (Eq. 9)."""
    supernet = Supernet(model.space, CLASSES).to(device).train()
    runtime = RuntimeTerm(model).to(device)
    weights = make_weight_optimizer(supernet, RATE, DECAY)
    thresholds = ThresholdDescent(supernet.thresholds(), RATE)
    forward = torch.compile(supernet) if way.compiled else supernet

    def step(images: Tensor, labels: Tensor) -> None:
        supernet.zero_grad()
        with computing(way, device):
            norms = supernet.norms()
            logits = forward(images, supernet.decide(superkernel.sampled_indicator, norms))
            entropy = cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
            loss = eq9_loss(entropy, runtime(supernet.decide(superkernel.probability, norms)), RUNTIME_WEIGHT)
        loss.backward()
        weights.step()
        thresholds.step()

    return step


def plain_step(model: RuntimeModel, way: Way, device: torch.device) -> Step:
    """A step of the largest network of the space."""
    layers = [layer for _, layer in model.space.uniform(LARGEST).placed_layers()]
    network: nn.Module = Network(layers, CLASSES).to(device).train()
    optimizer = make_optimizer("rmsprop", network.parameters(), RATE, DECAY)
    forward = torch.compile(network) if way.compiled else network

    def step(images: Tensor, labels: Tensor) -> None:
        network.zero_grad()
        with computing(way, device):
            loss = cross_entropy(forward(images).float(), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()

    return step


def seconds_of(step: Step, images: Tensor, labels: Tensor) -> float:
    """Of one step, to its end on the device."""
    start = time.perf_counter()
    step(images, labels)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_gib(step: Step, images: Tensor, labels: Tensor) -> float:
    """The memory at the peak of a step beyond what was held before it, in GiB; 0 on a CPU."""
    if not images.is_cuda:
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(images, labels)
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def measure(model: RuntimeModel, way: Way, rounds: int, device: torch.device) -> Measured:
    """Trains both networks in turn."""
    torch.manual_seed(0)
    size = model.space.resolution
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    images = torch.randn(way.batch, model.space.image_channels, size, size, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, CLASSES, (way.batch,), device=device)
    steps = {"supernet": supernet_step(model, way, device), "plain": plain_step(model, way, device)}
    for step in steps.values():  # compiles, and finds out about memory
        for _ in range(2):
            seconds_of(step, images, labels)
    peak = {name: peak_gib(step, images, labels) for name, step in steps.items()}
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            took[name].append(seconds_of(step, images, labels))
    supernet_s, plain_s = (statistics.median(took[name]) for name in ("supernet", "plain"))
    ratio = statistics.median(a / b for a, b in zip(took["supernet"], took["plain"], strict=True))
    rates = way.batch / supernet_s, way.batch / plain_s
    return Measured(way.name, way.batch, supernet_s, plain_s, ratio, *rates, peak["supernet"], peak["plain"])


def ways(batches: list[int], quick: bool) -> list[Way]:
    """All that are measured: the ways at the first batch size, the fastest of them at the others."""
    if quick:
        return [Way(batches[0]), Way(batches[0], bf16=True, channels_last=False)]
    first = [
        Way(batches[0]),
        Way(batches[0], bf16=True),
        Way(batches[0], bf16=True, channels_last=False),
        Way(batches[0], bf16=True, compiled=True),
    ]
    return [*first, *(Way(batch, bf16=True) for batch in batches[1:])]


def run_search(
    folder: Path, epochs: int, target_ms: float, *, stop_at: int = 0, kill_at: int = 0
) -> subprocess.CompletedProcess[str]:
    """A search in a process of its own, which prints the accuracy that it ends with."""
    arguments = (TABLE, folder, epochs, repr(target_ms), stop_at, kill_at)
    return subprocess.run([sys.executable, "-c", SEARCH, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False)


def accuracy_of(search: subprocess.CompletedProcess[str]) -> float:
    """What a search printed at its end.

    Raises:
        RuntimeError: it failed.
    """
    if search.returncode != 0:
        raise RuntimeError(f"the search ended with exit code {search.returncode}")
    return float(search.stdout.splitlines()[-1])


def largest_difference(one: Path, other: Path) -> float:
    """Between the weights and thresholds that two searches of the same settings end with; 0 is the same bit for bit."""
    states = [
        torch.load(RunFolder(folder).checkpoint, map_location="cpu", weights_only=True)["supernet"] for folder in (one, other)
    ]
    return max(float((states[0][name].double() - states[1][name].double()).abs().max()) for name in states[0])


def whole_searches(epochs: int, folder: Path, *, repeat: bool) -> dict[str, float]:
    """A search to its end, the same again where asked, and one that is stopped, continued, killed, and continued to its end."""
    fastest, slowest = RuntimeModel(read_table(TABLE)).range_ms()
    target_ms = fastest + 0.5 * (slowest - fastest)
    start = time.perf_counter()
    accuracy = accuracy_of(run_search(folder / "whole", epochs, target_ms))
    seconds = time.perf_counter() - start
    again = {}
    if repeat:
        accuracy_of(run_search(folder / "again", epochs, target_ms))
        again = {"difference_when_repeated": largest_difference(folder / "whole", folder / "again")}
    steps = epochs * STEPS_PER_EPOCH
    run_search(folder / "killed", epochs, target_ms, stop_at=steps // 2)
    died = run_search(folder / "killed", epochs, target_ms, kill_at=steps * 3 // 4)
    if died.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the search was to be killed, and ended with exit code {died.returncode}")
    accuracy_of(run_search(folder / "killed", epochs, target_ms))
    return {
        "seconds": seconds,
        "steps": steps,
        "accuracy": accuracy,
        **again,
        "difference_when_killed": largest_difference(folder / "whole", folder / "killed"),
    }


def show(measured: Measured) -> None:
    """One line."""
    print(
        f"{measured.batch:5} images, {measured.way:34} supernet {measured.supernet_s:.4f} s, plain {measured.plain_s:.4f} s, "
        f"ratio {measured.ratio:.3f}; {measured.supernet_images_per_s:.0f} and {measured.plain_images_per_s:.0f} images/s; "
        f"peak {measured.supernet_gib:.1f} and {measured.plain_gib:.1f} GiB",
        flush=True,
    )


def keep(figures: dict[str, Any], file: Path | None) -> None:
    """Writes what was measured so far."""
    if file is not None:
        write_text(file, json.dumps(figures, indent=1) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[256, 512, 1024], help="images a step [default: 256 512 1024]"
    )
    parser.add_argument("--rounds", type=int, default=15, help="steps of each network [default: 15]")
    parser.add_argument("--epochs", type=int, default=8, help="of each search [default: 8]")
    parser.add_argument("--quick", action="store_true", help="two grey images a step at 28x28, two rounds, a search of one epoch")
    parser.add_argument("-o", "--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    card = torch.cuda.get_device_name() if device.type == "cuda" else f"no GPU ({platform.machine()})"
    print(f"{card}, PyTorch {torch.__version__}", flush=True)
    batches, rounds, epochs = ([2], 2, 1) if arguments.quick else (arguments.batch_sizes, arguments.rounds, arguments.epochs)
    model = RuntimeModel(read_table(TABLE) if arguments.quick else published_table("pixel1"))
    figures: dict[str, Any] = {"card": card, "pytorch": torch.__version__, "steps": []}
    for way in ways(batches, arguments.quick):
        measured = measure(model, way, rounds, device)
        show(measured)
        figures["steps"].append(asdict(measured))
        keep(figures, arguments.output)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as folder:
        figures["search"] = whole_searches(epochs, Path(folder), repeat=not arguments.quick)
    for name, value in figures["search"].items():
        print(f"search: {name.replace('_', ' ')}: {value:.6g}", flush=True)
    keep(figures, arguments.output)


if __name__ == "__main__":
    main()
