"""Checkpoints: written by rename, read without running anything that is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from profiling.errors import InputError
from profiling.files import written_whole

FORMAT = "spnas-checkpoint-1"


def save(state: dict[str, Any], path: Path, kind: str = FORMAT) -> None:
    """Writes a file of this kind; a process killed in between leaves the one before it."""
    with written_whole(path) as new, new.open("wb") as file:
        torch.save({"format": kind, **state}, file)


def load(path: Path, expected: dict[str, str], kind: str = FORMAT) -> dict[str, Any]:
    """Reads such a file.

    Args:
        path: the file.
        expected: entries that the checkpoint must have with exactly these values, such as the digest of its space.
        kind: what it must be.

    Raises:
        InputError: it is not there, cut off, of another kind, or of something else than expected.
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
