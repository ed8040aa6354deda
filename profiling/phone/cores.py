"""The cores of a phone: which are there, which are on, and waking those that it has switched off to save power."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiling.adb.connection import Connection
from profiling.cpu_masks import cores_of
from profiling.errors import InputError
from profiling.phone import probes

# Work for every core at once, over within seconds whatever happens to the link: a phone that is short of cores switches more on.
_LOAD = "n=0; while [ $n -lt 300000 ]; do n=$((n + 1)); done"
_ONLINE = "cat /sys/devices/system/cpu/online"


class PhoneCores:
    """Chooses the cores to measure on.

    Args:
        connection: to the phone.
        texts: answers to `probes.IDENTITY_PROBES`.
        notify: called with one line about cores that are off.

    Attributes:
        speeds: of the cores that are on, the highest clock in kHz.
    """

    def __init__(self, connection: Connection, texts: Mapping[str, str], *, notify: Callable[[str], None]) -> None:
        self._connection, self._notify = connection, notify
        self._chosen: dict[str, str] = {}
        self._read(texts)

    def choose(self, wanted: str) -> str:
        """The mask for `any`, `big`, `prime` or a mask; see `probes.choose_cores`. Wakes cores that are off first.

        Raises:
            InputError: the phone does not have these cores, or those that are off may be the ones wanted.
        """
        if wanted not in self._chosen:
            if wanted != "any" and self._off:
                self._wake_all()
            mask = probes.choose_cores(wanted, self.speeds, where=self._connection.serial)
            if wanted in ("big", "prime"):
                self._refuse_slower(wanted, mask)
            self._chosen[wanted] = mask
        return self._chosen[wanted]

    def wake(self, mask: str) -> list[int]:
        """Wakes the cores of a mask; returns those that stay off."""
        text = self._under_load()
        return [core for core in cores_of(mask) if core not in probes.core_list(text)]

    def _read(self, texts: Mapping[str, str]) -> None:
        self.speeds = probes.parse_cores(texts["online"], texts["speeds"])
        self._off = probes.parse_off(texts)
        self._known_khz = probes.parse_speeds(texts["speeds"])

    def _wake_all(self) -> None:
        off = name_cores(self._off)
        self._under_load()
        replies = self._connection.batch(probes.CORES_PROBES)
        self._read({name: reply.text for name, reply in replies.items()})
        left = f"{name_cores(self._off)} still off" if self._off else "all are on"
        self._notify(f"{self._connection.serial}: the phone had switched off {off}; under load: {left}")

    def _under_load(self) -> str:
        """The cores that are on after some work on all of them."""
        workers = len(self.speeds) + len(self._off)
        return self._connection.shell(" ".join([f"( {_LOAD} ) &"] * workers) + f" wait; {_ONLINE}").text

    def _refuse_slower(self, wanted: str, mask: str) -> None:
        slowest = min(self.speeds[core] or 0 for core in cores_of(mask))
        faster = [core for core in self._off if self._known_khz.get(core, slowest + 1) > slowest]
        if faster:
            raise InputError(
                f"the phone keeps {name_cores(faster)} switched off, also under load, and its fastest may be among them; "
                f"`--cores {wanted}` would measure on slower ones",
                where=self._connection.serial,
                hint=f"keep the screen on, turn battery saver off, and run again; or name cores that are on: --cores {mask}",
            )


def name_cores(cores: list[int]) -> str:
    """`core 7`, or `cores 4, 5 and 7`."""
    *others, last = map(str, cores)
    return f"cores {', '.join(others)} and {last}" if others else f"core {last}"
