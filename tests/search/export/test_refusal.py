"""An int8 file that is not kept says by how much it falls, which layer is worst, and what to try."""

import copy
import re
from dataclasses import replace

import pytest

from profiling.errors import ConversionError, InputError
from search.convnet.inputs import load_known_images
from search.export.export import ExportOptions, write_export
from search.export.layer_errors import layer_errors
from search.export.pixels import representative_pixels
from search.listener import Listener


class Notes(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def data(saved, photos):
    return load_known_images(saved, str(photos), 0)


def lopsided(saved, factor):
    """The same network: a channel that one layer makes so much larger, and the next takes for what it was.

    In 8 bits, which all channels of a tensor share, little is left of the others.
    """
    state = copy.deepcopy(saved.state)
    for name in ("gamma", "beta"):
        state[f"blocks.2.project.bn.{name}"][0] *= factor
    state["blocks.4.expand.weight"][:, 0] /= factor
    return replace(saved, state=state)


def attempt(network, target, builder, data, listener, **options):
    options = ExportOptions(representative_images=60, **options)
    return write_export(network, target, "tflite", "int8", builder, data, options, listener)


def test_the_layer_that_8_bits_are_too_few_for_is_found(saved, data, builder):
    pixels = representative_pixels(data, 20, 0)

    def errors(network):
        content, _ = to_int8(network, builder, pixels)
        return layer_errors(network, content, pixels)

    plain, odd = errors(saved), errors(lopsided(saved, 3000))
    assert [layer.number for layer in plain] == [index for index, layer in enumerate(saved.layers) if layer is not None]
    assert [layer.key for layer in plain] == [layer.key for layer in saved.present_layers]
    assert all(0 < layer.error < 0.1 for layer in plain)
    worst = sorted(odd, key=lambda layer: layer.error)[-2:]
    assert {layer.number for layer in worst} == {2, 4}, "where the channel is made, and where it is made small again"
    assert min(layer.error for layer in worst) > 0.3 > 3 * max(layer.error for layer in odd if layer not in worst)


def to_int8(network, builder, pixels):
    from search.export.card import Use
    from search.export.tflite_file import to_tflite

    return to_tflite(network, builder, "int8", Use("crop", 1.0), pixels)


def test_a_refusal_names_figures_interval_layer_and_what_to_try(saved, data, builder, tmp_path):
    listener, target, network = Notes(), tmp_path / "x.tflite", lopsided(saved, 80)
    with pytest.raises(ConversionError) as refused:
        attempt(network, target, builder, data, listener)
    problem, hint = refused.value.problem, refused.value.hint
    assert re.search(r"top-1 falls by [\d.]+ points, more than 1 \(95 % interval [\d.-]+ to [\d.]+, 73 images\)", problem)
    assert re.search(r"8 bits change the logits most in layer [24] \(mbconv-\S+\), by [\d.]+% of their spread \(median", problem)
    assert hint.startswith("nothing was written; to try: --representative-images 199 (the ranges come from 60 of 199")
    assert "--precision fp16" in hint
    header = next(index for index, note in enumerate(listener.notes) if "What 8 bits in each layer change" in note)
    lines = listener.notes[header + 1 :]
    assert len(lines) == len(network.present_layers)
    assert all(re.fullmatch(r" +[\d.]+%  layer \d+ \(\S+\)", line) for line in lines)
    assert list(tmp_path.iterdir()) == []

    [points] = re.findall(r"--accept-drop ([\d.]+) to keep it as it is", hint)
    kept = attempt(network, target, builder, data, listener, accept_drop=float(points))
    assert kept.file.stat().st_size == kept.size_bytes
    assert 0 < kept.check.guesses.drop <= float(points)
    with pytest.raises(ConversionError, match="top-1 falls by"):
        attempt(network, target, builder, data, listener, accept_drop=float(points) / 2)


def test_a_file_that_is_beyond_use_is_not_recommended(saved, data, builder, tmp_path):
    with pytest.raises(ConversionError, match="top-1 falls by") as refused:
        attempt(lopsided(saved, 1000), tmp_path / "x.tflite", builder, data, Listener())
    assert "--accept-drop" not in refused.value.hint


def test_more_images_to_compare_on_are_suggested_where_they_may_decide(saved, data, builder, tmp_path):
    with pytest.raises(ConversionError, match="top-1 falls by") as refused:
        attempt(lopsided(saved, 150), tmp_path / "x.tflite", builder, data, Listener(), check_images=6)
    assert "--check-images 30 (1 points are within the interval)" in refused.value.hint


@pytest.mark.parametrize("points", [float("nan"), -1, 101, float("inf")])
def test_a_drop_that_is_no_share_of_the_images_is_refused(saved, data, builder, tmp_path, points):
    with pytest.raises(InputError, match="from 0 to 100"):
        attempt(saved, tmp_path / "x.tflite", builder, data, Listener(), accept_drop=points)


def test_without_images_nobody_knows_how_far_the_accuracy_falls(saved, builder, tmp_path):
    with pytest.raises(InputError, match="--accept-drop: without images nobody knows"):
        write_export(saved, tmp_path / "x.tflite", "tflite", "fp32", builder, None, ExportOptions(accept_drop=1))
