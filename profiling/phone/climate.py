"""How warm, how fast and how busy a phone is, and waiting until it is ready to measure on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiling.adb.connection import Connection
from profiling.adb.shell import Reply
from profiling.cpu_masks import cores_of
from profiling.errors import InputError, MeasurementError
from profiling.measurement import DeviceState
from profiling.phone import probes
from profiling.phone.probes import PhoneState
from profiling.phone.watch import Watched

POLL_S = 5.0
# Clocks that are held back for so long on an idle phone without any thermal status are no matter of heat.
STEADY_S = 60.0
BUSY_SHARE = 0.25
BUSY_LIMIT_S = 60.0


class Climate:
    """Reads the state of a phone, and judges its clocks by what its hardware can do.

    A phone may hold its clocks back when it is first read, or raise them for a moment when it wakes up, so no single reading says
    what they may be. Cores whose highest clock is unknown are judged by the highest that any reading allowed. What a phone allows
    for a minute on end, idle and without a thermal status, counts as its full speed from then on.

    Args:
        connection: to the phone.
        speeds: the highest clock of each core in kHz, as the hardware has it; None where it is unknown.
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
        speeds: Mapping[int, int | None],
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
        self._full_khz = {core: khz for core, khz in speeds.items() if khz is not None}
        self._accepted: set[int] = set()
        self.latest = self.note(replies)
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
        for core, clock in self.latest.clocks.items():
            if clock.allowed_khz is not None and core not in self._accepted:
                self._full_khz[core] = max(clock.allowed_khz, self._full_khz.get(core, 0))
        return self.latest

    def beside(self, mask: str, watched: Watched | None = None) -> DeviceState:
        """The last reading, for the cores of this mask, as it is kept beside a run of which this was seen."""
        return self.latest.beside(mask, self._full_khz, watched)

    def off(self, mask: str) -> list[int]:
        """The cores of a mask that the last reading found off; none for `any`, and where the phone does not report them."""
        online = self.latest.online
        return [core for core in cores_of(mask) if core not in online] if online and mask != "any" else []

    def wait_until_fit(self, mask: str) -> None:
        """Waits while the phone reports that it throttles, or is too warm.

        Raises:
            MeasurementError: it stays so beyond the limit.
        """
        waited = steady = 0.0
        held_back = self._held_back(mask)
        while reason := self._unfit(mask):
            if steady >= STEADY_S:
                self._accept(held_back)
                held_back, steady = {}, 0.0
                continue
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
            before, held_back = held_back, self._held_back(mask)
            is_steady = held_back and held_back == before and not self.latest.thermal.status
            steady = steady + POLL_S if is_steady else 0.0

    def _held_back(self, mask: str) -> dict[int, int]:
        return self.latest.held_back(mask, self._full_khz)

    def _accept(self, held_back: Mapping[int, int]) -> None:
        self._notify(
            f"{self._connection.serial}: {self._limits(held_back)}, for {STEADY_S:g} s now and without a thermal status; "
            "this counts as full speed from now on"
        )
        self._full_khz.update(held_back)
        self._accepted.update(held_back)

    def _limits(self, held_back: Mapping[int, int]) -> str:
        most = min(held_back, key=lambda core: held_back[core] / self._full_khz[core])
        return f"the phone limits its clocks to {held_back[most] / 1000:.0f} of {self._full_khz[most] / 1000:.0f} MHz"

    def _unfit(self, mask: str) -> str | None:
        if self.beside(mask).throttled:
            status = self.latest.thermal.status
            return f"the phone throttles (thermal status {status})" if status else self._limits(self._held_back(mask))
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
