"""Reading the small YAML and JSON files that people write, with errors that name the line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from profiling.errors import InputError

MAX_BYTES = 16 * 2**20


class FieldError(ValueError):
    """Raised in a validator for a value deeper than the field that is validated; `location` leads there from it."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


class SpecModel(BaseModel):
    """Base of everything read from a file: frozen, exact types, unknown fields refused.

    A field may have another name in files than in code, its alias: written and read there, and only there.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )


Spec = TypeVar("Spec", bound=BaseModel)


def read_spec(path: Path, model: type[Spec]) -> Spec:
    """Reads a YAML or JSON file (by its suffix) into a validated model.

    Raises:
        InputError: the file cannot be read, is over 16 MiB, is not well formed, or does not fit the model; with file and line.
    """
    return parse_spec(read_text(path), model, where=str(path), is_json=path.suffix == ".json")


def read_text(path: Path) -> str:
    """The text of a file given by the user.

    Raises:
        InputError: it cannot be read, is over 16 MiB, or is not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"the file is larger than {MAX_BYTES // 2**20} MiB", where=str(path))
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text", where=str(path)) from error


def parse_spec(text: str, model: type[Spec], *, where: str, is_json: bool) -> Spec:
    """The same for text already read; `where` names its origin in errors.

    Raises:
        InputError: as for `read_spec`.
    """
    try:
        if is_json:
            json.loads(text)  # locates errors better than YAML
            # A tab is white space in JSON and an error in YAML, of which JSON is otherwise a part.
            text = text.replace("\t", " ")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InputError("aliases (*name) are not allowed here; write the value out", where=where)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON: {error.msg}", where=f"{where}:{error.lineno}:{error.colno}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise InputError(f"not valid YAML: {error.problem}", where=place) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"not valid YAML: {error}".splitlines()[0], where=where) from error
    if root is None:
        raise InputError("the file is empty", where=where)
    _refuse_duplicate_keys(root, where)
    # By way of JSON a YAML list may become a tuple although types are exact.
    data = text if is_json else json.dumps(yaml.safe_load(text), default=str)
    try:
        return model.model_validate_json(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt field is also missing; the misspelling is the more useful message.
        first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        location = first["loc"] + getattr(first.get("ctx", {}).get("error"), "location", ())
        raise InputError(_explain(first, location, model), where=f"{where}:{_line_of(root, location)}") from error


def _refuse_duplicate_keys(node: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise InputError(f"{key.value} is given twice", where=f"{where}:{key.start_mark.line + 1}")
            seen.add(key.value)
            _refuse_duplicate_keys(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value, where)


def _line_of(node: yaml.Node, location: Sequence[str | int]) -> int:
    """The line of the innermost part of `location` that stands in the file."""
    line: int = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _explain(error: Any, location: Sequence[str | int], model: type[BaseModel]) -> str:
    name = ".".join(str(step) for step in location)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"unknown field {name}; allowed fields: {', '.join(_fields_at(model, location[:-1]))}"
    if error["type"] == "missing":
        return f"the field {name} is missing"
    if error["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, not {error['input']!r}"
    return f"{name}: {message}" if name else message


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The field names of the nested model at a location, through lists and optional values."""
    for step in location:
        if isinstance(step, int) or step not in _fields(model):
            continue
        candidates = [_fields(model)[step].annotation]
        while candidates:
            candidate = candidates.pop()
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
            candidates.extend(getattr(candidate, "__args__", ()))
    return list(_fields(model))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model, by their names in files."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
