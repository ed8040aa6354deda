"""Folders of real little pictures for tests: each class another shape, in colours and places of its own."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

SHAPES = ("disc", "square", "left", "right")


def draw(shape: str, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A dark shape on a light ground; `left` and `right` are arrow heads, mirrored images of one another."""
    drawn = random.Random(f"{shape} {seed}")
    ground, ink = (tuple(drawn.randint(*levels) for _ in range(3)) for levels in ((170, 255), (0, 80)))
    image = Image.new("RGB", size, ground)
    side = min(size) * drawn.uniform(0.55, 0.8)
    x, y = ((length - side) / 2 + drawn.uniform(-1, 1) for length in size)
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        pen.ellipse([x, y, x + side, y + side], fill=ink)
    elif shape == "square":
        pen.rectangle([x, y, x + side, y + side], fill=ink)
    else:
        tip, back = (x, x + side) if shape == "left" else (x + side, x)
        pen.polygon([(tip, y + side / 2), (back, y), (back, y + side)], fill=ink)
    return image


def write(folder: Path, classes: Iterable[str] = ("disc", "square"), count: int = 5, seed: int = 0, ending: str = ".png") -> Path:
    """Folders of so many pictures, named after what is on them."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw(name if name in SHAPES else "disc", 1000 * seed + number).save(folder / name / f"{number}{ending}")
    return folder
