"""The one rule for what commands write (docs/files.md): checked before the work, and nothing that exists is lost unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

force_option = click.option("--force", is_flag=True, help="Replace an existing file.")


def require_output(
    file: Path, endings: Sequence[str], *, force: bool, view: tuple[str, Callable[[Path], bool]] | None = None
) -> None:
    """Finds out before the work whether its result may be written to a file, and could be.

    Args:
        file: as given.
        endings: of its name, one of which it must have.
        force: whether an existing file may be replaced.
        view: for what can be made again from what is kept: its name, and whether a file is an earlier one of its kind, which is
            replaced unasked. None for any other result.

    Raises:
        InputError: the place cannot be written, or something is there that is to stay; DiskFullError.
    """
    from profiling.errors import InputError
    from profiling.files import require_file

    require_file(file, endings)
    if force or not file.exists():
        return
    problem = "the file already exists"
    if view is not None:
        name, is_one = view
        if is_one(file):
            return
        problem = f"a file of this name exists and is not a {name}"
    raise InputError(problem, where=str(file), hint="add --force to replace it, or choose another name")
