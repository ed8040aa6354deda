"""Does a search keep its memory? One from a folder of JPEG images at 224×224, on the paper's space and Pixel 1 table.

Makes the folder, searches for 50 steps and looks at the memory of the process (RSS) after every step. It differs from
step to step, as freed memory is not always given back at once. So in each of the two phases, after some steps to warm up, the
line of Theil and Sen through it is asked whether it rises: with 95 % confidence, by more a step than a tenth of what a batch of
images takes. Exits with 1 where it does, or where a figure is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from scipy.stats import theilslopes

from latency_db.published import published_table
from search.config import TrainingOptions
from search.listener import Listener
from search.run_folder import RunFolder
from search.runs.search import search
from search.steps import SearchStep

STEPS_AN_EPOCH = 25
CLASSES = 10
HELD_OUT = 0.2
WARM_UP = {"dropout": 10, "search": 4, "final": 4}
FIGURES = ("progress", "network", "kernels")
SIZE = (320, 256)
MB = 1e6


def make_images(folder: Path, count: int) -> None:
    """Writes JPEG files of smooth noise, so many in all, evenly into a folder for each class."""
    random = np.random.default_rng(0)
    for index in range(count):
        path = folder / f"class-{index % CLASSES}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 20, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC).save(path)


class MemoryWatch(Listener):
    """Keeps each step with the bytes that this process holds after it."""

    def __init__(self) -> None:
        self.steps: list[tuple[SearchStep, float]] = []

    def step(self, step: SearchStep) -> None:
        """A step of the search."""
        self.steps.append((step, psutil.Process().memory_info().rss))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8, help="images a step [default: 8]")
    parser.add_argument("--epochs", type=int, default=2, help=f"passes of {STEPS_AN_EPOCH} steps over the images [default: 2]")
    arguments = parser.parse_args()
    batch_bytes = arguments.batch_size * 3 * 224 * 224 * 4
    start = time.monotonic()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "images", RunFolder(Path(folder) / "run")
        make_images(data, round(arguments.batch_size * STEPS_AN_EPOCH / (1 - HELD_OUT)))
        watch, options = MemoryWatch(), TrainingOptions(epochs=arguments.epochs, batch_size=arguments.batch_size)
        search(published_table("pixel1"), data, run, target_ms=80, options=options, listener=watch)
        steps = watch.steps
        wrong += [f"there is no figure of the {name}" for name in FIGURES if not run.figure(name).is_file()]
    if len(steps) != arguments.epochs * STEPS_AN_EPOCH:
        wrong.append(f"{len(steps)} steps were taken, not {arguments.epochs * STEPS_AN_EPOCH}")
    for phase, members in groupby(steps, key=lambda step: step[0].phase):
        held = [rss for _, rss in members][WARM_UP[phase] :]
        line = theilslopes(held, alpha=0.95)
        rises = f"{line.slope / MB:.2f} MB a step (95 %: {line.low_slope / MB:.2f} to {line.high_slope / MB:.2f})"
        print(
            f"{phase}: RSS after each of {len(held)} steps {min(held) / MB:.0f} to {max(held) / MB:.0f} MB, rising by {rises}; "
            f"a batch of images takes {batch_bytes / MB:.1f} MB"
        )
        if line.low_slope > batch_bytes / 10:
            wrong.append(f"{phase}: memory grows by {rises}")
    print(f"{len(steps)} steps of {arguments.batch_size} images and all figures in {time.monotonic() - start:.0f} s")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
