"""How warm, how fast and how busy a phone is, and waiting until it is ready to measure on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiling.adb.connection import Connection
from profiling.adb.shell import Reply
from profiling.errors import InputError, MeasurementError
from profiling.measurement import DeviceState
from profiling.phone import probes
from profiling.phone.probes import PhoneState
from profiling.phone.watch import Watched

POLL_S = 5.0
BUSY_SHARE = 0.25
BUSY_LIMIT_S = 60.0


class Climate:
    """Reads the state of a phone; the first reading says what its clocks may be when nothing holds them back.

    Args:
        connection: to the phone.
        max_temperature_c: of the skin, or of the CPU where the phone reports no other; None for no limit but the phone's own.
        limit_s: how long it may take to cool down.
        notify: called with the reason for waiting.
        sleep: waits for some seconds.

    Attributes:
        latest: the last reading.

    Raises:
        InputError: a temperature is to be kept, and the phone does not report any.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        max_temperature_c: float | None,
        limit_s: float,
        notify: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._connection, self._notify, self._sleep = connection, notify, sleep
        self._max_temperature_c, self._limit_s = max_temperature_c, limit_s
        self.probes = probes.STATE_PROBES | {"zones": probes.ZONE_PROBE}
        replies = connection.batch(self.probes)
        self.latest = self._at_start = self.note(replies)
        if probes.parse_thermal(replies["thermal"].text).warmest_c is not None:
            self.probes = probes.STATE_PROBES  # reading every sensor takes a phone up to a second
        if self.latest.thermal.status is None:
            notify(f"{connection.serial}: the phone does not report whether it is throttled")
        if max_temperature_c is not None and self._gauge_c() is None:
            raise InputError("the phone does not report its temperature, so --max-temp cannot be kept", where=connection.serial)

    def read(self) -> PhoneState:
        """Reads the state now."""
        return self.note(self._connection.batch(self.probes))

    def note(self, replies: Mapping[str, Reply]) -> PhoneState:
        """Takes a state from the answers to `probes`."""
        self.latest = PhoneState.parse({name: reply.text for name, reply in replies.items()})
        return self.latest

    def beside(self, mask: str, watched: Watched | None = None) -> DeviceState:
        """The last reading, for the cores of this mask, as it is kept beside a run of which this was seen."""
        return self.latest.beside(mask, self._at_start.clocks, watched)

    def wait_until_fit(self, mask: str) -> None:
        """Waits while the phone reports that it throttles, or is too warm.

        Raises:
            MeasurementError: it stays so beyond the limit.
        """
        waited = 0.0
        while reason := self._unfit(mask):
            if waited >= self._limit_s:
                raise MeasurementError(
                    f"the phone does not cool down within {self._limit_s:g} s: {reason}",
                    where=self._connection.serial,
                    hint="take it out of its case and off the charger, or somewhere cooler; what was measured is kept",
                )
            self._notify(f"{self._connection.serial}: {reason}; waiting for it to cool down")
            self._sleep(POLL_S)
            waited += POLL_S
            self.read()

    def _unfit(self, mask: str) -> str | None:
        if self.beside(mask).throttled:
            status = self.latest.thermal.status
            return f"the phone throttles (thermal status {status})" if status else "the phone limits its clocks"
        gauge_c = self._gauge_c()
        if self._max_temperature_c is not None and gauge_c is not None and gauge_c > self._max_temperature_c:
            return f"the phone is at {gauge_c:.1f} °C, above {self._max_temperature_c:g} °C"
        return None

    def _gauge_c(self) -> float | None:
        thermal = self.latest.thermal
        return thermal.cpu_c if thermal.skin_c is None else thermal.skin_c


def wait_for_other_load(
    connection: Connection, before: str, now: str, *, notify: Callable[[str], None], sleep: Callable[[float], None]
) -> None:
    """Waits while other programs work on more than a share of all cores; no longer than a minute, for some phones always do.

    Args:
        connection: to the phone.
        before, now: two answers to `probes.STAT_PROBE`.
        notify: called with the reason for waiting, and when waiting was in vain.
        sleep: waits for some seconds.
    """
    waited = 0.0
    while (busy := probes.parse_busy(before, now)) is not None and busy > BUSY_SHARE:
        if waited >= BUSY_LIMIT_S:
            notify(f"{connection.serial}: the phone is still busy; its figures may be slow and noisy. Close other apps")
            return
        notify(f"{connection.serial}: other programs keep {busy:.0%} of the phone busy; waiting")
        sleep(POLL_S)
        waited += POLL_S
        before, now = now, connection.shell(probes.STAT_PROBE).text
