"""Worker processes that hold TensorFlow so that this one need not.

Not those of `multiprocessing`: these run the caller's main file again, which a plain script, a notebook or stdin does not allow.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from profiling.models import worker

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Runs calls in processes of their own; each of its threads looks after one.

    Args:
        count: processes at most; each is started when it is first needed.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Has a worker call a function of some module, whose arguments and result can be pickled.

        Returns:
            The result to come, or what the function raises. BrokenExecutor where the worker died.
        """
        return self._threads.submit(self._call, pickle.dumps((function, args, kwargs)))

    def close(self, *, now: bool) -> None:
        """Ends the workers; calls that have not begun are cancelled, and those in hand broken off if it is to be `now`."""
        self._threads.shutdown(wait=not now, cancel_futures=True)
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._threads.shutdown()
        for process in self._processes:
            process.communicate()

    def _call(self, call: bytes) -> Any:
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(call)
            process.stdin.flush()
            succeeded, value = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            process.kill()
            self._of_thread.process = None
            raise BrokenExecutor("the worker process died") from error
        if succeeded:
            return value
        raise value

    def _process(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] | None = getattr(self._of_thread, "process", None)
        if process is not None:
            return process
        with self._lock:
            if self._closed:
                raise BrokenExecutor("the workers are closed")
            # A process group of its own, so that Ctrl-C reaches this process alone, which then ends the others.
            process = subprocess.Popen(
                [sys.executable, "-P", worker.__file__, *sys.path],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
            self._processes.append(process)
        self._of_thread.process = process
        return process
