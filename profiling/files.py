"""Writing files: first beside their place, then renamed when complete, so that nobody ever reads half a file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path to write to in place of `target`, which is replaced by what is there at the end; after an exception nothing changes.

    The path is in the same folder and has the same suffix, which some writers choose their format by. The file is there from the
    start, empty: a folder that cannot be written shows before the work, not after it. Anything but a regular file, such as
    `/dev/stdout`, cannot be replaced and is written directly; a symbolic link stays, and what it points to is replaced.

        with written_whole(path) as new, new.open("w") as file: ...

    Raises:
        OSError: the file cannot be written.
    """
    if target.exists() and not target.is_file():
        yield target
        return
    target = target.resolve()
    new = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    new.touch(exist_ok=False)
    try:
        yield new
        # The writer may have had the path alone, so the file is opened once more: fsync takes any descriptor of it.
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; see `written_whole`.

    Raises:
        OSError: the file cannot be written.
    """
    with written_whole(path) as new:
        new.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8, with line ends as they are.

    Raises:
        OSError: the file cannot be written.
    """
    write_bytes(path, text.encode())
