"""Reading the small YAML and JSON files that people write, with errors that name the line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from profiling.errors import InputError
from profiling.outside import read_bytes
from profiling.syntax import check_json, line_of, read_yaml

MAX_BYTES = 16 * 2**20
MOST_SHOWN = 80  # characters of a value that is wrong


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


def since(default: Any) -> Any:
    """A field that files of before do not have: unless it is given, it is not written either, nor a part of any digest."""
    return Field(default=default, exclude_if=lambda value: value == default)


def read_spec(path: Path, model: type[Spec]) -> Spec:
    """Reads a YAML or JSON file (by its suffix) into a validated model.

    Raises:
        InputError: the file cannot be read, is not a regular file of at most 16 MiB, is not well formed, or does not fit the
            model; with file and line.
    """
    return parse_spec(read_text(path), model, where=str(path), is_json=path.suffix == ".json")


def read_text(path: Path) -> str:
    """The text of a file given by the user.

    Raises:
        InputError: it cannot be read, is not a regular file of at most 16 MiB, or is not UTF-8.
    """
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text", where=str(path)) from error


def parse_spec(text: str, model: type[Spec], *, where: str, is_json: bool) -> Spec:
    """The same for text already read; `where` names its origin in errors.

    Raises:
        InputError: as for `read_spec`.
    """
    data = text
    if is_json:
        check_json(text, where)
    else:
        # By way of JSON a YAML list may become a tuple although types are exact.
        data = json.dumps(read_yaml(text, where))
    try:
        return model.model_validate_json(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt field is also missing; the misspelling is the more useful message.
        first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        location = first["loc"] + getattr(first.get("ctx", {}).get("error"), "location", ())
        line = line_of(text, location, is_json=is_json)
        raise InputError(_explain(first, location, model), where=f"{where}:{line}") from error


def _explain(error: Any, location: Sequence[str | int], model: type[BaseModel]) -> str:
    name = ".".join(str(step) for step in location)
    if error["type"] == "json_invalid":  # such as half of a surrogate pair
        return f"not valid JSON: {error['ctx']['error']}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"unknown field {name}; allowed fields: {', '.join(_fields_at(model, location[:-1]))}"
    if error["type"] == "missing":
        return f"the field {name} is missing"
    if error["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, not {_brief(error['input'])}"
    return f"{name}: {message}" if name else message


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


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
