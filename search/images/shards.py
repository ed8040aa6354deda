"""Images in shards: tar files as WebDataset lays them out, each image beside its class.

A shard is read once from end to end to learn where each image lies; the index is kept in the cache. From then on an image is
opened by its place, like a file of a folder, so that order, split, resume and parts for many processes are those of a folder,
exactly. (Reading shards as streams would make the order depend on the number of processes.)
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import platformdirs

from profiling.errors import InputError
from profiling.files import write_text
from profiling.outside import is_file, is_folder

RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
MOST_SHARDS = 100_000
HELD_OUT = {"val", "validation", "test"}
LABEL_NAMES = ("label", "cls", "class")


class Member(NamedTuple):
    """A file within an uncompressed tar file: `size` bytes from `offset`."""

    shard: Path
    name: str
    offset: int
    size: int

    def open(self) -> io.BytesIO:
        """Its bytes."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


def find_shards(folder_or_pattern: str) -> list[Path]:
    """The tar files of a folder and its folders, or those matching a pattern such as `train-{000..099}.tar`, in order.

    Raises:
        InputError: a file of the pattern is missing.
    """
    if is_folder(folder_or_pattern):
        return sorted(Path(folder_or_pattern).rglob("*.tar"))
    if not folder_or_pattern.endswith(".tar"):
        return []
    shards = [Path(name) for name in _expanded(folder_or_pattern)]
    missing = [str(shard) for shard in shards if not is_file(str(shard))]
    if missing:
        raise InputError(f"{len(missing)} of {len(shards)} shards are missing", where=missing[0])
    return shards


def _expanded(pattern: str) -> list[str]:
    """The names that a pattern stands for, which are counted before any is made."""
    texts, ranges = RANGE.split(pattern)[::3], RANGE.findall(pattern)
    numbers = [range(int(first), int(last) + 1) for first, last in ranges]
    count = math.prod(map(len, numbers))
    if not 0 < count <= MOST_SHARDS:
        many = f"{count:,}" if count < 10**12 else "more than a trillion"
        problem = f"this pattern stands for {many} shards, not for 1 to {MOST_SHARDS:,}"
        raise InputError(problem, where=pattern, hint="a range is written {000..099}")
    filled = [[str(number).zfill(len(first)) for number in some] for some, (first, _) in zip(numbers, ranges, strict=True)]
    return ["".join(map("".join, zip(texts, (*chosen, ""), strict=True))) for chosen in product(*filled)]


def is_held_out(shard: Path) -> bool:
    """Whether a shard is held out, by a word in its name or by its folder."""
    return bool(HELD_OUT & {*re.split(r"[^a-z]+", shard.stem.lower()), shard.parent.name.lower()})


def read_shards(shards: Sequence[Path], endings: Sequence[str]) -> tuple[list[str], list[tuple[Member, str]]]:
    """Class names in order (by number, if all are numbers), and each image with the name of its class.

    Args:
        shards: uncompressed tar files.
        endings: of the names of images.

    Raises:
        InputError: a shard cannot be read, or an image has no class.
    """
    images = [(Member(shard, *place), label) for shard in shards for *place, label in _index(shard, endings)]
    names = {label for _, label in images}
    return sorted(names, key=lambda name: (int(name), name) if all(map(str.isdecimal, names)) else (0, name)), images


def _index(shard: Path, endings: Sequence[str]) -> list[list[Any]]:
    """[name, offset, size, class] of each image of a shard, from the cache if the shard has not changed since."""
    stat = shard.stat()
    identity = json.dumps([str(shard.resolve()), stat.st_size, stat.st_mtime_ns, list(endings)])
    cached = Path(platformdirs.user_cache_dir("spnas")) / "shards" / (hashlib.sha256(identity.encode()).hexdigest() + ".json")
    try:
        index: list[list[Any]] = json.loads(cached.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        index = _read_index(shard, endings)
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_text(cached, json.dumps(index))
    return index


def _read_index(shard: Path, endings: Sequence[str]) -> list[list[Any]]:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                base, _, ending = path.name.partition(".")
                key, ending = str(path.with_name(base)), f".{ending.lower()}"
                if not member.isfile():
                    continue
                if ending in endings:
                    images[key] = member
                elif ending in (".cls", ".json") and (file := tar.extractfile(member)) is not None:
                    label = _label(file.read(), is_json=ending == ".json")
                    if label is not None:
                        labels[key] = label
    except (tarfile.TarError, OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"the shard cannot be read: {error}", where=str(shard), hint="it must be an uncompressed tar") from error
    without = [member.name for key, member in images.items() if key not in labels]
    if without:
        hint = f"beside it there must be a .cls, or a .json with one of {', '.join(LABEL_NAMES)}"
        raise InputError(f"{len(without)} images have no class, the first is {without[0]}", where=str(shard), hint=hint)
    return [[member.name, member.offset_data, member.size, labels[key]] for key, member in images.items()]


def _label(content: bytes, *, is_json: bool) -> str | None:
    if not is_json:
        return content.decode().strip()
    fields = json.loads(content)
    return next((str(fields[name]) for name in LABEL_NAMES if name in fields), None) if isinstance(fields, dict) else None
