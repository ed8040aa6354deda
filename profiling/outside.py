"""Files that come from outside: only regular files are opened, and no more is read than a limit allows.

A FIFO would be waited for without end, a device may never end, and a link may lead to either or to itself.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from profiling.errors import InputError

CHUNK = 2**20
NO_NAME = "this cannot be the name of a file"
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading, or what a link says is one.

    Raises:
        InputError: it is something else, or cannot be opened.
    """
    try:
        _require_regular(path.stat(), path)  # opening some devices does something
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error
    except ValueError as error:  # a null character, or one that no file name can have
        raise InputError(NO_NAME, where=str(path)) from error
    try:
        _require_regular(os.fstat(file.fileno()), path)
    except InputError:  # it was replaced in between
        file.close()
        raise
    return file


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes, which are counted while reading.

    Raises:
        InputError: it is something else, cannot be read, or is larger.
    """
    chunks, size = [], 0
    try:
        with open_regular(path) as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise InputError(f"the file is larger than {most / 2**20:g} MiB", where=str(path))
                chunks.append(chunk)
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error
    return b"".join(chunks)


def require_file_or_nothing(path: Path) -> None:
    """Checks that a path leads to a regular file, or to where there is nothing yet.

    Raises:
        InputError: it leads to something else, or nowhere.
    """
    try:
        _require_regular(path.stat(), path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error
    except ValueError as error:
        raise InputError(NO_NAME, where=str(path)) from error


def is_folder(name: str) -> bool:
    """Whether a folder has this name; whatever a user may give as a name has an answer."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def is_file(name: str) -> bool:
    """The same for a regular file."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _require_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"is {_kind(found)}, not a regular file", where=str(path))


def _kind(found: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(found.st_mode), "a file")
