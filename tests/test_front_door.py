"""`import spnas` as people meet it: light and whole, and docs/python.md does what it says, in a script and in a notebook."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import spnas

ROOT = Path(__file__).parent.parent
# What the page does with figures worth having, in figures that take seconds.
FASTER = {
    'profile("digits", calibrate=12)': 'profile("tiny.yaml", calibrate=5)',
    "rounds=6": "rounds=2",
    "networks=20": "networks=4",
    'folder="run")': 'folder="run", options=spnas.TrainingOptions(epochs=8))',
}
SPACE = """
name: tiny
resolution: 16
image_channels: 1
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 8, stride: 2}
stages:
  - {layers: 2, channels: 8}
  - {layers: 1, channels: 16, stride: 2}
head: {channels: 32}
"""
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)


def fast(code: str) -> str:
    for shown, quick in FASTER.items():
        code = code.replace(shown, quick)
    return code


def test_importing_it_loads_no_heavy_package():
    heavy = {"torch", "tensorflow", "numpy", "pandas"}
    code = f"import spnas, sys; print({heavy!r} & {{*sys.modules}}); print(dir(spnas) == spnas.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["set()", "True"]


def test_it_has_a_dozen_names_at_most_and_each_is_there():
    assert len(spnas.__all__) <= 12
    for name in spnas.__all__:
        assert getattr(spnas, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'Bank'"):
        _ = spnas.Bank  # type: ignore[attr-defined]


def test_type_checkers_see_the_names_that_it_has():
    tree = ast.parse(Path(spnas.__file__).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name: node.module for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(declared) == spnas.__all__
    for name, module in declared.items():
        assert getattr(spnas, name) is getattr(importlib.import_module(module), name)


def test_no_package_imports_it():
    files = [file for room in ("profiling", "latency_db", "search", "spnas_cli") for file in (ROOT / room).rglob("*.py")]
    imports = re.compile(r"^\s*(import spnas\b(?!_)|from spnas import)", re.MULTILINE)
    assert files
    assert [file for file in files if imports.search(file.read_text(encoding="utf-8"))] == []


def test_the_page_speaks_of_every_name():
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in spnas.__all__ if f"spnas.{name}" not in text] == []


def test_the_page_says_what_the_test_makes_faster():
    assert [shown for shown in FASTER if shown not in "".join(BLOCKS)] == []


@pytest.mark.timeout(600)
def test_the_page_runs_as_a_script_and_then_continues_as_a_notebook(tmp_path):
    """The script has no main guard. The notebook, in the same folder, finds every measurement and both runs again."""
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    script = tmp_path / "page.py"
    script.write_text(fast("\n".join(BLOCKS)), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("80.44 ms\n")
    assert done.stdout.count("measurements made") == 1, "a worker ran the script again"
    made = re.search(r"(\d+) measurements made, 0 found from before", done.stdout)
    assert made
    assert int(made[1]) > 0

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(fast(block)) for block in BLOCKS])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    streams = [output for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    printed = "".join(stream.text for stream in streams if stream.name == "stdout")
    # Of the lines that depend on the machine's noise there is one: a noisy model may get one visit more.
    again = re.search(r"(\d+) measurements made, (\d+) found from before", printed)
    assert again
    assert int(again[2]) >= int(made[1])
    assert printed.replace(again[0], made[0]) == done.stdout
    assert "training and 359 held-out images" in "".join(stream.text for stream in streams if stream.name == "stderr")
