"""Two ways of guessing the classes of the same images, compared image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

CONFIDENT = 1.96  # standard errors in half of a 95 % interval


@dataclass(frozen=True)
class Paired:
    """How many of the same images two ways guess right.

    Attributes:
        images: how many there are.
        right: of them, by the first way.
        lost: right by the first way alone.
        gained: right by the second way alone.
    """

    images: int
    right: int
    lost: int
    gained: int

    @property
    def first(self) -> float:
        """Accuracy of the first way, 0 to 1."""
        return self.right / self.images

    @property
    def second(self) -> float:
        """Accuracy of the second way, 0 to 1."""
        return (self.right - self.lost + self.gained) / self.images

    @property
    def drop(self) -> float:
        """Points of accuracy that the second way has less than the first."""
        return 100 * (self.lost - self.gained) / self.images

    @property
    def drop_interval(self) -> tuple[float, float]:
        """The 95 % interval of `drop` in points, for images like these.

        Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions": half an image more of each
        kind, so that images that are all alike do not count as proof.
        """
        images, lost, gained = self.images + 2, self.lost + 0.5, self.gained + 0.5
        drop = (lost - gained) / images
        half = CONFIDENT * math.sqrt(lost + gained - images * drop**2) / images
        return (max(-1.0, drop - half) * 100, min(1.0, drop + half) * 100)

    @property
    def interval_in_words(self) -> str:
        """The interval of `drop` and what it rests on."""
        low, high = self.drop_interval
        return f"95 % interval {low:.2f} to {high:.2f}, {self.images} images"
