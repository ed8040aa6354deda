"""How training images are moved: what each way may and may not do to an image, the default, and the check of mirrored classes."""

import numpy as np
import pytest
import torch
from pictures import draw, write
from PIL import Image

from profiling.errors import InputError
from search.images.data import load_data
from search.images.moves import mirrored_classes, shifted
from search.images.one_image import ImageFiles, ImageForm, SmallImages, mixed
from search.images.options import ImageOptions
from search.images.reading import DEFAULT_TOPS
from search.images.vision import transforms

FORM = ImageForm(16, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def ramp(tmp_path):
    """The file of an image that becomes lighter from left to right, in steps of one shade a pixel."""
    grey = np.tile(np.arange(32, dtype=np.uint8) * 4, (32, 1))
    Image.fromarray(np.stack([grey] * 3, 2)).save(tmp_path / "ramp.png")
    return str(tmp_path / "ramp.png")


def views(ramp, moves, in_memory, count=30):
    if in_memory:
        pixels = torch.from_numpy(np.asarray(Image.open(ramp)).copy()).permute(2, 0, 1)[None]
        dataset = SmallImages(pixels, [0], FORM, 0, None, moves)
    else:
        dataset = ImageFiles([(ramp, 0)], FORM, 0, moves=moves)
    return [dataset[epoch, 0][0] for epoch in range(count)]


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "file"])
def test_each_way_does_what_it_says_and_no_more(ramp, in_memory):
    def lighter_to_the_right(image):
        return bool(image[:, :, 12].mean() > image[:, :, 3].mean())

    still, shift, crop, flip = (views(ramp, moves, in_memory) for moves in ("none", "shift", "crop", "crop-flip"))
    assert all(torch.equal(image, still[0]) for image in still)
    assert not all(torch.equal(image, shift[0]) for image in shift)
    assert all(map(lighter_to_the_right, still + crop))
    assert {lighter_to_the_right(image) for image in flip} == {True, False}
    # A step to the right is the same everywhere: nothing is scaled by a shift.
    middle = [(image[0, 8, 9] - image[0, 8, 7]).item() for image in shift]
    assert max(middle) == pytest.approx(min(middle), abs=0.04)
    steps = [(image[0, 8, 9] - image[0, 8, 7]).item() for image in crop]
    assert max(steps) > 1.5 * min(steps)


def test_a_light_crop_leaves_half_of_the_area_and_mirrors_only_if_asked(ramp):
    """The ramp grows by one step a column, so that the largest crop has the smallest steps."""
    whole, crop, light, flip = (views(ramp, moves, False, 60) for moves in ("none", "crop", "light", "light-flip"))
    still, hard, soft = ([(image[0, 8, 9] - image[0, 8, 7]).item() for image in images] for images in (whole, crop, light))
    assert min(hard) < 0.5 * max(still) < min(soft), "a narrow crop makes the ramp flat"
    assert all(bool(image[:, :, 12].mean() > image[:, :, 3].mean()) for image in light)
    assert len({bool(image[:, :, 12].mean() > image[:, :, 3].mean()) for image in flip}) == 2


def test_a_shift_goes_an_eighth_each_way_and_repeats_the_edge():
    torch.manual_seed(0)
    image = torch.arange(20).repeat(1, 20, 1)
    firsts = {int(shifted(image, 16)[0, 0, 0]) for _ in range(200)}
    assert firsts == {0, 1, 2, 3, 4}
    wide = {int(shifted(image[..., :16], 16)[0, 0, 0]) for _ in range(200)}
    assert wide == {0, 1, 2}, "beyond the edge the first column is repeated"


@pytest.mark.parametrize("moves", ["none", "shift", "crop", "crop-flip"])
def test_what_a_run_sees_depends_on_seed_epoch_and_index_alone(ramp, moves):
    torch.manual_seed(1)
    first = views(ramp, moves, in_memory=False, count=4)
    torch.manual_seed(2)
    assert all(torch.equal(*pair) for pair in zip(first, views(ramp, moves, in_memory=False, count=4), strict=True))


def test_crops_and_mirroring_are_those_of_versions_that_knew_nothing_else(ramp):
    """So that a run begun by one of them goes on with the images that it would have seen."""
    size = [transforms.RandomResizedCrop(16, antialias=True), transforms.RandomHorizontalFlip()]
    scale = [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    before = transforms.Compose([transforms.ToImage(), transforms.RGB(), *size, *scale])
    for epoch, image in enumerate(views(ramp, "crop-flip", in_memory=False, count=10)):
        torch.manual_seed(mixed(0, epoch, 0))
        assert torch.equal(before(Image.open(ramp)), image)


@pytest.mark.parametrize(("size", "expected"), [((28, 28), "shift"), ((200, 60), "shift"), ((64, 90), "crop-flip")])
def test_the_default_is_by_the_size_of_the_images(tmp_path, size, expected):
    for name in ("disc", "square"):
        (tmp_path / name).mkdir()
        for number in range(5):
            draw(name, number, size).save(tmp_path / name / f"{number}.png")
    data = load_data(str(tmp_path), FORM, 0)
    assert data.moves == expected
    assert f"(--augment {expected}, by their size, {min(size)} pixels at the median)" in data.notes[-1]
    chosen = load_data(str(tmp_path), FORM, 0, options=ImageOptions("none"))
    assert (chosen.moves, chosen.notes[-1]) == ("none", "Training images are taken as they are (--augment none).")


def test_classes_that_are_mirror_images_are_found_and_not_mirrored(tmp_path):
    for name in ("left", "right", "disc"):
        (tmp_path / name).mkdir()
        for number in range(12):
            draw(name, number, (80, 80)).save(tmp_path / name / f"{number}.jpg")
    data = load_data(str(tmp_path), FORM, 0)
    assert data.moves == "crop"
    assert data.notes[-1].endswith("(--augment crop, not mirrored, as mirrored images of left look like right).")


def test_images_of_which_no_class_is_the_mirror_of_another_are_mirrored(tmp_path):
    shapes = ("disc", "square", "left")
    write(tmp_path, shapes, count=12)
    files = [(str(path), label) for label, name in enumerate(shapes) for path in sorted((tmp_path / name).iterdir())]
    assert mirrored_classes(files, DEFAULT_TOPS) is None
    random = np.random.default_rng(0)
    for path, _ in files:  # nothing to tell classes by
        Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)).save(path)
    assert mirrored_classes(files, DEFAULT_TOPS) is None
    assert mirrored_classes(files[:3], DEFAULT_TOPS) is None


def test_a_way_that_there_is_not_is_refused():
    with pytest.raises(InputError, match=r"sideways: .*none, shift, crop, crop-flip"):
        load_data("digits", FORM, 0, options=ImageOptions("sideways"))
