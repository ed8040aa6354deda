"""The shape of the code: short functions, few parameters, short files, and what is private to a package stays in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("profiling", "latency_db", "search", "spnas_cli", "benchmarks", "docs", "tests", ".ci")
PACKAGES = {"profiling", "latency_db", "search", "spnas_cli", "spnas"}
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 8
FILES = sorted([*ROOT.glob("*.py"), *(file for part in PARTS for file in (ROOT / part).rglob("*.py"))])

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def functions(file: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(file)) if isinstance(node, Function))


def place(file: Path, node: Function) -> str:
    return f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"


def is_command(function: Function) -> bool:
    """Whether click calls it: its parameters are the options of a command."""
    calls = [each.func for each in function.decorator_list if isinstance(each, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr in ("command", "group") for call in calls)


def parameters(function: Function) -> int:
    """How many a caller may give; an object or class that it is a method of is not given."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + (given.vararg is not None) + (given.kwarg is not None)


def test_there_is_something_to_look_at():
    assert len(FILES) > 150
    assert sum(1 for file in FILES for _ in functions(file)) > 1000


def test_no_function_is_longer_than_a_screen():
    lines = {place(file, each): each.end_lineno - each.lineno + 1 for file in FILES for each in functions(file)}
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES} == {}


def test_no_function_takes_more_than_a_few_parameters():
    counts = {place(file, each): parameters(each) for file in FILES for each in functions(file) if not is_command(each)}
    assert {name: count for name, count in counts.items() if count > PARAMETERS} == {}


def test_no_file_is_longer_than_can_be_overlooked():
    lines = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_nobody_imports_what_another_file_keeps_private():
    imports = {
        f"{file.relative_to(ROOT)}:{node.lineno} {node.module}.{alias.name}"
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and (node.level or str(node.module).partition(".")[0] in PACKAGES)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__")
    }
    assert imports == set()


@pytest.mark.parametrize(
    ("code", "count", "command"),
    [
        ("def f(a, b=1, /, c=2, *rest, d, **more): ...", 6, False),
        ("class A:\n    def f(self, a): ...", 1, False),
        ("@click.command()\n@table_option\ndef f(a): ...", 1, True),
        ("@table.command('export')\ndef f(a): ...", 1, True),
        ("@click.option('--a')\ndef f(a): ...", 1, False),
    ],
)
def test_the_measure_itself(code, count, command):
    (function,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, Function)]
    assert (parameters(function), is_command(function)) == (count, command)
