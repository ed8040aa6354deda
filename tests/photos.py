"""Photos to try spnas on, where there are no own ones: things drawn into real photographs, five classes of them.

`python tests/photos.py FOLDER` writes sixty of each class. The backgrounds are cut out of scikit-learn's two sample photographs.
Size, place, angle, colour and light differ from picture to picture, and so do format and resolution, as in a folder of photos.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.datasets import load_sample_images

Point = tuple[float, float]
SIZES = ((320, 240), (240, 320), (288, 288), (400, 240))


def _star(pen: ImageDraw.ImageDraw, ink: str) -> None:
    corners = [
        (50 + (45 if n % 2 else 20) * math.sin(n * math.pi / 5), 50 + (45 if n % 2 else 20) * math.cos(n * math.pi / 5))
        for n in range(10)
    ]
    pen.polygon(corners, fill=ink)


def _ring(pen: ImageDraw.ImageDraw, ink: str) -> None:
    pen.ellipse([8, 8, 92, 92], outline=ink, width=18)


def _cup(pen: ImageDraw.ImageDraw, ink: str) -> None:
    pen.polygon([(15, 20), (70, 20), (62, 85), (23, 85)], fill=ink)
    pen.arc([55, 30, 92, 68], -100, 110, fill=ink, width=9)


def _key(pen: ImageDraw.ImageDraw, ink: str) -> None:
    pen.ellipse([5, 30, 45, 70], outline=ink, width=11)
    pen.line([(44, 50), (95, 50)], fill=ink, width=10)
    for x in (75, 90):
        pen.line([(x, 50), (x, 72)], fill=ink, width=9)


def _house(pen: ImageDraw.ImageDraw, ink: str) -> None:
    pen.polygon([(50, 8), (94, 46), (6, 46)], fill=ink)
    pen.rectangle([18, 46, 82, 92], fill=ink)
    pen.rectangle([42, 62, 58, 92], fill="white")


THINGS: dict[str, Callable[[ImageDraw.ImageDraw, str], None]] = {
    "cup": _cup, "house": _house, "key": _key, "ring": _ring, "star": _star,
}  # fmt: skip


@cache
def _photographs() -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def photo(thing: str, seed: int) -> Image.Image:
    """A photo of a thing; the same one for the same seed."""
    drawn = random.Random(f"{thing} {seed}")
    width, height = drawn.choice(SIZES)
    ground = drawn.choice(_photographs())
    left, top = drawn.randrange(ground.width - width), drawn.randrange(ground.height - height)
    image = ground.crop((left, top, left + width, top + height))
    image = ImageEnhance.Brightness(image).enhance(drawn.uniform(0.5, 1.1))
    ink = f"hsl({drawn.randrange(360)}, {drawn.randrange(60, 100)}%, {drawn.randrange(45, 70)}%)"
    mask = Image.new("RGBA", (100, 100))
    THINGS[thing](ImageDraw.Draw(mask), ink)
    side = int(min(width, height) * drawn.uniform(0.45, 0.85))
    mask = mask.rotate(drawn.uniform(-35, 35), Image.Resampling.BICUBIC, expand=True).resize((side, side))
    place = (int((width - side) * drawn.uniform(0.2, 0.8)), int((height - side) * drawn.uniform(0.2, 0.8)))
    image.paste(mask, place, mask)
    return image.filter(ImageFilter.GaussianBlur(drawn.uniform(0, 1.2)))


def write(folder: Path, things: Iterable[str] = THINGS, count: int = 60, most_pixels: int = 400) -> Path:
    """Folders of so many photos of each thing, none larger than so many pixels a side."""
    for thing in things:
        (folder / thing).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = photo(thing, number)
            image.thumbnail((most_pixels, most_pixels))
            image.save(folder / thing / f"IMG_{number:04}.{'png' if number % 10 == 9 else 'jpg'}", quality=88)
    return folder


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
