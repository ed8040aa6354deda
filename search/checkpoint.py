"""Checkpoints: written by rename, read without running any code in them, and used only if they fit."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import ValidationError

from profiling.errors import InputError
from profiling.files import write_bytes
from profiling.outside import open_regular

FORMAT = "spnas-checkpoint-1"
# What a state raises that does not fit what loads it.
MISFITS = (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, InputError)


def save(state: dict[str, Any], path: Path, kind: str = FORMAT) -> None:
    """Writes a checkpoint; if the process is killed meanwhile, the previous file stays.

    Raises:
        InputError, DiskFullError: it cannot be written.
    """
    # In memory first: torch would hide why a file cannot be written.
    content = io.BytesIO()
    torch.save({"format": kind, **state}, content)
    write_bytes(path, content.getbuffer())


def load(path: Path, expected: dict[str, str], kind: str = FORMAT) -> dict[str, Any]:
    """Reads such a file.

    Args:
        path: the file.
        expected: entries that the checkpoint must have with exactly these values, such as the digest of its space.
        kind: the type that it must have.

    Raises:
        InputError: it is missing, not a regular file, damaged, of another kind, or does not have the expected entries.
    """
    with open_regular(path) as file:
        try:
            _require_intact(file)
            with warnings.catch_warnings(action="ignore"):  # of what would be damaged again
                state = torch.load(file, map_location="cpu", weights_only=True)
        except OSError as error:
            raise InputError(f"the checkpoint cannot be read: {error.strerror}", where=str(path)) from error
        except Exception as error:  # there is nothing that a pickle cannot make its reader raise
            reason = "it is damaged, cut off, or not a checkpoint"
            raise InputError(f"the checkpoint cannot be read: {reason}", where=str(path)) from error
    if not isinstance(state, dict) or state.get("format") != kind:
        raise InputError("this is not a checkpoint that this version of spnas can read", where=str(path))
    for name, value in expected.items():
        if state.get(name) != value:
            raise InputError(f"the checkpoint belongs to another {name}: {state.get(name)}, not {value}", where=str(path))
    return state


@contextmanager
def fitting(path: Path, misfit: str = "the checkpoint does not fit this run") -> Iterator[None]:
    """Around the use of what a checkpoint contains.

    Raises:
        InputError: it raised something that shows that it does not fit; `misfit` is what that means to the user.
    """
    try:
        yield
    except MISFITS as error:
        raise InputError(f"{misfit}: {_reason(error)}", where=str(path)) from error


def _reason(error: Exception) -> str:
    match error:
        case KeyError():
            return f"{error} is missing"
        case ValidationError():
            first = error.errors(include_url=False)[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).partition("\n")[0]


def _require_intact(file: BinaryIO) -> None:
    """Checks the sums that a file has of its parts, which PyTorch leaves unread, and that the parts are where PyTorch reads them.

    Raises:
        ValueError: a part is damaged, compressed or displaced; others of `zipfile`: it is damaged otherwise.
    """
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        displaced = min(part.header_offset for part in parts) != 0
        if displaced or any(part.compress_type != zipfile.ZIP_STORED for part in parts) or archive.testzip() is not None:
            raise ValueError("damaged")
    file.seek(0)
