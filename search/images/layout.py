"""Which folder of a folder is what: its parts by their names, or its classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.errors import InputError
from search.images.names import Part, is_junk, listed, role_of, shown
from search.images.reading import is_image

SORT_HINT = (
    "put each image into a folder named after its class; docs/own-images.md has the lines for ImageNet's validation images"
)


@dataclass(frozen=True)
class Layout:
    """Which folder is what.

    Attributes:
        places: the folder of each part; a folder without parts is under None.
        not_classes: folders in the root that are parts, or named like one.
        unused: what cannot be used although its name or its images say that it might, in words.
    """

    places: Mapping[Part | None, Path]
    not_classes: tuple[Path, ...] = ()
    unused: tuple[str, ...] = ()


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without what is never an image or a class.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not is_junk(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"the folder cannot be read: {error.strerror}", where=shown(folder)) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or leads to one; a link that leads to itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """The same for a regular file."""
    try:
        return entry.is_file()
    except OSError:
        return False


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, and the links to folders."""
    return [folder / entry.name for entry in entries(folder) if is_folder(entry)]


def images_in(folder: Path) -> int:
    """How many images lie in a folder itself."""
    return sum(is_image(entry.name) and is_file(entry) for entry in entries(folder))


def has_class_folders(folder: Path) -> bool:
    """Whether a folder in this one has an image, at any depth."""
    return any(has_image(below) for below in folders_in(folder))


def has_image(folder: Path, seen: set[str] | None = None) -> bool:
    """Whether a folder has an image, at any depth; `seen` are folders without one, since links may lead to them again."""
    seen = set() if seen is None else seen
    real = os.path.realpath(folder)
    if real in seen:
        return False
    seen.add(real)
    return images_in(folder) > 0 or any(has_image(below, seen) for below in folders_in(folder))


def layout_of(root: Path) -> Layout:
    """The parts of a folder, by the names of the folders in it.

    Raises:
        InputError: two folders are the same part, or folders named like parts have images and no class folders.
    """
    below = folders_in(root)
    named = _named_parts(below)
    others = [folder for folder in below if folder not in named]
    with_classes = [folder for folder in named if has_class_folders(folder)]
    flat = [folder for folder in named if folder not in with_classes]
    if not with_classes and not any(map(images_in, flat)):
        return Layout({None: root})
    if not with_classes and list(named.values()) == ["train"] and sum(map(has_image, others)) > 1:
        return Layout({None: root})  # vehicles, one of which is a train
    for folder in flat:
        # Images to be recognised often have no classes; there is nothing to hold them against.
        if not with_classes or named[folder] != "test":
            raise _unsorted(folder, with_classes, others)
    places: dict[Part | None, Path] = {}
    for folder in with_classes:
        if named[folder] in places:
            both = f"{shown(places[named[folder]].name)} and {shown(folder.name)}"
            raise InputError(f"{both} are both named as the {named[folder]} part", where=shown(root), hint="rename one of them")
        places[named[folder]] = folder
    unused = [f"{shown(folder.name)} has no class folders" for folder in flat if images_in(folder)]
    if "train" not in places and sum(map(has_image, others)) > 1:
        places["train"] = root  # classes, and beside them a part
    else:
        unused += [f"{shown(folder.name)} is not a part" for folder in others if has_image(folder)]
    return Layout({part: places[part] for part in ("train", "val", "test") if part in places}, tuple(named), tuple(unused))


def _named_parts(folders: Sequence[Path]) -> dict[Path, Part]:
    """Folders named like parts: `Train`, `validation_set`; or all with a word in common, `flowers-train` and `flowers-test`."""
    roles = {folder: role for folder in folders if (role := role_of(folder.name)) is not None}
    alike = len(roles) == len(folders) and len({role.rest for role in roles.values()}) == 1
    several = len({role.part for role in roles.values()}) > 1
    return {folder: role.part for folder, role in roles.items() if not role.rest or (alike and several)}


def _unsorted(folder: Path, with_classes: Sequence[Path], others: Sequence[Path]) -> InputError:
    """The error that a folder which is a part by its name has images and no class folders."""
    count = images_in(folder)
    problem = f"{count} images and no class folders with images: by its name it is a part of the data set, and cannot be a class"
    if with_classes:
        return InputError(problem, where=shown(folder), hint=SORT_HINT)
    hint = "put class folders into it" + (f", as the classes {listed([each.name for each in others], 3)}" if others else "")
    return InputError(problem, where=shown(folder), hint=f"{hint}; or rename it if it is a class")
