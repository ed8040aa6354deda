"""Folders of images: the classes of a part, and the image files of a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from profiling.errors import InputError
from profiling.specfile import read_text
from search.images.collection import Collection, Labelled, heif_hint
from search.images.layout import (
    SORT_HINT,
    Layout,
    entries,
    folders_in,
    has_class_folders,
    images_in,
    is_file,
    is_folder,
    layout_of,
)
from search.images.names import Part, class_names, ending_of, listed, role_of, same_form, shown
from search.images.reading import is_image

CLASS_LIST = "classes.txt"
SEPARATORS = ("\t", ",", ":", ";", "=", " ")


@dataclass
class Files:
    """The files of a class: paths of images, and how many others there are, by ending."""

    images: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class ImageFolder:
    """A folder with one folder of images per class; or with parts (`train`, `val`, `test`, by any of their names) that are such.

    Attributes:
        parts: those that it has; None stands for all of a folder without parts.
        unused: what cannot be used, in words.

    Raises:
        InputError: its folders do not fit together.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._layout: Layout = layout_of(root)
        self.parts: tuple[Part | None, ...] = tuple(self._layout.places)
        self.unused = self._layout.unused

    def place(self, part: Part) -> str:
        """The name of the folder of a part."""
        return shown(self._layout.places[part].name)

    def collect(self, wanted: Iterable[Part | None]) -> Collection:
        """The images of some parts.

        Raises:
            InputError: classes are missing, empty or differ between the parts, or have names that cannot be used.
        """
        root, places = self._root, {part: self._layout.places[part] for part in wanted}
        classes = {part: self._class_folders(place) for part, place in places.items()}
        first = next(iter(classes))
        keys = [same_form(folder.name) for folder in classes[first]]
        names = class_names(_listed_names(root, places[first], classes[first]), [str(folder) for folder in classes[first]])
        for part, folders in classes.items():
            if odd := {same_form(folder.name) for folder in folders} ^ set(keys):
                problem = f"the classes differ from those of {shown(places[first])}: {listed(sorted(odd))}"
                raise InputError(problem, where=shown(places[part]))
        closed = [place for part, place in self._layout.places.items() if part not in places and place != root]
        files = files_of_classes(root, [folder for folders in classes.values() for folder in folders], closed)
        parts: dict[Part | None, Labelled] = {
            part: [(image, label) for label, folder in enumerate(folders) for image in files[folder].images]
            for part, folders in classes.items()
        }
        left_out: Counter[str] = Counter()
        for found in files.values():
            left_out += found.left_out
        for place in {root, *places.values()}:
            left_out += Counter(ending_of(entry.name) for entry in entries(place) if is_file(entry) and entry.name != CLASS_LIST)
        return Collection(str(root), names, tuple(keys), parts, left_out)

    def _class_folders(self, place: Path) -> list[Path]:
        """The folders of the classes in their order.

        Raises:
            InputError: there are fewer than two, or the parts are inside them.
        """
        found = [folder for folder in folders_in(place) if folder not in self._layout.not_classes]
        if len(found) < 2:
            problem, hint = "there must be at least two folders, one per class, each with its images", None
            if count := images_in(place):
                problem, hint = f"{count} images and no class folders: {problem}", SORT_HINT
            elif found and has_class_folders(found[0]):
                hint = f"give the folder in it, {shown(found[0])}"
            raise InputError(problem, where=shown(place), hint=hint)
        for folder in found:
            roles = [role for below in folders_in(folder) if (role := role_of(below.name)) is not None and not role.rest]
            if len({role.part for role in roles}) > 1:
                hint = "put the class folders into the folders of the parts, not these into each class"
                raise InputError("parts of the data set are inside this class folder", where=shown(folder), hint=hint)
        return sorted(found, key=lambda folder: same_form(folder.name))


def files_of_classes(root: Path, folders: Sequence[Path], closed: Sequence[Path] = ()) -> dict[Path, Files]:
    """The image files of each class folder, at any depth, in order.

    Links to folders are followed after everything else, each target once: so none leads back to a folder above, or to a class.
    None is followed into the closed folders, the parts of the data set that are not used.

    Raises:
        InputError: a folder cannot be read, a class has no image, or two classes are the same folder.
    """
    seen = {_identity(place): place for place in (root, *root.resolve().parents, *(folder.parent for folder in folders))}
    for folder in folders:
        if (other := seen.setdefault(_identity(folder), folder)) is not folder:
            raise InputError(f"this class is the same folder as {shown(other)}", where=shown(folder))
    files = {folder: Files() for folder in folders}
    links = [(folder, link) for folder in folders for link in _walk(folder, files[folder], seen)]
    others = [os.path.realpath(place) for place in closed]
    for folder, link in links:
        if any(Path(os.path.realpath(link)).is_relative_to(other) for other in others):
            continue
        if (identity := _identity(link)) not in seen:
            seen[identity] = link
            links += [(folder, further) for further in _walk(link, files[folder], seen)]
    for folder, found in files.items():
        if not found.images:
            line = ", ".join(f"{count} {ending}" for ending, count in found.left_out.most_common(3))
            problem = "the class folder holds no image" + (f" ({line} left out{heif_hint(found.left_out)})" if line else "")
            raise InputError(problem, where=shown(folder))
        found.images.sort(key=lambda path: Path(path).parts)
    return files


def _walk(folder: Path, files: Files, seen: dict[tuple[int, int], Path]) -> list[Path]:
    """Adds the files of a folder and the folders in it; gives the links to folders that it met."""
    links: list[Path] = []
    pending = [folder]
    while pending:
        here = pending.pop()
        for entry in entries(here):
            if is_folder(entry):
                below = here / entry.name
                if entry.is_symlink():
                    links.append(below)
                else:
                    seen.setdefault(_identity(below), below)
                    pending.append(below)
            # A link that leads nowhere is an image that cannot be read; pipes and devices are never opened.
            elif is_image(entry.name) and (is_file(entry) or (entry.is_symlink() and not Path(entry).exists())):
                files.images.append(entry.path)
            else:
                files.left_out[ending_of(entry.name)] += 1
    return links


def _identity(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError as error:
        raise InputError(f"the folder cannot be read: {error.strerror}", where=shown(folder)) from error
    return stat.st_dev, stat.st_ino


def _listed_names(root: Path, place: Path, folders: Sequence[Path]) -> list[str]:
    """The names that a list beside the class folders, or beside the parts, has for them; without one, the names of the folders.

    A line is the name of a folder and the name of the class. A list of which no line is like this is another kind of list.

    Raises:
        InputError: the list has no name for a folder, or two.
    """
    names = [same_form(folder.name) for folder in folders]
    file = next((path for path in (place / CLASS_LIST, root / CLASS_LIST) if path.is_file()), None)
    if file is None:
        return names
    found: dict[str, str] = {}
    known = frozenset(names)
    for number, line in enumerate(read_text(file).splitlines(), 1):
        pair = _pair(same_form(line.strip()), known)
        if pair is not None and found.setdefault(*pair) != pair[1]:
            raise InputError(f"another name for {pair[0]}, which has one above", where=f"{shown(file)}:{number}")
    missing = [name for name in names if name not in found]
    if found and missing:
        raise InputError(f"no names for {len(missing)} of the class folders: {listed(missing)}", where=shown(file))
    return [found.get(name, name) for name in names]


def _pair(line: str, folders: frozenset[str]) -> tuple[str, str] | None:
    if line in folders:
        return None
    for separator in SEPARATORS:
        folder, _, name = (word.strip(" \t\"'") for word in line.partition(separator))
        if name and folder in folders:
            return folder, name
    return None
