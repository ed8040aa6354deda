"""Exported files compute what the network computes, say how they are used, and are kept only then."""

import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table
from PIL import Image
from sklearn.datasets import load_digits

from profiling.errors import ConversionError, InputError
from profiling.models.builder import TfliteBuilder
from profiling.space import Architecture
from search.convnet.batch_norm import BatchNorm
from search.convnet.inputs import load_known_images
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.export import tflite_file
from search.export.export import ExportCheck, ExportOptions, representative_pixels, write_export
from search.export.onnx_file import OnnxModel
from search.images.data import ImageFiles, ImageForm, held_out_batches, training_batches

DOCUMENT = Path(__file__).parents[3] / "docs" / "export.md"
FILES = {"fp32": "tflite", "fp16": "tflite", "int8": "tflite", "onnx": "onnx"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real digits as upright colour photos of 60×80 pixels, a different mixture in each channel, in three classes."""
    folder = tmp_path_factory.mktemp("photos")
    digits = load_digits()
    names = ("one", "two words", "zéro")
    for count, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit > 2 or count > 900:
            continue
        grey = np.asarray(Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((60, 80)), np.float32)
        colour = np.stack([grey, 128 + grey / 2, 255 - grey], axis=2).astype(np.uint8)
        path = folder / ("val" if count % 4 == 0 else "train") / names[digit - 1] / f"{count}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour).save(path)
    return folder


@pytest.fixture(scope="module")
def saved(photos, make_space):
    """Trained for a few dozen steps: strides, an expansion of 1, residual connections and a skipped layer are in it."""
    space = make_space(
        resolution=24,
        image_channels=3,
        stages=[
            {"layers": 1, "channels": 8, "kernel": 3, "expansion": 1},
            {"layers": 2, "channels": 8, "stride": 2},
            {"layers": 2, "channels": 16},
        ],
    )
    choices = ("5x5-3", "skip", "3x3-6", "5x5-6")
    layers = tuple(layer for _, layer in Architecture(space=space, choices=choices).placed_layers())
    torch.manual_seed(0)
    classes = tuple(sorted(path.name for path in (photos / "train").iterdir()))
    files = [(path, label) for label, name in enumerate(classes) for path in (photos / "train" / name).iterdir()]
    decoded = ImageFiles(files, ImageForm(24, 3), None)
    images = torch.stack([decoded[0, index][0] for index in range(len(files))])
    labels = torch.tensor([label for _, label in files])
    network = Network(layers, 3)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 0.1
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(60):
        batch = torch.randint(len(images), (32,))
        loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return SavedNetwork("digits of three", layers, classes, network.state_dict(), None, "trained in a test")


@pytest.fixture(scope="module")
def builder():
    with TfliteBuilder(workers=1) as builder:
        yield builder


@pytest.fixture(scope="module")
def exports(saved, photos, builder, tmp_path_factory):
    """The network in every form."""
    folder, data = tmp_path_factory.mktemp("exports"), load_known_images(saved, str(photos), 0)
    return {
        name: write_export(
            saved, folder / f"{name}.{to}", to, "fp32" if to == "onnx" else name, builder, data,
            ExportOptions(representative_images=60),
        )
        for name, to in FILES.items()
    }  # fmt: skip


@pytest.mark.parametrize(("name", "largest"), [("fp32", 1e-4), ("onnx", 1e-4), ("fp16", 0.05), ("int8", 1.0)])
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


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_tflite_files_carry_the_standard_metadata(exports, name):
    """By the field numbers of `metadata_schema.fbs`; MediaPipe reads the same ones."""
    content = exports[name].file.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    entries = {model.Metadata(index).Name(): model.Metadata(index).Buffer() for index in range(model.MetadataLength())}
    raw = model.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert raw[4:8] == b"M001"

    def field(table, number):
        offset = table.Offset(4 + 2 * number)
        return offset and table.Pos + offset

    def inner(table, number, index=None):
        place = field(table, number)
        start = table.Indirect(place)
        return Table(table.Bytes, start if index is None else table.Indirect(start + 4 + 4 * index))

    def text(table, number):
        return table.String(field(table, number)).decode()

    def number(table, slot, kind):
        return table.Get(kind, field(table, slot))

    def first_float(table, slot):
        return table.Get(number_types.Float32Flags, table.Indirect(field(table, slot)) + 4)

    root = Table(raw, int.from_bytes(raw[:4], "little"))
    assert text(root, 0) == "digits of three"
    graph = inner(root, 3, 0)
    given, result = inner(graph, 2, 0), inner(graph, 3, 0)
    content_of = inner(given, 3)
    assert number(content_of, 0, number_types.Uint8Flags) == 2, "ImageProperties"
    image = inner(content_of, 1)
    assert number(image, 0, number_types.Int8Flags) == 1, "RGB"
    assert [number(inner(image, 1), slot, number_types.Uint32Flags) for slot in (0, 1)] == [24, 24]
    normalization = inner(inner(given, 4, 0), 1)
    assert [first_float(normalization, slot) for slot in (0, 1)] == [127.5, 127.5]
    assert [first_float(inner(given, 5), slot) for slot in (0, 1)] == ([255, 0] if name == "int8" else [1, -1])
    labels = inner(result, 6, 0)
    assert number(labels, 2, number_types.Int8Flags) == 2, "TENSOR_AXIS_LABELS"
    with zipfile.ZipFile(exports[name].file) as archive:
        assert archive.read(text(labels, 0)).decode().splitlines() == ["one", "two words", "zéro"]
        assert json.loads(archive.read("spnas.json"))["input"]["centre_crop"] == 24 / 27


def test_weights_stay_aligned_and_the_same_export_gives_the_same_file(exports, saved, photos, builder, tmp_path):
    """TFLite maps weights from the file, at multiples of 16 bytes; Python's packing alone would lose that."""
    content = exports["fp32"].file.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    vectors = [buffer for i in range(model.BuffersLength()) if not (buffer := model.Buffers(i)).DataIsNone()]
    assert len(vectors) > 10
    assert all(buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0 for buffer in vectors)
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
    single = np.concatenate([runner.logits(image[None]) for image in pixels])
    np.testing.assert_allclose(runner.logits(pixels), single, atol=1e-4)


def test_a_file_that_computes_something_else_is_not_kept(saved, builder, tmp_path, monkeypatch):
    target = tmp_path / "network.tflite"
    target.write_bytes(b"from before")
    monkeypatch.setattr(tflite_file, "BN_EPSILON", 0.5)
    with pytest.raises(ConversionError, match=r"does not compute what the network computes: a logit differs by .* over 0.001"):
        write_export(saved, target, "tflite", "fp32", builder, None, ExportOptions(check_images=20))
    assert target.read_bytes() == b"from before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("precision", "changes", "fault"),
    [
        ("fp32", {}, None),
        ("fp32", {"largest_difference": 0.0011}, "a logit differs by 0.0011, over 0.001"),
        ("fp32", {"largest_difference": float("nan")}, "a logit differs by nan"),
        ("fp32", {"top1_agreement": 9999 / 10000}, "99.99% of the first guesses agree, under 100%"),
        ("fp16", {"largest_difference": 0.05, "top1_agreement": 0.995}, None),
        ("int8", {"largest_difference": 2.0, "top1_agreement": 0.95, "top1_exported": 0.89}, None),
        ("int8", {"top1_agreement": 0.95, "top1_exported": 0.889}, "top-1 falls by 1.10 points, over 1"),
        ("int8", {"images": 50, "top1_agreement": 0.98, "top1_exported": 0.88}, None),
        ("int8", {"images": 50, "top1_agreement": 0.96, "top1_exported": 0.86}, "top-1 falls by 4.00 points, over 1"),
    ],
)
def test_the_bounds(precision, changes, fault):
    compared = replace(ExportCheck(10_000, 1e-5, 1.0, 0.9, 0.9), **changes)
    if fault is None:
        compared.require(precision, "x")
    else:
        with pytest.raises(ConversionError, match=fault):
            compared.require(precision, "x")


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

    with pytest.raises(InputError, match="int8 needs a representative set"):
        attempt(precision="int8")
    with pytest.raises(InputError, match="ONNX is written in fp32 alone, not in int8"):
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
