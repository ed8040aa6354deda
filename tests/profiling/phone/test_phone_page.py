"""docs/phones.md explains whatever can be said of a phone: each message of the code stands there in its own words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.adb.server import STATES

FOLDER = Path(__file__).parents[3]
PAGE = " ".join((FOLDER / "docs" / "phones.md").read_text(encoding="utf-8").split())
# docs/benchmark-model.md explains these.
ON_ANOTHER_PAGE = {"benchmark_binary", "benchmark_failures", "benchmark_output"}
ERRORS = {"NoDeviceError", "DeviceLostError", "LinkLostError", "MeasurementError", "InputError", "ToolOutputError"}


def texts(node: ast.expr) -> Iterator[str]:
    """What an expression can say: of a text with figures in it, its longest part without."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        yield max(parts, key=len, default="")
    elif isinstance(node, ast.Tuple):
        yield from texts(node.elts[0])
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def messages() -> Iterator[str]:
    """The problem of every error that is made, and every `problem, hint = ...`, in the modules that speak to phones."""
    profiling = FOLDER / "profiling"
    paths = sorted([profiling / "cpu_masks.py", *(path for room in ("adb", "phone") for path in (profiling / room).glob("*.py"))])
    for path in (path for path in paths if path.stem not in ON_ANOTHER_PAGE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
                yield from texts(node.args[-1])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("problem", "(problem, hint)", "problem, hint"):
                yield from texts(node.value)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and path.name == "usb.py":
                for value in node.value.values:
                    yield from texts(value)
    for problem, _ in STATES.values():
        yield problem


FOUND = sorted({" ".join(text.split()).strip(" :,;()'") for text in messages() if len(text.split()) > 1})


def test_the_messages_are_found():
    assert len(FOUND) > 40
    assert {"nothing listens at this port", "another program holds the phone, most likely an adb server"} <= {*FOUND}


@pytest.mark.parametrize("message", FOUND)
def test_each_message_stands_on_the_page(message: str):
    assert message in PAGE
