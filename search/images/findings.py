"""What the first look at a data set tells: ranges of deep images, images of one colour, images that are there twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import NamedTuple

from profiling.errors import InputError
from search.images.names import listed, shown
from search.images.reading import LEAST_FILLED, RANGES, Source, content_of, top_of
from search.images.survey import HEAD, Look


class Seen(NamedTuple):
    """An image, the number of its class, and what was seen of it."""

    source: Source
    label: int
    look: Look


# Integers are dark at night; but if more images than this share fill so little of the range, they have another.
MOST_DARK = 0.05


def unreadable(images: Sequence[Seen]) -> list[Seen]:
    """Those that cannot be read, by name."""
    return sorted((each for each in images if each.look.problem), key=lambda each: str(each.source))


def tops(images: Sequence[Seen]) -> dict[str, float]:
    """The value that is white in the images of more than 8 bits, by `depth_of`: one for all of a kind.

    Raises:
        InputError: the range of their values cannot be known.
    """
    kinds: dict[str, list[Seen]] = defaultdict(list)
    for each in images:
        if each.look.high is not None:
            kinds[each.look.mode].append(each)
    return {kind: _top(kind, deep) for kind, deep in kinds.items()}


def _top(kind: str, deep: Sequence[Seen]) -> float:
    ranges = [(each.look.low or 0.0, each.look.high or 0.0) for each in deep]
    # NaN is neither smaller nor larger than anything.
    low, high = min(low if low == low else -1 for low, _ in ranges), max(high for _, high in ranges)
    top = top_of(kind, low, high)
    if top is None:
        odd = next((each for each in deep if top_of(kind, each.look.low or 0.0, each.look.high or 0.0) is None), deep[0])
        bits = "of which 8 bits are read" if kind not in RANGES else "and their range is not known"
        raise InputError(
            f"{len(deep)} {in_words(kind)} images: the values here are {odd.look.low:g} to {odd.look.high:g}, {bits}",
            where=shown(odd.source),
            hint="save them with 8 bits, black as 0 and white as 255",
        )
    dark = [each for each, (_, most) in zip(deep, ranges, strict=True) if 0 < most <= top * LEAST_FILLED]
    if kind in RANGES and len(dark) > (0 if kind == "F" else MOST_DARK * len(deep)):
        raise InputError(
            f"{len(dark)} of {len(deep)} {in_words(kind)} images would be black: the values here reach {dark[0].look.high:g}, "
            f"those of others {high:g}",
            where=shown(dark[0].source),
            hint="save all of them with 8 bits, black as 0 and white as 255",
        )
    return top


def in_words(kind: str) -> str:
    """A kind of deep images, as an adjective."""
    return {"I;16": "16-bit", "I": "32-bit integer", "F": "floating-point"}.get(kind, "16-bit colour")


def plain(images: Sequence[Seen]) -> list[Seen]:
    """Images of one colour, in classes of which most are not."""
    of_class, plain_of_class = Counter(each.label for each in images), Counter(each.label for each in images if each.look.plain)
    return [each for each in images if each.look.plain and 2 * plain_of_class[each.label] < of_class[each.label]]


def shared(ours: Sequence[Seen], theirs: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    """Pairs of the same file, one of either set."""
    by_digest: dict[str, list[Seen]] = defaultdict(list)
    for each in theirs:
        by_digest[each.look.digest].append(each)
    pairs = []
    for each in ours:
        same = next((other for other in by_digest.get(each.look.digest, []) if _same(each.source, other.source)), None)
        if same is not None:
            pairs.append((each, same))
    return pairs


def contradicting(images: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    """Pairs of the same file in two classes."""
    first: dict[str, Seen] = {}
    pairs = []
    for each in images:
        other = first.setdefault(each.look.digest, each)
        if other.label != each.label and _same(each.source, other.source):
            pairs.append((other, each))
    return pairs


def _same(one: Source, other: Source) -> bool:
    """Whether two files of the same size that begin with the same bytes are the same to their end."""
    try:
        contents = []
        for source in (one, other):
            with content_of(source) as file:
                file.seek(HEAD)
                contents.append(hashlib.file_digest(file, "blake2b").digest())  # type: ignore[arg-type]
    except InputError:
        return False
    return contents[0] == contents[1]


def shorter_side(images: Sequence[Seen]) -> int:
    """The median of the shorter sides of the images, in pixels."""
    return median_low(min(each.look.width, each.look.height) for each in images)


def notes(train: Sequence[Seen], held_out: Sequence[Seen], white: Mapping[str, float]) -> list[str]:
    """What is to be said of the images before they are trained on, a line each."""
    lines = []
    both = [*train, *held_out]
    for kind, top in white.items():
        if kind not in RANGES:
            continue
        count = sum(each.look.mode == kind for each in both)
        lines.append(f"{count} {in_words(kind)} images: black is 0, white is {top:g}.")
    if twice := shared(held_out, train):
        pairs = listed([f"{shown(one.source)} = {shown(other.source)}" for one, other in twice], 2)
        lines.append(f"{len(twice)} held-out images are also among the training images, so accuracies will be too high: {pairs}.")
    if odd := contradicting(both):
        pairs = listed([f"{shown(one.source)} = {shown(other.source)}" for one, other in odd], 2)
        lines.append(f"{len(odd)} images are in two classes: {pairs}.")
    if empty := plain(both):
        names = listed([each.source for each in empty])
        lines.append(f"{len(empty)} images are of one colour, unlike the others of their classes: {names}.")
    return lines
