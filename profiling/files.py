"""Writing files: first beside their place, then renamed when complete, so that nobody ever reads half a file.

All that commands leave is written here, and everything that can go wrong with it becomes one of our errors here.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from profiling.errors import DiskFullError, InputError, SpnasError
from profiling.locks import is_file_of, release, try_lock

_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{8}(\.[^.]*)?")
_HINTS = {
    errno.ENOENT: "make its folder first, or choose another place",
    errno.EEXIST: "a file has this name; choose another place",
    errno.ENOTDIR: "a part of its path is a file; choose another place",
    errno.EACCES: "check the permissions of its folder, or choose another place",
    errno.EPERM: "check the permissions of its folder, or choose another place",
    errno.EROFS: "choose a place on a disk that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle; choose another place",
}
_FULL = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have your quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}


def cannot_write(error: OSError, place: Path) -> SpnasError:
    """What the user reads when the system refuses to write: DiskFullError if there is no room, else InputError."""
    problem = f"cannot be written: {error.strerror or error}"
    if error.errno in _FULL:
        hint = f"{_FULL[error.errno]}, then run the same command again; what was there before is unchanged"
        return DiskFullError(problem, where=str(place), hint=hint)
    return InputError(problem, where=str(place), hint=_HINTS.get(error.errno or 0))


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns the OSError of whatever writes there into one of our errors.

    Raises:
        InputError, DiskFullError: as for `written_whole`.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(error, place) from error


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path to write to in place of `target`, which is replaced by what is there at the end; after an exception nothing changes.

    The path is in the same folder and has the same suffix, which some writers choose their format by. The file is there from the
    start, empty: a folder that cannot be written shows before the work, not after it. A symbolic link stays, and what it points
    to is replaced. What killed processes left of the same file is removed.

        with written_whole(path) as new, new.open("w") as file: ...

    Raises:
        InputError: there is something other than a file, or the place cannot be written.
        DiskFullError: there is no room.
    """
    with writing(target):
        target = _place(target)
        clear_unfinished(target.parent, target)
        new, descriptor = _begun(target)
        try:
            yield new
            # The writer may have had the path alone, so the file is opened once more: fsync takes any descriptor of it.
            with new.open("rb") as written:
                os.fsync(written.fileno())
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
            release(descriptor)


def _place(target: Path) -> Path:
    """The place that a path leads to, where there may be a file or nothing."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:  # or a link to where nothing is yet
        return target.resolve()
    if not stat.S_ISREG(mode):
        what = "folder" if stat.S_ISDIR(mode) else "pipe or device"
        raise InputError(f"cannot be written: it is a {what}, not a file", where=str(target), hint="choose another name")
    return target.resolve()


def _begun(target: Path) -> tuple[Path, int]:
    """An empty file beside the target, and its descriptor, which holds a lock on it: the file of a live process."""
    while True:
        new = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            mine = try_lock(descriptor) and is_file_of(descriptor, new)
        except OSError:  # a file system without locks, where nobody clears anything away
            mine = True
        if mine:
            return new, descriptor
        release(descriptor)  # somebody cleared it away in that moment


def clear_unfinished(folder: Path, target: Path | None = None) -> None:
    """Removes the unfinished files that killed processes left in a folder, or only those of one target."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name)]
    except PermissionError:  # a folder may be for writing only
        return
    for name in names:
        file = folder / name
        if target is None or (name.startswith(f".{target.stem}.") and file.suffix == target.suffix):
            _clear_if_dead(file)


def _clear_if_dead(file: Path) -> None:
    with suppress(OSError):  # of another user, no regular file, or gone by now
        descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if try_lock(descriptor):
                file.unlink()
        finally:
            release(descriptor)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file whole or not at all; errors as for `written_whole`."""
    with written_whole(path) as new:
        new.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8, with line ends as they are."""
    write_bytes(path, text.encode())


def require_file(target: Path, endings: Sequence[str] = ()) -> None:
    """Finds out before the work whether its result could be written.

    Args:
        target: the file.
        endings: of its name, such as `.json`, one of which it must have; none for any.

    Raises:
        InputError, DiskFullError: it could not; as for `written_whole`.
    """
    if endings and target.suffix.lower() not in endings:
        raise InputError(f"the name of this file ends in {' or '.join(endings)}", where=str(target))
    with writing(target):
        _probe(_place(target).parent)


def require_folder(folder: Path) -> None:
    """Finds out before the work whether files could be written in a folder, which need not exist.

    Raises:
        InputError, DiskFullError: they could not.
    """
    with writing(folder):
        for place in (folder, *folder.absolute().parents):
            with suppress(FileNotFoundError):
                place.lstat()
                _probe(place)
                return


def make_folder(folder: Path) -> None:
    """Makes a folder, with those that it is in, or finds out whether an existing one can be written.

    Raises:
        InputError, DiskFullError: it cannot.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)


def _probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass
