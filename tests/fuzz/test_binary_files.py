"""Images, shards of them and TFLite models, damaged in any way: each is read, or refused in one line."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from PIL import Image
from small import small_space

from fuzz.fuzzing import Edit, byte_edits, edited, fuzz
from profiling.errors import InputError
from profiling.models.foreign import read_tflite
from search.images.batches import held_out_batches
from search.images.data import load_data

MADE = Path(__file__).parent.parent / "made_before"
SPACE = small_space()
FORMS = ["png", "jpg", "bmp", "tif", "webp", "ppm"]


def picture(form: str, shade: int) -> bytes:
    """A small image, no two alike."""
    image = Image.effect_mandelbrot((20, 16), (-2, -1.5, 1 + shade / 100, 1.5), 50).convert("RGB")
    out = io.BytesIO()
    image.save(out, {"jpg": "JPEG", "tif": "TIFF"}.get(form, form.upper()))
    return out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory) -> Path:
    """Two classes of two images in each form, in `val`, which are read; and some to train on."""
    top = tmp_path_factory.mktemp("images")
    for number, (part, label, form, copy) in enumerate(
        (part, label, form, copy) for part in ("train", "val") for label in "ab" for form in FORMS for copy in range(2)
    ):
        place = top / "images" / part / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{form}-{copy}.{form}").write_bytes(picture(form, number))
    return top


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path_factory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def is_read_or_refused(data: Path, named: Path | str) -> None:
    try:
        loaded = load_data(str(data), SPACE, 0)
        assert sum(len(labels) for _, labels in held_out_batches(loaded, 8, 0)) == loaded.held_out_images
    except InputError as error:
        refused = str(error)
    else:
        return
    assert str(named) in refused
    assert len(refused.splitlines()) == 1


def test_what_is_whole_is_read(folder):
    loaded = load_data(str(folder / "images"), SPACE, 0)
    assert loaded.held_out_images == 4 * len(FORMS)
    is_read_or_refused(folder / "images", "nothing")


@fuzz(60, 3, form=st.sampled_from(FORMS), edits=byte_edits)
def test_a_damaged_image(folder: Path, form: str, edits: list[Edit]) -> None:
    file = folder / "images/val/a" / f"{form}-0.{form}"
    kept = file.read_bytes()
    file.write_bytes(edited(kept, edits))
    try:
        is_read_or_refused(folder / "images", folder)
    finally:
        file.write_bytes(kept)


@fuzz(60, 3, edits=byte_edits)
def test_a_damaged_shard(folder: Path, edits: list[Edit]) -> None:
    shards = folder / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    shards.mkdir()
    for part in ("train", "val"):
        with tarfile.open(shards / f"{part}-0.tar", "w") as tar:
            for number in range(8):
                named, label = (f"{number}.json", b'{"label": "a"}') if number % 2 else (f"{number}.cls", b"b")
                for name, content in ((f"{number}.png", picture("png", number)), (named, label)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    file = shards / "val-0.tar"
    file.write_bytes(edited(file.read_bytes(), edits))
    is_read_or_refused(shards, shards)


@fuzz(80, 3, edits=byte_edits, share=st.floats(0, 1))
def test_a_damaged_model(folder: Path, edits: list[Edit], share: float) -> None:
    """Mostly in its structure, which lies at the beginning."""
    file, content = folder / "model.tflite", (MADE / "exports/digits-int8.tflite").read_bytes()
    first = round(len(content) * share**3)
    file.write_bytes(edited(content[:first], edits) + content[first:])
    try:
        assert read_tflite(file).classes
    except InputError as error:
        refused = str(error)
    else:
        return
    assert str(file) in refused
