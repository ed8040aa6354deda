"""The benchmark for GPUs in its small form, which runs on a CPU too: a search that was killed ends as one that was not."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_it_measures_steps_and_a_killed_search_ends_bit_for_bit_as_a_whole_one(tmp_path):
    figures = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--quick", "-o", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(figures.read_text())
    assert [step["batch"] for step in measured["steps"]] == [2, 2]
    assert all(step["ratio"] > 0 for step in measured["steps"])
    assert measured["search"]["difference_when_killed"] == 0
