"""Models are what their layers say, by TensorFlow's own interpreter of the file, and the cache never serves a broken one."""

import subprocess
import sys
from itertools import islice

import numpy as np
import psutil
import pytest
from waiting import until

from profiling.draws import random_architectures
from profiling.errors import ConversionError, InputError
from profiling.layers import Head, MBConv, MlpHead, Stem, UniversalBottleneck
from profiling.models import worker
from profiling.models.builder import TfliteBuilder
from profiling.network import NetworkSpec
from profiling.space import load_space

SMALL = NetworkSpec((Stem(16, 3, 8, 2, 3), MBConv(8, 8, 8, 1, 5, 3, True), MBConv(8, 8, 16, 2, 3, 6, False), Head(4, 16, 32, 10)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def two_workers(cache):
    with TfliteBuilder(cache, workers=2) as builder:
        yield builder


@pytest.fixture(scope="module")
def built(two_workers):
    """The small network and each of its layers in every precision."""
    networks = [SMALL, *(NetworkSpec.of(layer) for layer in SMALL.layers)]
    return {precision: two_workers.build(networks, precision) for precision in ("fp32", "fp16", "int8")}


def run(model, value):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model.path))
    interpreter.allocate_tensors()
    [given], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        value = np.clip(np.round(value / scale + zero), -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], value)
    interpreter.invoke()
    output = interpreter.get_tensor(result["index"])
    if result["dtype"] == np.int8:
        scale, zero = result["quantization"]
        output = (output.astype(np.float32) - zero) * scale
    return output


def reference(network, x):
    """The network in PyTorch on the same weights, with TensorFlow's padding written out: an independent second library."""
    import torch
    import torch.nn.functional as F

    from profiling.models.convert import random_weights

    def conv(y, kernel, bias, stride=1, groups=1):
        k = kernel.shape[0]
        size = y.shape[-1]
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        y = F.pad(y, (total // 2, total - total // 2) * 2)
        order = (2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1)
        return F.conv2d(y, torch.tensor(kernel).permute(order), torch.tensor(bias), stride, groups=groups)

    y = torch.tensor(x).permute(0, 3, 1, 2)
    for layer in network.layers:
        weights = random_weights(layer)
        if isinstance(layer, Stem):
            y = F.relu6(conv(y, *weights[0], layer.stride))
        elif isinstance(layer, MBConv):
            z = F.relu6(conv(y, *weights[0]))
            z = F.relu6(conv(z, *weights[1], layer.stride, layer.hidden_channels))
            z = conv(z, *weights[2])
            y = y + z if layer.residual else z
        else:
            y = F.relu6(conv(y, *weights[0])).mean((2, 3)) @ torch.tensor(weights[1][0]) + torch.tensor(weights[1][1])
    return y.numpy()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 0.15)])
def test_a_model_computes_what_pytorch_computes_on_the_same_weights(built, precision, tolerance):
    x = np.random.default_rng(1).standard_normal(SMALL.input_shape, dtype=np.float32)
    expected = reference(SMALL, x)
    assert np.abs(run(built[precision][SMALL.key], x) - expected).max() <= tolerance * np.abs(expected).max()


LATER = NetworkSpec.of(
    Stem(16, 3, 8, 2, 3, activation="hswish"),
    MBConv(8, 8, 8, 1, 5, 3, True, squeeze=8, activation="hswish"),
    MBConv(8, 8, 16, 2, 3, 2, False, hidden=20, squeeze=8, activation="relu"),
    UniversalBottleneck(4, 16, 16, 1, 3, 4, True, 5, activation="relu"),
    UniversalBottleneck(4, 16, 24, 2, 0, 2, False, 3),
    MlpHead(2, 24, 32, 10, 40, True, activation="hswish"),
)


def test_later_layers_become_their_operators_and_compute_the_same_in_every_precision(two_workers):
    """Each alone and together; building checks the operators. tests/search/convnet compares fp32 with PyTorch."""
    x = np.random.default_rng(1).standard_normal(LATER.input_shape, dtype=np.float32)
    outputs = {}
    for precision in ("fp32", "fp16", "int8"):
        models = two_workers.build([LATER, *(NetworkSpec.of(layer) for layer in LATER.layers)], precision)
        outputs[precision] = run(models[LATER.key], x)
    scale = np.abs(outputs["fp32"]).max()
    assert np.abs(outputs["fp16"] - outputs["fp32"]).max() <= 1e-2 * scale
    assert np.abs(outputs["int8"] - outputs["fp32"]).max() <= 0.15 * scale


