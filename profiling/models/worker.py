"""The process that runs calls for `profiling.models.workers`. It is started by its path, so it imports nothing of the package.

Its arguments are the caller's `sys.path`. It reads calls from stdin, each the pickle of (function, arguments by position, and by
name), and answers each on stdout with the pickle of (True, result) or (False, exception). It ends when stdin ends, even in the
middle of a call: nobody would read the answer.
"""

import os
import pickle
import queue
import sys
import threading
import traceback
from typing import Any


def main() -> None:
    """Runs calls until stdin ends."""
    # A worker yields the CPU to all else: it may work while a phone is measured, and the link to that must not wait.
    if hasattr(os, "nice"):
        os.nice(10)
    sys.path[:] = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the C++ side of TensorFlow prints whatever it likes
    calls: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_receive, args=(calls,), daemon=True).start()
    while True:
        function, arguments, named = calls.get()
        try:
            answer = pickle.dumps((True, function(*arguments, **named)))
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised where the call came from
            answer = pickle.dumps((False, _portable(error)))
        answers.write(answer)
        answers.flush()


def _receive(calls: queue.Queue[Any]) -> None:
    try:
        while True:
            calls.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself where it can be pickled; its traceback goes along as a note."""
    text = traceback.format_exc()
    try:
        error.add_note(text)
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  classes of other packages may fail in any way
        return RuntimeError(text)
    return error


if __name__ == "__main__":
    main()
