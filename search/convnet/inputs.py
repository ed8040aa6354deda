"""Images in the form that a network expects."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.errors import InputError
from profiling.layers import LayerSpec
from search.convnet.saved import SavedNetwork
from search.images.data import Data, load_data
from search.images.one_image import Augment, ImageForm


def load_images(layers: Sequence[LayerSpec | None], name_or_folder: str, seed: int, augment: Augment | None = None) -> Data:
    """The images of a data set in the form that a network expects. Arguments and errors as for `load_data`."""
    stem = next(layer for layer in layers if layer is not None)
    return load_data(name_or_folder, ImageForm(stem.resolution, stem.in_channels), seed, augment)


def load_known_images(saved: SavedNetwork, name_or_folder: str, seed: int) -> Data:
    """The same for a trained network, which knows the classes.

    Raises:
        InputError: as for `load_data`, or the classes are not those of the network.
    """
    data = load_images(saved.layers, name_or_folder, seed)
    require_classes(saved, data.classes, name_or_folder)
    return data


def require_classes(saved: SavedNetwork, classes: tuple[str, ...], where: str) -> None:
    """Checks that a trained network knows the classes of some images, in their order.

    Raises:
        InputError: it does not; names what differs.
    """
    if classes == saved.classes:
        return
    parts = {"unknown to it": set(classes) - set(saved.classes), "not in these": set(saved.classes) - set(classes)}
    words = [f"{what}: {', '.join(sorted(names)[:5])}" for what, names in parts.items() if names]
    raise InputError(
        f"the network knows {len(saved.classes)} classes, these images have {len(classes)}; "
        + ("; ".join(words) or "they are in another order"),
        where=where,
    )
