"""The tables of docs/json.md as JSON Schemas: what the page says is what is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "json.md"
TYPES = {"number": "number", "integer": "integer", "text": "string", "boolean": "boolean", "object": "object", "list": "array"}
_ROW = re.compile(r"^\| `(.+?)` \| (.+?) \|")
_PART = re.compile(r"\[\]|\{\}|[^.\[\]{}]+")


def schemas() -> dict[str, dict[str, Any]]:
    """A JSON Schema for each command of the page, which allows no field that the page does not have."""
    found = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        rows = [match.groups() for match in map(_ROW.match, text.splitlines()) if match]
        if title.startswith("spnas ") and rows:
            root: dict[str, Any] = {}
            for path, kind in rows:
                _add(root, path, kind)
            found[title.removeprefix("spnas ")] = root
    return found


def _add(node: dict[str, Any], path: str, kind: str) -> None:
    """One row of a table: the field at this path is of this kind."""
    kind, _, absent = kind.partition(", absent ")
    for part in _PART.findall(path):
        if part == "[]":
            node.setdefault("type", ["array"])
            node = node.setdefault("items", {})
        elif part == "{}":
            node.setdefault("type", ["object"])
            node = node.setdefault("additionalProperties", {})
        else:
            node.setdefault("type", ["object"])
            node.setdefault("additionalProperties", False)
            node.setdefault("required", [])
            fields = node.setdefault("properties", {})
            if part not in fields and not absent:
                node["required"].append(part)
            node = fields.setdefault(part, {})
    if kind != "anything":
        node["type"] = ["null" if word == "null" else TYPES[word] for word in kind.split(" or ")]
