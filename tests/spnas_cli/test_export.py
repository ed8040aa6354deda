"""The command as people and scripts meet it; what the files hold is tested in tests/search/export/test_export.py."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from profiling.layers import Head, MBConv, Stem
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork, load_network
from spnas_cli.main import cli

LAYERS = (Stem(8, 1, 4, 1, 3), MBConv(8, 4, 4, 1, 3, 3, True), Head(8, 4, 8, 10))


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "network.pt"
    classes = tuple("0123456789")
    SavedNetwork("small", LAYERS, classes, Network(LAYERS, 10).state_dict(), None, "random weights").save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["export", *map(str, arguments)])


def test_a_script_reads_what_was_written(network):
    done = run(network, "--to", "onnx", "--data", "digits", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    file = network.with_suffix(".onnx")
    assert set(report) == {
        "file", "precision", "size_bytes", "images", "largest_difference", "spread", "probability_difference", "top1_agreement",
        "top1", "top1_exported", "top1_drop_interval", "gives", "framing", "top1_by_framing", "framing_images", "trained_for",
    }  # fmt: skip
    assert (report["file"], report["size_bytes"], report["precision"]) == (str(file), file.stat().st_size, "fp32")
    assert (report["images"], report["top1_agreement"]) == (359, 1)
    assert report["largest_difference"] < 1e-3
    assert report["top1"] == report["top1_exported"]


def test_a_file_that_is_there_is_replaced_only_when_asked(network):
    file = network.with_suffix(".onnx")
    file.write_text("mine")
    refused = run(network, "--to", "onnx")
    assert refused.exit_code == 2
    assert "the file already exists; add --force" in refused.stderr
    assert file.read_text() == "mine"
    done = run(network, "--to", "onnx", "--force", "--check-images", 10)
    assert done.exit_code == 0, done.output
    assert " 10 random images\n" in done.stdout
    assert "compared on random pixels" in done.stderr
    assert file.stat().st_size > 1000


@pytest.fixture
def photos(tmp_path):
    """Discs in the middle of lying photos, digits by name: as many classes as the network has."""
    random = np.random.default_rng(0)
    for part, count in (("train", 2), ("val", 3)):
        for name in "0123456789":
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (10, 30), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{number}.png")
    return tmp_path / "photos"


def test_a_framing_is_declared_in_the_file_and_what_the_other_costs_is_said(network, photos, tmp_path):
    for framing in ("crop", "stretch"):
        target = tmp_path / f"{framing}.onnx"
        done = run(network, "--to", "onnx", "--data", photos, "--framing", framing, "--softmax", "-o", target)
        assert done.exit_code == 0, done.output
        other = {"crop": "if stretched", "stretch": "if cropped"}[framing]
        assert re.search(
            rf"{other} +top-1 [\d.]+% instead of [\d.]+% on 30 images \([+-][\d.]+ points, 95 % interval", done.stdout
        )
        assert ("MediaPipe stretches the whole photo" in done.stderr) == (framing == "crop")
        [card] = [json.loads(entry.value) for entry in onnx.load(target).metadata_props]
        assert (card["input"]["framing"], card["output"]["gives"]) == (framing, "probabilities")
        assert card["input"]["centre_crop"] == {"crop": 8 / 9, "stretch": 1}[framing]
    evaluated = CliRunner().invoke(cli, ["evaluate", str(network), "--data", str(photos), "--framing", "stretch", "--json"])
    found = json.loads(evaluated.stdout)
    assert (found["framing"], found["framing_images"]) == ("stretch", 30)
    assert found["top1_by_framing"]["stretch"] == found["top1"]


def test_a_network_keeps_its_framing_for_evaluate_and_export(network, photos, tmp_path):
    saved = replace(load_network(network), framing="stretch", centre_crop=1.0)
    saved.save(network)
    assert load_network(network).framing == "stretch"
    evaluated = CliRunner().invoke(cli, ["evaluate", str(network), "--data", str(photos)])
    assert "stretch (the whole image, stretched)" in evaluated.stdout
    assert json.loads(run(network, "--to", "onnx", "--json").stdout)["framing"] == "stretch"
    cropped = run(network, "--to", "onnx", "--framing", "crop", "-o", tmp_path / "cropped.onnx")
    [card] = [json.loads(entry.value) for entry in onnx.load(tmp_path / "cropped.onnx").metadata_props]
    assert cropped.exit_code == 0
    assert (card["input"]["framing"], card["input"]["centre_crop"]) == ("crop", 8 / 9)


@pytest.mark.parametrize(
    "odd", [{"framing": "fit"}, {"framing": 1}, {"centre_crop": 0.0}, {"centre_crop": 1.5}, {"centre_crop": "1"}]
)
def test_a_file_with_a_framing_that_nobody_knows_is_refused(network, odd):
    replace(load_network(network), **odd).save(network)
    refused = run(network, "--to", "onnx")
    assert refused.exit_code == 2
    assert f"this is not the file of a network: {next(iter(odd))}" in refused.stderr


def test_a_drop_to_accept_is_a_number_of_points(network):
    for points in ("-1", "101", "x", "nan", "inf"):
        assert run(network, "--to", "onnx", "--data", "digits", "--accept-drop", points).exit_code == 2
    refused = run(network, "--to", "onnx", "--accept-drop", "1")
    assert refused.exit_code == 2
    assert "without images nobody knows how far the accuracy falls; add --data" in refused.stderr


def test_what_cannot_be_exported_is_one_line_and_exit_code_2(network, tmp_path):
    other = tmp_path / "other.pt"
    torch.save({"weights": 1}, other)
    before = set(tmp_path.iterdir())
    cases = {
        (
            tmp_path / "missing.pt",
            "--to",
            "onnx",
        ): "no such file, and no network of this name; accepted: a trained network (.pt)",
        (other, "--to", "onnx"): "this is not a checkpoint that this version of spnas can read",
        (network, "--to", "tflite", "--precision", "int8"): "int8 needs images to estimate ranges on",
        (network, "--to", "onnx", "--precision", "fp16"): "ONNX is written in fp32 only",
        (network, "--to", "onnx", "-o", tmp_path / "missing" / "x.onnx"): "cannot be written: No such file",
        (network, "--to", "onnx", "--data", "nothing"): "neither a data set",
    }
    for arguments, line in cases.items():
        done = run(*arguments)
        assert done.exit_code == 2, arguments
        assert line in done.stderr
        assert "Traceback" not in done.stderr
    assert set(tmp_path.iterdir()) == before
