"""The metadata in a TFLite file, read by MediaPipe: its schema and its image classifier were written by others."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as tflite
from mediapipe_or_not import needs_mediapipe
from PIL import Image

from search.convnet.inputs import load_known_images
from search.export.export import ExportOptions, write_export
from search.images.batches import held_out_batches
from search.images.one_image import ImageFiles, ImageForm
from search.images.options import ImageOptions

pytestmark = needs_mediapipe
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module", params=PRECISIONS)
def exported(request, exports):
    return exports[request.param]


@pytest.fixture
def metadata(exported):
    """The metadata as the objects of MediaPipe's own schema."""
    from mediapipe.tasks.metadata.metadata_schema_py_generated import ModelMetadata, ModelMetadataT

    model = tflite.Model.GetRootAs(exported.file.read_bytes(), 0)
    buffers = {model.Metadata(index).Name(): model.Metadata(index).Buffer() for index in range(model.MetadataLength())}
    content = model.Buffers(buffers[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    return ModelMetadataT.InitFromObj(ModelMetadata.GetRootAs(content, 0))


def test_name_input_and_normalisation(metadata, exported):
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    assert metadata.name == b"digits of three"
    assert b"trained in a test" in metadata.description
    [graph] = metadata.subgraphMetadata
    [given] = graph.inputTensorMetadata
    assert given.name == b"image"
    assert given.content.contentPropertiesType == schema.ContentProperties.ImageProperties
    assert given.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    size = given.content.contentProperties.defaultSize
    assert (size.width, size.height) == (24, 24)
    [unit] = given.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([127.5], [127.5])
    in_8_bits = exported.card.precision == "int8"
    assert (list(given.stats.min), list(given.stats.max)) == (([0], [255]) if in_8_bits else ([-1], [1]))


def test_labels_and_the_card_behind_the_model(metadata, exported):
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    [result] = metadata.subgraphMetadata[0].outputTensorMetadata
    [labels] = result.associatedFiles
    assert labels.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS
    [card] = metadata.associatedFiles
    with zipfile.ZipFile(exported.file) as archive:
        assert archive.read(labels.name.decode()).decode().splitlines() == ["one", "two words", "zéro"]
        assert json.loads(archive.read(card.name.decode()))["input"]["centre_crop"] == 24 / 27


def test_mediapipe_s_image_classifier_runs_the_file_as_it_is(exported, saved, photos):
    """It normalises and names the classes by the metadata alone, and guesses what the network guesses."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    images = torch.cat([images for images, _ in held_out_batches(load_known_images(saved, str(photos), 0), 32, 0)])
    with torch.no_grad():
        expected = saved.build()(images).numpy()
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(exported.file)))
    scores = np.zeros_like(expected)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for row, image in zip(scores, pixels, strict=True):
            [head] = classifier.classify(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).classifications
            for category in head.categories:
                row[saved.classes.index(category.category_name)] = category.score
    largest, agreement = {"fp32": (1e-4, 1), "fp16": (0.05, 1), "int8": (1.5, 0.95)}[exported.card.precision]
    assert np.abs(scores - expected).max() < largest
    assert (scores.argmax(1) == expected.argmax(1)).mean() >= agreement
    assert len(set(expected.argmax(1))) == 3


def classified(file, images, options=None):
    """The scores of MediaPipe for images (height, width, 3) of any size, in the order of the labels, and how it was asked."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    rows = []
    with vision.ImageClassifier.create_from_options(
        vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(file)))
    ) as classifier:
        for image in images:
            picture = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image))
            [head] = classifier.classify(picture, options and options(image)).classifications
            rows.append([category.score for category in sorted(head.categories, key=lambda each: each.index)])
    return np.array(rows)


def region(crop, degrees=0):
    """How the app asks: the central square of the photo as it is stored, and by how much it is to be turned."""
    from mediapipe.tasks.python.components.containers.rect import RectF
    from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions

    def options(image):
        height, width, _ = image.shape
        x, y = (crop * min(height, width) / side / 2 for side in (width, height))
        return ImageProcessingOptions(RectF(left=0.5 - x, top=0.5 - y, right=0.5 + x, bottom=0.5 + y), degrees)

    return options


