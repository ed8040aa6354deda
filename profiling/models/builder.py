"""Builds TFLite models: a cache by content, and worker processes that hold TensorFlow so that this one need not.

A file of the cache is named by all that went into it. Beside it stands its SHA-256; a file that does not match is built again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import platformdirs

from profiling.conditions import Precision
from profiling.device import BuiltModel
from profiling.errors import ConversionError
from profiling.files import make_folder, write_bytes, write_text
from profiling.models.foreign import TfliteFile
from profiling.models.workers import Workers
from profiling.network import NetworkSpec

if TYPE_CHECKING:
    from profiling.models.convert import Array, LayerWeights

# Raise it whenever `convert` would build a different file from the same network.
BUILD_VERSION = 2
# The caller may break off whenever it is told how far the work is.
REPORT_EVERY_S = 1.0


def default_cache() -> Path:
    """The folder for built models in the user's cache directory."""
    return Path(platformdirs.user_cache_dir("spnas")) / "tflite"


class TfliteBuilder:
    """Builds networks into a cache; a context manager, since it may start worker processes. May be shared between threads.

    Args:
        cache: folder of the cache, made when needed; `default_cache()` when None.
        workers: processes at most; one per core and at most four when None.
    """

    def __init__(self, cache: Path | None = None, workers: int | None = None) -> None:
        self._cache = cache or default_cache()
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._pool: Workers | None = None
        # By file: two devices that need the same model at the same time wait for one conversion.
        self._jobs: dict[Path, Future[BuiltModel]] = {}
        self._lock = threading.Lock()

    @property
    def built(self) -> int:
        """How many models were converted so far, not counting those from the cache."""
        return sum(job.done() and not _has_failed(job) for job in self._jobs.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            # Nobody needs the current work of a worker after an interruption.
            self._pool.close(now=error is not None)

    def build(
        self,
        networks: Iterable[NetworkSpec | TfliteFile],
        precision: Precision,
        on_built: Callable[[int, int], None] | None = None,
    ) -> dict[str, BuiltModel]:
        """The models of all networks, by key; those that the cache lacks are converted in parallel.

        Args:
            networks: a single layer is a network of one; a file that was built elsewhere is taken as it is.
            precision: of all of them.
            on_built: called with the number of models that are ready and the number of all, every second at least.

        Raises:
            ConversionError: a model could not be built, or a worker died. What was built stays in the cache.
            InputError, DiskFullError: the cache cannot be written.
        """
        return self.wait(self.start(networks, precision), on_built=on_built)

    def convert(
        self,
        network: NetworkSpec,
        precision: Precision,
        weights: Sequence[LayerWeights],
        representative: Array | None,
        *,
        softmax: bool = False,
    ) -> bytes:
        """A network with weights of its own, as `convert.convert` makes it; nothing is cached.

        Raises:
            ConversionError: as there, or the worker died.
        """
        with self._lock, self._translated(network.key):
            job = self._processes().submit(_convert_weights, network, precision, weights, representative, softmax)
        with self._translated(network.key):
            return job.result()

    def start(self, networks: Iterable[NetworkSpec | TfliteFile], precision: Precision) -> dict[str, Future[BuiltModel]]:
        """Starts to convert the models that the cache lacks, in the order given, without waiting; see `wait` for the result.

        Raises:
            InputError, DiskFullError: the cache cannot be written.
        """
        with self._lock:
            return {network.key: self._start(network, precision) for network in networks}

    def wait(
        self,
        jobs: Mapping[str, Future[BuiltModel]],
        *,
        key: str | None = None,
        on_built: Callable[[int, int], None] | None = None,
    ) -> dict[str, BuiltModel]:
        """Waits until all models are ready, or until that of one key is.

        Args:
            jobs: from `start`.
            key: of the model that suffices; None for all.
            on_built: as for `build`.

        Returns:
            All models that are ready by then.

        Raises:
            ConversionError: as for `build`, also for a model that was not waited for.
        """
        report = on_built or (lambda done, total: None)
        models: dict[str, BuiltModel] = {}
        while True:
            for name, job in jobs.items():
                if name not in models and job.done():
                    models[name] = self._result(job, name)
            report(len(models), len(jobs))
            if len(models) == len(jobs) or key in models:
                return models
            # Not the unfinished ones: one of them may have ended since the check.
            unfinished = [job for name, job in jobs.items() if name not in models]
            futures.wait(unfinished, timeout=REPORT_EVERY_S, return_when=futures.FIRST_COMPLETED)

    def _start(self, network: NetworkSpec | TfliteFile, precision: Precision) -> Future[BuiltModel]:
        if isinstance(network, TfliteFile):
            return _ready(network.model)
        path = self._path(network, precision)
        job = self._jobs.get(path)
        if job is not None and not _has_failed(job):
            return job
        if model := self._from_cache(network, precision):
            return _ready(model)
        if not self._jobs:
            make_folder(self._cache)
        with self._translated(network.key):
            self._jobs[path] = self._processes().submit(_convert_into, network, precision, path)
        return self._jobs[path]

    def _processes(self) -> Workers:
        self._pool = self._pool or Workers(self._workers)
        return self._pool

    def _result(self, job: Future[BuiltModel], key: str) -> BuiltModel:
        with self._translated(key):
            return job.result()

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except BrokenExecutor as error:
            raise ConversionError(
                "the conversion process died", where=key, hint="is there enough memory? Fewer workers need less"
            ) from error
        except OSError as error:
            raise ConversionError(f"the conversion process cannot be started: {error.strerror}", where=key) from error

    def _path(self, network: NetworkSpec, precision: Precision) -> Path:
        parts = (*(layer.key for layer in network.layers), precision, version("tensorflow"), str(BUILD_VERSION))
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        return self._cache / f"{digest}.tflite"

    def _from_cache(self, network: NetworkSpec, precision: Precision) -> BuiltModel | None:
        path = self._path(network, precision)
        try:
            content, expected = path.read_bytes(), _hash_file(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        sha256 = hashlib.sha256(content).hexdigest()
        return _built(network, path, sha256, content) if sha256 == expected else None


def _built(network: NetworkSpec, path: Path, sha256: str, content: bytes) -> BuiltModel:
    return BuiltModel(network.key, path, sha256, len(content), network.multiply_adds)


def _has_failed(job: Future[BuiltModel]) -> bool:
    return job.cancelled() or (job.done() and job.exception() is not None)


def _ready(model: BuiltModel) -> Future[BuiltModel]:
    job: Future[BuiltModel] = Future()
    job.set_result(model)
    return job


def _hash_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _convert_weights(
    network: NetworkSpec, precision: Precision, weights: Sequence[LayerWeights], representative: Array | None, softmax: bool
) -> bytes:
    """Runs in a worker."""
    from profiling.models.convert import convert

    return convert(network, precision, weights, representative, softmax=softmax)


def _convert_into(network: NetworkSpec, precision: Precision, path: Path) -> BuiltModel:
    """Runs in a worker: converts and writes the file, its hash first: without it, the file would be built again for nothing."""
    from profiling.models.convert import convert

    content = convert(network, precision)
    sha256 = hashlib.sha256(content).hexdigest()
    write_text(_hash_file(path), sha256)
    write_bytes(path, content)
    return _built(network, path, sha256, content)
