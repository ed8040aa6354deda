"""The folder of a run: what is kept in it comes back, what it is shows, and nothing in it is lost unasked."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from profiling.errors import InputError
from profiling.specfile import SpecModel
from search.config import TrainingConfig
from search.run_folder import RunFolder


class Kept(SpecModel):
    accuracy: Annotated[float, Field(le=1)]
    target_ms: float | None


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.prepare(resume=False)
    return made


def test_what_is_written_comes_back(folder):
    folder.write_config("data: digits\nepochs: 8\n")
    folder.write_command(["spnas", "search", "--data", "my images", "-o", "run"])
    folder.write_result({"accuracy": 0.5, "target_ms": None})
    assert folder.read_config(TrainingConfig) == TrainingConfig(data="digits", epochs=8)
    assert folder.read_command() == "spnas search --data 'my images' -o run"
    assert folder.read_result(Kept) == Kept(accuracy=0.5, target_ms=None)
    assert sorted(path.name for path in folder.path.iterdir()) == ["command.txt", "config.yaml", "result.json"]


def test_what_was_not_kept_is_none_and_what_is_damaged_is_named(folder):
    assert (folder.read_config(TrainingConfig), folder.read_command(), folder.read_table()) == (None, None, None)
    half, whole = '{"accuracy": 0.', '{"accuracy": 1, "target_ms": NaN}'
    for damaged in (half, "[]", '{"accuracy": 2, "target_ms": 1}', '{"accuracy": 1}', whole):
        folder.result.write_text(damaged)
        with pytest.raises(InputError, match=r"result\.json:1:"):
            folder.read_result(Kept)


def test_the_files_in_it_say_what_finished(folder):
    assert folder.kind is None
    folder.write_config("data: digits\n")
    folder.architecture.write_text("{}")
    assert folder.kind is None, "a search that is not at its end"
    folder.write_result({})
    assert folder.kind == "search"
    folder.architecture.unlink()
    assert folder.kind == "training"
    folder.comparison.write_text("[]")
    assert folder.kind == "comparison"


def test_a_folder_that_holds_something_is_taken_only_to_resume(folder, tmp_path):
    folder.prepare(resume=False)
    folder.write_command(["spnas"])
    with pytest.raises(InputError, match="the folder is not empty; add --resume"):
        folder.prepare(resume=False)
    folder.prepare(resume=True)
    assert folder.read_command() == "spnas"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "below").prepare(resume=True)


def test_it_is_a_path_and_files_in_it_are_named_from_it(folder):
    assert Path(folder) == folder.path
    assert folder == RunFolder(str(folder.path))
    assert folder.relative(folder.candidate(3)) == "candidates/03.json"
    assert folder.relative(folder.front_architecture(12)) == "front/12.json"
    assert folder.name == "run"


def test_it_is_light():
    script = (
        "import sys, search.run_folder\n"
        "sys.exit(', '.join(m for m in ('torch', 'tensorflow', 'numpy', 'pandas', 'matplotlib') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"loaded {done.stderr}"


def test_commands_that_continue_a_run_are_kept_in_order_each_once(folder):
    folder.prepare(resume=False)
    for words in (["spnas", "a b"], ["spnas", "a b"], ["spnas", "--resume"], ["spnas", "a b"]):
        folder.add_command(words)
    assert folder.read_command() == "spnas 'a b'\nspnas --resume\nspnas 'a b'"
    folder.write_command(["spnas"])
    assert folder.read_command() == "spnas"
