"""Networks by a name, a file or a folder: what each stands for, and what is said where it stands for nothing of use."""

import subprocess
import sys

import pytest

from profiling.errors import InputError
from profiling.space import load_architecture, load_space
from search.convnet.named import (
    MEASURABLE,
    OF_SPACE,
    WITH_LAYERS,
    WITH_WEIGHTS,
    Size,
    find_architecture,
    find_layers,
    find_trained,
    own_weights,
    resolve,
)
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.convnet.zoo import load_zoo_network
from search.run_folder import RunFolder

DIGITS = load_space("digits")


@pytest.fixture
def run(tmp_path, space):
    """The folder of a search, with the network that it found."""
    folder = RunFolder(tmp_path / "run")
    folder.prepare(resume=False)
    architecture = space.uniform("3x3-6")
    layers = tuple(layer for _, layer in architecture.placed_layers())
    folder.architecture.write_text(architecture.to_json())
    classes = tuple("0123456789")
    SavedNetwork("found", layers, classes, Network(layers, 10).state_dict(), 0.5, "a test").save(folder.network)
    return folder


def test_each_name_is_of_the_kind_that_is_asked_for(run, tmp_path):
    """The paper's network is both of the zoo and an architecture; a search's folder holds an architecture and weights."""
    (tmp_path / "model.tflite").write_bytes(b"a model")
    (tmp_path / "weights").write_bytes(b"some weights")
    cases = [
        ("single-path-nas", OF_SPACE, ("architecture", "single-path-nas")),
        ("single-path-nas", MEASURABLE, ("zoo", "single-path-nas")),
        ("chamnet-b", MEASURABLE, ("zoo", "chamnet-b")),
        ("3x3-6", OF_SPACE, ("uniform", "3x3-6")),
        (run, OF_SPACE, ("architecture", str(run.architecture))),
        (run, MEASURABLE, ("architecture", str(run.architecture))),
        (run, WITH_WEIGHTS, ("trained", str(run.network))),
        (run.network, WITH_LAYERS, ("trained", str(run.network))),
        (tmp_path / "model.tflite", MEASURABLE, ("tflite", str(tmp_path / "model.tflite"))),
        (tmp_path / "weights", WITH_WEIGHTS, ("trained", str(tmp_path / "weights"))),
    ]
    for name, takes, expected in cases:
        assert resolve(name, takes, DIGITS) == expected
    run.architecture.unlink()
    assert resolve(run, MEASURABLE) == ("trained", str(run.network)), "a training leaves no architecture"


@pytest.mark.parametrize(
    ("name", "takes", "space", "words"),
    [
        ("mobilenet-v9", WITH_LAYERS, None, "mobilenet-v9: no such file, and no network of this name; accepted: an architecture"),
        ("mobilenetv2", WITH_LAYERS, None, "did you mean mobilenet-v2?"),
        ("singlepath-nas", OF_SPACE, None, "did you mean single-path-nas?"),
        ("3x3_6", OF_SPACE, DIGITS, "(3x3-3, 5x5-3, 3x3-6, 5x5-6), the folder of a run; did you mean 3x3-6?"),
        ("3x3-6", OF_SPACE, None, "one that ships with spnas (single-path-nas), the folder of a run"),
        ("mnasnet", OF_SPACE, DIGITS, "this is a network of the zoo; accepted: an architecture file"),
        ("mnasnet", WITH_WEIGHTS, None, "this is a network of the zoo; accepted: a trained network (.pt), the folder of a run"),
        (".", WITH_WEIGHTS, None, "this folder has no finished run with such a network"),
    ],
)  # fmt: skip
def test_what_is_of_no_use_is_refused_in_one_wording(tmp_path, monkeypatch, name, takes, space, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        resolve(name, takes, space)
    assert words in str(refused.value)


def test_what_is_found_is_what_is_meant(run, space):
    assert find_architecture("single-path-nas") == load_architecture("single-path-nas")
    assert find_architecture(run) == space.uniform("3x3-6") == find_architecture("3x3-6", space)
    wide = Size(width=0.5, resolution=64)
    assert find_layers("mobilenet-v1", wide) == load_zoo_network("mobilenet-v1", width_multiplier=0.5, resolution=64).layers
    assert find_layers(run) == find_layers(run.network) == find_trained(run).layers
    assert find_layers(run, Size(resolution=24))[0].resolution == 24
    with pytest.raises(InputError, match="a trained network has a fixed size"):
        find_layers(run.network, wide)


def test_weights_are_those_of_the_network_itself_or_beside_the_architecture_found(run, tmp_path):
    for name in (run, run.architecture, run.network):
        assert own_weights(name) == run.network
    candidate = run.candidate(1)
    candidate.parent.mkdir()
    for other in (candidate, run.path / "mine.json"):
        other.write_bytes(run.architecture.read_bytes())
        assert own_weights(other) is None
    for name in ("single-path-nas", "mobilenet-v2"):
        assert own_weights(name) is None
    run.network.unlink()
    assert own_weights(run) is None
    with pytest.raises(InputError, match="no such file"):
        own_weights(tmp_path / "nowhere.pt")


def test_names_are_found_without_a_heavy_library():
    script = (
        "import sys\nfrom search.convnet.named import find_architecture, find_layers\n"
        "find_architecture('single-path-nas'), find_layers('mobilenet-v1')\n"
        "sys.exit(', '.join(m for m in ('torch', 'tensorflow', 'numpy', 'pandas') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"loaded {done.stderr}"
