"""The syntax of YAML and JSON files from outside: read without recursion, with the line of everything in them.

Both are read as plain data: mappings with distinct words as keys, lists, words, numbers, true, false and null. What YAML has
beyond that (aliases, tags, complex keys) is refused, and so is what would take long or much memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import yaml

from profiling.errors import InputError

MAX_DEPTH = 32
MAX_DIGITS = 100
# YAML is read slowly and written by people, JSON also by programs.
MAX_YAML_BYTES, MAX_YAML_VALUES = 256 * 2**10, 20_000
MAX_JSON_VALUES = 500_000

JSON_TOKEN = re.compile(r'"(?:[^"\\\n]++|\\.)*+"|[{}\[\]]|\n\s*+|[^\s{}\[\],:"]++')
PLAIN = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))


class Token(NamedTuple):
    """The beginning of a mapping or list, the end of either, or a word; a word as it is when it is a key."""

    kind: Literal["mapping", "list", "end", "word"]
    word: str
    line: int


@dataclass
class _Open:
    """A mapping or list that has begun: the keys so far, and the key or index of the present value."""

    is_mapping: bool
    keys: set[str] = field(default_factory=set)
    step: str | int | None = None


class Place(NamedTuple):
    """A value: how many mappings and lists it is in, its key or index in the innermost, and its line."""

    depth: int
    step: str | int
    line: int


def check_json(text: str, where: str) -> None:
    """Checks that a text is JSON of plain data.

    Raises:
        InputError: it is not; with the line.
    """
    if text.count(",") > MAX_JSON_VALUES:
        raise InputError(f"more than {MAX_JSON_VALUES} values", where=where)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON: {error.msg}", where=f"{where}:{error.lineno}:{error.colno}") from error
    except (RecursionError, ValueError):
        pass  # too deep, or a number of thousands of digits, which is found again here
    for _ in _places(_json_tokens(text, where), where, MAX_JSON_VALUES):
        pass


def read_yaml(text: str, where: str) -> Any:
    """The plain data of a YAML text; dates are words.

    Raises:
        InputError: it is not well formed, empty, or more than plain data; with the line.
    """
    if len(text) > MAX_YAML_BYTES:
        raise InputError(f"YAML of more than {MAX_YAML_BYTES // 2**10} KiB", where=where)
    try:
        for _ in _places(_yaml_tokens(text, where), where, MAX_YAML_VALUES):
            pass
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise InputError(f"not valid YAML: {error.problem or error.context}", where=place) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"not valid YAML: the character #x{ord(text[error.position]):04x}", where=f"{where}:{line}") from error
    if root is None:
        raise InputError("the file is empty", where=where)
    return _plain(root, where)


def line_of(text: str, location: Sequence[str | int], *, is_json: bool) -> int:
    """The line of the innermost part of a location that is in a text, which has been read."""
    tokens = _json_tokens if is_json else _yaml_tokens
    line, matched = next((token.line for token in tokens(text, "")), 1), 0
    for place in _places(tokens(text, ""), "", MAX_JSON_VALUES):
        if place.depth < matched or matched == len(location):
            break
        if place.depth == matched and place.step == location[matched]:
            line, matched = place.line, matched + 1
    return line


def _places(tokens: Iterator[Token], where: str, most: int) -> Iterator[Place]:
    """Every value with a key or index, in order; refuses what is not plain data."""
    opened: list[_Open] = []
    count = 0
    for kind, word, line in tokens:
        if kind == "end":
            opened.pop()
            continue
        count += 1
        if count > most:
            raise InputError(f"more than {most} values", where=f"{where}:{line}")
        inner = opened[-1] if opened else None
        if inner is not None and inner.is_mapping and inner.step is None:
            if kind != "word":
                raise InputError("a key must be a word, not a list or mapping", where=f"{where}:{line}")
            if word in inner.keys:
                raise InputError(f"{word} is given twice", where=f"{where}:{line}")
            inner.keys.add(word)
            inner.step = word
            yield Place(len(opened) - 1, word, line)
            continue
        if inner is not None:
            if inner.is_mapping:
                inner.step = None
            else:
                inner.step = 0 if inner.step is None else int(inner.step) + 1
                yield Place(len(opened) - 1, inner.step, line)
        if kind != "word":
            if len(opened) == MAX_DEPTH:
                raise InputError(f"nested more than {MAX_DEPTH} deep", where=f"{where}:{line}")
            opened.append(_Open(kind == "mapping"))


def _json_tokens(text: str, where: str) -> Iterator[Token]:
    line = 1
    for found in JSON_TOKEN.finditer(text):
        token = found[0]
        match token[0]:
            case "\n":
                line += token.count("\n")
            case "{":
                yield Token("mapping", "", line)
            case "[":
                yield Token("list", "", line)
            case "}" | "]":
                yield Token("end", "", line)
            case '"':
                yield Token("word", json.loads(token) if "\\" in token else token[1:-1], line)
            case _:
                if len(token) > MAX_DIGITS:
                    raise InputError(f"a number of {len(token)} digits", where=f"{where}:{line}")
                yield Token("word", token, line)


def _yaml_tokens(text: str, where: str) -> Iterator[Token]:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise InputError("aliases (*name) are not allowed here; write the value out", where=f"{where}:{line}")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise InputError(f"tags ({tag}) are not allowed here; write the value alone", where=f"{where}:{line}")
        match event:
            case yaml.MappingStartEvent():
                yield Token("mapping", "", line)
            case yaml.SequenceStartEvent():
                yield Token("list", "", line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                yield Token("end", "", line)
            case yaml.ScalarEvent():
                yield Token("word", event.value, line)


def _plain(node: yaml.Node, where: str) -> Any:
    """The data of a node that has only plain ones in it."""
    match node:
        case yaml.MappingNode():
            return {key.value: _plain(value, where) for key, value in node.value}
        case yaml.SequenceNode():
            return [_plain(value, where) for value in node.value]
    if node.tag not in PLAIN:
        return node.value
    line = f"{where}:{node.start_mark.line + 1}"
    if len(node.value) > MAX_DIGITS:
        raise InputError(f"a number of {len(node.value)} digits", where=line)
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError as error:  # such as 0x_
        raise InputError(f"{node.value} is not a number", where=line) from error
