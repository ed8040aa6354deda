"""The cores of a phone: which are there, which are on, and waking those that it has switched off to save power."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiling.adb.connection import Connection
from profiling.cpu_masks import cores_of, mask_of
from profiling.errors import InputError
from profiling.phone import probes
from profiling.phone.core_kinds import parse_kinds

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
        self._can_pin = bool(texts["taskset"])
        self._read(texts)

    def choose(self, wanted: str) -> str:
        """The mask for `any`, `big`, `prime` or a mask; see `probes.choose_cores`. Wakes cores that are off first.

        Raises:
            InputError: the phone does not have these cores, its shell may not use them, or those that cannot be used may be the
                ones wanted.
        """
        if wanted not in self._chosen:
            if wanted != "any" and not self._can_pin:
                raise InputError(
                    "the phone has no program `taskset`, which keeps a process on its cores",
                    where=self._connection.serial,
                    hint="use --cores any",
                )
            if wanted != "any" and self._off:
                self._wake_all()
            elif self._barred:
                self._read_again()  # a phone that has woken up since may allow more
            self._tell_barred()
            self._chosen[wanted] = self._choose(wanted)
        return self._chosen[wanted]

    def wake(self, mask: str) -> list[int]:
        """Wakes the cores of a mask; returns those that stay off."""
        text = self._under_load()
        return [core for core in cores_of(mask) if core not in probes.core_list(text)]

    def _choose(self, wanted: str) -> str:
        where = self._connection.serial
        if wanted not in ("any", "big", "prime"):
            mask = probes.choose_cores(wanted, self.speeds, where=where)
            if barred := [core for core in cores_of(mask) if core in self._barred]:
                self._refuse_barred(barred, f"`--cores {wanted}` names")
            return mask
        usable = {core: self.speeds[core] for core in self._usable}
        mask = probes.choose_cores(wanted, usable, where=where, kinds=self._kinds)
        if wanted != "any":
            self._refuse_slower(wanted, mask)
        return mask

    def _read(self, texts: Mapping[str, str]) -> None:
        self.speeds = probes.parse_cores(texts["online"], texts["speeds"])
        self._off, self._barred = probes.parse_off(texts), probes.parse_barred(texts)
        self._kinds = parse_kinds(texts)

    def _read_again(self) -> None:
        replies = self._connection.batch(probes.CORES_PROBES)
        self._read({name: reply.text for name, reply in replies.items()})

    def _wake_all(self) -> None:
        off = name_cores(self._off)
        self._under_load()
        self._read_again()
        left = f"{name_cores(self._off)} still off" if self._off else "all are on"
        self._notify(f"{self._connection.serial}: the phone had switched off {off}; under load: {left}")

    def _tell_barred(self) -> None:
        if self._barred and not self._chosen:
            self._notify(
                f"{self._connection.serial}: the phone keeps {name_cores(self._barred)} from its shell (cpuset); "
                f"{name_cores(self._usable)} can be measured on"
            )

    def _under_load(self) -> str:
        """The cores that are on after some work on all of them."""
        workers = len(self.speeds) + len(self._off)
        return self._connection.shell(" ".join([f"( {_LOAD} ) &"] * workers) + f" wait; {_ONLINE}").text

    @property
    def _usable(self) -> list[int]:
        return [core for core in self.speeds if core not in self._barred]

    def _refuse_slower(self, wanted: str, mask: str) -> None:
        """Refuses a choice that would be another, with faster cores, if all cores could be used."""
        chosen, lacking = self._kinds[cores_of(mask)[0]], [*self._off, *self._barred]
        unknown = [core for core in lacking if core not in self._kinds]
        everything = dict.fromkeys(sorted({*self.speeds, *lacking}))
        best = probes.choose_cores(wanted, everything, where=self._connection.serial, kinds=self._kinds)
        faster = [core for core in cores_of(best) if core in lacking and self._kinds[core] > chosen]
        if barred := [core for core in faster if core in self._barred]:
            self._refuse_barred(barred, f"`--cores {wanted}` means", f", or measure on the fastest of these: --cores {mask}")
        if faster := sorted({*faster, *unknown}):
            raise InputError(
                f"the phone keeps {name_cores(faster)} switched off, also under load, and its fastest may be among them; "
                f"`--cores {wanted}` would measure on slower ones",
                where=self._connection.serial,
                hint=f"keep the screen on, turn battery saver off, and run again; or name cores that are on: --cores {mask}",
            )

    def _refuse_barred(self, barred: list[int], asked: str, instead: str = "") -> None:
        usable = f"{name_cores(self._usable)} (mask {mask_of(self._usable)})"
        raise InputError(
            f"{asked} {name_cores(barred)}, which the phone keeps from its shell (cpuset)",
            where=self._connection.serial,
            hint=f"the shell has {usable}: keep the screen on and run again{instead}",
        )


def describe_phone_cores(texts: Mapping[str, str]) -> str:
    """How many cores of each kind, how many are off, and which are kept from the shell; from the answers to CORES_PROBES."""
    off, barred = probes.parse_off(texts), probes.parse_barred(texts)
    words = [probes.describe_cores(probes.parse_cores(texts["online"], texts["speeds"]), parse_kinds(texts))]
    words += [f"{len(off)} off"] if off else []
    words += [f"not for the shell: {name_cores(barred)}"] if barred else []
    return ", ".join(words)


def name_cores(cores: list[int]) -> str:
    """`core 7`, or `cores 4, 5 and 7`."""
    *others, last = map(str, cores)
    return f"cores {', '.join(others)} and {last}" if others else f"core {last}"
