"""What an export may differ by: bounds that follow the network, and mean the same for a confident and a shy one."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from profiling.errors import ConversionError, InputError
from search.convnet.inputs import load_known_images
from search.export import tflite_file
from search.export.card import Use, card_of
from search.export.check import BOUNDS, ExportCheck, bound_for, check_export
from search.export.export import ExportOptions, write_export
from search.paired import Paired


def scaled(saved, factor, bias=0.0):
    """The same network with all its logits multiplied, and then moved: the same guesses, more or less confident."""
    state = copy.deepcopy(saved.state)
    [weight, offset] = [name for name in state if ".classifier." in name]
    state[weight], state[offset] = state[weight] * factor, state[offset] * factor + bias
    return replace(saved, state=state)


@pytest.fixture(scope="session")
def data(saved, photos):
    return load_known_images(saved, str(photos), 0)


@pytest.fixture
def export(data, builder, tmp_path):
    def made(network, precision="fp32", to="tflite", **options):
        return write_export(network, tmp_path / f"x.{to}", to, precision, builder, data, ExportOptions(**options))

    return made


@pytest.mark.parametrize(
    ("factor", "bias", "softmax"),
    [(30, 0, False), (3000, 0, True), (1e-4, 0, False), (0, 0, True), (1, 10, False)],
    ids=["sure", "very sure", "shy", "blank", "moved"],
)
def test_how_confident_a_network_is_does_not_decide_whether_it_can_be_exported(export, exports, saved, factor, bias, softmax):
    network = scaled(saved, factor, bias)
    for precision in ("fp32", "fp16"):
        check = export(network, precision, softmax=softmax).check
        assert check.top1_agreement == 1
        assert check.top1_exported == check.top1
        assert check.spread == pytest.approx(factor * exports["fp32"].check.spread, rel=1e-3)


def test_logits_near_98_that_move_by_more_than_a_tenth_are_as_good_as_small_ones(export, exports, saved):
    sure = scaled(saved, 98 / exports["fp32"].check.spread)
    check = export(sure, "fp16").check
    assert 0.1 < check.largest_difference < 0.02 * check.spread
    assert check.probability_difference < 1e-3


@pytest.mark.parametrize(("factor", "softmax"), [(30, True), (30, False), (1e-3, True)])
def test_a_wrong_file_of_any_confidence_is_refused(export, saved, factor, softmax, monkeypatch):
    monkeypatch.setattr(tflite_file, "BN_EPSILON", 0.5)
    with pytest.raises(ConversionError, match=r"a logit differs by \S+, more than \S+ \(0.001 of the spread of the logits"):
        export(scaled(saved, factor), softmax=softmax)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_named_as_what_it_is(export, saved, value):
    with pytest.raises(InputError, match="the network's own outputs are not finite numbers: its training failed"):
        export(scaled(saved, value))


class Wrong:
    """An export that gives what it is told."""

    def __init__(self, *outputs):
        self._outputs = iter(outputs)

    def outputs(self, pixels):
        return next(self._outputs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_export_that_gives_no_number_once_is_refused(saved, bad, precision):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    with torch.no_grad():
        logits = saved.build()((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5).numpy()
    spoilt = logits.copy()
    spoilt[1, 2] = bad
    card = card_of(saved, precision, "NHWC", Use("crop", 1.0))
    faults = [
        check_export(saved, Wrong(logits, outputs), card, 8, iter([(pixels, None)] * 2)).faults(BOUNDS[precision])
        for outputs in (logits, spoilt)
    ]
    assert faults[0] == []
    assert len(faults[1]) >= 1
    assert "nan" in faults[1][0]


def test_two_classes_that_are_as_likely_may_change_places(saved):
    """An untrained network of many classes would otherwise be refused for rounding."""
    card = card_of(saved, "fp32", "NHWC", Use("crop", 1.0))
    pixels = np.zeros((1, 24, 24, 3), np.uint8)
    blank = scaled(saved, 0)
    tied, apart = np.array([[0, 1e-6, 0]], np.float32), np.array([[0, 0.05, 0]], np.float32)
    assert check_export(blank, Wrong(tied), card, 1, iter([(pixels, None)])).faults(BOUNDS["fp32"]) == []
    assert check_export(blank, Wrong(apart), card, 1, iter([(pixels, None)])).faults(BOUNDS["fp32"]) != []


@pytest.mark.parametrize(
    ("precision", "changes", "fault"),
    [
        ("fp32", {}, None),
        ("fp32", {"largest_difference": 0.0011}, "a logit differs by 0.0011, more than 0.001"),
        ("fp32", {"largest_difference": 0.0011, "spread": 2.0}, None),
        ("fp32", {"largest_difference": float("nan")}, "a logit differs by nan"),
        ("fp32", {"top1_agreement": 9999 / 10000}, "99.99% of the top-1 classes agree, less than 100%"),
        ("fp16", {"largest_difference": 0.05, "top1_agreement": 0.995}, None),
        ("fp16", {"largest_difference": 0.17, "spread": 30.0}, None),
        (
            "fp16",
            {"largest_difference": 0.17},
            r"a logit differs by 0.17, more than 0.1 \(0.1 of the spread of the logits, 1\)",
        ),
        ("fp16", {"probability_difference": 0.031}, "the probabilities of an image differ by 0.031 on average, more than 0.03"),
        ("int8", {"largest_difference": 2.0, "top1_agreement": 0.95, "top1_exported": 0.89}, None),
        ("int8", {"largest_difference": None, "probability_difference": float("nan")}, "differ by nan"),
        (
            "int8",
            {"top1_agreement": 0.95, "top1_exported": 0.889},
            r"top-1 falls by 1.10 points, more than 1 \(95 % interval 0.89 to 1.31, 10000 images\)",
        ),
        ("int8", {"images": 50, "top1_agreement": 0.98, "top1_exported": 0.88}, None),
        ("int8", {"images": 50, "top1_agreement": 0.96, "top1_exported": 0.86}, "top-1 falls by 4.00 points, more than 1"),
    ],
)
def test_the_bounds(precision, changes, fault):
    changes = dict(changes)
    images, right = changes.get("images", 10_000), changes.pop("top1_exported", 0.9)
    guesses = Paired(images, round(0.9 * images), lost=round((0.9 - right) * images), gained=0)
    compared = replace(ExportCheck(images, 1.0, 1e-5, 1e-6, 1.0, guesses), **changes)
    faults = compared.faults(BOUNDS[precision])
    assert [re.search(fault, each) is not None for each in faults] == ([] if fault is None else [True])


def test_an_accepted_drop_takes_the_place_of_what_is_asked_of_guesses():
    compared = ExportCheck(100, 1.0, 3.0, 0.2, 0.8, Paired(100, 90, lost=15, gained=3))
    assert len(compared.faults(bound_for("int8", None))) == 3
    assert compared.faults(bound_for("int8", 12)) == []
    [fault] = compared.faults(bound_for("int8", 11.9))
    assert "top-1 falls by 12.00 points, more than 11.9" in fault
    assert len(compared.faults(bound_for("fp32", 12))) == 2, "what is computed must still be right"
