"""Does loading images keep up with training?

Makes a folder of JPEG files (and the same images in shards), and trains the supernet of the paper's space on them and on images
that are in memory already, a few steps of each in turn in one process. Prints steps a second and their ratio for each; for what
stays below 90 %, what bounds it: how many images a second the loading processes give alone, and how many a step takes.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from profiling.space import SearchSpace, load_space
from search.images.batches import PREFETCH, training_batches
from search.images.data import load_data
from search.supernet.supernet import Supernet

Batches = Iterator[tuple[Tensor, Tensor]]


def write_images(folder: Path, count: int, width: int, height: int) -> None:
    """JPEG files in two classes, as a folder and as one shard; smooth noise, so that they are as large as photographs are."""
    random = np.random.default_rng(0)
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "all.tar", "w") as tar:
        for index in range(count):
            coarse = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
            fine = random.normal(0, 12, (height, width, 3))
            pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + fine
            file = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=90)
            name = folder / "files" / str(index % 2) / f"{index:05d}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(file.getvalue())
            for ending, content in (("jpg", file.getvalue()), ("cls", str(index % 2).encode())):
                info = tarfile.TarInfo(f"{index:05d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def make_step(space: SearchSpace, device: torch.device) -> Callable[[Tensor, Tensor], None]:
    """A training step of the supernet without decisions: forward, backward, update."""
    supernet = Supernet(space, 2).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.RMSprop(supernet.parameters(), lr=1e-4)

    def step(images: Tensor, labels: Tensor) -> None:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        optimizer.zero_grad()
        cross_entropy(supernet(images), labels.to(device, non_blocking=True)).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def rates(
    sources: dict[str, Callable[[int], Batches]], step: Callable[[Tensor, Tensor], None], steps: int, rounds: int
) -> dict[str, float]:
    """Steps a second of each source: the median of several rounds, in which the sources take turns.

    Every round starts its loading processes anew, and their start is not measured. They load as many batches as are then used, so
    that no source loads while another one is measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for _, (name, source) in itertools.product(range(rounds), sources.items()):
        batches = source(steps + 1)
        step(*next(batches))
        begin = time.perf_counter()
        for images, labels in batches:
            step(images, labels)
        seconds[name].append((time.perf_counter() - begin) / steps)
    return {name: 1 / statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160, help="how many to make [default: 160]")
    parser.add_argument("--batch-size", type=int, default=8, help="images a step [default: 8]")
    parser.add_argument("--workers", type=int, default=2, help="processes that load images [default: 2]")
    parser.add_argument("--steps", type=int, default=6, help="steps a round [default: 6]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds [default: 3]")
    arguments = parser.parse_args()
    space, batch = load_space("imagenet"), arguments.batch_size
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name  # the index of the shard
        write_images(folder, arguments.images, 500, 375)

        def batches(kind: str, steps: int) -> Batches:
            data = load_data(str(folder / kind), space, 0)
            return training_batches(data, batch, 0, 0, steps, arguments.workers)

        in_memory = next(batches("files", 1))
        if device.type == "cuda":
            in_memory = in_memory[0].pin_memory(), in_memory[1].pin_memory()
        step = make_step(space, device)
        loaded = {kind: partial(batches, kind) for kind in ("files", "shards")}
        sources = {"in memory": partial(itertools.repeat, in_memory), **loaded}
        measured = rates(sources, step, arguments.steps, arguments.rounds)
        alone = rates(loaded, lambda *_: None, 2 * PREFETCH * arguments.workers, 1)

    print(
        f"{device.type}, {os.cpu_count()} cores, {arguments.workers} loading processes, batches of {batch} at {space.resolution}²"
    )
    full = measured["in memory"]
    for source, rate in measured.items():
        print(f"{source:>10}: {rate:8.3f} steps/s, {rate / full:7.1%} of images in memory")
    for kind, rate in alone.items():
        if measured[kind] < 0.9 * full:
            give, take = rate * batch, full * batch
            bound = (
                "loading is slower than training: more --workers, if there are cores for them"
                if give < take
                else "loading and training share the same cores"
            )
            print(f"{kind}: loading alone gives {give:.0f} images/s, training takes {take:.0f}: {bound}")


if __name__ == "__main__":
    main()
