"""A command in a terminal of its own: what it shows can be waited for, and it can be interrupted as a person does it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence

SPNAS = (sys.executable, "-m", "spnas_cli")
_BAR = re.compile(r"[━╸╺]\s+(\d+)/\d")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Runs a command whose stderr is a terminal, and so shows a progress bar; its stdout goes nowhere.

    Attributes:
        process: the command.
        shown: all that it has shown so far, without colours and the like.
    """

    def __init__(self, *command: object, launcher: Sequence[str] = SPNAS) -> None:
        self._screen, end = pty.openpty()
        environment = os.environ | {"COLUMNS": "200", "TERM": "xterm"}
        words = [*launcher, *map(str, command)]
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=end)
        os.close(end)
        self.shown = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def until_step(self, step: int) -> None:
        """Waits until the bar shows that so many steps are done.

        Raises:
            AssertionError: the command ended before.
        """
        while not any(int(done) >= step for done in _BAR.findall(self.shown)):
            assert self._read(), f"it ended before step {step}: {self.shown}"

    def send(self, sent: signal.Signals) -> int:
        """Sends a signal, and gives the exit code that the command ends with."""
        self.process.send_signal(sent)
        return self.finish()

    def finish(self) -> int:
        """Waits for the end of the command, and gives its exit code."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        block = _read(self._screen)
        self.shown += _CONTROL.sub("", block.decode(errors="replace"))
        return bool(block)


class Screen:
    """All that a command shows in a terminal of this many columns; stdout and stderr are the terminal.

    Attributes:
        text: without colours, every line that a progress bar was redrawn in included.
    """

    def __init__(self, width: int, *arguments: str, launcher: Sequence[str] = SPNAS[1:]) -> None:
        screen, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
        words = [sys.executable, *launcher, *arguments]
        with subprocess.Popen(words, env=environment, stdin=end, stdout=end, stderr=end) as process:
            os.close(end)
            shown = b""
            while block := _read(screen):
                shown += block
        os.close(screen)
        assert process.returncode == 0, shown
        self.text = _CONTROL.sub("", re.sub(r"\r\n?", "\n", shown.decode(errors="replace")))


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:  # nobody is at the other end any more
        return b""
