"""Photos in the two framings: what is taken of them, and that every part of the toolkit takes the same."""

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_space

from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.images.framing import in_words
from search.images.one_image import ImageForm
from search.images.options import MOVES, ImageOptions

FORM = ImageForm(14, 3)
SIZES = [(64, 32), (32, 64), (40, 40), (16, 300), (9, 11)]


def stripes(width, height):
    """Red at its left and right ends, green at its top and bottom, blue in the square between."""
    pixels = np.zeros((height, width, 3), np.uint8)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    pixels[top : top + side, left : left + side, 2] = 255
    pixels[:, :left, 0] = pixels[:, left + side :, 0] = 255
    pixels[:top, :, 1] = pixels[top + side :, :, 1] = 255
    return Image.fromarray(pixels)


@pytest.fixture(params=SIZES, ids=lambda size: "x".join(map(str, size)))
def photos(request, tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(2):
            stripes(*request.param).save(tmp_path / name / f"{number}.png")
    return request.param, load_data(str(tmp_path), FORM, 0)


def held_out(data):
    [(images, _)] = held_out_batches(data, 4, 0)
    return ((images[0] + 1) * 127.5).permute(1, 2, 0).numpy()


def test_a_crop_sees_the_square_alone_and_a_stretch_all_of_the_photo(photos):
    (width, height), data = photos
    assert (data.framing, data.centre_crop) == ("crop", 14 / 16)
    assert held_out(data)[1:-1, 1:-1, :2].max() < 20
    stretched = data.framed("stretch")
    assert (stretched.framing, stretched.centre_crop) == ("stretch", 1)
    expected = np.asarray(stripes(width, height).resize((14, 14), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(held_out(stretched) - expected).max() <= 2
    assert np.array_equal(held_out(stretched.framed("crop")), held_out(data))


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize(("width", "height"), [(160, 40), (40, 160)])
def test_training_images_are_moved_within_what_the_framing_shows(tmp_path, moves, width, height):
    """The ends of a long photo are little of a random crop, which is nearly square, and half of a stretched photo."""
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(2):
            stripes(width, height).save(tmp_path / name / f"{number}.png")
    data = load_data(str(tmp_path), FORM, 0, None, ImageOptions(moves=moves))
    shares = {}
    for framing in ("crop", "stretch"):
        seen = [torch.cat([images for images, _ in training_batches(data.framed(framing), 2, 0, 0, 40, 0)]) for _ in range(2)]
        assert torch.equal(*seen)
        shares[framing] = float(seen[0].add(1).div(2)[:, :2].amax(1).flatten(1).mean(1).median())
    if moves in ("none", "shift"):
        assert shares["crop"] < 0.15 < 0.7 < shares["stretch"]
    else:
        assert shares["stretch"] > 0.5


def test_small_images_are_the_same_in_every_framing():
    data = load_data("digits", small_space(), 0)
    stretched = data.framed("stretch")
    assert not data.framings_differ
    assert (stretched.framing, stretched.centre_crop) == ("stretch", 1)
    assert stretched.held_out is data.held_out


def test_a_framing_in_words():
    assert in_words("crop", 0.875) == "central square crop, 0.875 of the shorter side"
    assert in_words("stretch", 1.0) == "the whole image, stretched"


@pytest.mark.parametrize("most", [1, 3, 4, 1000])
def test_some_of_the_held_out_images_are_spread_over_all(photos, most):
    _, data = photos
    numbers = data.spread_over_held_out(most)
    assert len(numbers) == len(set(numbers)) == min(most, 4)
    assert max(numbers) < 4
