"""Weights that torchvision has for networks of the zoo, as weights of ours: mapped layer by layer, and checked by output.

torchvision pads images alike on both sides, where our networks pad as TensorFlow does. At stride 2 that is one and the same in
a mirror: our network with its kernels turned by 180°, on images turned by 180°, computes what torchvision's does, to rounding.
That is the check. Used upright, the weights see the image shifted by a pixel at each stride, which a training makes good.
"""

from __future__ import annotations

import contextlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import search.images.vision  # noqa: F401 (makes torchvision importable beside any build of PyTorch)
from profiling.errors import InputError
from profiling.layers import LayerSpec
from profiling.outside import open_regular
from search.convnet.batch_norm import BN_EPSILON
from search.convnet.named import Size
from search.convnet.network import ConvBN, HeadBlock, Network
from search.convnet.saved import FORMAT, MEAN, STD, SavedNetwork
from search.convnet.zoo import RESOLUTION, load_zoo_network

TORCHVISION = "torchvision"
WIDTHS = {
    "mobilenet-v2": {1.0: "mobilenet_v2"},
    "mnasnet": {0.5: "mnasnet0_5", 0.75: "mnasnet0_75", 1.0: "mnasnet1_0", 1.3: "mnasnet1_3"},
}
# What torchvision subtracts from the channels of an image from 0 to 1, and divides them by.
THEIR_MEAN, THEIR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Sides of the images of the check: even at every stride. Logits may differ by so much of their spread.
CHECK_SIDE, CHECK_IMAGES, TOLERANCE = 64, 2, 1e-3
# What programs that train with torchvision wrap the weights in.
WRAPPERS, PREFIX = ("model", "state_dict"), "module."


@dataclass(frozen=True)
class Weights:
    """Weights as torchvision names them, where they come from, and what PyTorch keeps beside them."""

    state: Mapping[str, Tensor]
    where: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def state_in(file: Path) -> Weights | None:
    """The weights in a file that holds names and tensors and nothing else; None for any other file, such as one of spnas.

    Raises:
        InputError: it is missing, or not a regular file.
    """
    with open_regular(file) as content:
        try:
            state: Any = torch.load(content, map_location="cpu", weights_only=True)
        except Exception:  # noqa: BLE001 (there is nothing that a pickle cannot make its reader raise)
            return None
    if isinstance(state, dict):
        state = next((state[name] for name in WRAPPERS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or state.get("format") == FORMAT or not state:
        return None
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        return None
    metadata = {
        name.removeprefix(PREFIX[:-1]).removeprefix("."): value for name, value in getattr(state, "_metadata", {}).items()
    }
    return Weights({name.removeprefix(PREFIX): value for name, value in state.items()}, str(file), metadata)


def downloaded(network: str, width: float) -> Weights:
    """The weights that torchvision downloads, or has downloaded before.

    Args:
        network: of the zoo.
        width: its width multiplier.

    Raises:
        InputError: torchvision has none for it, or they cannot be downloaded.
    """
    from torchvision import models

    name = WIDTHS.get(network, {}).get(width)
    if name is None:
        known = "; ".join(f"{each} at width {', '.join(f'{w:g}' for w in sorted(widths))}" for each, widths in WIDTHS.items())
        raise InputError(f"torchvision has no weights for {network} at width {width:g}", where="--init", hint=f"it has: {known}")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where results of commands go
            state = models.get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        hint = "download them elsewhere, and give the file: --init FILE.pth"
        raise InputError(f"torchvision's weights cannot be downloaded: {reason}", where=name, hint=hint) from error
    return Weights(state, f"torchvision's {name}", getattr(state, "_metadata", {}))


@torch.no_grad()
def from_torchvision(network: str, size: Size, weights: Weights) -> SavedNetwork:
    """A network of the zoo with weights of torchvision's.

    Args:
        network: of the zoo.
        size: its width must be that of the weights; the resolution may be any.
        weights: names and tensors.

    Raises:
        InputError: torchvision has no such network, the weights are of another, or the two do not compute the same.
    """
    if network not in WIDTHS:
        problem = f"these are weights of PyTorch without a network, which can be used for {' and '.join(WIDTHS)}"
        raise InputError(problem, where=weights.where)
    theirs = _their_network(network, size.width, weights)
    classifier: Any = theirs.classifier
    inputs, classes = classifier[1].in_features, classifier[1].out_features
    given = load_zoo_network(network, width_multiplier=size.width, resolution=size.resolution or RESOLUTION, classes=classes)
    layers = _like_theirs(network, given.layers, inputs)
    mine = Network(layers, classes).eval()
    try:
        _copy(theirs, mine)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"these weights do not fit {network} at width {size.width:g}", where=weights.where) from error
    _require_the_same(theirs, mine, network, weights.where)
    _take_our_pixels(next(module for module in mine.modules() if isinstance(module, ConvBN)))
    # Names that no data set has: what torchvision calls its classes is not in the file, and their order is its own.
    names = tuple(f"{weights.where}: {number}" for number in range(classes))
    return SavedNetwork(network, layers, names, mine.state_dict(), None, f"{weights.where}, trained by torchvision")


def _their_network(network: str, width: float, weights: Weights) -> nn.Module:
    from torchvision import models

    classifier = weights.state.get("classifier.1.bias")
    classes = len(classifier) if classifier is not None and classifier.dim() == 1 else 1000
    with torch.random.fork_rng(devices=[]):  # its own random weights are of no use to anybody
        made: nn.Module = (
            models.mobilenet_v2(num_classes=classes, width_mult=width)
            if network == "mobilenet-v2"
            else models.MNASNet(width, num_classes=classes)
        )
    state = OrderedDict(weights.state)
    # MnasNet asks for the version of its layout, which files that were written in another way than by PyTorch's own lack.
    state._metadata = {"": {"version": 2}} | dict(weights.metadata)  # type: ignore[attr-defined]
    try:
        made.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines[1:] if line), lines[0])[:200]
        hint = None if network == "mobilenet-v2" else "--width must be theirs"
        problem = f"these are not torchvision's weights of {network} at width {width:g}: {reason}"
        raise InputError(problem, where=weights.where, hint=hint) from error
    return made.eval()


