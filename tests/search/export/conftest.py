"""One small network trained on real images, and its exports in every form."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from profiling.space import Architecture
from search.convnet.batch_norm import BatchNorm
from search.convnet.inputs import load_known_images
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.export.export import ExportOptions, write_export
from search.images.one_image import ImageFiles, ImageForm

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
    torch.manual_seed(0)
    classes = tuple(sorted(path.name for path in (photos / "train").iterdir()))
    files = [(path, label) for label, name in enumerate(classes) for path in (photos / "train" / name).iterdir()]
    decoded = ImageFiles(files, ImageForm(24, 3), None)
    images = torch.stack([decoded[0, index][0] for index in range(len(files))])
    labels = torch.tensor([label for _, label in files])
    network = Network(layers, 3)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 0.1
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(60):
        batch = torch.randint(len(images), (32,))
        loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return SavedNetwork("digits of three", layers, classes, network.state_dict(), None, "trained in a test")


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
