"""Files that give probabilities: the same guesses, for apps that want scores from 0 to 1."""

import json
import zipfile

import numpy as np
import onnx
import pytest
import torch

from profiling.models.operators import operators
from search.convnet.inputs import load_known_images
from search.export.export import ExportOptions, write_export
from search.export.onnx_file import OnnxModel
from search.export.pixels import held_out_pixels
from search.export.tflite_file import TfliteModel

FORMS = {"fp32": "tflite", "fp16": "tflite", "int8": "tflite", "onnx": "onnx"}


@pytest.fixture(scope="module", params=FORMS)
def written(request, saved, photos, builder, tmp_path_factory):
    to, precision = FORMS[request.param], "fp32" if request.param == "onnx" else request.param
    target = tmp_path_factory.mktemp("softmax") / f"{request.param}.{to}"
    options = ExportOptions(representative_images=60, softmax=True)
    return write_export(saved, target, to, precision, builder, load_known_images(saved, str(photos), 0), options)


def test_it_gives_the_probabilities_that_the_network_gives(written, saved, photos):
    model = (OnnxModel if written.file.suffix == ".onnx" else TfliteModel)(written.file, written.card)
    [(pixels, _), *_] = held_out_pixels(load_known_images(saved, str(photos), 0), 30)
    with torch.no_grad():
        expected = saved.build()(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).softmax(1).numpy()
    given = model.outputs(pixels)
    in_8_bits = written.card.precision == "int8"
    assert np.abs(given - expected).max() < {"fp32": 1e-5, "fp16": 0.02, "int8": 0.3}[written.card.precision]
    assert np.abs(given.sum(1) - 1).max() < (0.02 if in_8_bits else 1e-5)
    assert 0 <= given.min() <= given.max() <= 1
    assert written.check.largest_difference is None if in_8_bits else written.check.largest_difference < 0.2


def test_the_file_says_that_it_does_and_has_one_operator_more(written, exports):
    if written.file.suffix == ".onnx":
        model = onnx.load(written.file)
        assert [output.name for output in model.graph.output] == ["probabilities"]
        assert model.graph.node[-1].op_type == "Softmax"
        card = json.loads({entry.key: entry.value for entry in model.metadata_props}["spnas"])
    else:
        names = [op.name for op in operators(written.file.read_bytes())]
        plain = [op.name for op in operators(exports[written.card.precision].file.read_bytes())]
        end = ["QUANTIZE"] if written.card.precision == "int8" else []
        assert names == [*plain[: len(plain) - len(end)], "SOFTMAX", *end]
        card = json.loads(zipfile.ZipFile(written.file).read("spnas.json"))
        if end:
            assert (card["output"]["scale"], card["output"]["zero_point"]) == (1 / 256, 0)
    assert card["output"]["gives"] == "probabilities"
