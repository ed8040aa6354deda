"""The images of a run: as its options say, and when it goes on, as it was begun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search.config import TrainingConfig, TrainingOptions
from search.images.data import Data, in_memory
from search.images.options import ImageOptions, Moves
from search.images.prepared import UnreadableError
from search.listener import Listener


def image_options(data: str, options: TrainingOptions, begun: TrainingConfig | None, *, light: bool = False) -> ImageOptions:
    """How a run uses its images.

    Args:
        data: name of the data set.
        options: of the run.
        begun: the settings that it was begun with, None if it is new.
        light: whether crops are light unless the options say how images are moved.
    """
    if begun is None:
        return ImageOptions(options.augment, skip_unreadable=options.skip_unreadable, framing=options.framing, light=light)
    moves, framing = options.augment or begun.augment or moves_before(data), options.framing or begun.framing
    return ImageOptions(moves, left_out=begun.left_out, framing=framing)


def image_settings(data: str, images: Data, begun: TrainingConfig | None) -> dict[str, Any]:
    """What the settings of a run keep of its images; arguments as above."""
    as_before = begun is not None and begun.augment is None and images.moves == moves_before(data)
    return {"augment": None if as_before else images.moves, "left_out": images.left_out, "framing": images.framing}


def told(listener: Listener, load: Callable[[], Data]) -> Data:
    """The images that `load` gives; if some cannot be read, the listener hears of each.

    Raises:
        InputError: as `load` raises it.
    """
    try:
        return load()
    except UnreadableError as error:
        for line in error.lines:
            listener.note(line)
        raise


def moves_before(data: str) -> Moves:
    """How versions that did not write it down moved the images of a data set."""
    return "shift" if in_memory(data) else "crop-flip"
