"""Networks by name or file, and images in the form that a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from profiling.errors import InputError
from profiling.layers import LayerSpec
from profiling.space import load_architecture
from search.convnet.saved import SavedNetwork, load_network
from search.convnet.zoo import RESOLUTION, UNAVAILABLE, load_zoo_network, zoo_names
from search.images.data import Data, load_data
from search.images.one_image import Augment, ImageForm

Layers = tuple[LayerSpec | None, ...]


def load_layers(name_or_file: str, *, width: float = 1.0, resolution: int | None = None) -> Layers:
    """The layers of a network of the zoo, of an architecture (`.json`) or of a trained network (`.pt`).

    Args:
        name_or_file: as above.
        width: channels relative to the network as it is given.
        resolution: of the images in pixels; None leaves it as it is, 224 for the zoo.

    Returns:
        From stem to head; None where a layer is skipped.

    Raises:
        InputError: it is none of these, or cannot be had in this size.
    """
    path = Path(name_or_file)
    if name_or_file in zoo_names() or name_or_file in UNAVAILABLE:
        return load_zoo_network(name_or_file, width_multiplier=width, resolution=resolution or RESOLUTION).layers
    if not path.is_file():
        hint = f"the zoo: {', '.join(zoo_names())}"
        raise InputError("no such file, and no network of the zoo has this name", where=name_or_file, hint=hint)
    if path.suffix == ".pt":
        if width != 1 or resolution is not None:
            raise InputError("a trained network is of one size; give its architecture to change that", where=name_or_file)
        return load_network(path).layers
    architecture = load_architecture(name_or_file).scaled(width, resolution=resolution)
    return tuple(layer for _, layer in architecture.placed_layers())


def load_images(layers: Sequence[LayerSpec | None], name_or_folder: str, seed: int, augment: Augment | None = None) -> Data:
    """The images of a data set in the form that a network takes. Arguments and what is raised: as for `load_data`."""
    stem = next(layer for layer in layers if layer is not None)
    return load_data(name_or_folder, ImageForm(stem.resolution, stem.in_channels), seed, augment)


def load_known_images(saved: SavedNetwork, name_or_folder: str, seed: int) -> Data:
    """The same for a trained network, which knows the classes.

    Raises:
        InputError: as for `load_data`, or the classes are not those of the network.
    """
    data = load_images(saved.layers, name_or_folder, seed)
    if data.classes != saved.classes:
        parts = {"unknown to it": set(data.classes) - set(saved.classes), "not in these": set(saved.classes) - set(data.classes)}
        words = [f"{what}: {', '.join(sorted(names)[:5])}" for what, names in parts.items() if names]
        raise InputError(
            f"the network knows {len(saved.classes)} classes, these images have {len(data.classes)}; "
            + ("; ".join(words) or "they are in another order"),
            where=name_or_folder,
        )
    return data
