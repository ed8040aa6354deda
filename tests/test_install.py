"""What `pip install` of the wheel gives: a core that is small and whole, and one line for each command that needs more."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from installed import build_wheel, core_environment, environment, make_namesakes

from spnas_cli.main import COMMANDS

MADE_BEFORE = Path(__file__).parent / "made_before"
MOST_BYTES = 300e6
HEAVY = ("torch", "tensorflow", "scipy", "pandas", "sklearn", "ai_edge_litert", "onnx")
# In a copy of what version 0.1.0 left, each with what those before it made.
CORE_COMMANDS = [
    "devices",
    "table list",
    "table show pixel1",
    "table export pixel1 -o pixel1.csv",
    "table export pixel1 -o pixel1.json",
    "table import pixel1.csv --name mine",
    "table diff pixel1 mine",
    "predict single-path-nas --table mine",
    "random --table mine --between 70 75 --networks 2 -o drawn",
    "random --table mine --target-ms 70 --uniform -o drawn",
    "predict drawn/uniform-3x3-3.json --table pixel1.json",
    "report --table mine -o mine.html",
    "report --table large --db spnas.db -o with-validation.html",
    "report run trained compared -o runs.html",
    "doctor",
]
OTHER_COMMANDS = {
    "profile --device host --space digits": "spnas[convert]",
    "validate --table mine --device host": "spnas[convert]",
    "compare mobilenet-v2 --device host": "spnas[convert]",
    "search --table mine --data digits --target-ms 70 -o new": "spnas[search]",
    "data digits": "spnas[search]",
    "init digits": "spnas[search]",
    "train drawn/uniform-3x3-3.json --data digits -o new": "spnas[search]",
    "evaluate trained --data digits": "spnas[search]",
    "export trained --to onnx": "spnas[export]",
}
PYTHON_CALLS = {
    "spnas.search(spnas.load_table('pixel1'), data='digits', target_ms=70, folder='run')": "spnas[search]",
    "spnas.export('x.pt', 'x.onnx')": "spnas[export]",
    "spnas.Bench('host').profile('digits')": "spnas[convert]",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def core(tmp_path_factory, wheel):
    """The programs of an environment that has the core and nothing else."""
    try:
        return core_environment(tmp_path_factory.mktemp("core"), wheel)
    except subprocess.CalledProcessError as error:
        if os.environ.get("SPNAS_REQUIRE_REGISTRY"):
            raise AssertionError(error.stderr) from error
        pytest.skip(f"the core cannot be installed here: {error.stderr}")


@pytest.fixture(scope="module")
def run(core, tmp_path_factory):
    """Runs a program of that environment in a folder where packages of the user's own have the names of ours."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(MADE_BEFORE, folder, dirs_exist_ok=True)
    make_namesakes(folder)

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [core / program, *words]
        return subprocess.run(command, cwd=folder, env=environment(core, folder), capture_output=True, text=True, check=False)

    return run


def test_the_core_is_small_and_its_commands_run(core, run):
    for line in CORE_COMMANDS:
        done = run("spnas", *line.split())
        assert done.returncode == 0, f"{line}: {done.stderr}"
    # After the commands, so with what Python compiled for them.
    size = sum(file.lstat().st_blocks * 512 for file in core.parent.rglob("*"))
    assert size < MOST_BYTES
    there = run("python", "-c", f"from importlib.util import find_spec; print([each for each in {HEAVY} if find_spec(each)])")
    assert there.stdout == "[]\n"


def test_the_core_predicts_what_was_predicted_before(run):
    done = run("spnas", "predict", "run/architecture.json", "--table", "table.json", "--json")
    before = json.loads((MADE_BEFORE / "printed" / "predict.json").read_text())
    again = json.loads(done.stdout)
    assert [again[name] for name in ("total_ms", "low_ms", "high_ms")] == pytest.approx(
        [before[name] for name in ("total_ms", "low_ms", "high_ms")], rel=1e-9
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_without_any_extra(run, command):
    done = run("spnas", command, "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("line", "extra"), OTHER_COMMANDS.items())
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(run, line, extra):
    done = run("spnas", *line.split())
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("Error: ")
    assert said.endswith(f"pip install '{extra}'")


@pytest.mark.parametrize(("call", "extra"), PYTHON_CALLS.items())
def test_python_code_is_told_the_same(run, call, extra):
    # -P: `import spnas` in a folder with packages of our names would find these.
    done = run("python", "-P", "-c", f"import spnas\ntry:\n    {call}\nexcept spnas.SpnasError as error:\n    print(error)")
    assert done.stdout.endswith(f"pip install '{extra}'\n"), done.stderr
