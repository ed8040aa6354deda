"""Exported files compute what the network computes, say how they are used, and are kept only then."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from profiling.errors import ConversionError, InputError
from search.convnet.inputs import load_known_images
from search.export import tflite_file
from search.export.card import Use, card_of
from search.export.export import ExportOptions, write_export
from search.export.onnx_file import OnnxModel
from search.export.pixels import representative_pixels
from search.images.batches import held_out_batches, training_batches
from search.images.one_image import ImageFiles, ImageForm

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"
FILES = ("fp32", "fp16", "int8", "onnx")


@pytest.mark.parametrize(("name", "largest"), [("fp32", 1e-4), ("onnx", 1e-4), ("fp16", 0.05), ("int8", 1.5)])
def test_a_file_computes_what_the_network_computes(exports, photos, name, largest):
    compared = exports[name].check
    assert compared.images == len(list(photos.glob("val/*/*"))) > 40
    assert compared.largest_difference < largest
    assert compared.top1_agreement >= (0.95 if name == "int8" else 1)
    assert compared.top1_exported == pytest.approx(compared.top1, abs=1.5 / compared.images)
    assert compared.top1 > 0.9, "of an untrained network it would prove little"


def test_files_shrink_with_their_precision(exports):
    """Of a network as small as this one the int8 file is mostly scales, one a channel: little smaller than in fp16."""
    assert max(exports["fp16"].size_bytes, exports["int8"].size_bytes) < 0.8 * exports["fp32"].size_bytes
    assert all(export.size_bytes == export.file.stat().st_size for export in exports.values())


@pytest.mark.parametrize("name", FILES)
def test_in_a_fresh_process_the_file_and_its_documentation_are_enough(exports, saved, photos, tmp_path, name):
    """The code in the document, run on photos, guesses what the network guesses on the images as they are loaded for it."""
    for title, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / title).write_text(code, encoding="utf-8")
    files = [path for label in saved.classes for path in sorted((photos / "val" / label).iterdir())]
    script = "classify_onnx.py" if name == "onnx" else "classify_tflite.py"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); exec(open({script!r}).read())"]
    done = subprocess.run([*command, exports[name].file, *files], cwd=tmp_path, capture_output=True, text=True, check=True)
    guesses = [line.removeprefix(f"{path} ") for path, line in zip(files, done.stdout.splitlines(), strict=True)]
    with torch.no_grad():
        images = torch.cat([images for images, _ in held_out_batches(load_known_images(saved, str(photos), 0), 32, 0)])
        expected = [saved.classes[index] for index in saved.build()(images).argmax(1)]
    assert np.mean([guess == want for guess, want in zip(guesses, expected, strict=True)]) >= (0.95 if name == "int8" else 1)


def test_the_documented_code_takes_a_photo_as_the_card_says(saved, photos):
    [code] = re.findall(r"```python\n# preprocess.py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(code, names)
    data = load_known_images(saved, str(photos), 0)
    files = [(path, 0) for path in sorted(photos.glob("val/*/*"))[:5]]
    for framing in ("crop", "stretch"):
        card = card_of(saved, "fp32", "NCHW", Use(framing, data.framed(framing).centre_crop))
        given = json.loads(card.to_json())["input"]
        assert given["framing"] == framing
        for index, (path, _) in enumerate(files):
            loaded, _ = ImageFiles(files, ImageForm(24, 3), None, framing=framing)[0, index]
            np.testing.assert_allclose(names["preprocess"](path, given)[0], loaded.numpy(), atol=2.1 / 127.5)


def test_the_kotlin_code_reads_what_is_on_the_card(exports):
    blocks = re.findall(r"```kotlin\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    card = json.loads(exports["int8"].card.to_json())
    names = {name for part in (card, card["input"], card["output"]) for name in part}
    asked = set(re.findall(r"\.(?:get|opt)(?:String|Int|Double|JSONObject|JSONArray)\(\"(\w+)\"", "".join(blocks)))
    assert {"input", "output", "labels", "framing", "centre_crop", "mean", "std", "type", "gives", "scale", "zero_point"} <= asked
    assert asked <= names
    assert all(block.count(left) == block.count(right) for block in blocks for left, right in ("()", "{}", "[]"))


def test_weights_stay_aligned_and_the_same_export_gives_the_same_file(exports, saved, photos, builder, tmp_path):
    """TFLite maps weights from the file, at multiples of 16 bytes; Python's packing alone would lose that."""
    content = exports["fp32"].file.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    vectors = [buffer for i in range(model.BuffersLength()) if not (buffer := model.Buffers(i)).DataIsNone()]
    assert len(vectors) > 10
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert all((buffer.DataAsNumpy().ctypes.data - start) % 16 == 0 for buffer in vectors)
    data = load_known_images(saved, str(photos), 0)
    again = write_export(saved, tmp_path / "again.tflite", "tflite", "fp32", builder, data, ExportOptions(check_images=10))
    assert again.file.read_bytes() == content
    assert again.check.images == 10


