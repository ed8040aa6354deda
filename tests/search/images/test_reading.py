"""Pixels as they were meant: deep images by their true range or refused, and every broken file one error with its name."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from pictures import draw, write
from PIL import Image

from profiling.errors import InputError
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.images.one_image import ImageForm
from search.images.options import ImageOptions
from search.images.reading import read_image, top_of

FORM = ImageForm(12, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def everything(folder):
    return load_data(str(folder), FORM, 0, options=ImageOptions(split="all"))


def write_deep(folder, make, count=4, ending=".tif"):
    """Images of `make(grey)`, whose grey goes from 0 to 1, once in each of two classes."""
    for name in ("disc", "square"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            grey = np.asarray(draw(name, number).convert("L"), np.float64) / 255
            grey = (grey - grey.min()) / (grey.max() - grey.min())
            make(grey).save(folder / name / f"{make.__name__}{number}{ending}")


def f32(grey):
    return Image.fromarray((0.64 * grey).astype(np.float32))


def f32_255(grey):
    return Image.fromarray((160 * grey).astype(np.float32))


def f32_65535(grey):
    return Image.fromarray((60000 * grey).astype(np.float32))


def i32_255(grey):
    return Image.fromarray((160 * grey).astype(np.int32))


def i32_65535(grey):
    return Image.fromarray((50000 * grey).astype(np.int32))


def bits10(grey):
    return Image.fromarray((1000 * grey).astype(np.uint16))


def bits12(grey):
    return Image.fromarray((4000 * grey).astype(np.uint16))


def bits14(grey):
    return Image.fromarray((16000 * grey).astype(np.uint16))


def bits16(grey):
    return Image.fromarray((64000 * grey).astype(np.uint16))


def big_endian(grey):
    image = Image.new("I;16B", grey.shape[::-1])
    image.frombytes((4000 * grey).astype(">u2").tobytes())
    return image


@pytest.mark.parametrize(
    ("make", "white"),
    [(f32, 0.64), (f32_255, 160 / 255), (f32_65535, 60000 / 65535), (i32_255, 160 / 255), (i32_65535, 50000 / 65535),
     (bits10, 1000 / 1023), (bits12, 4000 / 4095), (bits14, 16000 / 16383), (bits16, 64000 / 65535), (big_endian, 4000 / 4095)],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_deep_images_are_scaled_by_their_true_range(tmp_path, make, white):
    write_deep(tmp_path, make)
    data = everything(tmp_path)
    shades = torch.stack([data.held_out[0, index][0] for index in range(data.held_out_images)]) / 2 + 0.5
    assert shades.max().item() == pytest.approx(white, abs=0.08)
    assert shades.min().item() < 0.3
    assert any("images: black is 0, white is" in line for line in data.notes)


def negative(grey):
    return Image.fromarray((2 * grey - 1).astype(np.float32))


def beyond_one(grey):
    return Image.fromarray((1.5 * grey).astype(np.float32))


def infinite(grey):
    return Image.fromarray(np.where(grey > 0.5, np.inf, grey).astype(np.float32))


def not_a_number(grey):
    return Image.fromarray(np.where(grey > 0.5, np.nan, grey).astype(np.float32))


def labels_of_pixels(grey):
    return Image.fromarray((7 * grey).astype(np.int32))


def millions(grey):
    return Image.fromarray((5e6 * grey).astype(np.int32))


@pytest.mark.parametrize("make", [negative, beyond_one, infinite, not_a_number, labels_of_pixels, millions])
def test_deep_images_of_an_unknown_range_are_refused_by_name(tmp_path, make):
    write_deep(tmp_path, make)
    with pytest.raises(InputError, match=r"\.tif: .* images: the values here are .*save them with 8 bits"):
        everything(tmp_path)


def test_12_bits_beside_16_are_not_made_black(tmp_path):
    write_deep(tmp_path, bits16)
    write_deep(tmp_path, bits12)
    with pytest.raises(InputError, match="8 of 16 16-bit images would be black"):
        everything(tmp_path)


def png_of_16_bits(pixels):
    """A PNG of 16 bits in three channels, which Pillow does not write; from pixels (height, width, 3)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("most", "fits"), [(65535, True), (4095, False)])