@pytest.fixture(scope="module")
def wide(photos):
    """The held-out digits in the middle of photos twice as wide as high, halves of another digit at both sides.

    They are little larger than the input: MediaPipe reads single pixels where the network's images are averaged.
    """
    digits = [np.asarray(Image.open(file).resize((32, 32))) for file in sorted(photos.glob("val/*/*.png"))]
    others = digits[len(digits) // 2 :] + digits[: len(digits) // 2]
    return [np.concatenate([other[:, :16], digit, other[:, 16:]], 1) for digit, other in zip(digits, others, strict=True)]


def guesses_of_the_network(saved, pictures, framing, tmp_path):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    files = [(tmp_path / f"{number}.png", 0) for number in range(len(pictures))]
    dataset = ImageFiles(files, ImageForm(24, 3), None, framing=framing)
    with torch.no_grad():
        return saved.build()(torch.stack([dataset[0, index][0] for index in range(len(files))])).numpy().argmax(1)


def test_mediapipe_sees_what_the_network_saw_in_either_framing(exports, saved, wide, tmp_path):
    """It stretches the whole photo; given the region of interest of the documentation, it takes the crop."""
    file = exports["fp32"].file
    crop = exports["fp32"].card.use.centre_crop
    guesses = {framing: guesses_of_the_network(saved, wide, framing, tmp_path) for framing in ("crop", "stretch")}
    assert (guesses["crop"] == guesses["stretch"]).mean() < 0.9, "or the two would prove little"
    whole, cut = classified(file, wide).argmax(1), classified(file, wide, region(crop)).argmax(1)
    assert (whole == guesses["stretch"]).mean() > 0.85
    assert (cut == guesses["crop"]).mean() > 0.95
    assert (whole == guesses["crop"]).mean() < (cut == guesses["crop"]).mean() - 0.1


@pytest.mark.parametrize("framing", ["crop", "stretch"])
def test_the_documented_code_for_mediapipe_frames_a_photo_as_the_file_says(saved, photos, builder, wide, tmp_path, framing):
    document = Path(__file__).parents[3] / "docs" / "export.md"
    text = document.read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n# classify_mediapipe.py\n(.*?)```", text, re.DOTALL)
    data = load_known_images(saved, str(photos), 0, ImageOptions(framing=framing))
    written = write_export(saved, tmp_path / "x.tflite", "tflite", "fp32", builder, data, ExportOptions(framing=framing))
    expected = guesses_of_the_network(saved, wide, framing, tmp_path)
    files = [tmp_path / f"{number}.png" for number in range(len(wide))]
    done = subprocess.run([sys.executable, "-I", "-c", code, written.file, *files], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    guesses = [line.removeprefix(f"{file} ") for file, line in zip(files, lines, strict=True)]
    agreed = np.mean([guess == saved.classes[want] for guess, want in zip(guesses, expected, strict=True)])
    assert agreed > (0.95 if framing == "crop" else 0.85)


@pytest.mark.parametrize("degrees", [90, 270])
def test_the_region_is_that_of_the_photo_before_it_is_turned(exports, wide, degrees):
    file, crop = exports["fp32"].file, exports["fp32"].card.use.centre_crop
    # Large ones: it moves what it turns by a pixel.
    photos = [np.asarray(Image.fromarray(picture).resize((320, 160))) for picture in wide[::4]]
    turned = [np.rot90(photo, degrees // 90) for photo in photos]  # against the clock; MediaPipe turns with it
    asked = ((photos, region(crop)), (turned, region(crop, degrees)), (turned, region(crop)))
    upright, again, lying = (classified(file, *each) for each in asked)
    assert (again.argmax(1) == upright.argmax(1)).mean() > 0.8
    assert np.abs(again - upright).mean() < 0.3 * np.abs(lying - upright).mean()


def test_mediapipe_s_scores_of_a_file_with_softmax_are_probabilities(saved, photos, builder, wide, tmp_path):
    options = ExportOptions(softmax=True, representative_images=60)
    data = load_known_images(saved, str(photos), 0)
    for precision in PRECISIONS:
        written = write_export(saved, tmp_path / f"{precision}.tflite", "tflite", precision, builder, data, options)
        scores = classified(written.file, wide[:10], region(24 / 27))
        assert np.abs(scores.sum(1) - 1).max() < 0.02
        assert 0 <= scores.min() <= scores.max() <= 1
