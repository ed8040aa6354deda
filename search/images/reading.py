"""Image files as Pillow reads them: which endings they have, their pixels in 8 bits, and one error for everything that fails."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from profiling.errors import InputError
from search.images.names import ending_of, shown

if TYPE_CHECKING:
    from PIL.Image import Image


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


Source = str | Member
"""An image: the path of a file, or a place in a shard."""

CANNOT = "the image cannot be read: "
HEIF = (".heic", ".heif", ".hif")
# Formats of which Pillow reads the header alone, or that another program would have to draw.
NOT_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# The values of one image, or of a set of images, fill their range by more than this share, or the range is not theirs.
LEAST_FILLED = 1 / 16
RANGES: Mapping[str, tuple[int, ...]] = {
    "I;16": (255, 1023, 4095, 16383, 65535),
    "I": (255, 1023, 4095, 16383, 65535),
    "F": (1, 255, 65535),
}
DEFAULT_TOPS: Mapping[str, float] = {"I;16": 65535, "I": 65535, "F": 1}
# Pixels of a longer strip than this, as a multiple of its breadth, are left out at its ends.
LONGEST = 20

# A damaged file is an error here, or is as it should be: nothing in between goes to stderr.
warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def image_formats() -> tuple[str, ...]:
    """The formats that are read here, as Pillow names them, the usual ones first; with pillow-heif that of iPhones too."""
    from PIL import Image

    Image.preinit()
    Image.init()
    if find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(kind for kind in Image.ID if kind not in NOT_PIXELS)


@cache
def image_endings() -> frozenset[str]:
    """The endings of the files that are read here, in lower case."""
    from PIL import Image

    readable = {*image_formats(), "MPO"}
    return frozenset(ending.lower() for ending, kind in Image.registered_extensions().items() if kind in readable)


def reader() -> str:
    """What reads images here, with its version: another may read others."""
    import PIL

    return f"Pillow {PIL.__version__}" + (" and pillow-heif" if HEIF[0] in image_endings() else "")


def is_image(name: str) -> bool:
    """Whether a file is an image, by its ending."""
    return ending_of(name) in image_endings()


def depth_of(image: Image) -> str | None:
    """The kind of an image, just opened, of more than 8 bits; None of any other.

    `I;16`, `I` (32 bits) and `F` are grey, with their values as they are in the file; of colours of 16 bits (`RGB;16` and the
    like) Pillow keeps the upper 8.
    """
    from PIL.ImageFile import ImageFile

    if image.mode.startswith("I;16"):
        return "I;16"
    if image.mode in ("I", "F"):
        return image.mode
    tiles = image.tile if isinstance(image, ImageFile) else []
    arguments = tiles[0][3] if tiles else None
    raw = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    return f"{image.mode};16" if ";16" in str(raw) else None


@contextmanager
def content_of(source: Source) -> Iterator[IO[bytes]]:
    """The bytes of an image, as a file.

    Raises:
        InputError: it cannot be opened, or cannot be read inside; names it.
    """
    try:
        with source.open() if isinstance(source, Member) else Path(source).open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(error.strerror or str(error), source) from error


@contextmanager
def parsed(file: IO[bytes], source: Source) -> Iterator[Image]:
    """An image, its header read. Whatever fails inside is an error of this image.

    Raises:
        InputError: it is not an image, or a broken one; names it.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=image_formats()) as image:
            yield image
    # Decoders raise what they like for a broken file: ValueError, struct.error, SyntaxError, IndexError, zlib.error …
    except Exception as error:
        raise _unreadable(_reason(error, file), source) from error


def _unreadable(reason: str, source: Source) -> InputError:
    return InputError(f"{CANNOT}{reason}", where=shown(source), hint="remove or replace it")


def _reason(error: Exception, file: IO[bytes]) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels"
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(file)
    return " ".join(str(error).split()) or type(error).__name__


def _unidentified(file: IO[bytes]) -> str:
    file.seek(0)
    start = file.read(64)
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "it is a HEIC photo (pip install 'spnas[heic]')"
    if not start.strip(b"\0"):
        return "it begins with zeros, as a file that was not copied whole"
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    return "it is not an image that Pillow knows, or its start is damaged"


def read_image(source: Source, tops: Mapping[str, float] = DEFAULT_TOPS) -> Any:
    """The image in 8-bit RGB, turned as its EXIF data say.

    Args:
        source: of the image.
        tops: the value that is white in images of more than 8 bits, by `depth_of`; 0 is black.

    Raises:
        InputError: it is not an image, or a broken one.
    """
    from PIL import ImageOps

    with content_of(source) as file, parsed(file, source) as image:
        return _without_far_ends(in_8_bits(ImageOps.exif_transpose(image), tops).convert("RGB"))


def in_8_bits(image: Image, tops: Mapping[str, float]) -> Image:
    """Grey of more bits, or of floating-point numbers, in 8 bits; any other image as it is."""
    from PIL import Image

    kind = depth_of(image)
    if kind is None or kind not in RANGES:
        return image
    values = np.asarray(image, np.float64) * (255 / tops.get(kind, DEFAULT_TOPS[kind]))
    return Image.fromarray(np.nan_to_num(values).round().clip(0, 255).astype(np.uint8))


def _without_far_ends(image: Image) -> Image:
    """A strip that would fill the memory once its breadth is scaled to the resolution, shortened around its middle."""
    width, height = image.size
    most = LONGEST * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, width - left, height - top))


def top_of(kind: str, low: float, high: float) -> float | None:
    """The value that is white in images whose values lie between these; None where that is not known.

    Floating-point numbers reach from 0 to 1, 255 or 65535, integers to the largest value of 8, 10, 12, 14 or 16 bits. Of colours
    of 16 bits the upper 8 were read: if these are 0 in the upper ones, there is too little left.
    """
    if not low >= 0:  # nor NaN
        return None
    if kind not in RANGES:
        return 255.0 if high > 63 else None
    slack = 1.001 if kind == "F" else 1  # what rounding adds
    return next((top for top in RANGES[kind] if top * LEAST_FILLED < high <= top * slack), None)
