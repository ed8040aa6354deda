"""The first look: what it finds, that all of it is found at once, and that it is quick the second time."""

import tarfile

import pytest
from pictures import draw, write
from PIL import Image

from profiling.errors import InputError
from search.images import survey as survey_module
from search.images.data import load_data
from search.images.one_image import ImageForm
from search.images.options import ImageOptions
from search.images.survey import Look, survey

FORM = ImageForm(12, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def load(folder, **options):
    return load_data(str(folder), FORM, 0, options=ImageOptions(**options))


def damage(folder):
    """Three files that cannot be read, each in its own way."""
    whole = (folder / "disc" / "1.jpg").read_bytes()
    (folder / "disc" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "square" / "2.jpg").write_bytes(b"")
    (folder / "square" / "3.jpg").write_text("<!doctype html>", encoding="utf-8")
    return [folder / "disc" / "1.jpg", folder / "square" / "2.jpg", folder / "square" / "3.jpg"]


@pytest.mark.parametrize("seconds", [10, 0], ids=["all pixels", "suspicious files"])
def test_all_damaged_images_are_named_together_before_the_training(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(survey_module, "SECONDS", seconds)
    damaged = damage(write(tmp_path, count=10, ending=".jpg"))
    with pytest.raises(InputError) as raised:
        load(tmp_path)
    text = str(raised.value)
    assert text.startswith(f"{damaged[0]}: the image cannot be read: ")
    assert all(str(file.relative_to(tmp_path)) in text for file in damaged)
    assert [line.partition(": ")[0] for line in raised.value.lines] == [str(file.relative_to(tmp_path)) for file in damaged]
    assert "3 of 20 images cannot" in text
    assert text.endswith("--skip-unreadable 3")
    assert [line.partition(": ")[2] for line in raised.value.lines][1:] == ["the file is empty", "it is a web page"]
    assert "\n" not in text


def test_as_many_as_allowed_are_left_out_and_remembered_by_name(tmp_path):
    damaged = damage(write(tmp_path, count=10, ending=".jpg"))
    with pytest.raises(InputError, match="3 of 20 images cannot"):
        load(tmp_path, skip_unreadable=2)
    data = load(tmp_path, skip_unreadable=3)
    assert data.train_images + data.held_out_images == 17
    assert data.left_out == tuple(str(file.relative_to(tmp_path)) for file in damaged)
    resumed = load(tmp_path, left_out=data.left_out)
    assert (resumed.train_images, resumed.held_out_images) == (data.train_images, data.held_out_images)
    draw("disc", 1).save(damaged[0])
    assert load(tmp_path, left_out=data.left_out).train_images == data.train_images, "as the run was begun"
    (tmp_path / "disc" / "5.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"disc/5\.jpg: the image cannot be read: the file is empty"):
        load(tmp_path, left_out=data.left_out)


def test_the_images_held_out_are_the_same_whether_damaged_ones_are_left_out(tmp_path):
    write(tmp_path, count=10, ending=".jpg")
    before = {path for path, _ in load(tmp_path).held_out._files}
    damaged = {str(file) for file in damage(tmp_path)}
    assert {path for path, _ in load(tmp_path, skip_unreadable=3).held_out._files} == before - damaged


def test_a_class_without_a_readable_image_is_refused(tmp_path):
    write(tmp_path)
    for file in (tmp_path / "disc").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="no image to train on is left of disc"):
        load(tmp_path, skip_unreadable=9)


def test_what_is_damaged_where_no_header_tells_is_found_if_images_may_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(survey_module, "SECONDS", 0)
    for name in ("disc", "square"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.effect_noise((60, 60), 50 + number).save(tmp_path / name / f"{number}.png")
    content = bytearray((tmp_path / "disc" / "3.png").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "disc" / "3.png").write_bytes(content)
    assert load(tmp_path).left_out == ()
    assert load(tmp_path, skip_unreadable=1).left_out == ("disc/3.png",)


def test_the_second_look_opens_no_file_that_has_not_changed(tmp_path, monkeypatch):
    write(tmp_path, count=10)
    first = load(tmp_path)
    opened = []
    real = survey_module.look_at
    monkeypatch.setattr(survey_module, "look_at", lambda source, **more: opened.append(source) or real(source, **more))
    assert load(tmp_path).notes == first.notes
    assert opened == []
    changed = tmp_path / "disc" / "4.png"
    draw("square", 99).save(changed)
    load(tmp_path)
    assert set(opened) == {str(changed)}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', "null"])
def test_a_damaged_cache_costs_a_look_and_nothing_else(tmp_path, cache, content):
    write(tmp_path, count=10)
    first = load(tmp_path)
    [file] = (cache / "spnas" / "images").iterdir()
    file.write_text(content, encoding="utf-8")
    assert load(tmp_path).notes == first.notes


def test_what_could_not_be_opened_is_not_remembered(tmp_path):
    write(tmp_path)
    link = tmp_path / "disc" / "away.png"
    link.symlink_to(tmp_path / "later.png")
    with pytest.raises(InputError, match=r"away\.png: the image cannot be read: No such file"):
        load(tmp_path)
    draw("disc", 50).save(tmp_path / "later.png")
    load(tmp_path)


def test_an_interrupted_look_goes_on_where_it_was(tmp_path, monkeypatch):
    write(tmp_path, count=20)
    real, seen = survey_module.look_at, []

    def interrupted(source, **more):
        if len(seen) == 15:
            raise KeyboardInterrupt
        seen.append(source)
        return real(source, **more)

    with monkeypatch.context() as patch:
        patch.setattr(survey_module, "look_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path)
    monkeypatch.setattr(survey_module, "SECONDS", 0)
    again = []
    monkeypatch.setattr(survey_module, "look_at", lambda source, **more: again.append(source) or real(source, **more))
    load(tmp_path)
    assert len(again) == 25
    assert not set(again) & set(seen)


def test_duplicates_across_the_split_and_between_classes_are_named(tmp_path):
    for seed, part in enumerate(("train", "val")):
        write(tmp_path / part, count=4, seed=seed)
    (tmp_path / "val" / "disc" / "copy.png").write_bytes((tmp_path / "train" / "disc" / "1.png").read_bytes())
    (tmp_path / "train" / "square" / "odd.png").write_bytes((tmp_path / "train" / "disc" / "2.png").read_bytes())
    notes = load(tmp_path).notes
    assert any(line.startswith("1 held-out images are also among the training images") and "copy.png" in line for line in notes)
    assert any(line.startswith("1 images are in two classes") and "odd.png" in line for line in notes)


def test_large_files_that_begin_alike_are_compared_to_their_end(tmp_path):
    noise = Image.effect_noise((200, 200), 20).convert("RGB")
    for part, last in (("train", 1), ("val", 2)):
        write(tmp_path / part, count=3, seed=last)
        noise.putpixel((199, 0), (last, 0, 0))  # of a BMP the uppermost line is the last
        noise.save(tmp_path / part / "disc" / "large.bmp")
    assert not any("also among" in line for line in load(tmp_path).notes)
    (tmp_path / "val" / "disc" / "large.bmp").write_bytes((tmp_path / "train" / "disc" / "large.bmp").read_bytes())
    assert any("large.bmp" in line for line in load(tmp_path).notes if "also among" in line)


def test_images_in_shards_are_looked_at_as_well(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for name in ("disc", "square"):
            for number in range(6):
                stem = tmp_path / f"{name}{number}"
                draw(name, number).save(stem.with_suffix(".png"))
                stem.with_suffix(".cls").write_text(name, encoding="utf-8")
                if number == 3:
                    stem.with_suffix(".png").write_bytes(b"damaged")
                for ending in (".png", ".cls"):
                    tar.add(stem.with_suffix(ending), stem.with_suffix(ending).name)
                    stem.with_suffix(ending).unlink()
    with pytest.raises(InputError, match=r"all\.tar/disc3\.png: the image cannot be read.*2 of 12 images cannot.*square3\.png"):
        load(tmp_path)
    assert load(tmp_path, skip_unreadable=2).left_out == ("all.tar/disc3.png", "all.tar/square3.png")


def test_progress_is_reported_to_the_last_image(tmp_path):
    for number in range(70):
        Image.effect_noise((60, 60), 50).save(tmp_path / f"{number}.png")
    calls = []
    survey(sorted(map(str, tmp_path.iterdir())), str(tmp_path), lambda *call: calls.append(call))
    assert [call for call in calls if call[0] == call[1]] == [(70, 70, "reading headers"), (70, 70, "decoding")]
    assert len(calls) > 4
    assert Look("x", problem="the image cannot be read: why").reason == "why"
