"""The bench: one device and one database, opened once, to profile, validate and compare on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from latency_db import comparison, profile, validate
from latency_db.campaign import Outcome, Rig
from latency_db.comparison import Comparison, Entrant
from latency_db.store import Store
from latency_db.table import MEASURED, LatencyTable
from latency_db.table_files import load_table
from latency_db.validate import Validation
from profiling.device import Device, RunSettings
from profiling.devices import PhoneOptions, open_device
from profiling.errors import InputError
from profiling.events import Notice, Watch, silent
from profiling.extras import needs
from profiling.models.builder import TfliteBuilder
from profiling.space import Architecture, SearchSpace, load_space

FEWEST_ROUNDS = 2


class Bench:
    """Where latency is measured: a context manager that releases the device at its end.

    The first method that needs them opens the device and the database; they stay open until the end. Every finished measurement
    is saved, so after an interruption, also by Ctrl-C, the same call continues where it stopped.

    Args:
        device: `host`, a phone's serial number, HOST[:PORT], or ssh:USER@HOST.
        db: the database file; created if it does not exist.
        rounds: least number of processes per model; None for the default of each method: 6 to profile, 8 to validate, 20 to
            compare.
        seed: for the random networks and their order; None for 0, and for 1 in `validate`, which must draw different networks.
        settings: how each process runs.
        phone: settings for phones only.
        watch: called with every event; None shows nothing.
        builder: converts the models; its creator closes it. None for one that the bench creates and closes.

    Attributes:
        device: as given.
        db: path of the database.
        outcome: what the last method did: measurements made and reused, seconds.
        source: what tables that are made here say where they come from, for people.

    Raises:
        InputError: fewer than two rounds.
    """

    def __init__(
        self,
        device: str = "host",
        db: str | os.PathLike[str] = "spnas.db",
        *,
        rounds: int | None = None,
        seed: int | None = None,
        settings: RunSettings | None = None,
        phone: PhoneOptions | None = None,
        watch: Watch | None = None,
        builder: TfliteBuilder | None = None,
    ) -> None:
        if rounds is not None and rounds < FEWEST_ROUNDS:
            raise InputError(f"at least {FEWEST_ROUNDS} rounds are needed, not {rounds}: a single one does not show the noise")
        self.device, self.db = device, Path(db)
        self.outcome = Outcome()
        self.source = MEASURED
        self._rounds, self._seed = rounds, seed
        self._settings, self._phone = settings or RunSettings(), phone or PhoneOptions()
        self._watch, self._builder = watch, builder
        self._open: tuple[Device, Store, TfliteBuilder] | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open = None
        self._closing.__exit__(kind, error, trace)

    def close(self) -> None:
        """Releases the device, as leaving the `with` block does."""
        self.__exit__(None, None, None)

    def profile(
        self,
        space: SearchSpace | str | os.PathLike[str],
        *,
        name: str | None = None,
        calibrate: int = profile.CALIBRATE,
        resolution: int | None = None,
        width_multiplier: float | None = None,
        classes: int | None = None,
        sustained: bool = False,
    ) -> LatencyTable:
        """Measures every layer of a space, and random whole networks to calibrate the runtime model on, into a table.

        Args:
            space: a space, the name of one that ships with spnas, or a YAML file.
            name: of the table; None for SPACE-DEVICE and whatever is not at its default.
            calibrate: number of random whole networks; 0 for none, otherwise at least 5.
            resolution, width_multiplier, classes: replace the space's own unless None; see `SearchSpace.with_parameters`.
            sustained: also measure how much slower the device is once it is warm, into `outcome.sustained`.

        Returns:
            The table, which is also saved in the database.

        Raises:
            InputError: the space does not allow these parameters, or the calibration is too small.
            StoreError: another table has this name, or the database cannot be used.
            MeasurementError: some models could not be measured; the others are kept.
            SpnasError: as raised by the device or the conversion.
        """
        profile.require_enough(calibrate)
        found = space if isinstance(space, SearchSpace) else load_space(os.fspath(space))
        wanted = found.with_parameters(resolution=resolution, width_multiplier=width_multiplier, classes=classes)
        with self._rig(profile.ROUNDS, profile.SEED) as rig:
            name = name or profile.default_name(
                wanted, rig.device.name, rig.settings,
                resolution=resolution, width_multiplier=width_multiplier, classes=classes,
            )  # fmt: skip
            table, self.outcome = profile.profile(
                rig, wanted, name=name, calibrate=calibrate, sustained=sustained, source=self.source
            )
        return table

    def validate(
        self,
        table: LatencyTable | str | os.PathLike[str],
        *,
        networks: int = validate.NETWORKS,
        others: Mapping[str, Architecture] | None = None,
    ) -> Validation:
        """Measures random networks, and the calibration networks again, to check how accurate the runtime model is.

        Args:
            table: a table, or anything `load_table` takes; measured on this device with these settings.
            networks: number of random networks; none of them took part in the calibration.
            others: networks to measure as well, by name; the report does not include them.

        Raises:
            InputError: the number of rounds is odd.
            TableError: the table was measured under different conditions; names every difference.
            SpnasError: as for `profile`.
        """
        validate.require_even(self._rounds or validate.ROUNDS)
        found = self._table(table)
        with self._rig(validate.ROUNDS, validate.SEED) as rig:
            validation, self.outcome = validate.validate_table(rig, found, networks=networks, others=others or {})
        return validation

    def compare(self, entrants: Sequence[Entrant], table: LatencyTable | str | os.PathLike[str] | None = None) -> Comparison:
        """Measures networks side by side, in the same shuffled rounds.

        Args:
            entrants: what to compare.
            table: table to predict their latencies from, as for `validate`; None for no predictions.

        Raises:
            InputError: there is nothing to compare, or the networks are not comparable.
            TableError, SpnasError: as for `validate`.
        """
        found = None if table is None else self._table(table)
        comparison.require_comparable(entrants)
        with self._rig(comparison.ROUNDS, comparison.SEED) as rig:
            compared, self.outcome = comparison.compare(rig, entrants, found)
        return compared

    def _table(self, table: LatencyTable | str | os.PathLike[str]) -> LatencyTable:
        return table if isinstance(table, LatencyTable) else load_table(table, self.db)

    @contextmanager
    def _rig(self, rounds: int, seed: int) -> Iterator[Rig]:
        """What a campaign needs, opened now unless it is open already; these rounds and this seed where none were given."""
        device, store, builder = self._open = self._open or self._opened()
        with self._watching() as watch:
            yield Rig(
                device, store, builder, self._settings, watch,
                visits=self._rounds or rounds, seed=seed if self._seed is None else self._seed,
            )  # fmt: skip

    @needs("convert")
    def _opened(self) -> tuple[Device, Store, TfliteBuilder]:
        with ExitStack() as stack:
            store = stack.enter_context(Store(self.db))
            builder = self._builder or stack.enter_context(TfliteBuilder())
            device = open_device(self.device, self._phone, self._notify)
            stack.callback(device.close)
            self._closing = stack.pop_all()
        return device, store, builder

    @contextmanager
    def _watching(self) -> Iterator[Watch]:
        """The watch of a campaign while it lasts."""
        yield self._watch or silent

    def _notify(self, text: str) -> None:
        """Passes on what the device reports."""
        if self._watch is not None:
            self._watch(Notice(text))
