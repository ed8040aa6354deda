"""Two processes on the CPU do what one does, a step in parts is a whole one, and when one process dies the other says so."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from one_of_several import batch_norm_of_all, short_search, short_training
from small import small_space, table_from_multiply_adds
from terminal import Terminal

from search.config import course

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_two_processes_make_the_decisions_of_one_and_its_losses(tmp_path):
    """Through all phases: subsets dropped or networks drawn; decisions sampled, thresholds moved and the runtime weight led to a
    target; the network found alone."""
    script = Path(__file__).with_name("one_of_several.py")
    subprocess.run([*TORCHRUN, str(script), str(tmp_path)], check=True)
    two = json.loads((tmp_path / "results.json").read_text())
    for name, values in batch_norm_of_all().items():
        assert two["batch norm"][name] == pytest.approx(values, rel=1e-9, abs=1e-12), name

    searches = {"search": (short_search(tmp_path / "one"), {"dropout": 8, "search": 14})}
    searches["course"] = short_search(tmp_path / "one-course", **course(22, 1.0)), {"dropout": 2, "search": 7, "final": 13}
    for name, (one, phases) in searches.items():
        assert len(one["steps"]) == len(two[name]["steps"]) == 22
        assert Counter(step["phase"] for step in one["steps"]) == phases
        assert len({step["choices"] for step in one["steps"]}) > 1, "no decision changed: nothing was compared"
        for step, same in zip(one["steps"], two[name]["steps"], strict=True):
            assert same["cross_entropy"] == pytest.approx(step["cross_entropy"], abs=1e-4)
            assert same["runtime_ms"] == pytest.approx(step["runtime_ms"], rel=1e-3)
            assert same["runtime_weight"] == pytest.approx(step["runtime_weight"], abs=1e-3)
            assert tuple(same["choices"]) == step["choices"]
        assert tuple(two[name]["found"]) == one["found"]
        assert two[name]["accuracy"] == pytest.approx(one["accuracy"], abs=0.01)

    trainings = [
        (short_training(tmp_path / f"one-{name}", taught=name == "taught"), two[name]) for name in ("training", "taught")
    ]
    for one, same in trainings:
        assert len(one["steps"]) == len(same["steps"]) == 22
        for step, same_step in zip(one["steps"], same["steps"], strict=True):
            assert same_step == pytest.approx(step, abs=1e-4)
        assert same["evaluation"] == pytest.approx(one["evaluation"], abs=0.01)
    assert trainings[0][0] != trainings[1][0]

    # Each process sees the ranges of its own images in a step, so that rounding differs a little.
    for step, same_step in zip(
        short_training(tmp_path / "one-int8", trained_for="int8")["steps"], two["int8"]["steps"], strict=True
    ):
        assert same_step == pytest.approx(step, abs=0.02)


def test_a_step_in_parts_differs_by_its_batch_norm_alone(tmp_path, monkeypatch):
    """With statistics that do not depend on the batch, the same decisions, dropout and losses come out."""
    from search.convnet.batch_norm import BatchNorm

    # In training, running statistics are used as they stand: as if a batch had mean 0 and variance 1.
    def frozen(self, x, gate=None):
        gamma, beta = (p[: x.shape[1]] * (1 if gate is None else gate) for p in (self.gamma, self.beta))
        return x * gamma[:, None, None] + beta[:, None, None]

    monkeypatch.setattr(BatchNorm, "forward", frozen)
    monkeypatch.setattr("search.convnet.network.is_expansion", lambda *layer: False)
    whole, parts = (short_search(tmp_path / str(n), accumulate=n, learning_rate=1e-4) for n in (1, 4))
    for step, same in zip(whole["steps"], parts["steps"], strict=True):
        assert same["cross_entropy"] == pytest.approx(step["cross_entropy"], abs=1e-4)
        assert same["choices"] == step["choices"]


def test_when_a_process_is_killed_the_other_says_so_and_any_number_of_them_goes_on(tmp_path):
    table, folder = tmp_path / "table.json", tmp_path / "run"
    table.write_text(table_from_multiply_adds(small_space()).model_dump_json())
    search = ["-m", "spnas_cli", "search", "--table", str(table), "--data", "digits", "--runtime-weight", "0.1", "--seed", "3"]
    search += ["--epochs", "4", "--batch-size", "64", "--resume", "--json", "-o", str(folder)]

    with Terminal(*search, launcher=TORCHRUN) as terminal:
        terminal.until_step(10)
        workers = [p for p in psutil.Process(terminal.process.pid).children() if p.environ().get("RANK") == "1"]
        workers[0].send_signal(signal.SIGKILL)
        assert terminal.finish() == 1
    said = re.findall(r"\bError: [^\n]*", terminal.shown)
    assert len(said) == 1
    assert "process 0 of 2 cannot continue, as another one has ended" in said[0]
    assert "--resume" in said[0]

    with Terminal(*search, launcher=TORCHRUN) as terminal:
        terminal.until_step(10)
        assert terminal.send(signal.SIGINT) == 1, "torchrun's own, whatever its processes end with"
    assert terminal.shown.count("Interrupted. Finished work is kept") == 1
    assert (folder / "checkpoint.pt").exists()

    last = subprocess.run([sys.executable, *search], capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert "from step" in last.stderr
    assert set(json.loads(last.stdout)) == {
        "architecture",
        "predicted_ms",
        "target_ms",
        "accuracy",
        "held_out_images",
        "chance",
        "memory_mb",
        "size_mb",
        "doubts",
    }
    assert (folder / "network.pt").exists()
