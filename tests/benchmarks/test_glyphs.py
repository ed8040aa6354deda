"""The glyph ruler: its families are apart, fonts without the characters are refused, and its images are the same every time.

The fonts themselves need not be installed here: letters of matplotlib's own fonts stand for kanji.
"""

from pathlib import Path

import matplotlib
import pytest

from profiling.errors import InputError
from search.images.data import load_data
from search.images.one_image import ImageForm

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FORM = ImageForm(resolution=28, image_channels=1)


@pytest.fixture
def glyphs(ruler, monkeypatch):
    """The script, with three letters for kanji and three fonts that are here."""
    glyphs = ruler("glyphs")
    fonts = {"train": "DejaVuSans.ttf", "val": "DejaVuSerif.ttf", "test": "DejaVuSansMono.ttf"}
    monkeypatch.setattr(glyphs, "KANJI", "ABC")
    monkeypatch.setattr(glyphs, "FONT_FOLDER", FONTS)
    monkeypatch.setattr(glyphs, "FAMILIES", tuple(glyphs.Family(group, "a-package", file) for group, file in fonts.items()))
    return glyphs


def test_a_hundred_kanji_in_families_that_are_in_one_group_each(ruler):
    glyphs = ruler("glyphs")
    assert len(set(glyphs.KANJI)) == len(glyphs.KANJI) == 100
    assert list(glyphs.KANJI) == sorted(glyphs.KANJI), "classes are numbered in the order of their folders"
    assert len({family.file for family in glyphs.FAMILIES}) == len({family.name for family in glyphs.FAMILIES}) == 51
    sizes = {group: sum(family.group == group for family in glyphs.FAMILIES) for group in glyphs.RENDERINGS}
    assert sizes == {"train": 32, "val": 7, "test": 12}


def test_a_font_that_draws_a_box_for_every_kanji_lacks_all_of_them(ruler):
    glyphs = ruler("glyphs")
    assert glyphs.lacking_kanji(FONTS / "DejaVuSans.ttf") == glyphs.KANJI


def test_a_blank_character_and_one_that_looks_like_another_are_refused(glyphs, monkeypatch):
    monkeypatch.setattr(glyphs, "KANJI", "AB\u2003\u0391")  # an em space, and a Greek capital that looks like the A
    assert glyphs.lacking_kanji(FONTS / "DejaVuSans.ttf") == "\u2003\u0391"
    with pytest.raises(InputError, match="DejaVuSans lacks"):
        glyphs.require_fonts()


def test_missing_fonts_are_named_with_what_installs_them(ruler, monkeypatch, tmp_path):
    glyphs = ruler("glyphs")
    monkeypatch.setattr(glyphs, "FONT_FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"truetype/seto/setofont\.ttf \(fonts-seto\)") as raised:
        glyphs.write_glyphs(tmp_path / "glyphs")
    assert str(raised.value.hint).startswith("apt-get install")
    assert all(family.package in str(raised.value.hint) for family in glyphs.FAMILIES)
    assert not (tmp_path / "glyphs").exists()


def test_the_images_are_the_same_to_the_byte_every_time(glyphs, tmp_path):
    for name in ("one", "other"):
        glyphs.write_glyphs(tmp_path / name)
    one, other = ({file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.png")} for folder in
                  (tmp_path / "one", tmp_path / "other"))  # fmt: skip
    assert one == other
    assert len(one) == 3 * sum(glyphs.RENDERINGS.values())
    assert len(set(one.values())) == len(one), "no rendering is like another"


def test_no_stroke_is_cut_off_and_strokes_are_bright_on_black(glyphs, tmp_path):
    data = glyphs.load_glyphs(tmp_path / "glyphs", FORM, seed=0)
    for index in range(data.held_out_images):
        image, _ = data.held_out[(0, index)]
        border = [image[0, 0], image[0, -1], image[0, :, 0], image[0, :, -1]]
        assert max(float(edge.max()) for edge in border) == -1
        assert image.max() > 0


def test_benchmarks_and_the_program_read_the_same_folder(glyphs, tmp_path):
    folder = tmp_path / "glyphs"
    test, val = (glyphs.load_glyphs(folder, FORM, 0, held_out) for held_out in ("test", "val"))
    per_class = glyphs.RENDERINGS
    assert (test.train_images, test.held_out_images, val.held_out_images) == tuple(
        3 * per_class[g] for g in ("train", "test", "val")
    )
    program = load_data(str(folder), FORM, seed=0)
    assert program.classes == test.classes == ("u0041", "u0042", "u0043")
    assert (program.train_images, program.held_out_images) == (test.train_images, val.held_out_images)
    assert [val.held_out[(0, index)][1] for index in range(15)] == [index // 5 for index in range(15)]


def test_the_contact_sheet_has_a_row_for_each_family(glyphs, tmp_path):
    glyphs.write_glyphs(tmp_path / "glyphs")
    sheet = glyphs.contact_sheet(tmp_path / "glyphs", "AC")
    assert sheet.size == (2 * 2 * 28, 3 * 28)
    assert sheet.getextrema()[1] == 255
