"""Another Linux machine, such as a Raspberry Pi, by what a phone is measured by: shell commands and files, here over ssh.

The program ssh of this system makes the connection, so its keys, its settings and the names in `~/.ssh/config` count. One process
of it, the master, holds the connection; every command is another one that goes through it. The master runs a command on the other
machine that ends when this program does, however that happens.
"""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Self

from profiling.adb import shell
from profiling.adb.link import LinkLostError
from profiling.adb.shell import Reply
from profiling.adb.sync import PushFile, RefusedFileError
from profiling.adb.transport import TIMEOUT_S, Transport
from profiling.errors import InputError, NoDeviceError

PREFIX = "ssh:"
# A folder that everybody may write, and execute from, and that outlives a restart.
FOLDER = "/var/tmp"
CONNECT_TIMEOUT_S = 10
# A person's shell may do a lot when it starts.
READY_S = 30.0
# What files must arrive by at least, in bytes a second.
SLOWEST = 50_000
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": CONNECT_TIMEOUT_S,
    # A dead link is noticed within this many times so many seconds.
    "ServerAliveInterval": 5,
    "ServerAliveCountMax": 3,
    "LogLevel": "ERROR",
    # Of a person's settings, what has no place here.
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
# The script comes on stdin: the shell that a person has there may be any, and may know other quotes.
_RUN_SCRIPT = "sh -c 'eval \"$(cat)\"'"
# A name goes into commands of a person's own settings (ProxyCommand), and must not begin as an option does.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_TARGET = re.compile(rf"(?:(?P<user>{_NAME})@)?(?P<host>{_NAME}|\[[0-9A-Fa-f:.]+(?:%\w+)?\])(?::(?P<port>\d{{1,5}}))?")
# What such a machine has to say where a phone is asked.
_ANDROID = "dumpsys() { [ \"$1\" != battery ] || echo '  present: false'; }"
# Its exit code where it has none of the command.
_SSH_FAILED = 255
_WORDS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that it had before",
        "see `ssh {0}`, which says more",
    ),
    ("Host key verification failed", "its host key is not known yet", "connect once by hand with `ssh {0}`, and accept its key"),
    ("Permission denied", "it lets nobody in from here without a password", "put a key there with `ssh-copy-id {0}`"),
    ("Could not resolve hostname", "there is no host with this name", "check the name"),
    ("Connection refused", "nothing listens at its port", "check that its ssh server runs"),
    (r"timed out|No route|unreachable", "no answer from this address", "check that it is on, and on the same network"),
)


