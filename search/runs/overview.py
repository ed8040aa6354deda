"""What is in a data set, before anything is trained on it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from profiling.errors import InputError
from search.images import findings
from search.images.data import NAMED, in_memory, load_data, no_such_data
from search.images.division import Division, divide
from search.images.findings import Seen
from search.images.folders import ImageFolder
from search.images.names import shown
from search.images.options import Moves
from search.images.prepared import division_note, find_images, look, moves_for
from search.images.shards import ShardSet
from search.listener import SILENT, Listener


@dataclass(frozen=True)
class Overview:
    """What is in a data set.

    Attributes:
        found: files and images, in a line; empty for a named data set.
        division: what a training would hold out and what it would not use, in a line.
        counts: images of each class by part: `train`, `held out`, and the parts that a training does not use.
        formats, modes: how many images of each there are, as Pillow names them.
        sides: least, median and largest shorter side in pixels; None if no image can be read.
        augment: how a training would move its images, and why; None where there is nothing to train on.
        unreadable: why an image cannot be read, by its path.
        notes: what else is to be known, a line each.
    """

    found: str
    division: str
    counts: Mapping[str, Mapping[str, int]]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    sides: tuple[int, int, int] | None
    augment: tuple[Moves, str] | None
    unreadable: Mapping[str, str]
    notes: Sequence[str]

    @property
    def images(self) -> int:
        """How many there are in all."""
        return sum(sum(classes.values()) for classes in self.counts.values())


def overview(data: str | os.PathLike[str], *, seed: int = 0, thorough: bool = False, listener: Listener = SILENT) -> Overview:
    """Looks at a data set as a training does first.

    Args:
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        seed: as in training: decides which images of a data set without parts are held out.
        thorough: decodes every image, however long it takes.
        listener: follows the progress.

    Raises:
        InputError: there is no such data set, or its folders, shards or classes cannot be used.
    """
    name = os.fspath(data)
    if in_memory(name):
        return _in_memory(name, seed)
    images = find_images(name)
    if images is None:
        raise no_such_data(name)
    division = _division(images, name)
    collection = images.collect(division.wanted)
    parts = dict(zip(("train", "held out"), division.apply(collection.parts, seed, collection.classes, name), strict=True))
    notes: list[str] = []
    for part in division.unused:
        try:
            parts[part] = images.collect((part,)).parts[part]
        except InputError as error:
            notes.append(str(error))
    seen = look([item for files in parts.values() for item in files], name, listener.look, thorough=thorough)
    unreadable = {shown(each.source): each.look.reason for each in findings.unreadable(seen)}
    readable = [each for each in seen if not each.look.problem]
    train = _of(readable, parts["train"])
    others = [each for files in parts.values() if files is not parts["train"] for each in _of(readable, files)]
    sides = sorted(min(each.look.width, each.look.height) for each in readable)
    augment = None
    try:
        tops = findings.tops(readable)
        notes += findings.notes(train, others, tops)
        augment = moves_for(None, train, tops, collection.classes) if train else None
    except InputError as error:
        notes.append(str(error))
    return Overview(
        found=collection.found,
        division=division_note(images, division, seed),
        counts={part: _by_class(files, collection.classes) for part, files in parts.items()},
        formats=dict(Counter(each.look.format for each in readable).most_common()),
        modes=dict(Counter(each.look.mode for each in readable).most_common()),
        sides=(sides[0], sides[len(sides) // 2], sides[-1]) if sides else None,
        augment=augment,
        unreadable=unreadable,
        notes=notes,
    )


def _division(images: ImageFolder | ShardSet, name: str) -> Division:
    """As a training divides it; of a data set without a training part, as an evaluation does."""
    try:
        return divide(images.parts, None, name)
    except InputError:
        return divide(images.parts, "held-out", name)


def _of(seen: Sequence[Seen], files: Sequence[tuple[object, int]]) -> list[Seen]:
    sources = {source for source, _ in files}
    return [each for each in seen if each.source in sources]


def _by_class(files: Sequence[tuple[object, int]], classes: Sequence[str]) -> dict[str, int]:
    counts = Counter(label for _, label in files)
    return {name: counts[label] for label, name in enumerate(classes)}


def _in_memory(name: str, seed: int) -> Overview:
    form = NAMED[name]
    data = load_data(name, form, seed)
    counts = {
        part: dict(zip(data.classes, of_class, strict=True))
        for part, of_class in (("train", data.train_counts), ("held out", data.held_out_counts))
    }
    modes, side = {"L" if form.image_channels == 1 else "RGB": data.train_images + data.held_out_images}, form.resolution
    return Overview("", "", counts, {}, modes, (side, side, side), (data.moves, ""), {}, ())
