"""A lock on this machine: two runs that measure on it at once, into whatever databases, would both measure the other's load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from profiling.errors import NoDeviceError
from profiling.locks import SHARED, lock

# Names a folder that several containers on one machine share; /tmp is that of all users.
FOLDER_VARIABLE = "SPNAS_LOCK_FOLDER"


@contextmanager
def measuring_here() -> Iterator[None]:
    """Holds the lock while the block runs.

    Raises:
        NoDeviceError: another run is measuring on this machine (says which), or the lock cannot be made.
    """
    file = Path(os.environ.get(FOLDER_VARIABLE, "/tmp"), "spnas-host.lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(file, _in_use, mode=SHARED))
        except OSError as error:
            raise NoDeviceError(
                f"the lock that keeps two runs from measuring at once cannot be made: {error.strerror}",
                where=str(file),
                hint=f"set {FOLDER_VARIABLE} to a folder that can be written",
            ) from error
        yield


def _in_use(holder: str) -> NoDeviceError:
    return NoDeviceError(
        f"another run is measuring on this machine: {holder}", where="host", hint="wait until it ends, or stop it"
    )
