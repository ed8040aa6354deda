"""Waiting for what is to happen, however long a busy machine takes for it, rather than for a time in which it should have."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

LIMIT_S = 200  # less than a test may take, so that what was waited for is named


def until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds.

    Raises:
        AssertionError: it does not come to hold.
    """
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "what is waited for does not happen"
        time.sleep(0.02)


def when(condition: Callable[[], object], *actions: Callable[[], object]) -> threading.Thread:
    """Does these things in a thread of its own, one after the other, once the condition holds."""

    def work() -> None:
        until(condition)
        for action in actions:
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@contextmanager
def started(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block at the latest, also when the test fails in it."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
