"""Completion as docs/commands.md has it, in real shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from latency_db.published import published_table
from latency_db.store import Store

PAGE = Path(__file__).parent.parent.parent / "docs" / "commands.md"
ASK = """\
{line}
COMP_WORDS=({words}); COMP_CWORD={last}
_spnas_completion spnas
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def completed(tmp_path):
    """What bash offers for the last of some words, after the line from the page; `spnas` is this tree's."""
    program = tmp_path / "bin" / "spnas"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m spnas_cli "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    [line] = re.findall(r"^(eval .*bash_source spnas\)\")", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    def complete(*words: str) -> list[str]:
        script = ASK.format(line=line, words=" ".join(words), last=len(words) - 1)
        done = subprocess.run(
            ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return complete


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_tables(completed, tmp_path):
    with Store(tmp_path / "spnas.db") as store:
        store.save_table(published_table("pixel1").model_copy(update={"name": "phone"}))
    assert completed("spnas", "pr") == ["profile", "predict"]
    assert completed("spnas", "table", "re") == ["rename"]
    assert completed("spnas", "search", "--target") == ["--target-ms"]
    assert completed("spnas", "predict", "x", "--table", "p") == ["phone", "pixel1", "pixel3"]
    assert completed("spnas", "table", "show", "r") == ["raspi4"]


def test_the_page_names_the_three_shells():
    assert set(re.findall(r"_SPNAS_COMPLETE=(\w+)_source spnas", PAGE.read_text(encoding="utf-8"))) == {"bash", "zsh", "fish"}
