"""Networks trained for a few dozen steps, enough to know three digits."""

from collections.abc import Sequence
from pathlib import Path

import torch

from profiling.layers import LayerSpec, MBConv, MlpHead, Stem, UniversalBottleneck
from search.convnet.batch_norm import BatchNorm
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.images.one_image import ImageFiles, ImageForm

# For them, what later networks have: squeeze-and-excitation, h-swish, the blocks of MobileNetV3 and V4.
LATER_BLOCKS = (
    Stem(24, 3, 8, 2, 3, activation="hswish"),
    MBConv(12, 8, 8, 1, 3, 1, True, squeeze=8, activation="relu"),
    MBConv(12, 8, 16, 2, 5, 4, False, squeeze=8, activation="hswish"),
    UniversalBottleneck(6, 16, 16, 1, 3, 2, True, 5, activation="relu"),
    MBConv(6, 16, 16, 1, 3, 2, True, hidden=40, activation="hswish"),
    MlpHead(6, 16, 64, 3, 48, False, activation="hswish"),
)


def trained(name: str, layers: Sequence[LayerSpec | None], photos: Path, steps: int = 60) -> SavedNetwork:
    """A network of these layers, for colour images of 24×24 pixels in three classes, trained on those in a folder."""
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
    for _ in range(steps):
        batch = torch.randint(len(images), (32,))
        loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return SavedNetwork(name, layers, classes, network.state_dict(), None, "trained in a test")
