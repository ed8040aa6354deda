"""The first look at the images of a data set, before anything is trained: sizes, modes, what cannot be read, what is there twice.

Headers are always read, and pixels where that takes seconds: of a small set, of images of more than 8 bits, and of files that end
too early or are too small for what they should show. What was seen is kept in the cache, so that a file is looked at again only
when it has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import platformdirs

from profiling.errors import DiskFullError, InputError
from profiling.files import make_folder, write_text
from search.images.reading import CANNOT, RANGES, Member, Source, content_of, depth_of, parsed, reader

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[int, int, str], None]
"""Called with how many images have been looked at, of how many, and how."""

FORMAT = 1
# Bytes that tell two files apart, whatever headers they share; a smaller file is compared whole.
HEAD = 16384
# All pixels of a set are decoded if that takes about so long, at so many seconds an image and a pixel.
SECONDS, IMAGE_SECONDS, PIXEL_SECONDS = 10.0, 1e-4, 2e-8
# A file with fewer bytes than these for a pixel, besides its header, may be of one colour.
PLAIN_HEADER, PLAIN_SHARE = 800, 0.05
THREADS = 4
# What a whole file ends with, give or take a few bytes that some programs add.
ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}
TAIL = 32
CHUNK = 32


class Look(NamedTuple):
    """What was seen of an image.

    Attributes:
        digest: of its size in bytes and its first bytes.
        format: as Pillow names it; mode: as Pillow names it, `RGB;16` for colours of 16 bits; width, height: in pixels.
        low, high: least and largest value of an image of more than 8 bits, None of any other.
        plain: whether all of it has one colour, False as long as its pixels were not read.
        decoded: whether they were read.
        problem: why it cannot be read, empty if it can.
    """

    digest: str
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    low: float | None = None
    high: float | None = None
    plain: bool = False
    decoded: bool = False
    problem: str = ""

    @property
    def reason(self) -> str:
        """The problem in fewer words."""
        return self.problem.removeprefix(CANNOT)


UNSEEN = Look("")


def survey(sources: Sequence[Source], name: str, progress: Progress | None = None, *, thorough: bool = False) -> list[Look]:
    """Looks at images.

    Args:
        sources: of the images.
        name: of the data set, by which the cache knows it.
        progress: follows.
        thorough: decodes every pixel, however long it takes.
    """
    file = _cache_file(name)
    known = _cached(file)
    stamps = [_stamp(source) for source in sources]
    keys = [_key(source, name) for source in sources]
    looks = [_known(known.get(key), stamp) for key, stamp in zip(keys, stamps, strict=True)]

    def look(indices: list[int], found: Iterable[Look], how: str) -> None:
        for done, (index, seen) in enumerate(zip(indices, found, strict=True), 1):
            looks[index] = seen
            if seen.digest:  # what could not be opened may be there the next time
                known[keys[index]] = [*stamps[index], *seen]
            if progress is not None and (done % CHUNK == 0 or done == len(indices)):
                progress(done, len(indices), how)

    new = [index for index, seen in enumerate(looks) if seen is UNSEEN]
    undecoded: list[int] = []
    try:
        look(new, (look_at(sources[index]) for index in new), "reading headers")
        undecoded = _to_decode(looks, thorough)
        look(undecoded, _decoded([sources[index] for index in undecoded]), "decoding")
    finally:
        if new or undecoded:
            _keep(file, known)
    return looks


def look_at(source: Source, *, pixels: bool = False) -> Look:
    """Looks at an image.

    Args:
        source: of the image.
        pixels: decodes it as well; images of more than 8 bits always are.
    """
    digest = ""
    try:
        with content_of(source) as file:
            head, size = file.read(HEAD), file.seek(0, os.SEEK_END)
            digest = _digest(head, size)
            file.seek(0)
            with parsed(file, source) as image:
                depth = depth_of(image)
                seen = Look(digest, image.format or "", depth or image.mode, *image.size)
                return _decode(image, seen, depth) if pixels or depth or _suspicious(seen, file, head, size) else seen
    except InputError as error:
        return Look(digest, problem=error.problem)


def _digest(content: bytes, size: int) -> str:
    return hashlib.blake2b(content, digest_size=9, salt=size.to_bytes(8, "big")).hexdigest()


def _decode(image: Image, seen: Look, depth: str | None) -> Look:
    values = np.asarray(image if depth in RANGES else image.convert("RGB"))
    plain = bool((values == values[0, 0]).all())
    if depth is None:
        return seen._replace(plain=plain, decoded=True)
    return seen._replace(low=float(values.min()), high=float(values.max()), plain=plain, decoded=True)


def _suspicious(seen: Look, file: IO[bytes], head: bytes, size: int) -> bool:
    """Whether a file ends too early, or is so small that it may be of one colour."""
    if size <= PLAIN_HEADER + PLAIN_SHARE * seen.width * seen.height:
        return True
    if seen.format == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 > size
    if size > len(head):
        place = file.tell()
        file.seek(-TAIL, os.SEEK_END)
        head = file.read(TAIL)
        file.seek(place)
    # Other formats say in no easy way whether they are whole.
    return ENDS.get(seen.format, b"?") not in head[-TAIL:].rstrip(b"\0\r\n ")


def _to_decode(looks: Sequence[Look], thorough: bool) -> list[int]:
    """Which images are to be decoded as well: all if asked for or if it takes seconds."""
    whole = [index for index, seen in enumerate(looks) if not seen.problem and not seen.decoded]
    pixels = sum(looks[index].width * looks[index].height for index in whole)
    return whole if thorough or len(whole) * IMAGE_SECONDS + pixels * PIXEL_SECONDS <= SECONDS else []


def _decoded(sources: Sequence[Source]) -> Iterator[Look]:
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        try:
            yield from pool.map(partial(look_at, pixels=True), sources)
        finally:
            pool.shutdown(cancel_futures=True)


def _stamp(source: Source) -> tuple[int, int]:
    """Size and time of change of the file that an image is in; what cannot be found has none."""
    try:
        stat = Path(source.shard if isinstance(source, Member) else source).stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _key(source: Source, name: str) -> str:
    """By what the cache knows an image: not by where the data set is seen from."""
    place = f"{source}:{source.offset}" if isinstance(source, Member) else source
    return place.removeprefix(str(Path(name)))


def _cache_file(name: str) -> Path:
    identity = f"{FORMAT} {reader()} {os.path.realpath(name)}"
    return Path(platformdirs.user_cache_dir("spnas")) / "images" / f"{hashlib.sha256(os.fsencode(identity)).hexdigest()}.json"


def _known(kept: list[Any] | None, stamp: tuple[int, int]) -> Look:
    """What was seen of a file that has not changed since."""
    if kept is None or tuple(kept[:2]) != stamp or len(kept) != 2 + len(Look._fields):
        return UNSEEN
    return Look(*kept[2:])


def _cached(file: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _keep(file: Path, known: dict[str, list[Any]]) -> None:
    """Saves what was seen; without a cache the next look takes as long as this one."""
    with contextlib.suppress(InputError, DiskFullError):
        make_folder(file.parent)
        write_text(file, json.dumps(known))
