"""A search space for a data set: of a resolution, channels and classes that fit its images."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from profiling.errors import InputError
from profiling.outside import is_folder
from profiling.space import SearchSpace, built_in_names, load_space
from search.images.names import shown
from search.listener import SILENT, Listener
from search.runs.overview import Overview, overview

# What images are scaled to: the largest of these that their shorter side has. More pixels cost time in the square of their
# number, and few images teach little more with them.
RESOLUTIONS = (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224)
LEAST_RESOLUTION = 8
MANY_IMAGES = 20_000
LARGEST_FOR_FEW = 128
# So many pixels are left for the last stage, at least, and so many times the image is halved, at most.
LAST_PIXELS, MOST_HALVINGS = 4, 5
STAGES = (24, 40, 64, 96)
LAYERS = 3
GREY = re.compile(r"1|L|LA|I|I;.*|F")  # modes of Pillow
NO_NAME = "images"
MOST_CHARACTERS = 40


@dataclass(frozen=True)
class Proposal:
    """A search space for images.

    Attributes:
        space: it knows the images that it is for (`data`).
        images: what is in them.
        classes: the images of each class that there are to train on.
    """

    space: SearchSpace
    images: Overview
    classes: Mapping[str, int]

    def to_yaml(self) -> str:
        """The text of the file of the space."""
        values = self.space.model_dump(mode="json", exclude_none=True, exclude={"width_multiplier", "channel_divisor"})
        first = {"name": self.space.name, "data": self.space.data}
        text = yaml.safe_dump(first | values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=10_000)
        return (
            f"# For {self.images.images} images in {len(self.classes)} classes, by spnas init. All of it may be changed.\n{text}"
        )


def propose(
    data: str | os.PathLike[str], *, resolution: int | None = None, seed: int = 0, listener: Listener = SILENT
) -> Proposal:
    """Looks at a data set and makes a search space for it.

    Args:
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        resolution: height and width of the images in pixels; None chooses by their size and number.
        seed: as in training: decides which images of a data set without parts are held out.
        listener: follows the progress.

    Raises:
        InputError: there are no such images, none to train on, or some cannot be read; or the resolution is out of range.
    """
    name = os.fspath(data)
    found = overview(name, seed=seed, listener=listener)
    if found.unreadable:
        hint = f"spnas data {shown(name)} names them; remove or replace them"
        raise InputError(f"{len(found.unreadable)} of {found.images} images cannot be read", where=shown(name), hint=hint)
    classes = found.counts["train"]
    if not sum(classes.values()) or found.sides is None:
        raise InputError("no images to train on", where=shown(name), hint="put them into a folder train, or into class folders")
    images = sum(classes.values())
    wanted = resolution or _resolution(found.sides[1], images)
    values: dict[str, Any] = {
        "name": space_name(name),
        "resolution": min(wanted, RESOLUTIONS[-1]),
        "image_channels": 1 if all(GREY.fullmatch(mode) for mode in found.modes) else 3,
        "classes": len(classes),
        **layout_for(wanted, images),
    }
    space = SearchSpace.model_validate(values, strict=False).with_parameters(resolution=wanted)
    return Proposal(space.model_copy(update={"data": _as_text(name)}), found, classes)


def _as_text(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError("the name of this folder is not UTF-8", where=shown(name), hint="rename it") from error
    return name


def space_name(data: str) -> str:
    """A name for the space of a data set: what the folder is called, as far as such a name allows, and none that ships."""
    place = Path(data)
    word = (place if is_folder(data) or not place.suffix else place.parent).resolve().name
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain)[:MOST_CHARACTERS].strip("-") or NO_NAME
    return f"own-{name}" if name in built_in_names("spaces") else name


def _resolution(side: int, images: int) -> int:
    """By the median of the shorter sides, in pixels, and the number of images to train on."""
    most = min(side, RESOLUTIONS[-1] if images >= MANY_IMAGES else LARGEST_FOR_FEW)
    return max((each for each in RESOLUTIONS if each <= most), default=RESOLUTIONS[0])


def layout_for(resolution: int, images: int) -> dict[str, Any]:
    """Stem, stages and head: the paper's for many large images; else fewer and narrower layers, which learn from less."""
    halvings = min(MOST_HALVINGS, int(math.log2(resolution / LAST_PIXELS)))
    if halvings < 1:
        raise InputError(f"at least {LEAST_RESOLUTION} pixels are needed, not {resolution}", where="--resolution")
    if images >= MANY_IMAGES and halvings == MOST_HALVINGS:
        paper = load_space("imagenet").model_dump(mode="json", exclude_none=True)
        return {part: paper[part] for part in ("kernels", "expansions", "skip", "stem", "stages", "head")}
    channels = STAGES[: max(LAYERS, halvings - 1)]
    strides = [1] * (len(channels) - halvings + 1) + [2] * (halvings - 1)
    searchable = [{"layers": LAYERS, "channels": each, "stride": stride} for each, stride in zip(channels, strides, strict=True)]
    return {
        "kernels": [3, 5],
        "expansions": [3, 6],
        "skip": True,
        "stem": {"channels": 16, "kernel": 3, "stride": 2},
        "stages": [{"layers": 1, "channels": 16, "kernel": 3, "expansion": 1}, *searchable],
        "head": {"channels": 4 * channels[-1]},
    }
