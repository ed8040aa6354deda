"""Models on their way to a device: converted in the order in which a session will ask for them, and pushed in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from profiling.conditions import Precision
from profiling.device import BuiltModel, Device
from profiling.models.builder import TfliteBuilder
from profiling.models.foreign import TfliteFile
from profiling.network import NetworkSpec


class ModelSupply:
    """Keeps the protocol `profiling.session.Supply`.

    While a phone measures, this machine converts what comes next. Where the device is this machine, all of a round is converted
    before its first measurement: conversion would be in every figure.

    Args:
        builder: converts.
        device: where the models go.
        networks: by key, all that may be asked for.
        precision: of the models.
        on_built: called while it is waited for a model, with the number of models that are ready and the number of all.

    Attributes:
        waited_s: seconds that were spent waiting for conversions.
    """

    def __init__(
        self,
        builder: TfliteBuilder,
        device: Device,
        networks: Mapping[str, NetworkSpec | TfliteFile],
        precision: Precision,
        on_built: Callable[[int, int], None],
    ) -> None:
        self._builder, self._device, self._networks = builder, device, networks
        self._precision, self._on_built = precision, on_built
        self._jobs: dict[str, Future[BuiltModel]] = {}
        self.waited_s = 0.0

    def expect(self, keys: Sequence[str]) -> None:
        """Begins to convert what the next round needs; see `Supply`.

        Raises:
            ConversionError: a model could not be built.
            InputError, DiskFullError: the cache cannot be written.
        """
        new = [self._networks[key] for key in dict.fromkeys(keys) if key not in self._jobs]
        self._jobs |= self._builder.start(new, self._precision)
        if new and self._device.shares_cpu:
            self._wait(None)

    def __getitem__(self, key: str) -> BuiltModel:
        """The model, together with all others that are ready by now on the device; see `Supply`.

        Raises:
            ConversionError: a model could not be built.
            DeviceLostError: the device went away.
            MeasurementError: the device has no room for it.
        """
        ready = self._wait(key)
        self._device.push(list(ready.values()))
        return ready[key]

    def _wait(self, key: str | None) -> dict[str, BuiltModel]:
        there = key is not None and self._jobs[key].done()
        start = time.monotonic()
        try:
            return self._builder.wait(self._jobs, key=key, on_built=None if there else self._on_built)
        finally:
            self.waited_s += time.monotonic() - start