@dataclass(frozen=True)
class Target:
    """Where to: what is behind `ssh:` in the name of a device."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """[USER@]HOST[:PORT], with an IPv6 address in brackets.

        Raises:
            InputError: it is not.
        """
        found = _TARGET.fullmatch(text)
        if found is None or not 0 < int(found["port"] or 22) < 65536:
            raise InputError(
                "not a machine to reach by ssh", where=f"{PREFIX}{text}", hint="give ssh:USER@HOST, such as ssh:pi@raspberrypi"
            )
        return cls(found["host"].strip("[]"), found["user"], int(found["port"]) if found["port"] else None)

    @property
    def arguments(self) -> list[str]:
        """For the program ssh."""
        user, port = ["-l", self.user] if self.user else [], ["-p", str(self.port)] if self.port else []
        return [*user, *port, "--", self.host]

    @property
    def in_words(self) -> str:
        """What a person types behind `ssh`."""
        host = f"{self.user}@{self.host}" if self.user else self.host
        return f"-p {self.port} {host}" if self.port else host


class SshTransport(Transport):
    """A connection to a Linux machine. Each command is a process there that ends with it, each push one archive.

    Raises:
        NoDeviceError: it cannot be reached, or is no Linux machine.
    """

    folder = FOLDER
    identity: ClassVar[Mapping[str, str]] = {
        # Of its own name and number; the latter is confidential, a hash of it is not.
        "serial": 'echo "$(uname -n)-$(cat /etc/machine-id 2>/dev/null | sha256sum | cut -c 1-8)"',
        "booted": "echo 1",
        "boot_id": "cat /proc/sys/kernel/random/boot_id",
    }
    properties = """. /etc/os-release
        model=$(tr -d '\\0' </proc/device-tree/model || cat /sys/class/dmi/id/product_name)
        chip=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
        echo "[ro.product.model]: [${model:-$chip}]"
        echo "[ro.soc.model]: [${chip:-$(tr '\\0' '\\n' </proc/device-tree/compatible | tail -n 1)}]"
        echo "[ro.build.fingerprint]: [$PRETTY_NAME, Linux $(uname -r)]"
        echo "[ro.product.cpu.abilist]: [linux_$(uname -m | sed 's/aarch64/arm64/; s/^armv.*/arm/')]"
        echo "[sys.boot_completed]: [1]" """

    def __init__(self, target: Target) -> None:
        self._target = target
        with contextlib.ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._socket = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spnas-ssh-")), "master"))
            mark = secrets.token_hex(8)
            hello = f"uname -s; echo {mark}; exec cat"
            self._master = self._start(["-M", "-S", self._socket, "-o", "ControlPersist=no"], hello, self._errors)
            stack.callback(_end, self._master)
            self._await(mark)
            self._closing = stack.pop_all()

    @property
    def description(self) -> str:
        """The connection in words, for messages."""
        return f"ssh {self._target.in_words}"

    def shell(self, command: str, timeout_s: float = TIMEOUT_S) -> Reply:
        """Runs a shell command; its exit code is certain.

        Args:
            timeout_s: for all of it.
        """
        mark = secrets.token_hex(16)
        out, err, _ = self._through(_RUN_SCRIPT, f"echo {mark}\n{_ANDROID}\n{shell.marked(command, mark)}".encode(), timeout_s)
        # A shell that a person has set up may print things of its own first.
        reply = shell.parse_marked(out.partition(f"{mark}\n".encode())[2], mark)
        if reply is None:
            raise LinkLostError(self._broken(err), where=self.description)
        return reply

    def push(self, files: Sequence[PushFile]) -> None:
        """Writes files on the machine.

        Raises:
            RefusedFileError: it refuses one of them.
        """
        if not files:
            return
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as writing:
            for file in files:
                entry = tarfile.TarInfo(file.remote.lstrip("/"))
                entry.size, entry.mode, entry.mtime = len(file.content), file.mode, int(time.time())
                writing.addfile(entry, io.BytesIO(file.content))
        given = archive.getvalue()
        out, err, exit_code = self._through("tar -x -f - -C / && echo whole", given, TIMEOUT_S + len(given) / SLOWEST)
        if out.split()[-1:] == [b"whole"]:
            return
        if exit_code == _SSH_FAILED:
            raise LinkLostError(self._broken(err), where=self.description)
        # The last line of tar only says that there were others.
        said = err.decode(errors="replace").strip().splitlines()
        raise RefusedFileError(said[0] if said else f"tar ended with exit code {exit_code}")

    def close(self) -> None:
        """Ends the connection, also one that is broken."""
        self._closing.close()

    def _through(self, command: str, given: bytes, timeout_s: float) -> tuple[bytes, bytes, int]:
        """What a command on the machine printed on stdout and stderr, and its exit code; it reads what is given to it."""
        # Without the master, which may have ended, it must not connect on its own.
        process = self._start(["-S", self._socket, "-o", "ControlMaster=no", "-o", "ProxyCommand=false"], command)
        try:
            out, err = process.communicate(given, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LinkLostError(f"the link broke: no answer within {timeout_s:g} s", where=self.description) from error
        finally:
            _end(process)
        return out, err, process.returncode

    def _start(self, options: list[str], command: str, stderr: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        settings = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        try:
            # In a process group of its own, so that Ctrl-C reaches this program alone, which then ends the others.
            return subprocess.Popen(
                ["ssh", *options, *settings, *self._target.arguments, command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, process_group=0,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise NoDeviceError(
                "the program ssh is missing", where=self.description, hint="install it (Debian: apt-get install openssh-client)"
            ) from error

    def _await(self, mark: str) -> None:
        """Waits for the first words of the machine; its shell may print others before them."""
        assert self._master.stdout is not None
        late = threading.Timer(READY_S, self._master.kill)
        late.start()
        lines: list[str] = []
        try:
            while lines[-1:] != [mark]:
                line = self._master.stdout.readline()
                if not line:
                    raise self._refused()
                lines.append(line.decode(errors="replace").strip())
        finally:
            late.cancel()
        if lines[-2:-1] != ["Linux"]:
            system = " ".join(lines[-2:-1]) or "no Unix shell"
            raise NoDeviceError(f"it runs {system}", where=self.description, hint="only Linux machines are measured over ssh")

    def _refused(self) -> NoDeviceError:
        self._master.wait()
        said = self._said()
        for sign, problem, hint in _WORDS:
            if re.search(sign, said):
                return NoDeviceError(problem, where=self.description, hint=hint.format(self._target.in_words))
        last = _last_line(said.encode()) or f"its shell does not run commands (exit code {self._master.returncode})"
        return NoDeviceError(f"ssh ends: {last}", where=self.description, hint=f"try `ssh {self._target.in_words}`")

    def _broken(self, err: bytes) -> str:
        said = self._said() if self._master.poll() is not None else ""
        return f"the link broke: {_last_line(said.encode()) or _last_line(err) or 'the output of a command is cut off'}"

    def _said(self) -> str:
        """What the master printed on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or [""])[-1].strip()
