"""The metadata in a TFLite file, read by MediaPipe: its schema and its image classifier were written by others."""

import json
import zipfile

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as tflite
from mediapipe_or_not import needs_mediapipe

from search.convnet.inputs import load_known_images
from search.images.batches import held_out_batches

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
