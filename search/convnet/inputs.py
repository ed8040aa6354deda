"""Images in the form that a network expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from profiling.errors import InputError
from profiling.layers import LayerSpec
from search.convnet.saved import SavedNetwork
from search.images.data import Data, load_data
from search.images.names import same_form
from search.images.one_image import Augment, ImageForm
from search.images.options import AS_THEY_COME, ImageOptions
from search.images.survey import Progress


def load_images(
    layers: Sequence[LayerSpec | None],
    name_or_folder: str,
    seed: int,
    augment: Augment | None = None,
    options: ImageOptions = AS_THEY_COME,
    progress: Progress | None = None,
) -> Data:
    """The images of a data set in the form that a network expects. Arguments and errors as for `load_data`."""
    stem = next(layer for layer in layers if layer is not None)
    return load_data(name_or_folder, ImageForm(stem.resolution, stem.in_channels), seed, augment, options, progress)


def load_known_images(
    saved: SavedNetwork,
    name_or_folder: str,
    seed: int,
    options: ImageOptions = AS_THEY_COME,
    progress: Progress | None = None,
) -> Data:
    """The same for a trained network, which knows the classes, and the framing where the options give none.

    Raises:
        InputError: as for `load_data`, or the classes are not those of the network.
    """
    data = load_images(saved.layers, name_or_folder, seed, None, options, progress)
    if data.class_keys == tuple(map(same_form, saved.classes)):
        data = replace(data, classes=saved.classes)  # the network was trained before the classes got readable names
    require_classes(saved, data.classes, name_or_folder)
    return data.framed(options.framing or saved.framing)


def require_classes(saved: SavedNetwork, classes: tuple[str, ...], where: str) -> None:
    """Checks that a trained network knows the classes of some images, in their order.

    Raises:
        InputError: it does not; names what differs.
    """
    known, given = (tuple(map(same_form, names)) for names in (saved.classes, classes))
    if known == given:
        return
    parts = {"unknown to it": set(given) - set(known), "not in these": set(known) - set(given)}
    words = [f"{what}: {', '.join(sorted(names)[:5])}" for what, names in parts.items() if names]
    raise InputError(
        f"the network knows {len(saved.classes)} classes, these images have {len(classes)}; "
        + ("; ".join(words) or "they are in another order"),
        where=where,
    )
