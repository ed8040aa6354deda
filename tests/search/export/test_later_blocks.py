"""Networks with squeeze-and-excitation, h-swish and the blocks of MobileNetV3 and V4, in every form, run by every runtime."""

import numpy as np
import pytest
import torch
from mediapipe_or_not import needs_mediapipe
from trained import LATER_BLOCKS, trained

from profiling.models.operators import operators
from search.convnet.inputs import load_known_images
from search.export.export import ExportOptions, write_export
from search.images.batches import held_out_batches

FORMS = {"fp32": "tflite", "fp16": "tflite", "int8": "tflite", "onnx": "onnx"}
# Of any logit, and the share of images with the same guess.
BOUNDS = {"fp32": (1e-4, 1.0), "onnx": (1e-4, 1.0), "fp16": (0.05, 1.0), "int8": (4.0, 0.95)}


@pytest.fixture(scope="module")
def later(photos):
    return trained("later blocks", LATER_BLOCKS, photos, steps=120)


@pytest.fixture(scope="module", params=FORMS)
def exported(request, later, photos, builder, tmp_path_factory):
    """Its name and the file."""
    name, to = request.param, FORMS[request.param]
    target = tmp_path_factory.mktemp("later") / f"{name}.{to}"
    options = ExportOptions(representative_images=60)
    data = load_known_images(later, str(photos), 0)
    return name, write_export(later, target, to, "fp32" if to == "onnx" else name, builder, data, options)


def test_a_file_computes_what_the_network_computes(exported):
    name, export = exported
    largest, agreement = BOUNDS[name]
    assert export.check.largest_difference < largest
    assert export.check.top1_agreement >= agreement
    assert export.check.top1 > 0.9, "of an untrained network it would prove little"


def test_h_swish_is_one_operator_in_tflite_and_in_onnx(exported):
    """Stem, two for each of the two bottlenecks, and two in the head."""
    name, export = exported
    if name == "onnx":
        import onnx

        names = [node.op_type for node in onnx.load(export.file).graph.node]
    else:
        names = [op.name for op in operators(export.file.read_bytes())]
    assert names.count("HardSwish" if name == "onnx" else "HARD_SWISH") == 7


@needs_mediapipe
def test_mediapipe_runs_it(exported, later, photos):
    name, export = exported
    if name == "onnx":
        return
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    images = torch.cat([images for images, _ in held_out_batches(load_known_images(later, str(photos), 0), 32, 0)])
    with torch.no_grad():
        expected = later.build()(images).argmax(1).tolist()
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(export.file)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        heads = [classifier.classify(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).classifications[0] for image in pixels]
    guesses = [later.classes.index(head.categories[0].category_name) for head in heads]
    assert np.mean([guess == want for guess, want in zip(guesses, expected, strict=True)]) >= BOUNDS[name][1]
