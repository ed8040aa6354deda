"""The command as people and scripts meet it; what the files hold is tested in tests/search/export/test_export.py."""

import json

import pytest
import torch
from click.testing import CliRunner

from profiling.layers import Head, MBConv, Stem
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
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
        "file", "precision", "size_bytes", "images", "largest_difference", "top1_agreement", "top1", "top1_exported",
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
