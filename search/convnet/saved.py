"""The file of a stand-alone network: its layers, its weights, and everything needed to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from profiling.errors import InputError
from profiling.layers import FinalLayer, LayerSpec
from profiling.network import NetworkSpec
from profiling.space_limits import MAX_LAYERS, require_convertible
from profiling.specfile import SpecModel
from search import checkpoint
from search.config import TrainedFor
from search.convnet.network import Network
from search.fitting import require_weights
from search.images.framing import Framing

FORMAT = "spnas-network-1"
# What maps 8-bit pixels divided by 255 to the numbers from −1 to 1 that every network here is trained on.
MEAN = STD = 0.5
# The origin of weights that were cut out of a supernet and not trained since.
FROM_SUPERNET = "weights of a supernet, batch norm re-estimated"


class _Content(SpecModel):
    """What is in the file of a network; see `SavedNetwork`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: str
    name: str
    layers: Annotated[list[str | None], Field(max_length=2 * MAX_LAYERS)]
    classes: Annotated[list[str], Field(min_length=1)]
    network: dict[str, Tensor]
    top1: Annotated[float, Field(ge=0, le=1)] | None
    origin: str
    # Earlier versions knew this framing alone, and wrote neither down.
    framing: Framing = "crop"
    centre_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    trained_for: TrainedFor = "fp32"


@dataclass(frozen=True)
class SavedNetwork:
    """A trained network.

    Attributes:
        name: a word for people.
        layers: from stem to head; None where a layer of the search space is skipped, so that the places keep their numbers.
        classes: names of the classes, in the order of the logits.
        state: weights by name, as `Network.state_dict` gives them.
        top1: accuracy on held-out images, 0 to 1, None when it was not measured.
        origin: where the weights come from, in words: the supernet's weights, or which training.
        framing: of the photos that it was measured on.
        centre_crop: side of the central square crop of these photos, as a fraction of their shorter side; None if not known.
        trained_for: the precision whose rounding the weights have learned to live with.
    """

    name: str
    layers: tuple[LayerSpec | None, ...]
    classes: tuple[str, ...]
    state: dict[str, Tensor]
    top1: float | None
    origin: str
    framing: Framing = "crop"
    centre_crop: float | None = None
    trained_for: TrainedFor = "fp32"

    @property
    def present_layers(self) -> tuple[LayerSpec, ...]:
        """The layers that are not skipped."""
        return tuple(layer for layer in self.layers if layer is not None)

    def build(self) -> Network:
        """The network with its weights, in evaluation mode."""
        network = Network(self.layers, len(self.classes))
        network.load_state_dict(self.state)
        return network.eval()

    def save(self, path: Path) -> None:
        """Writes the file by rename.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        state: dict[str, Any] = {
            "name": self.name,
            "layers": [layer and layer.key for layer in self.layers],
            "classes": list(self.classes),
            "network": self.state,
            "top1": self.top1,
            "origin": self.origin,
            "framing": self.framing,
            "centre_crop": self.centre_crop,
            "trained_for": self.trained_for,
        }
        checkpoint.save(state, path, FORMAT)


def load_network(path: Path) -> SavedNetwork:
    """Reads the file of a network.

    Raises:
        InputError: it is missing, damaged, another kind of file, or its weights do not fit its layers.
    """
    state = checkpoint.load(path, {}, FORMAT)
    with checkpoint.fitting(path, "this is not the file of a network"):
        content = _Content.model_validate(state)
        saved = SavedNetwork(
            name=content.name,
            layers=tuple(None if key is None else LayerSpec.from_key(key) for key in content.layers),
            classes=tuple(content.classes),
            state=content.network,
            top1=content.top1,
            origin=content.origin,
            framing=content.framing,
            centre_crop=content.centre_crop,
            trained_for=content.trained_for,
        )
        require_convertible(NetworkSpec(saved.present_layers).layers)
    with checkpoint.fitting(path, "the weights in this file do not fit the layers in it"):
        with torch.device("meta"):  # which takes no memory, however large the layers are
            network = Network(saved.layers, len(saved.classes))
        require_weights(saved.state, network.state_dict())
    return saved


def require_layers(saved: SavedNetwork, layers: Sequence[LayerSpec], where: Path) -> None:
    """Checks that a file contains the expected network; the head may have other classes.

    Raises:
        InputError: it contains another one; names the first difference.
    """
    mine, theirs = ([_but_for_classes(layer).key for layer in some] for some in (saved.present_layers, layers))
    if mine != theirs:
        pairs = zip([*mine, "none"], [*theirs, "none"], strict=False)
        number, (have, want) = next((index, pair) for index, pair in enumerate(pairs) if pair[0] != pair[1])
        raise InputError(f"the checkpoint is of another network: its layer {number} is {have}, not {want}", where=str(where))


def _but_for_classes(layer: LayerSpec) -> LayerSpec:
    return replace(layer, classes=1) if isinstance(layer, FinalLayer) else layer


def deployed_spec(saved: SavedNetwork) -> NetworkSpec:
    """The layers of a network, its head with the classes it was trained on.

    Raises:
        InputError: this is not a classifier of whole images in 1 or 3 channels, or its layers do not fit one another.
    """
    spec = NetworkSpec(saved.present_layers).with_classes(len(saved.classes))
    if spec.classes is None:
        raise InputError(f"a network that ends with {spec.layers[-1].key} cannot be exported: it needs a head", where=saved.name)
    if spec.layers[0].in_channels not in (1, 3):
        raise InputError(f"{spec.layers[0].key} takes no image of 1 or 3 channels", where=saved.name)
    return spec
