"""The images of a run: as its options say, and when it goes on, as it was begun."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from search import processes
from search.config import TrainingConfig, TrainingOptions
from search.images.data import Data, in_memory, load_data
from search.images.one_image import Form
from search.images.options import ImageOptions, Moves
from search.images.prepared import UnreadableError
from search.listener import Listener


def begin_with(data: str, form: Form, options: TrainingOptions, begun: TrainingConfig | None, listener: Listener) -> Data:
    """The images that a run on a search space begins or goes on with.

    Args:
        data: name of the data set.
        form: resolution and channels of the images.
        options: of the run.
        begun: the settings that it was begun with, None if it is new.
        listener: follows the first look at them.
    """
    using = image_options(data, options, begun)
    load = partial(load_data, data, form, options.seed, None, using, listener.look)
    return told(listener, lambda: processes.one_first(load)).framed(using.framing or "crop")


def as_in(config: TrainingConfig, form: Form, data: str | None = None) -> Data:
    """The images of a finished run, as it used them.

    Args:
        config: settings of the run.
        form: resolution and channels of the images.
        data: where they are now; None where they were.
    """
    using = ImageOptions(config.augment or moves_before(config.data), left_out=config.left_out)
    return load_data(data or config.data, form, config.seed, None, using).framed(config.framing)


def counted(images: Data) -> str:
    """How many images there are, in words."""
    return f"{images.train_images} training and {images.held_out_images} held-out images in {len(images.classes)} classes"


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
