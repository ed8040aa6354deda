"""This machine as a device: real models in real processes, and every way in which such a process can go wrong."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from waiting import started, until

from latency_db.store import Store
from profiling.device import RunSettings
from profiling.errors import InputError, ToolOutputError
from profiling.host import host, packed
from profiling.host.benchmark import kept
from profiling.host.host import HostDevice, read_figures, run_process, select_cores
from profiling.layers import MBConv
from profiling.network import NetworkSpec

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc tells what is allocated")
QUICK = RunSettings(runs=5, min_seconds=0, warmup_runs=1, warmup_seconds=0)


@pytest.fixture(scope="module")
def model(builder):
    layer = NetworkSpec.of(MBConv(8, 8, 8, 1, 3, 3, True))
    return builder.build([layer], "fp32")[layer.key]


def test_a_model_runs_and_gives_figures_that_fit_each_other(model):
    figures = HostDevice().run(model, QUICK).figures
    assert figures.count == 5
    assert figures.min_ms <= figures.p5_ms <= figures.median_ms <= figures.p95_ms <= figures.max_ms
    assert figures.min_ms <= figures.mean_ms <= figures.max_ms
    assert figures.fastest_ms == figures.min_ms


def test_both_ends_of_the_timed_phase_are_kept(model):
    assert HostDevice().run(model, replace(QUICK, min_seconds=0.2)).figures.count > 5


def test_without_the_delegate_the_model_runs_without_it_and_that_is_checked(model):
    result = HostDevice().run(model, replace(QUICK, delegate="none"))
    assert json.loads(result.output.splitlines()[0])["delegated"] is False
    with pytest.raises(ToolOutputError, match="ran without XNNPACK") as error:
        read_figures(result.output, QUICK, where="model")
    assert error.value.reason == "fallback"


def test_a_file_that_is_no_model_is_one_failed_measurement(model, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(model.path.read_bytes()[:200])
    with pytest.raises(ToolOutputError) as error:
        HostDevice().run(replace(model, path=broken), QUICK)
    assert error.value.reason in ("failed", "crash")


def test_a_process_that_is_ended_by_a_signal_is_a_crash_that_names_it():
    with pytest.raises(ToolOutputError, match="SIGSEGV") as error:
        run_process([sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGSEGV})"], 20, where="model")
    assert error.value.reason == "crash"


def test_a_hang_ends_with_the_limit_and_leaves_no_process(tmp_path):
    pid_file = tmp_path / "pid"
    with pytest.raises(ToolOutputError) as error:
        run_process(["sh", "-c", f"echo $$ >{pid_file}; exec sleep 3600"], 1.0, where="model")
    assert error.value.reason == "hang"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_the_measuring_process_ends_when_its_parent_is_killed(model):
    """Otherwise it would disturb the measurements of the next run."""
    script = (
        "from pathlib import Path; from profiling.host.host import HostDevice\n"
        "from profiling.device import BuiltModel, RunSettings\n"
        f"HostDevice().run(BuiltModel('x', Path({str(model.path)!r}), '', 0), RunSettings(min_seconds=3600, timeout_s=7200))"
    )
    with started([sys.executable, "-c", script]) as parent:
        process = psutil.Process(parent.pid)
        until(process.children)
        (child,) = process.children()
        # It asks the kernel for this before it loads the library that runs the model.
        until(lambda: any("ai_edge_litert" in mapped.path for mapped in child.memory_maps()))
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_the_output_of_any_number_of_runs_is_small_and_gives_the_figures_of_all(model):
    """A layer of microseconds runs tens of thousands of times; all of its runs took 46 kB."""
    generator = np.random.default_rng(3)
    for count in (1, 2, 3, 99, 200, 201, 202, 1000, 40_000):
        runs = (generator.gamma(2, 5_000, count) + 10_000).astype(int).tolist()
        printed = {"delegated": True, "init_ns": 5_000_000, "warmup_ns": kept(runs[: count // 2 + 1]), "timed_ns": kept(runs)}
        output = json.dumps(printed, separators=(",", ":"))
        assert len(zlib.compress(output.encode())) < 4000
        figures, ms = read_figures(output, QUICK, where="model"), np.array(runs) / 1e6
        p5, median, p95 = np.percentile(ms, (5, 50, 95))
        assert [figures.count, figures.mean_ms, figures.std_ms] == pytest.approx(
            [count, ms.mean(), ms.std()], rel=1e-9, abs=1e-12
        )
        assert [figures.min_ms, figures.max_ms] == [ms.min(), ms.max()]
        assert [figures.p5_ms, figures.median_ms, figures.p95_ms] == pytest.approx([p5, median, p95], rel=1e-9)
        assert figures.first_ms == ms[0]
        assert figures.warmup_ms == pytest.approx(ms[: count // 2 + 1].mean(), rel=1e-9)
    real = HostDevice().run(model, replace(QUICK, min_seconds=0.3))
    assert real.figures.count > 1000
    assert len(real.output) < 4000
    assert read_figures(real.output.splitlines()[0], QUICK, where="model") == real.figures


def test_the_outputs_of_earlier_versions_give_the_same_figures(tmp_path):
    """They hold all runs."""
    made = shutil.copy(Path(__file__).parents[2] / "made_before" / "spnas.db", tmp_path)
    with Store(Path(made), read_only=True) as store:
        measurements = [one for campaign in store.campaigns("profile") for one in store.measurements(campaign) if one.figures]
    assert len(measurements) > 20
    for one in measurements:
        again = read_figures(one.output.splitlines()[0], QUICK, where=one.model)
        before = one.figures.model_dump(exclude_none=True)
        assert again.model_dump(exclude_none=True) == pytest.approx(before, rel=1e-9, abs=1e-12)


def test_output_that_is_cut_anywhere_is_never_a_result(model):
    output = HostDevice().run(model, QUICK).output.splitlines()[0]
    for end in range(len(output)):
        with pytest.raises(ToolOutputError) as error:
            read_figures(output[:end], QUICK, where="model")
        assert error.value.reason == "truncated"


# --- packed weights ---


def chain(layers: int) -> NetworkSpec:
    return NetworkSpec((MBConv(8, 32, 32, 1, 3, 6, True),) * layers)


@glibc
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_packed_weights_are_what_a_layer_more_adds_to_a_network(builder, precision):
    """An interpreter's own memory and the activations, which layers of one shape share, cancel in the difference."""
    networks = [NetworkSpec.of(MBConv(8, 8, 8, 1, 3, 1, True)), *map(chain, (1, 2, 3, 6))]
    models = builder.build(networks, precision)
    sizes = HostDevice().packed_bytes(list(models.values()), replace(QUICK, precision=precision))
    smallest, one, two, three, six = (sizes[network.key] for network in networks)
    assert smallest == 0
    of_layer = (six - two) / 4
    assert three - two == pytest.approx(of_layer, rel=0.1)
    assert one == pytest.approx(of_layer, rel=0.25), "but for what the smallest model itself needs"
    weights = sum(each.weights for each in networks[1].layers[0].convolutions) * {"fp32": 4, "int8": 1}[precision]
    assert weights < of_layer < 4 * weights


