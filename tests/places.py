"""Places that no file can be written to, and a limit on the size of files: what a command must survive."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Where nobody can make a file, root included.
UNWRITABLE = Path("/sys/kernel" if sys.platform == "linux" else "/System")


def _folder(here: Path) -> Path:
    (here / "folder.json").mkdir()
    return here / "folder.json"


def _below_a_file(here: Path) -> Path:
    (here / "a-file").touch()
    return here / "a-file" / "x.json"


def _pipe(here: Path) -> Path:
    os.mkfifo(here / "pipe.json")
    return here / "pipe.json"


def _circle(here: Path) -> Path:
    (here / "one.json").symlink_to(here / "two.json")
    (here / "two.json").symlink_to(here / "one.json")
    return here / "one.json"


def _link_to_a_device(here: Path) -> Path:
    (here / "null.json").symlink_to(os.devnull)
    return here / "null.json"


# Each makes what is needed in a folder, and gives the path.
PLACES: dict[str, Callable[[Path], Path]] = {
    "a folder": _folder,
    "in a folder that is not there": lambda here: here / "missing" / "x.json",
    "below a file": _below_a_file,
    "a pipe": _pipe,
    "a link to a device": _link_to_a_device,
    "links in a circle": _circle,
    "without permission": lambda here: UNWRITABLE / "x.json",
    "a name that is too long": lambda here: here / ("x" * 300 + ".json"),
}


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond so many bytes: the system refuses the rest, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
