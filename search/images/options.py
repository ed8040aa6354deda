"""How the images of a data set are used, as people say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from search.images.framing import Framing

Moves = Literal["none", "shift", "crop", "crop-flip", "light", "light-flip"]
"""How training images are moved, a little differently each time."""
MOVES: tuple[Moves, ...] = get_args(Moves)

Split = Literal["held-out", "val", "test", "all"]
"""The images that an accuracy is measured on: what a training holds out, a part, or all of a data set without parts."""


@dataclass(frozen=True)
class ImageOptions:
    """How the images of a data set are used.

    Attributes:
        moves: of training images; None chooses by their size.
        split: the images to measure an accuracy on; None for a training, which needs training images too.
        skip_unreadable: goes on without up to so many images that cannot be read, once all have been decoded.
        left_out: images that were left out when a run was begun, by name.
        light: if nobody chooses how images are moved and they would be cropped, they are cropped lightly.
        framing: of photos; None for that of the network that they are for.
    """

    moves: Moves | None = None
    split: Split | None = None
    skip_unreadable: int = 0
    left_out: tuple[str, ...] = ()
    framing: Framing | None = None
    light: bool = False


AS_THEY_COME = ImageOptions()
