"""A phone as a device: `benchmark_model` runs on it, detached, and returns its figures whatever happens to the cable."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from profiling.adb.connection import Connection
from profiling.adb.routes import Via, choose_route, connect, look_around
from profiling.adb.server import AdbServer
from profiling.adb.transport import Transport
from profiling.conditions import Conditions
from profiling.cpu_masks import cores_of, mask_of
from profiling.device import BuiltModel, RunResult, RunSettings
from profiling.errors import DeviceLostError, InputError, MeasurementError, NoDeviceError, ToolOutputError
from profiling.measurement import DeviceState, Figures
from profiling.phone import benchmark_binary, benchmark_command, benchmark_output, probes
from profiling.phone.benchmark_binary import BenchmarkBinary
from profiling.phone.benchmark_failures import unknown_flags
from profiling.phone.climate import Climate, wait_for_other_load
from profiling.phone.cores import PhoneCores, name_cores
from profiling.phone.files import LocalFile, PhoneFiles
from profiling.phone.leftovers import remove_leftovers
from profiling.phone.lock import PhoneLock, own_boot_id
from profiling.phone.process import Finished, PhoneProcesses, VanishedError
from profiling.phone.screen import Wakefulness
from profiling.plausibility import has_matrix_unit, most_per_second, refuse_impossible

# For giving everything back to a phone that may be gone.
CLOSE_LIMIT_S = 5.0
BATTERY_FLOOR, BATTERY_LOW = 10, 20
HOT_BATTERY_C = 40.0
SETTLED_AFTER_BOOT_S = 120.0
ATTEMPTS = 3
# `--max_secs` may end the runs early; the minimum of fewer runs than this says little.
FEWEST_RUNS = 5
_THREADS = re.compile(r"Num threads: \[(-?\d+)\]")


@dataclass(frozen=True)
class Limits:
    """Limits for a phone.

    Attributes:
        max_temperature_c: of the skin, or of the CPU where the phone reports no other; measuring waits until it is below. None
            for no limit but the phone's own.
        reconnect_s: how long it may be away, in seconds.
        cool_down_s: how long it may take to cool down, in seconds.
    """

    max_temperature_c: float | None = None
    reconnect_s: float = 600.0
    cool_down_s: float = 600.0


def open_phone(
    name: str | None,
    *,
    tool: str = benchmark_binary.DEFAULT_VERSION,
    via: Via = "auto",
    server: AdbServer | None = None,
    limits: Limits = Limits(),
    notify: Callable[[str], None] = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
) -> AdbDevice:
    """The phone of this name, ready to measure.

    Args:
        name: a serial number, HOST[:PORT], ssh:USER@HOST, or None for the only phone there is.
        tool: file or version of `benchmark_model`, see `benchmark_binary.find`.
        via: the way to it.
        server: the adb server to ask; the usual one by default.
        limits: how long to wait for it, and how warm it may be.
        notify: called with one line for anything the user should know.
        sleep: waits for some seconds.

    Raises:
        NoDeviceError: there is no such phone, or it is not fit for measuring.
        InputError: the tool does not fit the phone, or a limit cannot be kept on it.
    """
    server = server or AdbServer()
    route = choose_route(name, via, look_around(server))
    notify(f"{route.target}: over {route.via}, because {route.reason}")
    return AdbDevice(lambda: connect(route, server, notify=notify), tool, limits, notify=notify, sleep=sleep)


class AdbDevice:
    """Keeps the protocol `profiling.device.Device` for a phone, whatever the link; see `open_phone` for the arguments."""

    def __init__(
        self,
        connect: Callable[[], Transport],
        tool: str,
        limits: Limits = Limits(),
        *,
        notify: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._notify, self._sleep = notify, sleep
        self._connection = Connection(connect, limit_s=limits.reconnect_s, notify=notify, sleep=sleep)
        with contextlib.ExitStack() as undo:
            undo.callback(self._connection.close)
            identity = self._connection.batch({**probes.IDENTITY_PROBES, "properties": self._connection.properties_command})
            self._properties = probes.parse_properties(identity["properties"].text)
            if probes.is_emulator(self._properties):
                notify(f"{self.name}: an emulator: its figures are those of the computer that it runs on, not of a phone")
            texts = {name: reply.text for name, reply in identity.items()}
            self._cores = PhoneCores(self._connection, texts, notify=notify)
            self._stat, self._told = identity["stat"].text, set[str]()
            self._matrix_unit = has_matrix_unit(identity["features"].text)
            self._tool = self._find_tool(tool, probes.parse_page_bytes(texts["pages"]))
            self._lock = PhoneLock(self._connection)
            undo.callback(self._lock.release)
            self._files = PhoneFiles(self._connection)
            undo.callback(self._files.remove_all)
            remove_leftovers(self._connection, own=self._files.folder, notify=notify)
            self._processes = PhoneProcesses(self._connection, self._files.folder, before=self._lock.renewal)
            self._screen = Wakefulness(self._connection)
            undo.callback(self._screen.restore)
            undo.callback(self._processes.kill_all)
            self._prepare()
            self._climate = Climate(
                self._connection,
                self._cores.speeds,
                max_temperature_c=limits.max_temperature_c,
                limit_s=limits.cool_down_s,
                notify=notify,
                sleep=sleep,
            )
            self._undo = undo.pop_all()

    @property
    def name(self) -> str:
        """The serial number that the phone itself reports."""
        return self._connection.serial

    @property
    def shares_cpu(self) -> bool:
        """Never, for a phone has its own CPU; but this machine can be reached over ssh as well."""
        return self._connection.boot_id == own_boot_id()

    def conditions(self, settings: RunSettings) -> Conditions:
        """The conditions that hold for runs with these settings.

        Raises:
            InputError: the phone does not have these cores.
        """
        properties = self._properties
        version = self._tool.version
        return Conditions(
            device=self.name,
            product=probes.describe_product(properties),
            os_build=properties.get("ro.build.fingerprint") or "unknown",
            soc=properties.get("ro.soc.model") or properties.get("ro.board.platform") or "unknown",
            runtime=f"LiteRT {version}" if version else "as built into the tool",
            tool=f"benchmark_model {self._tool.sha256}",
            threads=settings.threads,
            cores=self._cores.choose(settings.cores),
            precision=settings.precision,
            delegate=settings.delegate,
        )

    def push(self, models: list[BuiltModel]) -> None:
        """Copies to the phone those models that it lacks; see `Device`."""
        self._files.ensure([self._tool_file(), *map(_model_file, models)])

    def run(self, model: BuiltModel, settings: RunSettings) -> RunResult:
        """Runs one benchmark process on a model; see `Device`.

        When the phone restarts, the run is made again. When it begins to throttle, it is made again after it has cooled down.
        When the process leaves its cores, it is made again, and flagged if that happens every time.
        """
        resolved = replace(settings, cores=self._cores.choose(settings.cores))
        finished = None
        try:
            finished = self._finish(model, resolved)
            figures, output = self._read(finished, resolved, model.key)
            refuse_impossible(model, figures, self._most_per_second(resolved))
        except ToolOutputError as error:
            error.state = self._state(resolved.cores, finished)
            raise
        return RunResult(figures, output, self._state(resolved.cores, finished), finished.seconds)

    def _most_per_second(self, settings: RunSettings) -> float:
        """Multiply-adds that the cores in use can do; see `plausibility.most_per_second`."""
        speeds = self._cores.speeds
        cores = list(speeds) if settings.cores == "any" else cores_of(settings.cores)
        return most_per_second(settings, [speeds.get(core) for core in cores], matrix_unit=self._matrix_unit)

    def _finish(self, model: BuiltModel, settings: RunSettings) -> Finished:
        """Runs the tool until it ends without a restart, throttling or disturbance; the climate is then that of this run.

        A run that is disturbed every time is returned all the same.

        Raises:
            ToolOutputError: `hang`, or the reason why there is no such run.
        """
        file = _model_file(model)
        tool = self._files.path(self._tool_file())
        arguments = benchmark_command.command(tool, self._files.path(file), settings)
        failure, disturbed = ("vanished", "the benchmark process disappears without a trace"), None
        for _ in range(ATTEMPTS):
            if self._boots != self._connection.boots:
                self._prepare()
            self._wake(settings.cores)
            if not settings.may_throttle:
                self._climate.wait_until_fit(settings.cores)
            self._files.ensure([self._tool_file(), file])
            try:
                finished = self._processes.run(arguments, tool, timeout_s=settings.timeout_s, probes=self._climate.probes)
            except VanishedError:
                self._processes.kill_all()
                self._files.look_again()
                self._climate.read()
                continue
            except ToolOutputError:
                self._climate.read()  # a process that was killed answers no probes
                raise
            self._climate.note(finished.probes)
            if self._climate.beside(settings.cores).throttled and not settings.may_throttle:
                failure = "throttled", "the phone throttles every time"
                continue
            disturbed = finished
            if not (disturbances := self._disturbances(finished, settings.cores)):
                return finished
            self._notify(f"{self.name}: {' and '.join(disturbances.values())}; measuring again")
        if disturbed is not None:
            self._notify(f"{self.name}: {model.key}: so it was {ATTEMPTS} times; the figure is flagged")
            return disturbed
        raise ToolOutputError(*failure, where=model.key, hint="look at the phone: does it get hot, or restart?")

    def _wake(self, mask: str) -> None:
        """Wakes the screen and the cores in use where the last reading found them off.

        Raises:
            ToolOutputError: a core stays off.
        """
        if self._climate.latest.awake is False:
            self._screen.keep()
        if not self._climate.off(mask):
            return
        if off := self._cores.wake(mask):
            raise ToolOutputError(
                "core mask",
                f"the phone has switched off {name_cores(off)}, also under load",
                where=self.name,
                hint="keep the screen on and the phone cool, or choose other cores with --cores",
            )
        self._notify(f"{self.name}: the phone had switched off cores in use; they are on again")

    def packed_bytes(self, models: list[BuiltModel], settings: RunSettings) -> dict[str, int]:
        """Nothing: `benchmark_model` tells only how much the whole process grew, weights, activations and itself together."""
        return {}

    def close(self) -> None:
        """Removes what was put on the phone, restores its settings and releases the lock, as far as a lost phone allows."""
        self._connection.limit_s = CLOSE_LIMIT_S
        try:
            self._undo.close()
        except (DeviceLostError, MeasurementError) as error:
            self._notify(
                f"{self.name}: not everything could be restored ({error.problem}); the next run on this phone will do it"
            )

    def _prepare(self) -> None:
        """What must be done after every start of the phone."""
        self._boots = self._connection.boots
        self._processes.kill_all()
        self._files.look_again()
        ready = self._connection.batch(probes.READINESS_PROBES)
        self._judge_battery(ready["battery"].text, saver=ready["saver"].text == "1")
        self._screen.keep()
        uptime = probes.parse_load(ready["uptime"].text)
        if uptime is not None and uptime < SETTLED_AFTER_BOOT_S:
            wait = SETTLED_AFTER_BOOT_S - uptime
            self._notify(f"{self.name}: the phone has just started; waiting {wait:.0f} s for it to settle")
            self._sleep(wait)
        before, self._stat = self._stat, ready["stat"].text
        wait_for_other_load(self._connection, before, self._stat, notify=self._notify, sleep=self._sleep)

    def _judge_battery(self, text: str, *, saver: bool) -> None:
        battery = probes.parse_battery(text)
        if battery.absent:
            self._notify(f"{self.name}: no battery, so its charge is not watched")
        elif battery.level is None:
            self._notify(f"{self.name}: the phone does not report its battery level")
        elif battery.level < BATTERY_FLOOR:
            raise NoDeviceError(f"the battery is at {battery.level:.0f} %", where=self.name, hint="charge the phone first")
        elif battery.level < BATTERY_LOW:
            self._notify(f"{self.name}: the battery is at {battery.level:.0f} %; the phone may save power")
        if battery.charging and battery.temperature_c is not None and battery.temperature_c > HOT_BATTERY_C:
            self._notify(f"{self.name}: charging has warmed the battery to {battery.temperature_c:.0f} °C")
        if saver:
            self._notify(f"{self.name}: battery saver is on, which lowers the clocks; turn it off")

    def _find_tool(self, tool: str, page_bytes: int | None) -> BenchmarkBinary:
        abis = [abi for abi in self._properties.get("ro.product.cpu.abilist", "").split(",") if abi]
        if not abis:
            raise InputError("the phone does not report its ABI, so no benchmark tool can be chosen for it", where=self.name)
        found = benchmark_binary.find(tool, abis, page_bytes=page_bytes)
        if found.loader and self._connection.shell(f"[ -e {shlex.quote(found.loader)} ]").exit_code != 0:
            raise InputError(
                f"the benchmark tool is built for another system: its loader {found.loader} is not on the phone",
                where=str(found.path),
                hint="use a build for the system of the phone, or a static one",
            )
        self._notify(f"{self.name}: {found.path} (SHA-256 {found.sha256})")
        return found

    def _tool_file(self) -> LocalFile:
        path = self._tool.path
        return LocalFile(path, self._tool.sha256, path.stat().st_size, executable=True)

    def _disturbances(self, finished: Finished, mask: str) -> dict[str, str]:
        """What makes a figure other than what it claims to be, as flags with the words for each."""
        found = {}
        # A mask that never held is an error of its own.
        held = mask != "any" and cores_of(finished.cpus or "0") == cores_of(mask)
        if held and finished.exit_code == 0 and (others := finished.watched.left(cores_of(mask))):
            found["other cores"] = f"the process was moved to the cores {mask_of(others)} while it ran, away from {mask}"
        if finished.exit_code != 0 and (off := self._climate.off(mask)):
            found["cores off"] = f"the phone has switched off {name_cores(off)}"
        if self._climate.latest.awake is False:
            found["screen off"] = "the screen went off while the process ran"
        return found

    def _state(self, mask: str, finished: Finished | None) -> DeviceState:
        """The state beside a run, which has left nothing where it was killed."""
        if finished is None:
            state, flags = self._climate.beside(mask), []
        else:
            state, flags = self._climate.beside(mask, finished.watched), list(self._disturbances(finished, mask))
        return state.model_copy(update={"boot_id": self._connection.boot_id or None, "flag": ", ".join(flags) or None})

    def _read(self, finished: Finished, settings: RunSettings, key: str) -> tuple[Figures, str]:
        """The figures of a process, and everything it printed.

        Raises:
            ToolOutputError: it gave no valid result, or did not run as requested.
        """
        output = finished.stdout + finished.stderr
        try:
            result = benchmark_output.read_result(
                finished.stdout, finished.stderr, finished.exit_code, delegate=settings.delegate
            )
            figures = benchmark_output.figures(result)
        except ToolOutputError as error:
            if error.reason in ("not found", "model refused"):
                self._files.look_again()  # missing or damaged files are then pushed again
            error.where = key
            raise
        if (flags := unknown_flags(output)) and flags not in self._told:
            self._told.add(flags)
            self._notify(f"{self.name}: this benchmark_model does not know the flags {flags}")
        if figures.count < min(settings.runs, FEWEST_RUNS):
            raise ToolOutputError(
                "too few runs",
                f"the time limit left room for {figures.count} of {settings.runs} runs",
                recurs=True,
                where=key,
                hint="give each process more time with --timeout",
            )
        _require_threads(settings.threads, output, key)
        if settings.cores != "any" and cores_of(finished.cpus or "0") != cores_of(settings.cores):
            raise ToolOutputError(
                "core mask",
                f"the process was allowed the cores {finished.cpus or 'unknown'}, not {settings.cores}",
                recurs=True,
                where=key,
                hint="choose other cores with --cores; the phone has taken away some of the requested ones",
            )
        return figures, output


def _require_threads(wanted: int, output: str, key: str) -> None:
    """Believes in a number of threads only when the tool says it; one that is silent runs with one.

    Raises:
        ToolOutputError: it says another number, or nothing.
    """
    said = _THREADS.findall(output)
    if (said or ["1"])[-1] != str(wanted):
        problem = (
            f"the tool says that it ran with {said[-1]} threads" if said else "the tool does not say how many threads it ran with"
        )
        hint = "use --threads 1, or another version of the tool"
        raise ToolOutputError("threads", f"{problem}; {wanted} were asked for", recurs=True, where=key, hint=hint)


def _model_file(model: BuiltModel) -> LocalFile:
    return LocalFile(model.path, model.sha256, model.size_bytes)
