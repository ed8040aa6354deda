"""What training for int8 is worth: the same network and seeds trained for fp32 and for int8, and the int8 file of each.

On 20 of the 100 kanji of `glyphs.py`, which are written in fonts that training has not seen. The network has h-swish and
squeeze-and-excitation, whose ranges are wide and cost more in 8 bits than those of ReLU6. About a minute of one core a seed.

    python benchmarks/rulers/int8_study.py FOLDER [--seeds 8]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from glyphs import load_glyphs
from scipy.stats import ttest_rel

from profiling.layers import Head, MBConv, Stem
from profiling.models.builder import TfliteBuilder
from search.config import TrainedFor
from search.export.card import Use
from search.export.pixels import held_out_pixels, representative_pixels
from search.export.tflite_file import TfliteModel, to_tflite
from search.images.data import Data
from search.images.one_image import ImageForm
from search.run_folder import RunFolder
from search.training.recipe import TrainConfig
from search.training.train import Training

CLASSES, EPOCHS = 20, 6
REPRESENTATIVE_IMAGES = 200
LAYERS = (
    Stem(28, 1, 8, 2, 3, activation="hswish"),
    MBConv(14, 8, 12, 2, 3, 4, False, squeeze=8, activation="hswish"),
    MBConv(7, 12, 12, 1, 3, 4, True, squeeze=16, activation="hswish"),
    MBConv(7, 12, 24, 2, 5, 4, False, squeeze=16, activation="hswish"),
    MBConv(4, 24, 24, 1, 3, 4, True, squeeze=24, activation="hswish"),
    Head(4, 24, 96, CLASSES, activation="hswish"),
)
CONFIG = TrainConfig(
    recipe="int8",
    epochs=EPOCHS,
    optimizer="rmsprop",
    learning_rate=0.064,
    schedule="cosine",
    warmup_epochs=0.05 * EPOCHS,
    weight_decay=1e-5,
    label_smoothing=0.1,
    dropout=0.2,
    data="glyphs",
    batch_size=64,
    network="",
)


@dataclass(frozen=True)
class Arm:
    """One training: accuracy of the network and of its int8 file, 0 to 1, and the processor seconds it took."""

    network: float
    file: float
    cpu_s: float


def some_glyphs(folder: Path, seed: int) -> Data:
    """The first of the kanji, which are in order."""
    data = load_glyphs(folder, ImageForm(28, 1), seed)
    share = CLASSES / len(data.classes)
    return replace(
        data,
        train_images=round(share * data.train_images),
        held_out_images=round(share * data.held_out_images),
        classes=data.classes[:CLASSES],
    )


def trained(data: Data, seed: int, trained_for: TrainedFor, builder: TfliteBuilder) -> Arm:
    """A training and its int8 file."""
    config, start = CONFIG.model_copy(update={"seed": seed, "trained_for": trained_for}), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        saved = Training(LAYERS, data, config, RunFolder(folder)).run(on_step=lambda step: None).saved
        cpu_s = time.process_time() - start
        pixels = representative_pixels(data, REPRESENTATIVE_IMAGES, 0)
        content, card = to_tflite(saved, builder, "int8", Use("crop", 1.0), pixels)
        file = Path(folder) / "network.tflite"
        file.write_bytes(content)
        model, right = TfliteModel(file, card), 0
        for images, labels in held_out_pixels(data, data.held_out_images):
            right += int((torch.from_numpy(model.outputs(images)).argmax(1) == labels).sum())
    assert saved.top1 is not None
    return Arm(saved.top1, right / data.held_out_images, cpu_s)


def main() -> int:
    """Prints a line for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the glyphs; they are rendered into it where it does not exist")
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arms: list[tuple[Arm, Arm]] = []
    print("seed  fp32: network  int8 file  seconds   int8: network  int8 file  seconds")
    with TfliteBuilder(workers=1) as builder:
        for seed in range(arguments.seeds):
            data = some_glyphs(arguments.folder, seed)
            fp32, int8 = (trained(data, seed, trained_for, builder) for trained_for in ("fp32", "int8"))
            arms.append((fp32, int8))
            line = "   ".join(f"{arm.network:13.2%}  {arm.file:9.2%}  {arm.cpu_s:7.0f}" for arm in (fp32, int8))
            print(f"{seed:4}  {line}", flush=True)
    gained = [100 * (int8.file - fp32.file) for fp32, int8 in arms]
    lost = [statistics.mean(100 * (arm.network - arm.file) for arm in column) for column in zip(*arms, strict=True)]
    print(f"an int8 file loses {lost[0]:+.2f} points of a network trained for fp32, {lost[1]:+.2f} of one trained for int8")
    if len(arms) > 1:
        p = ttest_rel([int8.file for _, int8 in arms], [fp32.file for fp32, _ in arms]).pvalue
        error = statistics.stdev(gained) / len(gained) ** 0.5
        print(f"files of networks trained for int8 are {statistics.mean(gained):+.2f} ± {error:.2f} points better, p = {p:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
