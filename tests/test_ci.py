"""How the tests are run: which run together and which alone, and what CI says about one that passed only on retry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parent.parent / ".ci"
TESTS = """
import pathlib

def test_passes():
    pass

def test_passes_on_retry():
    first = not pathlib.Path("seen").exists()
    pathlib.Path("seen").touch()
    assert not first

def test_fails_twice():
    assert False
"""
# In the place of the interpreter: keeps its arguments and ends with the next of the codes.
PYTHON = """#!/bin/sh
echo "$@" >>asked
code=$(head -n 1 codes) && sed -i 1d codes && exit "$code"
"""


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"VENV": "venv", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("codes", "code"),
    [((0, 0), 0), ((1, 0), 1), ((0, 1), 1), ((0, 5), 0), ((5, 1), 1), ((5, 5), 5), ((1, 3), 3), ((2,), 2)],
)
def test_a_failure_in_either_part_is_one_and_a_part_without_tests_is_none(tmp_path, codes, code):
    shutil.copytree(CI, tmp_path / ".ci")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / "codes").write_text("".join(f"{each}\n" for each in codes))
    assert run(tmp_path, ".ci/test", "-k", "one or other").returncode == code
    asked = (tmp_path / "asked").read_text().splitlines()
    parts = ["--numprocesses 2 --dist loadfile -m not alone", "--numprocesses 1 -m alone"]
    assert asked == [f"-m pytest {part} -k one or other" for part in parts][: len(codes)]


def test_what_passes_on_retry_is_named_at_the_end_and_kept_for_machines(tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS)
    assert run(tmp_path, sys.executable, "-m", "pytest").returncode == 1
    again = run(tmp_path, sys.executable, str(CI / "retry.py"))
    assert again.returncode == 1
    closing = again.stdout[again.stdout.index("passed on retry: 1") :]
    places = [closing.index(words) for words in ("test_some.py::test_passes_on_retry", "failed twice: 1", "::test_fails_twice")]
    assert places == sorted(places)
    assert json.loads((tmp_path / "build" / "retried.json").read_text()) == {
        "passed_on_retry": ["test_some.py::test_passes_on_retry"],
        "failed_twice": ["test_some.py::test_fails_twice"],
    }