@glibc
def test_packed_weights_are_the_same_in_every_process_and_have_no_images_in_them(builder, monkeypatch):
    """But for some kB: a hash seed moves what Python keeps on the heap, and so the gaps that the runtime finds there."""
    layers = [NetworkSpec.of(MBConv(resolution, 16, 16, 1, 3, 6, True)) for resolution in (4, 64)]
    models = list(builder.build([NetworkSpec.of(MBConv(8, 8, 8, 1, 3, 1, True)), *layers], "fp32").values())
    found = []
    for seed in ("1", "2", "3"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        found.append(HostDevice().packed_bytes(models, QUICK))
    for model in models:
        sizes = [each[model.key] for each in found]
        assert max(sizes) - min(sizes) < 10_000
    _, small, large = found[0].values()
    activations = 2 * 64 * 64 * 96 * 4
    assert large - small < 0.1 * activations, "only the pointers grow with the image"


def test_where_nothing_tells_what_is_allocated_packed_weights_are_not_known(model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["packed", "--threads", "1", "--delegate", "xnnpack", str(model.path)])
    monkeypatch.setattr(packed.ctypes, "CDLL", lambda name: object())
    packed.main()
    printed = capsys.readouterr().out
    monkeypatch.setattr(host, "run_process", lambda command, *_, **__: subprocess.CompletedProcess(command, 0, printed, ""))
    assert HostDevice().packed_bytes([model], QUICK) == {}


def test_a_file_that_is_no_model_has_no_packed_weights(model, tmp_path):
    broken = replace(model, path=tmp_path / "broken.tflite")
    broken.path.write_bytes(b"not a model")
    with pytest.raises(ToolOutputError, match="failed"):
        HostDevice().packed_bytes([broken], QUICK)


def test_conditions_tell_settings_apart_and_are_the_same_for_the_same_settings():
    host = HostDevice()
    assert host.conditions(QUICK) == host.conditions(replace(QUICK, runs=99)), "how often is no condition"
    for change in ({"threads": 2}, {"precision": "int8"}, {"delegate": "none"}, {"cores": "1"}):
        assert host.conditions(replace(QUICK, **change)).digest != host.conditions(QUICK).digest


@pytest.mark.parametrize("cores", ["0", "xyz", "-1", "f" * 40])
def test_a_mask_that_cannot_be_is_refused(cores):
    with pytest.raises(InputError, match="mask"):
        select_cores(cores)


def test_a_delegate_of_phones_is_refused_with_what_is_allowed():
    with pytest.raises(InputError, match="allowed: xnnpack, none"):
        HostDevice().conditions(replace(QUICK, delegate="gpu"))
