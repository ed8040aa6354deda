"""What the names of files and folders say: which part of a data set, which class, or nothing to look at."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from profiling.errors import InputError

Part = Literal["train", "val", "test"]

PARTS: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("heldout", "holdout"), "val"),
    **dict.fromkeys(("test", "tests", "testing"), "test"),
}
# Words that say nothing beside one of these, as in `training_set` or `TestImages`.
NEUTRAL = ("set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split", "part", "folder", "files", "samples")
# What systems leave in folders of pictures; names that begin with a dot are hidden as well.
JUNK = {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
JUNK_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
FEW = 5


class Role(NamedTuple):
    """The part of a data set that a name speaks of, and the other words of the name, which are empty for `val` or `TestSet`."""

    part: Part
    rest: str


def role_of(name: str) -> Role | None:
    """What part of a data set a file or folder is by its name; None where it names none, or several."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    named = [PARTS.get(word) or PARTS.get(_without_neutral(word)) for word in words]
    parts = {part for part in named if part is not None}
    if len(parts) != 1:
        return None
    rest = [word for word, part in zip(words, named, strict=True) if part is None and word not in NEUTRAL]
    return Role(parts.pop(), " ".join(rest))


def _without_neutral(word: str) -> str:
    """`test` of `testset`."""
    return next((word.removesuffix(neutral) for neutral in NEUTRAL if word.endswith(neutral)), word)


def is_junk(name: str) -> bool:
    """Whether a file or folder is never an image or a class: hidden, or left there by a system or a tool."""
    return name.startswith(".") or name.casefold() in JUNK or name.casefold() in JUNK_FILES


def ending_of(name: str) -> str:
    """What follows the last dot of a file's name, in lower case and with the dot; empty without one."""
    stem, dot, ending = name.rpartition(".")
    return f".{ending.casefold()}" if dot and stem else ""


def shown(name: object) -> str:
    """A name as it can be printed, also one that is not UTF-8."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def listed(names: Sequence[object], most: int = FEW) -> str:
    """The first few names in a line."""
    text = ", ".join(shown(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} others"


def same_form(name: str) -> str:
    """A name in the one Unicode form that names are compared in; systems differ in whether `é` is one character or two."""
    return unicodedata.normalize("NFC", name)


def class_names(names: Sequence[str], where: Sequence[str]) -> tuple[str, ...]:
    """The names of classes in one Unicode form.

    Args:
        names: of the classes, as folders, shards or a list have them.
        where: of each, for errors.

    Raises:
        InputError: a name is empty or not UTF-8, or two would be the same in the list of labels in an exported file.
    """
    seen: dict[str, str] = {}
    for name, place in zip(names, where, strict=True):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError("the name of this class is not UTF-8", where=shown(place), hint="rename it") from error
        # Labels stand one a line in exported files, their white space made one space.
        label = " ".join(same_form(name).split())
        if not label:
            raise InputError("the name of this class is empty", where=shown(place), hint="rename it")
        if label in seen:
            problem = f"this class would have the same label as {shown(seen[label])}: {label}"
            raise InputError(problem, where=shown(place), hint="rename one of the two, or put their images together")
        seen[label] = place
    return tuple(map(same_form, names))


def found_line(images: int, left_out: Counter[str]) -> str:
    """What was found and what was left out, by ending: `120 files: 30 images, 60 .heic and 30 .txt left out`."""
    line = f"{images + left_out.total()} files: {images} images"
    if not left_out:
        return line
    kinds = [f"{count} {ending or 'without an ending'}" for ending, count in left_out.most_common()]
    if len(kinds) > FEW:
        kinds[FEW - 1 :] = [f"{sum(count for _, count in left_out.most_common()[FEW - 1 :])} others"]
    return f"{line}, {_and(kinds)} left out"


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
