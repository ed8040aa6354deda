"""What is an image: by what Pillow reads, never what systems leave behind; the line that says what was found."""

import gzip
import os

import pytest
from pictures import draw, write

from profiling.errors import InputError
from search.images import reading
from search.images.data import load_data
from search.images.names import found_line
from search.images.one_image import ImageForm

FORM = ImageForm(12, 3)
# The ending of photos that cannot be read here.
OTHER = ".HEIC" if ".heic" not in reading.image_endings() else ".CR2"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def total(folder):
    data = load_data(str(folder), FORM, 0)
    return data.train_images + data.held_out_images


def test_every_format_with_pixels_is_an_image(tmp_path):
    endings = (".jfif", ".gif", ".avif", ".PNG", ".JPeG", ".webp", ".bmp", ".jp2", ".tga", ".qoi", ".ico", ".ppm", ".tiff")
    for name in ("disc", "square"):
        (tmp_path / name).mkdir()
        for number, ending in enumerate(endings):
            kind = {".jfif": "JPEG"}.get(ending)
            draw(name, number).save(tmp_path / name / f"1.2{ending}", format=kind)
    data = load_data(str(tmp_path), FORM, 0)
    assert data.train_images + data.held_out_images == 2 * len(endings)
    for index in range(data.train_images):
        image, _ = data.train[0, index]
        assert image.shape == (3, 12, 12)
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt"} & reading.image_endings()


def test_the_first_frame_of_a_gif_is_the_image(tmp_path):
    first, second = draw("disc", 1), draw("square", 2)
    write(tmp_path)
    first.save(tmp_path / "disc" / "moving.gif", save_all=True, append_images=[second])
    read = reading.read_image(str(tmp_path / "disc" / "moving.gif"))
    assert abs(read.getpixel((0, 0))[0] - first.getpixel((0, 0))[0]) < 20


def test_what_systems_and_tools_leave_behind_is_neither_image_nor_class(tmp_path):
    write(tmp_path)
    good = total(tmp_path)
    for folder in (".hidden", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "lost+found"):
        for place in (tmp_path / folder, tmp_path / "disc" / folder, tmp_path / "disc" / "deeper" / folder):
            place.mkdir(parents=True)
            draw("disc").save(place / "1.png")
    for name in ("._1.png", ".hidden.jpg", "Thumbs.db", "desktop.ini"):
        (tmp_path / "disc" / name).write_bytes(b"no image")
    data = load_data(str(tmp_path), FORM, 0)
    assert data.classes == ("disc", "square")
    assert data.train_images + data.held_out_images == good
    assert data.notes[0] == "10 files: 10 images"


def test_a_folder_or_pipe_named_like_an_image_is_none_and_links_are_followed_once(tmp_path):
    root = write(tmp_path / "set")
    (root / "disc" / "album.jpg").mkdir()
    draw("disc", 9).save(root / "disc" / "album.jpg" / "inside.png")
    os.mkfifo(root / "disc" / "pipe.png")
    assert total(root) == 11
    elsewhere = write(tmp_path / "elsewhere", ["more"], seed=3)
    for name in ("first", "second"):
        (root / "disc" / name).symlink_to(elsewhere / "more")  # once
    (root / "disc" / "up").symlink_to(root)
    (root / "disc" / "self").symlink_to("self")
    (root / "disc" / "other").symlink_to(root / "square")  # found as a class
    (elsewhere / "more" / "back").symlink_to(root / "disc")
    assert total(root) == 16
    (root / "again").symlink_to(root / "square")
    with pytest.raises(InputError, match=r"square: this class is the same folder as .*again"):
        load_data(str(root), FORM, 0)


def test_a_link_never_leads_into_the_part_that_is_not_used(tmp_path):
    for seed, part in enumerate(("train", "val", "test")):
        write(tmp_path / part, seed=seed)
    (tmp_path / "train" / "disc" / "more").symlink_to(tmp_path / "test" / "disc")
    assert load_data(str(tmp_path), FORM, 0).train_images == 10


def test_one_line_says_what_was_found_and_what_was_left_out(tmp_path):
    write(tmp_path, count=15)
    for number in range(60):
        (tmp_path / "disc" / f"{number}{OTHER}").write_bytes(b"")
    for number in range(30):
        (tmp_path / "square" / f"{number}.txt").write_text("", encoding="utf-8")
    [line] = [line for line in load_data(str(tmp_path), FORM, 0).notes if "files" in line]
    assert line.startswith(f"120 files: 30 images, 60 {OTHER.lower()} and 30 .txt left out")
    assert ("pip install 'spnas[heic]'" in line) == (OTHER == ".HEIC")
    for file in [*(tmp_path / "disc").glob("*.png")]:
        file.unlink()
    with pytest.raises(InputError, match=rf"disc: the class folder holds no image \(60 \{OTHER.lower()} left out"):
        load_data(str(tmp_path), FORM, 0)


def test_the_line_names_the_most_frequent_endings():
    from collections import Counter

    assert found_line(3, Counter()) == "3 files: 3 images"
    many = Counter({f".{letter}": 9 - number for number, letter in enumerate("abcdef")} | {"": 1})
    assert found_line(1, many) == "41 files: 1 images, 9 .a, 8 .b, 7 .c, 6 .d and 10 others left out"


def test_archives_beside_the_folders_do_not_turn_them_into_shards(tmp_path):
    for part in ("train", "val"):
        write(tmp_path / part)
        (tmp_path / f"{part}.tar").write_bytes(b"not looked at")
    data = load_data(str(tmp_path), FORM, 0)
    assert (data.train_images, data.held_out_images) == (10, 10)
    assert data.notes[0] == "22 files: 20 images, 2 .tar left out"


@pytest.mark.parametrize("name", ["all.tar.gz", "photos.zip", "train-{00..09}.tar.gz", "a.tgz"])
def test_a_packed_archive_is_named_as_what_it_is(tmp_path, name):
    if "{" not in name:
        (tmp_path / name).write_bytes(gzip.compress(b"x" * 2000))
        with pytest.raises(InputError, match=r"this is a packed archive \(.*unpack it"):
            load_data(str(tmp_path), FORM, 0)
    with pytest.raises(InputError, match=r"this is a packed archive \(.*unpack it"):
        load_data(str(tmp_path / name), FORM, 0)


def test_photos_of_iphones_are_read_where_pillow_heif_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    write(tmp_path)
    reading.image_endings()
    heif.from_pillow(draw("disc")).save(tmp_path / "disc" / "photo.heic")
    assert total(tmp_path) == 11
