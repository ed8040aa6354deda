"""Our own folder on a phone: files are known by their content, arrive whole, and cross the cable once."""

from __future__ import annotations

import getpass
import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.adb.connection import Connection
from profiling.adb.sync import PushFile, RefusedFileError
from profiling.errors import MeasurementError
from profiling.phone.probes import parse_free_kib
from profiling.phone.refusals import next_step

# At most this much is read into memory and sent before it is checked.
BATCH_BYTES = 64 * 2**20
# For the output of the runs.
SPARE_BYTES = 2**20
_HASHING_S = 120.0


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine to be copied to the phone."""

    path: Path
    sha256: str
    size_bytes: int
    executable: bool = False

    @property
    def name(self) -> str:
        """Its name on the phone."""
        return f"{self.sha256}{'.tool' if self.executable else '.tflite'}"


class PhoneFiles:
    """A folder on the phone that belongs to this user of this machine. Nothing outside it is ever touched."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: set[str] = set()
        owner = hashlib.sha256(f"{_user()}@{socket.gethostname()}".encode()).hexdigest()[:8]
        self.folder = f"{connection.folder}/spnas-{owner}"
        self.look_again()

    def path(self, file: LocalFile) -> str:
        """The path of this file on the phone."""
        return f"{self.folder}/{file.name}"

    def look_again(self) -> None:
        """Finds out which files are there and complete, by content: after a restart of the phone, or of this program."""
        reply = self._connection.shell(
            f"mkdir -p {self.folder} && cd {self.folder} && chmod 700 . && if command -v sha256sum >/dev/null; "
            "then sha256sum *.tool *.tflite 2>/dev/null; else echo none; fi",
            _HASHING_S,
        )
        lines = reply.text.splitlines()
        # Before Android 8 there is no sha256sum; files are then sent again and checked by MD5.
        self._hash = "md5" if lines == ["none"] else "sha256"
        pairs = [line.split() for line in lines if self._hash == "sha256"]
        self._known = {pair[1] for pair in pairs if len(pair) == 2 and pair[1].startswith(pair[0])}

    def ensure(self, files: Sequence[LocalFile]) -> None:
        """Copies to the phone those files that it lacks.

        Raises:
            MeasurementError: it has no room for them, or they do not arrive whole.
            DeviceLostError: the phone went away.
        """
        lacking = list({file.name: file for file in files if file.name not in self._known}.values())
        if not lacking:
            return
        self._make_room(sum(file.size_bytes for file in lacking), keep=[file.name for file in files])
        batch: list[LocalFile] = []
        for file in lacking:
            if batch and sum(each.size_bytes for each in batch) + file.size_bytes > BATCH_BYTES:
                self._send(batch)
                batch = []
            batch.append(file)
        self._send(batch)

    def remove_all(self) -> None:
        """Removes the folder."""
        self._connection.shell(f"rm -rf {self.folder}")
        self._known.clear()

    def _send(self, files: Sequence[LocalFile]) -> None:
        contents = {file: file.path.read_bytes() for file in files}
        damaged: list[LocalFile] = list(files)
        for _ in range(2):
            try:
                self._connection.push(
                    [PushFile(self.path(file), contents[file], 0o755 if file.executable else 0o644) for file in damaged]
                )
            except RefusedFileError as error:
                self._connection.shell(f"cd {self.folder} && rm -f {' '.join(file.name for file in damaged)}")
                raise MeasurementError(
                    f"the phone refuses a file: {error}",
                    where=self._connection.serial,
                    hint=next_step(str(error), self.folder),
                ) from error
            damaged = self._damaged(damaged, contents)
            if not damaged:
                self._known |= {file.name for file in files}
                return
        raise MeasurementError(
            f"{damaged[0].path.name} does not arrive intact", where=self._connection.serial, hint="try another cable or port"
        )

    def _damaged(self, files: Sequence[LocalFile], contents: dict[LocalFile, bytes]) -> list[LocalFile]:
        names = " ".join(file.name for file in files)
        # Android before 6 ignores the mode that a file is sent with.
        tools = " ".join(file.name for file in files if file.executable)
        mode = f"chmod 755 {tools}; " if tools else ""
        reply = self._connection.shell(f"cd {self.folder}; {mode}{self._hash}sum {names} 2>/dev/null", _HASHING_S)
        found = {pair[1]: pair[0] for line in reply.text.splitlines() if len(pair := line.split()) == 2}
        return [file for file in files if found.get(file.name) != hashlib.new(self._hash, contents[file]).hexdigest()]

    def _make_room(self, needed_bytes: int, keep: Sequence[str]) -> None:
        """Removes our own files of earlier runs if there is not enough room otherwise."""
        if self._has_room(needed_bytes):
            return
        old = sorted(self._known - set(keep))
        if old:
            self._connection.shell(f"cd {self.folder} && rm -f {' '.join(old)}")
            self._known -= set(old)
        if not old or not self._has_room(needed_bytes):
            raise MeasurementError(
                f"the phone has no room for {needed_bytes / 2**20:.0f} MiB in {self._connection.folder}",
                where=self._connection.serial,
                hint="free some storage on it",
            )

    def _has_room(self, needed_bytes: int) -> bool:
        free_kib = parse_free_kib(self._connection.shell(f"df -k {self._connection.folder}").text)
        # Where `df` cannot be read, the push itself will fail if there is no room.
        return free_kib is None or free_kib * 1024 >= needed_bytes + SPARE_BYTES


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