def test_onnx_takes_any_batch_has_batch_norm_folded_in_and_names_no_source(exports):
    import onnx

    model = onnx.load(exports["onnx"].file)
    assert {node.op_type for node in model.graph.node} <= {"Conv", "Clip", "Add", "ReduceMean", "Gemm"}
    assert b".py" not in exports["onnx"].file.read_bytes()
    runner = OnnxModel(exports["onnx"].file, exports["onnx"].card)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 24, 24, 3), np.uint8)
    single = np.concatenate([runner.outputs(image[None]) for image in pixels])
    np.testing.assert_allclose(runner.outputs(pixels), single, atol=1e-4)


def test_a_file_that_computes_something_else_is_not_kept(saved, builder, tmp_path, monkeypatch):
    target = tmp_path / "network.tflite"
    target.write_bytes(b"from before")
    monkeypatch.setattr(tflite_file, "BN_EPSILON", 0.5)
    with pytest.raises(ConversionError, match=r"does not agree with the network: a logit differs by .* more than 0.001"):
        write_export(saved, target, "tflite", "fp32", builder, None, ExportOptions(check_images=20))
    assert target.read_bytes() == b"from before"
    assert list(tmp_path.iterdir()) == [target]


def test_representative_images_are_training_images_as_many_of_each_class(photos, saved):
    data = load_known_images(saved, str(photos), 0)
    taken = representative_pixels(data, 30, 0)
    assert np.array_equal(taken, representative_pixels(data, 30, 0))
    labels = Counter()
    seen = {
        image.tobytes(): label
        for images, batch in training_batches(data, 1, 0, 0, data.train_images, 0)
        for image, label in zip(((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(), batch.tolist(), strict=True)
    }
    labels.update(seen[image.tobytes()] for image in taken)
    assert labels == {0: 10, 1: 10, 2: 10}
    assert len(representative_pixels(data, 10**6, 0)) <= data.train_images


def test_what_cannot_be_exported_is_one_clear_line(saved, photos, builder, tmp_path):
    def attempt(network=saved, target=tmp_path / "x.tflite", to="tflite", precision="fp32"):
        write_export(network, target, to, precision, builder, None, ExportOptions(check_images=1))

    with pytest.raises(InputError, match="int8 needs images to estimate ranges on"):
        attempt(precision="int8")
    with pytest.raises(InputError, match="ONNX is written in fp32 only, not in int8"):
        attempt(to="onnx", precision="int8")
    with pytest.raises(InputError, match="cannot be written: No such file"):
        attempt(target=tmp_path / "missing" / "x.tflite")
    with pytest.raises(InputError, match="it needs a head"):
        attempt(replace(saved, layers=saved.layers[:-1]))
    with pytest.raises(InputError, match="does not fit the next layer"):
        attempt(replace(saved, layers=(saved.layers[0], *saved.layers[3:])))
    with pytest.raises(InputError, match=r"unknown to it: two words; not in these: two$"):
        load_known_images(replace(saved, classes=("one", "two", "zéro")), str(photos), 0)
    assert list(tmp_path.iterdir()) == []
