"""Images in shards: tar files as WebDataset lays them out, each image beside its class.

A shard is read once from end to end to learn where each image lies; the index is kept in the cache. From then on an image is
opened by its place, like a file of a folder, so that order, split, resume and parts for many processes are those of a folder,
exactly. (Reading shards as streams would make the order depend on the number of processes.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from profiling.errors import DiskFullError, InputError
from profiling.files import make_folder, write_text
from profiling.outside import is_file, is_folder
from search.images.collection import Collection, Labelled
from search.images.names import Part, class_names, ending_of, is_junk, listed, role_of, same_form, shown
from search.images.reading import Member, image_endings

RANGE = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
MOST_SHARDS = 100_000
LABEL_NAMES = ("label", "cls", "class")
LABEL_ENDINGS = (".cls", ".json")
LABEL_BYTES = 2**20
LONGEST_NUMBER = 20
INDEX = 2  # the form of an index in the cache
# Archives in which a file cannot be read at its place, by their endings and by what they begin with.
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip", ".7z", ".rar")
STARTS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip", b"7z\xbc\xaf": "7z"}
UNPACK = "unpack it: images are opened at their place in an uncompressed tar, or in folders"


def find_shards(folder_or_pattern: str) -> list[Path]:
    """The tar files of a folder and its folders, or those matching a pattern such as `train-{000..099}.tar`, in order.

    Raises:
        InputError: a file of the pattern is missing.
    """
    if is_folder(folder_or_pattern):
        found = Path(folder_or_pattern).rglob("*.tar")
        return sorted(path for path in found if is_file(str(path)) and not is_junk(path.name))
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


def packed_in(folder_or_file: str) -> list[str]:
    """Archives that cannot be read as they are: the file itself, or those in a folder."""
    path = Path(folder_or_file)
    names = sorted(str(file) for file in path.iterdir()) if is_folder(folder_or_file) else [folder_or_file]
    return [name for name in names if name.lower().endswith(PACKED)]


class ShardSet:
    """Shards, each in the part of the data set that its name, or the folder it is in, speaks of.

    Attributes:
        parts: those that there are; without any name of a part, all shards are under None.
        unused: nothing.

    Args:
        name: the folder or pattern that they were found by.
        shards: uncompressed tar files.

    Raises:
        InputError: a name speaks of two parts.
    """

    unused: tuple[str, ...] = ()

    def __init__(self, name: str, shards: Sequence[Path]) -> None:
        self._name, root = name, Path(name)
        by_part: dict[Part | None, list[Path]] = {}
        for shard in shards:
            folders = shard.relative_to(root).parts[:-1] if root.is_dir() else shard.parts[-2:-1]
            by_part.setdefault(_part_of(shard, folders), []).append(shard)
        if len(by_part) > 1 and None in by_part:
            by_part["train"] = sorted([*by_part.get("train", []), *by_part.pop(None)])
        self._by_part = by_part
        self.parts: tuple[Part | None, ...] = tuple(by_part)

    def place(self, part: Part) -> str:
        """The name of the shards of a part."""
        shards = self._by_part[part]
        return shown(shards[0].name) + (f" and {len(shards) - 1} more" if shards[1:] else "")

    def collect(self, wanted: Iterable[Part | None]) -> Collection:
        """The images of some parts; the classes are in the order of their names, or of their numbers if all are numbers.

        Raises:
            InputError: a shard cannot be read, an image has no class, or the classes differ between the parts.
        """
        found: dict[Part | None, list[tuple[Member, str]]] = {}
        left_out: Counter[str] = Counter()
        for part in wanted:
            indices = [(shard, _index(shard)) for shard in self._by_part[part]]
            found[part] = [
                (Member(shard, *place), same_form(label)) for shard, index in indices for *place, label in index["images"]
            ]
            for _, index in indices:
                left_out.update(index["left_out"])
        first = next(iter(found))
        keys = _in_order({label for _, label in found[first]})
        if len(keys) < 2:
            raise InputError("there must be images of at least two classes in these shards", where=self._name)
        for part, images in found.items():
            if odd := {label for _, label in images} ^ set(keys):
                raise InputError(
                    f"the classes differ from those of {self.place(first or 'train')}: {listed(sorted(odd))}",
                    where=f"{part} shards of {self._name}",
                )
        numbers = {label: number for number, label in enumerate(keys)}
        parts: dict[Part | None, Labelled] = {
            part: [(member, numbers[label]) for member, label in images] for part, images in found.items()
        }
        return Collection(self._name, class_names(keys, [self._name] * len(keys)), tuple(keys), parts, left_out)


def _part_of(shard: Path, folders: Sequence[str]) -> Part | None:
    # A file is named after its data set as well, `flowers-train-000.tar`; a folder may be of something else, `test_of_lenses`.
    by_folder = [role for name in folders if (role := role_of(name)) is not None and not role.rest]
    named = {role.part for role in (role_of(shard.stem), *by_folder) if role is not None}
    if len(named) > 1:
        raise InputError(f"by its name and its folder this shard is in two parts: {', '.join(sorted(named))}", where=shown(shard))
    return named.pop() if named else None


def _in_order(names: Iterable[str]) -> list[str]:
    names = sorted(names)
    return sorted(names, key=int) if all(name.isdecimal() and len(name) < LONGEST_NUMBER for name in names) else names


def _index(shard: Path) -> dict[str, Any]:
    """`images`, [name, offset, size, class] of each, and `left_out`, other files by ending; cached until the shard changes."""
    stat = shard.stat()
    endings = sorted(image_endings())
    identity = json.dumps([INDEX, str(shard.resolve()), stat.st_size, stat.st_mtime_ns, endings])
    cached = Path(platformdirs.user_cache_dir("spnas")) / "shards" / (hashlib.sha256(identity.encode()).hexdigest() + ".json")
    try:
        kept = json.loads(cached.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    if isinstance(kept, dict) and kept.keys() == {"images", "left_out"}:
        return kept
    index = _read_index(shard)
    with contextlib.suppress(InputError, DiskFullError):  # without a cache the next start takes as long as this one
        make_folder(cached.parent)
        write_text(cached, json.dumps(index))
    return index


def _read_index(shard: Path) -> dict[str, Any]:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isfile() or any(map(is_junk, path.parts)):
                    continue
                ending = ending_of(path.name)
                key = member.name.removesuffix(member.name[-len(ending) :] if ending else "")
                if ending in image_endings():
                    images[key] = member
                elif ending in LABEL_ENDINGS and (file := tar.extractfile(member)) is not None:
                    label = _label(file.read(LABEL_BYTES), f"{shown(shard)}/{shown(member.name)}", is_json=ending == ".json")
                    if label is not None:
                        labels[key] = label
                else:
                    left_out[ending] += 1
    except (tarfile.TarError, OSError, ValueError) as error:
        raise _not_a_shard(shard, error) from error
    found, without = [], []
    for key, member in images.items():
        sample = _sample(key)
        if key in labels:
            found.append([member.name, member.offset_data, member.size, labels[key]])
        elif sample != key and sample in images:
            left_out[ending_of(member.name)] += 1  # something beside the image, as a mask in `0001.mask.png`
        elif sample in labels:
            found.append([member.name, member.offset_data, member.size, labels[sample]])
        else:
            without.append(shown(member.name))
    if without:
        hint = f"beside it there must be a .cls, or a .json with one of {', '.join(LABEL_NAMES)}"
        raise InputError(f"{len(without)} images have no class, the first is {without[0]}", where=shown(shard), hint=hint)
    return {"images": found, "left_out": left_out}


def _sample(key: str) -> str:
    """The name that WebDataset gives a sample: up to the first dot of the file's name."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _not_a_shard(shard: Path, error: Exception) -> InputError:
    try:
        with shard.open("rb") as file:
            start = file.read(8)
    except OSError:
        start = b""
    packed = next((kind for begin, kind in STARTS.items() if start.startswith(begin)), None)
    if packed is not None:
        return InputError(f"the shard is compressed ({packed}), whatever its name says", where=shown(shard), hint=UNPACK)
    hint = "it must be an uncompressed tar"
    return InputError(f"the shard cannot be read: {' '.join(str(error).split())}", where=shown(shard), hint=hint)


def _label(content: bytes, where: str, *, is_json: bool) -> str | None:
    """The class that such a file names, None if it names none.

    Raises:
        InputError: it is not UTF-8, or not JSON.
    """
    try:
        if not is_json:
            return content.decode().strip()
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            "the class of this image cannot be read: " + ("not JSON" if is_json else "not UTF-8"), where=where
        ) from error
    named = next((fields[name] for name in LABEL_NAMES if name in fields), None) if isinstance(fields, dict) else None
    return None if named is None else str(named)