def test_colours_of_16_bits_are_read_unless_they_are_12_in_16(tmp_path, most, fits):
    for name in ("disc", "square"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = np.asarray(draw(name, number), np.float64) / 255 * most
            (tmp_path / name / f"{number}.png").write_bytes(png_of_16_bits(pixels))
    if fits:
        data = everything(tmp_path)
        expected = np.asarray(draw("disc", 0).getpixel((0, 0))) / 127.5 - 1
        assert data.held_out[0, 0][0][:, 0, 0].numpy() == pytest.approx(expected, abs=0.05)
    else:
        with pytest.raises(InputError, match=r"16-bit colour images.*of which 8 bits are read"):
            everything(tmp_path)


def test_the_ranges_at_their_ends():
    assert [top_of("F", 0, high) for high in (0.01, 0.5, 1.0, 1.02, 12, 255, 300, 65535, 1e6)] == [
        None, 1, 1, None, None, 255, None, 65535, None,
    ]  # fmt: skip
    assert [top_of("I", 0, high) for high in (5, 16, 255, 256, 1023, 4095, 4096, 65535, 65700)] == [
        None, 255, 255, 1023, 1023, 4095, 16383, 65535, None,
    ]  # fmt: skip
    assert top_of("F", float("nan"), float("nan")) is None


def test_a_constant_image_among_varied_ones_is_counted_and_named(tmp_path):
    write(tmp_path)
    Image.new("RGB", (24, 20)).save(tmp_path / "disc" / "black.png")
    write(tmp_path, ["colours"])
    for number in range(5):  # a class of plain colours is what it is
        Image.new("RGB", (24, 20), (40 * number, 10, 10)).save(tmp_path / "colours" / f"{number}.png")
    lines = [line for line in everything(tmp_path).notes if "of one colour" in line]
    assert [line.partition(" images")[0] for line in lines] == ["1"]
    assert lines[0].endswith("black.png.")


def test_a_strip_does_not_fill_the_memory(tmp_path):
    write(tmp_path)
    Image.new("RGB", (60000, 2), (200, 10, 10)).save(tmp_path / "disc" / "strip.png")
    data = everything(tmp_path)
    assert all(data.held_out[0, index][0].shape == (3, 12, 12) for index in range(data.held_out_images))


def encoded(kind, **options):
    file = io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def error_of(path):
    try:
        read_image(str(path))
    except InputError as error:
        return str(error)
    return None


KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "AVIF", "JPEG2000", "SGI", "PCX", "QOI", "DDS")


@pytest.mark.filterwarnings("ignore")  # of pytest, which shows them again
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_wrong_with_a_file_it_ends_as_its_name(tmp_path, kind):
    """Cut off anywhere, and with bytes changed anywhere: an image or an InputError, and nothing else."""
    whole = encoded(kind)
    random = np.random.default_rng(0)
    damaged = [whole[:size] for size in {0, 1, 8, 20, *range(30, len(whole), max(1, len(whole) // 12))}]
    for _ in range(40):
        changed = bytearray(whole)
        for place in random.integers(0, min(len(whole), 400), 4):
            changed[place] = random.integers(256)
        damaged.append(bytes(changed))
    path, failed = tmp_path / "x.png", 0
    for content in damaged:
        path.write_bytes(content)
        message = error_of(path)
        if message is not None:
            failed += 1
            assert message.startswith(f"{path}: the image cannot be read: ")
            assert "\n" not in message
            assert "object at 0x" not in message
    assert failed > 5


ERRORS = [ValueError("bad\nvalue"), struct.error("unpack"), SyntaxError("not a PNG"), IndexError(), zlib.error("-3"), KeyError(7),
          TypeError("None"), OverflowError(), ZeroDivisionError(), MemoryError(), EOFError(), AssertionError(), RuntimeError("x"),
          NotImplementedError(), OSError("broken data stream"), Image.DecompressionBombError("bomb")]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_exception_of_a_decoder_names_the_file(tmp_path, monkeypatch, error):
    def fails(self):
        raise error

    path = tmp_path / "x.png"
    draw("disc").save(path)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load", fails)
        with pytest.raises(InputError, match=r"x\.png: the image cannot be read: \S") as raised:
            read_image(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "batches", [lambda data, n: training_batches(data, 4, 0, 0, 4, n), lambda data, n: held_out_batches(data, 4, n)]
)
def test_an_image_that_breaks_after_the_first_look_is_named_also_by_loading_processes(tmp_path, workers, batches):
    data = load_data(str(write(tmp_path, count=10)), FORM, 0)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"\d\.png: the image cannot be read") as raised:
        list(batches(data, workers))
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(InputError, match=r"x\.png: the image cannot be read: No such file or directory"):
        read_image(str(tmp_path / "x.png"))
    (tmp_path / "y.png").mkdir()
    with pytest.raises(InputError, match=r"y\.png: the image cannot be read: Is a directory"):
        read_image(str(tmp_path / "y.png"))
