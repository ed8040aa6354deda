"""One small network trained on real images, and its exports in every form."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from trained import trained

from profiling.space import Architecture
from search.convnet.inputs import load_known_images
from search.export.export import ExportOptions, write_export

FORMS = {"fp32": "tflite", "fp16": "tflite", "int8": "tflite", "onnx": "onnx"}


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Real digits as upright colour photos of 60×80 pixels, a different mixture in each channel, in three classes."""
    folder = tmp_path_factory.mktemp("photos")
    digits = load_digits()
    names = ("one", "two words", "zéro")
    for count, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit > 2 or count > 900:
            continue
        grey = np.asarray(Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((60, 80)), np.float32)
        colour = np.stack([grey, 128 + grey / 2, 255 - grey], axis=2).astype(np.uint8)
        path = folder / ("val" if count % 4 == 0 else "train") / names[digit - 1] / f"{count}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour).save(path)
    return folder


@pytest.fixture(scope="session")
def saved(photos, make_space):
    """Trained for a few dozen steps: strides, an expansion of 1, residual connections and a skipped layer are in it."""
    space = make_space(
        resolution=24,
        image_channels=3,
        stages=[
            {"layers": 1, "channels": 8, "kernel": 3, "expansion": 1},
            {"layers": 2, "channels": 8, "stride": 2},
            {"layers": 2, "channels": 16},
        ],
    )
    choices = ("5x5-3", "skip", "3x3-6", "5x5-6")
    layers = tuple(layer for _, layer in Architecture(space=space, choices=choices).placed_layers())
    return trained("digits of three", layers, photos)


@pytest.fixture(scope="session")
def exports(saved, photos, builder, tmp_path_factory):
    """The network in every form."""
    folder, data = tmp_path_factory.mktemp("exports"), load_known_images(saved, str(photos), 0)
    return {
        name: write_export(
            saved, folder / f"{name}.{to}", to, "fp32" if to == "onnx" else name, builder, data,
            ExportOptions(representative_images=60),
        )
        for name, to in FORMS.items()
    }  # fmt: skip
