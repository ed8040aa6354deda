"""How a data set is divided: what is trained on, what is held out, and what is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from profiling.errors import InputError
from search.images.names import Part, shown
from search.images.options import Split

HELD_OUT = 0.2
Image = TypeVar("Image")


@dataclass(frozen=True)
class Division:
    """Which parts of a data set are used; None stands for all of a data set without parts.

    Attributes:
        held_out: the part that is held out.
        train: what is trained on; the same part as held out if one in five of its images is.
        nothing_trained: there is no training part; `train` is not used.
        unused: parts that are not used.
    """

    held_out: Part | None
    train: Part | None
    nothing_trained: bool = False
    unused: tuple[Part, ...] = ()

    @property
    def wanted(self) -> tuple[Part | None, ...]:
        """The parts to be read."""
        return (self.held_out,) if self.nothing_trained or self.is_split else (self.train, self.held_out)

    @property
    def is_split(self) -> bool:
        """Whether one in five images of a part is held out."""
        return not self.nothing_trained and self.train == self.held_out

    def apply(
        self, parts: Mapping[Part | None, Sequence[tuple[Image, int]]], seed: int, classes: Sequence[str], where: str
    ) -> tuple[list[tuple[Image, int]], list[tuple[Image, int]]]:
        """The images to train on and those held out, each with the number of its class.

        Raises:
            InputError: a class has a single image, which is to be divided.
        """
        held_out = parts[self.held_out]
        if not self.is_split:
            return [] if self.nothing_trained else list(parts[self.train]), list(held_out)
        kept, held = held_out_fifth([label for _, label in held_out], seed, where=where, classes=classes)
        return [held_out[index] for index in kept], [held_out[index] for index in held]


def divide(parts: Sequence[Part | None], split: Split | None, where: str) -> Division:
    """How a data set with these parts is divided.

    A validation part alone is held out; without one the test part is, and without any part one image in five.

    Args:
        parts: of the data set; (None,) for one without.
        split: what to measure an accuracy on; None for a training.
        where: the data set, for errors.

    Raises:
        InputError: the part asked for, or what to train on, is missing.
    """
    have = [part for part in parts if part is not None]
    there = f"it has {' and '.join(have)}" if have else "it has no parts"
    if split == "all":
        if have:
            hint = f"choose one with --split, or give the folder of a part: {shown(where)}/{have[-1]}"
            raise InputError(f"--split all is for a data set without parts, {there}", where=shown(where), hint=hint)
        return Division(None, None, nothing_trained=True)
    by_default: Part | None = "val" if "val" in have else "test" if "test" in have else "train" if have else None
    held_out = by_default if split is None or split == "held-out" else split
    if split == "val" and set(have) <= {"train"}:
        held_out = by_default  # what a training holds out for it
    if held_out not in parts:
        hint = f"a training holds out {by_default}: leave --split out" if have else "--split all takes all of its images"
        raise InputError(f"there is no {held_out} part, {there}", where=shown(where), hint=hint)
    if split is None and have and "train" not in have:
        raise InputError(f"there is nothing to train on, {there}", where=shown(where), hint="name the folder of the rest `train`")
    trained: Part | None = "train" if have else None
    unused = tuple(part for part in have if part not in (held_out, trained))
    return Division(held_out, trained, nothing_trained=trained not in parts, unused=unused)


def held_out_fifth(
    labels: Sequence[int], seed: int, *, where: str = "", classes: Sequence[str] = ()
) -> tuple[list[int], list[int]]:
    """Indices to train on, and one in five of each class to hold out.

    Raises:
        InputError: a class has a single image.
    """
    from sklearn.model_selection import train_test_split

    counts = Counter(labels)
    few = [name for label, name in enumerate(classes) if counts[label] < 2]
    if few:
        raise InputError(f"a class with a single image cannot be split: {', '.join(few)}", where=where)
    held = max(round(len(labels) * HELD_OUT), len(counts))
    kept, held_out = train_test_split(range(len(labels)), test_size=held, random_state=seed % 2**32, stratify=labels)
    return kept, held_out