def _like_theirs(network: str, layers: tuple[LayerSpec, ...], inputs: int) -> tuple[LayerSpec, ...]:
    """Our layers with what torchvision has in another way: ReLU in MnasNet, and there one size of head above width 1 too."""
    *before, head = layers
    layers = (*before, replace(head, out_channels=inputs))
    return tuple(replace(layer, activation="relu") for layer in layers) if network == "mnasnet" else layers


def _copy(theirs: nn.Module, mine: Network) -> None:
    convolutions = [module for module in theirs.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
    blocks = [module for module in mine.modules() if isinstance(module, ConvBN)]
    for convolution, norm, block in zip(convolutions, norms, blocks, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        block.weight.copy_(convolution.weight)
        # Its ε is another one.
        block.bn.gamma.copy_(norm.weight * ((norm.running_var + BN_EPSILON) / (norm.running_var + norm.eps)).sqrt())
        block.bn.beta.copy_(norm.bias)
        block.bn.running_mean.copy_(norm.running_mean)
        block.bn.running_var.copy_(norm.running_var)
    [head] = [module for module in mine.modules() if isinstance(module, HeadBlock)]
    classifier: Any = theirs.classifier
    head.classifier.weight.copy_(classifier[1].weight)
    head.classifier.bias.copy_(classifier[1].bias)


def _require_the_same(theirs: nn.Module, mine: Network, network: str, where: str) -> None:
    """Checks that both compute the same, ours in the mirror that makes up for its padding.

    Raises:
        InputError: they do not.
    """
    images = torch.randn(CHECK_IMAGES, 3, CHECK_SIDE, CHECK_SIDE, generator=torch.Generator().manual_seed(0))
    expected = theirs(images)
    _turn(mine)
    difference = (mine(images.flip(2, 3)) - expected).abs().max()
    _turn(mine)
    if not float(difference) <= TOLERANCE * float(expected.std()):
        problem = f"with these weights {network} does not compute what torchvision's does: a logit differs by {difference:.2g}"
        raise InputError(problem, where=where)


def _turn(network: Network) -> None:
    for module in network.modules():
        if isinstance(module, ConvBN):
            module.weight.copy_(module.weight.flip(2, 3))


def _take_our_pixels(stem: ConvBN) -> None:
    """Changes a first layer for images from torchvision's normalisation to take those from −1 to 1."""
    mean, std = (torch.tensor(values) for values in (THEIR_MEAN, THEIR_STD))
    # Theirs is scale · ours + shift; the shift is a constant in what comes out of the convolution.
    scale, shift = STD / std, (MEAN - mean) / std
    stem.bn.running_mean.sub_((stem.weight * shift[:, None, None]).sum((1, 2, 3)))
    stem.weight.mul_(scale[:, None, None])