def test_every_layer_of_the_paper_s_space_and_a_network_convert(two_workers):
    """All 44 models of `imagenet`; the check of the operators runs on each."""
    space = load_space("imagenet")
    networks = [
        *(NetworkSpec.of(layer) for layer in space.layers),
        *(a.network for a in islice(random_architectures(space, 0), 1)),
    ]
    models = two_workers.build(networks, "fp32")
    assert len(models) == 45
    assert all(model.size_bytes > 0 for model in models.values())


def test_models_that_would_be_measured_wrongly_are_refused():
    """Weights left in variables, and symmetric padding at stride 2, each convert without a word; the operators give them away."""
    import tensorflow as tf

    from profiling.models.convert import check_ops

    stem = NetworkSpec.of(Stem(16, 3, 8, 2, 3))

    keras = tf.keras.Sequential([tf.keras.Input(stem.input_shape[1:]), tf.keras.layers.Conv2D(8, 3, 2, "same")])
    variables = tf.function(lambda x: tf.nn.relu6(keras(x)), autograph=False)

    def padded(x):
        x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return tf.nn.relu6(tf.nn.conv2d(x, np.ones((3, 3, 3, 8), np.float32), 2, "VALID"))

    cases = ((variables, keras, "VAR_HANDLE"), (tf.function(padded, autograph=False), None, "PAD"))
    for function, trackable, word in cases:
        concrete = function.get_concrete_function(tf.TensorSpec(stem.input_shape))
        model = tf.lite.TFLiteConverter.from_concrete_functions([concrete], trackable).convert()
        with pytest.raises(ConversionError, match=word):
            check_ops(model, stem, "fp32")


def test_what_is_cached_is_not_built_again_and_loads_no_tensorflow(cache, built):
    script = (
        "import sys, pathlib\nfrom profiling.models.builder import TfliteBuilder\nfrom profiling.layers import *\n"
        "from profiling.network import NetworkSpec\n"
        f"with TfliteBuilder(pathlib.Path({str(cache)!r})) as builder:\n"
        "    builder.build([NetworkSpec.of(Stem(16, 3, 8, 2, 3))], 'fp32')\n"
        "assert builder.built == 0\nassert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def workers_of_this_process():
    return {child for child in psutil.Process().children() if worker.__file__ in child.cmdline()}


def test_a_worker_that_is_killed_is_one_clear_error_and_the_next_try_works(tmp_path):
    stem, others = NetworkSpec.of(SMALL.layers[0]), workers_of_this_process()
    with TfliteBuilder(tmp_path, workers=1) as builder:
        jobs = builder.start([stem], "fp32")
        until(lambda: workers_of_this_process() - others)
        (started,) = workers_of_this_process() - others
        started.kill()
        with pytest.raises(ConversionError, match="process died; is there enough memory"):
            builder.wait(jobs)
        assert builder.built == 0
        assert builder.build([stem], "fp32")[stem.key].size_bytes > 0


UNGUARDED = """
from pathlib import Path
from profiling.layers import Stem
from profiling.network import NetworkSpec
from profiling.models.builder import TfliteBuilder

with TfliteBuilder(Path({cache!r}), workers=1) as builder:
    builder.build([NetworkSpec.of(Stem(8, 3, 8, 2, 3))], "fp32")
print(builder.built)
"""


@pytest.mark.parametrize("way", ["a file", "stdin"])
def test_a_script_without_a_main_guard_converts_and_runs_once(tmp_path, way):
    text = UNGUARDED.format(cache=str(tmp_path / "cache"))
    script = tmp_path / "script.py"
    script.write_text(text)
    words, given = ([str(script)], None) if way == "a file" else (["-"], text)
    ended = subprocess.run([sys.executable, *words], input=given, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("1\n", "")


def test_damaged_and_missing_cache_files_are_built_again(cache, built):
    stem, mbconv = (NetworkSpec.of(layer) for layer in SMALL.layers[:2])
    damaged, missing = (built["fp32"][network.key].path for network in (stem, mbconv))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    missing.unlink()
    with TfliteBuilder(cache, workers=1) as builder:
        builder.start([stem], "fp32")  # another device asks for the same
        models = builder.build([stem, mbconv], "fp32")
        assert builder.built == 2
    for key, model in models.items():
        assert model.sha256 == built["fp32"][key].sha256, "the same layer always gives the same file"


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with TfliteBuilder(blocked / "cache", workers=1) as builder, pytest.raises(InputError, match="cannot be written"):
        builder.build([NetworkSpec.of(SMALL.layers[0])], "fp32")
