"""What killed runs left on a phone, those of other computers too.

Whoever holds the lock is alone on the phone, and every run removes its folder before it releases the lock. So whatever folder of
ours the holder of the lock finds is of a run that was killed, or lost the phone, and whose lock has gone stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from profiling.adb.connection import Connection
from profiling.phone.process import kill_in

# Folders of runs, and locks that were moved out of the way.
_OURS = re.compile(r"spnas-(?:[0-9a-f]{8}|lock-[0-9a-f]{16})")


def remove_leftovers(connection: Connection, *, own: str, notify: Callable[[str], None]) -> None:
    """Ends what still runs of earlier runs, and removes their folders. Only the holder of the lock may do this.

    Args:
        connection: to the phone.
        own: the folder of the holder, whose files are used again.
        notify: called with what was removed.

    Raises:
        MeasurementError: a process of theirs cannot be killed.
    """
    found = _folders(connection, own)
    if not found:
        return
    for name in found:
        kill_in(connection, f"{connection.folder}/{name}")
    connection.shell(f"cd {connection.folder} && rm -rf {' '.join(found)}")
    left = _folders(connection, own)  # as those of another user are
    if removed := [name for name in found if name not in left]:
        notify(f"{connection.serial}: removed what killed runs had left on the phone: {', '.join(removed)}")


def _folders(connection: Connection, own: str) -> list[str]:
    listed = connection.shell(f"cd {connection.folder} && ls -d spnas-*/ 2>/dev/null").text.splitlines()
    names = [line.rstrip("/") for line in listed]
    return [name for name in names if _OURS.fullmatch(name) and name != PurePosixPath(own).name]
