"""Checkpoints: written by rename, read without running any code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from profiling.errors import InputError
from profiling.files import written_whole

FORMAT = "spnas-checkpoint-1"


def save(state: dict[str, Any], path: Path, kind: str = FORMAT) -> None:
    """Writes a checkpoint; if the process is killed meanwhile, the previous file stays."""
    with written_whole(path) as new, new.open("wb") as file:
        torch.save({"format": kind, **state}, file)


def load(path: Path, expected: dict[str, str], kind: str = FORMAT) -> dict[str, Any]:
    """Reads such a file.

    Args:
        path: the file.
        expected: entries that the checkpoint must have with exactly these values, such as the digest of its space.
        kind: the type that it must have.

    Raises:
        InputError: it is missing, cut off, of another kind, or does not have the expected entries.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged, cut off, or not a checkpoint"
        raise InputError(f"the checkpoint cannot be read: {reason}", where=str(path)) from error
    if not isinstance(state, dict) or state.get("format") != kind:
        raise InputError("this is not a checkpoint that this version of spnas can read", where=str(path))
    for name, value in expected.items():
        if state.get(name) != value:
            raise InputError(f"the checkpoint belongs to another {name}: {state.get(name)}, not {value}", where=str(path))
    return state
