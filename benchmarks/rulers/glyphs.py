"""The glyph ruler: 100 kanji in 51 font families, as a folder of images that `spnas --data FOLDER` reads.

A hard set of small grey images, on which networks of one latency differ visibly. Networks learn kanji from some families and are
tested on families that they have never seen; a third group is for choosing among networks. A family is in one group only, all its
weights count as one family, and of families that share their drawings (Takao is IPA, UmePlus is Ume) only one is here, so a test
image is never a training image in disguise. Each kanji is drawn several times in each family, at random
size, offset, slant and stroke contrast.

The fonts are Debian packages (named with this script's `--fonts`); nothing is downloaded from elsewhere. The images depend on the
seed written here and on the fonts' versions alone: FreeType and Pillow being the same, they are the same to the byte.

    python benchmarks/rulers/glyphs.py FOLDER
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from profiling.errors import InputError
from search.images.data import Data
from search.images.one_image import Form, SmallImages

# Each is in every family below, and none is a simplified form that only some regions write.
KANJI = (
    "乙五亡俊像共冥凋判勇包匿卜及受基堀奈好姻威嫁守宙宿寄富寓山峨嵯巴帝庇形循忍慧憾抄把抹按接敦斜於映暮暴"
    "曳有朔朝朽杏枚柚格梢梧槌次武歪殿母沫河浮淫燃版牲狐皆眉督砂硝碑章筒胞膜茨蜜衣衿豚趣踏道遭酸附陶雪鬼黛"
)
SIZE = 28  # pixels, height and width of an image
OVERSAMPLED = 4
FONT_FOLDER = Path("/usr/share/fonts")

Group = Literal["train", "val", "test"]
RENDERINGS: Mapping[Group, int] = {"train": 8, "val": 5, "test": 4}
# What changes from one rendering to the next.
FONT_SIZES = (19.0, 25.0)  # pixels
OFFSET = 2.0  # pixels, to either side
ANGLE = 8.0  # degrees, to either side
CONTRAST = (0.6, 1.0)  # of black strokes on white
STROKES = (0.7, 1.5)  # exponent of the grey of an edge: below 1 thickens strokes, above 1 thins them


@dataclass(frozen=True)
class Family:
    """A font family: the group that it is in, the Debian package it comes from, and its file under /usr/share/fonts."""

    group: Group
    package: str
    file: str

    @property
    def name(self) -> str:
        """The name of its file without the ending."""
        return Path(self.file).stem


FAMILIES = tuple(
    Family(group, package, file)
    for group, package, file in (
        ("train", "fonts-aoyagi-kouzan-t", "truetype/aoyagi-kouzan-t/AoyagiKouzanT.ttf"),
        ("train", "fonts-arphic-gbsn00lp", "truetype/arphic-gbsn00lp/gbsn00lp.ttf"),
        ("train", "fonts-arphic-ukai", "truetype/arphic/ukai.ttc"),
        ("train", "fonts-arphic-uming", "truetype/arphic/uming.ttc"),
        ("train", "fonts-baekmuk", "truetype/baekmuk/batang.ttf"),
        ("train", "fonts-baekmuk", "truetype/baekmuk/gulim.ttf"),
        ("train", "fonts-cns11643-kai", "truetype/cns11643/TW-Kai-98_1.ttf"),
        ("train", "fonts-cns11643-sung", "truetype/cns11643/TW-Sung-98_1.ttf"),
        ("train", "fonts-cwtex-fs", "truetype/cwtex/cwfs.ttf"),
        ("train", "fonts-cwtex-heib", "truetype/cwtex/cwheib.ttf"),
        ("train", "fonts-cwtex-ming", "truetype/cwtex/cwming.ttf"),
        ("train", "fonts-dejima-mincho", "truetype/dejima-mincho/dejima-mincho-r227.ttf"),
        ("train", "fonts-dotgothic16", "truetype/dotgothic16/DotGothic16-Regular.ttf"),
        ("train", "fonts-droid-fallback", "truetype/droid/DroidSansFallbackFull.ttf"),
        ("train", "fonts-hanazono", "truetype/hanazono/HanaMinA.ttf"),
        ("train", "fonts-horai-umefont", "truetype/horai-umefont/ume-tgo4.ttf"),
        ("train", "fonts-horai-umefont", "truetype/horai-umefont/ume-tmo3.ttf"),
        ("train", "fonts-ipafont-gothic", "opentype/ipafont-gothic/ipag.ttf"),
        ("train", "fonts-ipafont-mincho", "opentype/ipafont-mincho/ipam.ttf"),
        ("train", "fonts-kiloji", "truetype/kiloji/kiloji.ttf"),
        ("train", "fonts-klee", "truetype/klee/KleeOne-Regular.ttf"),
        ("train", "fonts-konatu", "truetype/konatu/Konatu.ttf"),
        ("train", "fonts-morisawa-bizud-gothic", "truetype/bizud-gothic/BIZUDGothic-Regular.ttf"),
        ("train", "fonts-morisawa-bizud-mincho", "truetype/bizud-mincho/BIZUDMincho-Regular.ttf"),
        ("train", "fonts-motoya-l-maruberi", "truetype/motoya-l-maruberi/MTLmr3m.ttf"),
        ("train", "fonts-nanum", "truetype/nanum/NanumGothic.ttf"),
        ("train", "fonts-noto-cjk", "opentype/noto/NotoSansCJK-Regular.ttc"),
        ("train", "fonts-rampart", "truetype/rampart/RampartOne-Regular.ttf"),
        ("train", "fonts-sawarabi-gothic", "truetype/sawarabi-gothic/sawarabi-gothic-medium.ttf"),
        ("train", "fonts-smiley-sans", "truetype/smiley-sans/SmileySans-Oblique.ttf"),
        ("train", "fonts-train", "truetype/train/TrainOne-Regular.ttf"),
        ("train", "fonts-unfonts-core", "truetype/unfonts-core/UnDotum.ttf"),
        ("val", "fonts-aoyagi-soseki", "truetype/aoyagi-soseki/aoyagi-soseki.ttf"),
        ("val", "fonts-baekmuk", "truetype/baekmuk/dotum.ttf"),
        ("val", "fonts-cwtex-yen", "truetype/cwtex/cwyen.ttf"),
        ("val", "fonts-rocknroll", "truetype/rocknroll/RocknRollOne-Regular.ttf"),
        ("val", "fonts-sawarabi-mincho", "truetype/sawarabi-mincho/sawarabi-mincho-medium.ttf"),
        ("val", "fonts-unfonts-core", "truetype/unfonts-core/UnGungseo.ttf"),
        ("val", "fonts-unifont", "opentype/unifont/unifont_jp.otf"),
        ("test", "fonts-kouzan-mouhitsu", "truetype/kouzan-mouhitsu/kouzan-mouhitsu.ttf"),
        ("test", "fonts-mplus", "opentype/mplus/Mplus1-Regular.otf"),
        ("test", "fonts-noto-cjk", "opentype/noto/NotoSerifCJK-Regular.ttc"),
        ("test", "fonts-oradano-mincho-gsrr", "truetype/oradano-mincho/OradanoGSRR.ttf"),
        ("test", "fonts-reggae", "truetype/reggae/ReggaeOne-Regular.ttf"),
        ("test", "fonts-seto", "truetype/seto/setofont.ttf"),
        ("test", "fonts-stick", "truetype/stick/Stick-Regular.ttf"),
        ("test", "fonts-unfonts-core", "truetype/unfonts-core/UnBatang.ttf"),
        ("test", "fonts-unfonts-extra", "truetype/unfonts-extra/UnYetgul.ttf"),
        ("test", "fonts-wqy-zenhei", "truetype/wqy/wqy-zenhei.ttc"),
        ("test", "fonts-yozvox-yozfont", "truetype/yozvox-yozfont/YOzRN_.ttf"),
        ("test", "fonts-yusei-magic", "truetype/yusei-magic/YuseiMagic-Regular.ttf"),
    )
)


def install_command() -> str:
    """What installs the fonts on Debian."""
    return f"apt-get install --no-install-recommends {' '.join(sorted({family.package for family in FAMILIES}))}"


def load_glyphs(folder: Path, form: Form, seed: int, held_out: Literal["val", "test"] = "test") -> Data:
    """The glyphs in memory, for benchmarks; they are rendered into the folder first where it does not hold them.

    Training images are shifted at random, as those of the named data sets are; `--data FOLDER` would mirror them too, which no
    kanji survives.

    Args:
        folder: of the images.
        form: resolution and channels.
        seed: of the shifts.
        held_out: `val` for whatever chooses among networks, `test` for the accuracies that are reported.

    Raises:
        InputError: a font is missing, or lacks a kanji.
    """
    if not folder.exists():
        write_glyphs(folder)
    (train, train_labels), (held, labels) = (_read(folder / group) for group in ("train", held_out))
    return Data(
        SmallImages(train, train_labels, form, seed),
        len(train_labels),
        SmallImages(held, labels, form, None),
        len(labels),
        tuple(map(class_name, KANJI)),
    )


def _read(folder: Path) -> tuple[Tensor, list[int]]:
    """(images, 1, 28, 28) of 8 bits, and the class of each."""
    pixels, labels = bytearray(), []
    for label, kanji in enumerate(KANJI):
        for file in sorted((folder / class_name(kanji)).iterdir()):
            with Image.open(file) as image:
                pixels += image.tobytes()
            labels.append(label)
    return torch.frombuffer(pixels, dtype=torch.uint8).reshape(-1, 1, SIZE, SIZE), labels


def class_name(kanji: str) -> str:
    """The folder of a kanji, e.g. `u5c71`; in the order of KANJI."""
    return f"u{ord(kanji):04x}"


def write_glyphs(folder: Path) -> None:
    """Renders every image into `GROUP/CLASS/FAMILY-NN.png`, white strokes on black; the folder appears when it is whole.

    Raises:
        InputError: a font is missing, or lacks a kanji.
    """
    require_fonts()
    partial = folder.with_name(f"{folder.name}.partial")
    for group in RENDERINGS:
        for kanji in KANJI:
            (partial / group / class_name(kanji)).mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for kanji, index, image in renderings(family, RENDERINGS[family.group]):
            image.save(partial / family.group / class_name(kanji) / f"{family.name}-{index:02}.png")
    partial.rename(folder)


def require_fonts() -> None:
    """Makes sure that every font is there and has every kanji: drawn, not blank, not the box for a missing one, all different.

    Raises:
        InputError: names the packages to install, or the fonts and what they lack.
    """
    missing = [family for family in FAMILIES if not (FONT_FOLDER / family.file).is_file()]
    if missing:
        files = ", ".join(f"{family.file} ({family.package})" for family in missing)
        raise InputError(f"fonts are missing: {files}", hint=install_command())
    lacking = {family.name: lacks for family in FAMILIES if (lacks := lacking_kanji(FONT_FOLDER / family.file))}
    if lacking:
        raise InputError("; ".join(f"{name} lacks {lacks}" for name, lacks in lacking.items()), where=str(FONT_FOLDER))


def lacking_kanji(file: Path) -> str:
    """The kanji that a font has no drawing of: blank, or like a character that no font has, or like another kanji."""
    font = ImageFont.truetype(file, SIZE * OVERSAMPLED)
    nothing = bytes(font.getmask("\ufffe"))
    seen = {b"", nothing}
    lacks = ""
    for kanji in KANJI:
        drawn = bytes(font.getmask(kanji))
        if not any(drawn) or drawn in seen:
            lacks += kanji
        seen.add(drawn)
    return lacks


def renderings(family: Family, count: int) -> Iterator[tuple[str, int, Image.Image]]:
    """Each kanji so many times: the kanji, the number of the rendering, and the image."""
    for index in range(count):
        for kanji in KANJI:
            yield kanji, index, _render(family, kanji, random.Random(f"spnas-glyphs-{family.name}-{kanji}-{index}"))


def _render(family: Family, kanji: str, generator: random.Random) -> Image.Image:
    size = SIZE * OVERSAMPLED
    font = ImageFont.truetype(FONT_FOLDER / family.file, round(generator.uniform(*FONT_SIZES) * OVERSAMPLED))
    left, top, right, bottom = font.getbbox(kanji)
    x, y = (size / 2 + generator.uniform(-OFFSET, OFFSET) * OVERSAMPLED for _ in range(2))
    image = Image.new("L", (size, size))
    ImageDraw.Draw(image).text((x - (left + right) / 2, y - (top + bottom) / 2), kanji, fill=255, font=font)
    image = image.rotate(generator.uniform(-ANGLE, ANGLE), Image.Resampling.BICUBIC)
    image = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    contrast, exponent = generator.uniform(*CONTRAST), generator.uniform(*STROKES)
    return image.point([round(255 * contrast * (grey / 255) ** exponent) for grey in range(256)])


def contact_sheet(folder: Path, kanji: str) -> Image.Image:
    """One image of everything to look at: a row for each family, two renderings of each of these kanji side by side."""
    sheet = Image.new("L", (2 * len(kanji) * SIZE, len(FAMILIES) * SIZE))
    for row, family in enumerate(FAMILIES):
        for column, character in enumerate(kanji):
            for index in range(2):
                with Image.open(folder / family.group / class_name(character) / f"{family.name}-{index:02}.png") as image:
                    sheet.paste(image, ((2 * column + index) * SIZE, row * SIZE))
    return ImageOps.invert(sheet)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where the images go; must not exist")
    parser.add_argument("--fonts", action="store_true", help="print the command that installs the fonts, and stop")
    parser.add_argument("--sheet", type=Path, help="write a PNG with some images of every family")
    arguments = parser.parse_args()
    if arguments.fonts:
        print(install_command())
        return
    if arguments.folder is None:
        parser.error("say where the images go, or --fonts")
    try:
        if not arguments.folder.exists():
            write_glyphs(arguments.folder)
    except InputError as error:
        sys.exit(f"{error}")
    if arguments.sheet:
        contact_sheet(arguments.folder, KANJI[::6]).save(arguments.sheet)
    for group, count in RENDERINGS.items():
        families = sum(family.group == group for family in FAMILIES)
        print(
            f"{group}: {families} families x {len(KANJI)} kanji x {count} renderings = {families * len(KANJI) * count:,} images"
        )


if __name__ == "__main__":
    main()
