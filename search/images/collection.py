"""The images of a data set with their classes and parts, before any of them is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.images.names import Part, found_line
from search.images.reading import HEIF, Source, image_endings

Labelled = list[tuple[Source, int]]
"""Images, each with the number of its class."""


@dataclass(frozen=True)
class Collection:
    """The images of a folder, or of shards.

    Attributes:
        name: of the folder, or the pattern of the shards.
        classes: their names, in the order of their numbers.
        keys: the same as the folders, or the labels in the shards, have them.
        parts: the images by part; those of a data set without parts are under None.
        left_out: files that are no images, by ending.
        unused: what stands beside the parts and belongs to none, in words.
    """

    name: str
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    parts: Mapping[Part | None, Labelled]
    left_out: Counter[str] = field(default_factory=Counter)
    unused: Sequence[str] = ()

    @property
    def found(self) -> str:
        """What was found and what was left out, in a line."""
        line = found_line(sum(map(len, self.parts.values())), self.left_out)
        return line + heif_hint(self.left_out)


def heif_hint(left_out: Mapping[str, int]) -> str:
    """What to install if photos of iPhones were left out."""
    photos = any(left_out.get(ending) for ending in HEIF if ending not in image_endings())
    return " (pip install 'spnas[heic]' to read HEIC photos)" if photos else ""
