"""Image files made ready for a training or an evaluation: which are trained on and which held out, looked at, and told about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.errors import InputError
from profiling.outside import is_folder
from search.images import findings
from search.images.collection import Labelled
from search.images.division import Division, divide
from search.images.findings import Seen
from search.images.folders import ImageFolder
from search.images.layout import has_class_folders
from search.images.moves import IN_WORDS, LIGHTER, mirrored_classes, sensible_moves
from search.images.names import listed, shown
from search.images.options import AS_THEY_COME, ImageOptions, Moves
from search.images.reading import Source
from search.images.shards import UNPACK, ShardSet, find_shards, packed_in
from search.images.survey import Progress, survey

MOST_NAMED = 20


@dataclass(frozen=True)
class Prepared:
    """Image files, ready to be loaded.

    Attributes:
        classes: names of the classes; keys: the same as folders or shards have them.
        train, held_out: the images with the numbers of their classes.
        tops: for `read_image`.
        moves: of the training images.
        left_out: images that cannot be read and are left out, by name.
        notes: what is to be said of all this, a line each.
    """

    classes: tuple[str, ...]
    keys: tuple[str, ...]
    train: Labelled
    held_out: Labelled
    tops: Mapping[str, float]
    moves: Moves
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def find_images(name: str) -> ImageFolder | ShardSet | None:
    """The images of a folder, of shards in a folder, or of shards by a pattern; None if there is nothing of that name.

    Raises:
        InputError: they are packed, or do not fit together.
    """
    folder = Path(name)
    if is_folder(name):
        # Archives beside class folders are what these were unpacked from.
        if has_class_folders(folder) or not (shards := find_shards(name)):
            if not has_class_folders(folder) and (packed := packed_in(name)):
                raise _packed(packed)
            return ImageFolder(folder)
        return ShardSet(name, shards)
    if packed := packed_in(name) if not name.endswith(".tar") else []:
        raise _packed(packed)
    shards = find_shards(name)
    return ShardSet(name, shards) if shards else None


def _packed(files: Sequence[str]) -> InputError:
    kind = "".join(Path(files[0]).suffixes[-2:])
    more = f", and {len(files) - 1} more like it" if files[1:] else ""
    return InputError(f"this is a packed archive ({kind}){more}", where=shown(files[0]), hint=UNPACK)


def prepare(
    images: ImageFolder | ShardSet, name: str, seed: int, options: ImageOptions = AS_THEY_COME, progress: Progress | None = None
) -> Prepared:
    """Divides images, looks at them, and says what is to be known about them.

    Args:
        images: as `find_images` gives them.
        name: that they were found by.
        seed: of the division where there are no parts.
        options: how they are used.
        progress: follows the first look.

    Raises:
        InputError: the part asked for is missing, classes are missing or differ, or images cannot be read.
    """
    division = divide(images.parts, options.split, name)
    collection = images.collect(division.wanted)
    train, held_out = division.apply(collection.parts, seed, collection.classes, name)
    if options.split is not None:
        beside, train = train, []
    seen = look(train + held_out, name, progress, thorough=options.skip_unreadable > 0)
    left_out = _left_out(seen, name, options)
    trained, held = ([each for each in part if each.source not in left_out] for part in (seen[: len(train)], seen[len(train) :]))
    if options.split is None:
        _require_all_classes(trained, collection.classes, name)
    if options.split is not None and any(each.look.high is not None for each in held):
        tops = findings.tops(look(beside + held_out, name, progress))  # the range of all, as in training
    else:
        tops = findings.tops([*trained, *held])
    notes = [collection.found, division_note(images, division, seed), *findings.notes(trained, held, tops)]
    if left_out:
        notes.append(f"Left out as they cannot be read: {listed(sorted(left_out.values()), MOST_NAMED)}.")
    moves: Moves = "none"
    if options.split is None:
        moves, why = moves_for(options.moves, trained, tops, collection.classes, light=options.light)
        notes.append(f"Training images are {IN_WORDS[moves]} (--augment {moves}{why}).")
    return Prepared(
        classes=collection.classes,
        keys=collection.keys,
        train=[(each.source, each.label) for each in trained],
        held_out=[(each.source, each.label) for each in held],
        tops=tops,
        moves=moves,
        left_out=tuple(sorted(left_out.values())),
        notes=tuple(notes),
    )


def look(files: Labelled, name: str, progress: Progress | None = None, *, thorough: bool = False) -> list[Seen]:
    """The first look at some images of a data set; see `survey`."""
    looks = survey([source for source, _ in files], name, progress, thorough=thorough)
    return [Seen(source, label, seen) for (source, label), seen in zip(files, looks, strict=True)]


def _left_out(seen: Sequence[Seen], name: str, options: ImageOptions) -> dict[Source, str]:
    """The images that are left out, with their names within the data set: unreadable ones, or those a run was begun without.

    Raises:
        InputError: others cannot be read, or more than are to be left out.
    """
    root = Path(name) if is_folder(name) else Path(name).parent
    suspects = seen if options.left_out else findings.unreadable(seen)
    names = {each.source: shown(os.path.relpath(str(each.source), root)) for each in suspects}
    bad = [each for each in findings.unreadable(seen) if names[each.source] not in options.left_out]
    if len(bad) > options.skip_unreadable:
        raise UnreadableError(bad, names, len(seen))
    gone = {each.source for each in bad}
    return {source: known for source, known in names.items() if source in gone or known in options.left_out}


def _require_all_classes(train: Sequence[Seen], classes: Sequence[str], name: str) -> None:
    have = {each.label for each in train}
    if missing := [shown(known) for label, known in enumerate(classes) if label not in have]:
        raise InputError(f"no image to train on is left of {listed(missing)}", where=shown(name))


class UnreadableError(InputError):
    """Images cannot be read: the first and a few more in one line, and all of them, a line each.

    Attributes:
        lines: the name of each image and why it cannot be read.
    """

    def __init__(self, bad: Sequence[Seen], names: Mapping[Source, str], total: int) -> None:
        first, *others = bad
        problem = first.look.problem
        if others:
            problem += f"; {len(bad)} of {total} images cannot: also {listed([names[each.source] for each in others])}"
        hint = f"remove or replace, or leave out: --skip-unreadable {len(bad)}"
        super().__init__(problem, where=shown(first.source), hint=hint)
        self.lines = [f"{names[each.source]}: {each.look.reason}" for each in bad] if others else []


def moves_for(
    given: Moves | None, train: Sequence[Seen], tops: Mapping[str, float], classes: Sequence[str], *, light: bool = False
) -> tuple[Moves, str]:
    """How the training images are moved, and why, if nobody has chosen it.

    Raises:
        InputError: an image cannot be read.
    """
    if given is not None:
        return given, ""
    side = findings.shorter_side(train)
    moves = sensible_moves(side)
    why = f", by their size, {side} pixels at the median"
    if moves == "crop-flip" and (pair := mirrored_classes([(each.source, each.label) for each in train], tops)) is not None:
        one, other = (shown(classes[label]) for label in pair)
        moves, why = "crop", f", not mirrored, as mirrored images of {one} look like {other}"
    return (LIGHTER.get(moves, moves) if light else moves), why


def division_note(images: ImageFolder | ShardSet, division: Division, seed: int) -> str:
    """What is held out and what is not used, in a line."""
    if division.is_split:
        text = f"Held out: one image in five of each class, by --seed {seed}."
    elif division.held_out is None:
        text = "Held out: all images."
    else:
        text = f"Held out: {images.place(division.held_out)}."
    unused = [f"{images.place(part)} (spnas evaluate --split {part})" for part in division.unused if part != "train"]
    unused += images.unused
    return text + (f" Not used: {listed(unused)}." if unused else "")
