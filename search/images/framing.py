"""What of a photo a network is given: the square in its centre, or all of it, its sides made equal.

A network is trained and measured in one of the two, and an app must do the same: the file of a network and its exports say which.
"""

from __future__ import annotations

from typing import Literal, get_args

Framing = Literal["crop", "stretch"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)


def uncropped(size: int) -> int:
    """The length in pixels to which the shorter side of a photo is scaled before the centre crop."""
    return size * 8 // 7


def centre_crop(framing: Framing, size: int) -> float:
    """Side of the central square crop of a photo that becomes `size` pixels, as a fraction of its shorter side; 1 without one."""
    return size / uncropped(size) if framing == "crop" else 1.0


def in_words(framing: Framing, crop: float) -> str:
    """What an app does with a photo, in a few words."""
    return "the whole image, stretched" if framing == "stretch" else f"central square crop, {crop:.4g} of the shorter side"
