"""The bench for commands and notebooks: it shows its progress and takes networks by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from latency_db import bench, validate
from latency_db.comparison import Comparison, Entrant
from latency_db.table import LatencyTable
from latency_db.validate import Validation
from profiling.events import Watch
from profiling.space import Architecture
from search.convnet.entrants import Scaling, read_entrants
from search.convnet.named import find_architecture
from spnas_cli.measuring import watching
from spnas_cli.output import note


class Bench(bench.Bench):  # noqa: D101
    __doc__ = bench.Bench.__doc__

    def validate(
        self,
        table: LatencyTable | str | os.PathLike[str],
        *,
        networks: int = validate.NETWORKS,
        others: Mapping[str, Architecture] | Sequence[str | os.PathLike[str]] | None = None,
    ) -> Validation:
        """Measures random networks, and the calibration networks again, to check how accurate the runtime model is.

        Args:
            table: a table, or anything `load_table` takes; measured on this device with these settings.
            networks: how many random networks; none of them took part in the calibration.
            others: networks to measure as well, which the report does not include: a mapping from names to architectures, or a
                list of anything `find_architecture` takes.

        Raises:
            InputError: the number of rounds is odd, or one of the others cannot be found.
            TableError: the table was measured under different conditions; names every difference.
            SpnasError: as for `profile`.
        """
        found = self._table(table)
        if others is not None and not isinstance(others, Mapping):
            others = {os.fspath(name): find_architecture(name, found.space) for name in others}
        return super().validate(found, networks=networks, others=others)

    def compare(
        self, entrants: Sequence[Entrant | str | os.PathLike[str]], table: LatencyTable | str | os.PathLike[str] | None = None
    ) -> Comparison:
        """Measures networks side by side, in the same shuffled rounds.

        Args:
            entrants: what to compare; each an `Entrant`, or a name, file or run folder as `spnas compare` takes them.
            table: table to predict their latencies from, as for `validate`; None for no predictions.

        Raises:
            InputError: a network cannot be found, or they cannot be compared.
            TableError, SpnasError: as for `validate`.
        """
        known = None if table is None else self._table(table)
        space = None if known is None else known.space
        names = [os.fspath(each) for each in entrants if not isinstance(each, Entrant)]
        read = iter(read_entrants(names, Scaling(), space=space, say=self._notify))
        found = [each if isinstance(each, Entrant) else next(read) for each in entrants]
        return super().compare(found, known)

    @contextmanager
    def _watching(self) -> Iterator[Watch]:
        if self._watch is not None:
            yield self._watch
            return
        with watching(self.device) as [watch]:
            yield watch

    def _notify(self, text: str) -> None:
        if self._watch is None:
            note(text)
        super()._notify(text)
