"""TFLite's standard metadata: what MediaPipe and Android's tools read input size, normalisation and labels from.

The format is a second flatbuffer (root type `ModelMetadata`) in the model's buffer `TFLITE_METADATA`; the files that it names
stand in a zip archive behind the model. Google's library for it has no wheels for today's Python, so that the few tables needed
are written here, by the field numbers of `metadata_schema.fbs` 1.5.0.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from typing_extensions import override

from search.convnet.saved import MEAN, STD
from search.export.card import CARD_NAME, WHITE, Gives, ModelCard
from search.images.framing import in_words

LABELS_FILE = "labels.txt"
CARD_FILE = f"{CARD_NAME}.json"
MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFL3", b"M001"
# The oldest reader that knows all that is written here.
PARSER_VERSION = "1.0.0"
# Members of the schema's enumerations and unions.
IMAGE_PROPERTIES = 2
NORMALIZATION_OPTIONS = 1
COLOUR_SPACES = {3: 1, 1: 2}
UNKNOWN_FILE, TENSOR_AXIS_LABELS = 0, 2
# TFLite maps weights straight from the file and wants them so, which Python's packing does not see to.
ALIGNMENT = 16


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    @override
    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        start: int = super().StartVector(elemSize, numElems, max(alignment, ALIGNMENT))
        return start


def with_metadata(model: bytes, card: ModelCard) -> bytes:
    """A TFLite file as it was, with its metadata, and behind it `labels.txt` (one a line) and `spnas.json` (the card)."""
    parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    parsed.metadata = [*(parsed.metadata or ()), schema.MetadataT("TFLITE_METADATA", len(parsed.buffers))]
    parsed.buffers.append(schema.BufferT(np.frombuffer(_model_metadata(card), np.uint8)))
    builder = _AlignedBuilder(len(model))
    builder.Finish(parsed.Pack(builder), MODEL_IDENTIFIER)

    labels = "".join(f"{' '.join(label.split())}\n" for label in card.labels)
    file = io.BytesIO(bytes(builder.Output()))
    # "a" puts the archive behind what is there. Stored, not compressed, so that an app can map it; ZipInfo has a fixed date.
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        for name, text in ((LABELS_FILE, labels), (CARD_FILE, card.to_json())):
            archive.writestr(zipfile.ZipInfo(name), text.encode())
    return file.getvalue()


class _Tables:
    """Writes the tables of a flatbuffer by the numbers of their fields; every method returns the offset of what it wrote."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder()

    def table(
        self,
        fields: int,
        offsets: Mapping[int, int],
        small: Mapping[int, int] | None = None,
        words: Mapping[int, int] | None = None,
    ) -> int:
        """A table of so many fields, from field numbers to offsets, to 8-bit and to 32-bit values."""
        self.builder.StartObject(fields)
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in (small or {}).items():
            self.builder.PrependUint8Slot(slot, value, 0)
        for slot, value in (words or {}).items():
            self.builder.PrependUint32Slot(slot, value, 0)
        end: int = self.builder.EndObject()
        return end

    def tables(self, *offsets: int) -> int:
        """A vector of tables."""
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        end: int = self.builder.EndVector()
        return end

    def floats(self, value: float) -> int:
        """A vector of one number."""
        end: int = self.builder.CreateNumpyVector(np.array([value], np.float32))
        return end

    def text(self, value: str) -> int:
        """A string."""
        end: int = self.builder.CreateString(value)
        return end

    def associated_file(self, name: str, description: str, kind: int) -> int:
        """The table `AssociatedFile`."""
        return self.table(5, {0: self.text(name), 1: self.text(description)}, {2: kind})


def _model_metadata(card: ModelCard) -> bytes:
    """The flatbuffer of the table `ModelMetadata`."""
    to = _Tables()
    given, result = _input(to, card), _output(to, card.use.gives)
    root = to.table(
        8,
        {
            0: to.text(card.name),
            1: to.text(f"Image classifier, {card.precision}; {card.origin}"),
            3: to.tables(to.table(10, {2: to.tables(given), 3: to.tables(result)})),
            6: to.tables(to.associated_file(CARD_FILE, "All of this as one JSON document", UNKNOWN_FILE)),
            7: to.text(PARSER_VERSION),
        },
    )
    to.builder.Finish(root, METADATA_IDENTIFIER)
    return bytes(to.builder.Output())


def _input(to: _Tables, card: ModelCard) -> int:
    """The table `TensorMetadata` of the images: size, colours, normalisation and range."""
    low, high = (0, WHITE) if card.tensor_type == "uint8" else (-MEAN / STD, (1 - MEAN) / STD)
    size = to.table(2, {}, words={0: card.resolution, 1: card.resolution})
    image = to.table(2, {1: size}, {0: COLOUR_SPACES[card.channels]})
    # The standard states them for 8-bit inputs too, where they are what the input's quantisation means.
    normalization = to.table(2, {0: to.floats(WHITE * MEAN), 1: to.floats(WHITE * STD)})
    return to.table(
        7,
        {
            0: to.text("image"),
            1: to.text(f"Of a photo: {in_words(card.use.framing, card.use.centre_crop)}"),
            3: to.table(3, {1: image}, {0: IMAGE_PROPERTIES}),
            4: to.tables(to.table(2, {1: normalization}, {0: NORMALIZATION_OPTIONS})),
            5: to.table(2, {0: to.floats(high), 1: to.floats(low)}),
        },
    )


OUTPUTS: dict[Gives, str] = {
    "logits": "One logit per class; softmax turns them into probabilities",
    "probabilities": "One probability per class, 0 to 1",
}


def _output(to: _Tables, gives: Gives) -> int:
    """The table `TensorMetadata` of logits or probabilities, with the file of their labels."""
    return to.table(
        7,
        {
            0: to.text(gives),
            1: to.text(OUTPUTS[gives]),
            6: to.tables(to.associated_file(LABELS_FILE, "Names of the classes", TENSOR_AXIS_LABELS)),
        },
    )
