"""A running test phone, and the strings to pull on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from . import root

HERE = Path(__file__).parent
STATE = {
    "thermal_status": "0",
    "hal_ready": "true",
    "skin_c": "31.5",
    "cpu_c": "36.2",
    "battery_c": "27.5",
    "cooling": "0",
    "battery_level": "93",
    "battery_mv": "4321",
    "battery_present": "true",
    "absent_services": "",
    "wakefulness": "Asleep",
    "page_bytes": str(os.sysconf("SC_PAGE_SIZE")),
    # The first line of /proc/stat, which stands still: a phone whose load is not known, on a machine that runs tests.
    "stat": "cpu  0 0 0 0 0 0 0 0 0 0",
}
SETTINGS = {"stay_on_while_plugged_in": "0", "low_power": "0"}
LITTLE_KHZ, BIG_KHZ = 1803000, 2850000


def properties(serial: str) -> dict[str, str]:
    machine = os.uname().machine
    abi = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}.get(machine, machine)
    return {
        "ro.product.manufacturer": "spnas",
        "ro.product.model": "Test Phone",
        "ro.product.device": "testphone",
        "ro.build.fingerprint": "spnas/testphone/testphone:14/TEST.240101.001/1:userdebug/test-keys",
        "ro.build.version.release": "14",
        "ro.build.version.sdk": "34",
        "ro.product.cpu.abilist": abi,
        "ro.soc.manufacturer": "Debian",
        "ro.soc.model": f"adbd on {machine}",
        "ro.board.platform": "namespace",
        "ro.hardware": "namespace",
        "ro.serialno": serial,
        "sys.boot_completed": "1",
    }


class Phone:
    """A test phone: `start` it, pull its strings, `stop` it. All that it is lives in `folder` and in its namespaces.

    Attributes:
        serial: its `ro.serialno`; port: where it is reached on 127.0.0.1, 0 for any free one until it is started; folder: its
        state on this machine.
    """

    def __init__(self, folder: Path, port: int = 0, serial: str = "SPNASTEST01") -> None:
        self.folder, self.port, self.serial = folder, port, serial
        self.root = root.build()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def tool(self) -> Path:
        """The `benchmark_model` to push to this phone."""
        return self.root / "benchmark_model"

    @property
    def running(self) -> bool:
        return self._pid("outer") is not None or self._pid("relay") is not None

    # --- life -------------------------------------------------------------------------------------------------------------

    def start(self, *, data: str = "size=512m,mode=771", outlive: bool = False) -> None:
        """Boots; `data` are the mount options of its /data, `outlive` lets it run on when this process ends."""
        for name in ("mnt", "state/settings", "sys"):
            (self.folder / name).mkdir(parents=True)
        for name, value in STATE.items():
            self.set(name, value)
        for name, value in SETTINGS.items():
            self.set(f"settings/{name}", value)
        self.new_boot_id()
        self.set_properties(properties(self.serial))
        self.set("adbd_up", "")
        self.set("starts", "")
        (self.folder / "state" / "models").touch()
        self._write_sys()
        try:
            self._boot(data, outlive)
        except BaseException:
            self.stop()
            raise

    def _boot(self, data: str, outlive: bool) -> None:
        guard = [] if outlive else ["setpriv", "--pdeathsig", "KILL"]
        spaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]
        outer = self._spawn("outer", [*guard, *spaces, "sh", str(HERE / "boot.sh"), str(self.root), str(self.folder), data])
        init = self._wait_for(lambda: first_child(outer), "the first process")
        self._wait_for(lambda: (self.folder / "state" / "adbd.log").exists(), "adbd")
        relay = [sys.executable, "-I", str(HERE / "relay.py"), str(self.port), str(init), str(self.folder)]
        self._spawn("relay", [*guard, *relay])
        self.port = int(self._wait_for(lambda: read(self.folder / "port"), "the port of its relay"))
        self._wait_for(self._answers, "the answer of adbd")

    def stop(self) -> None:
        for name in ("relay", "outer"):
            if pid := self._pid(name):
                os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        self._wait_for(lambda: not self.running, "the end of the phone")
        shutil.rmtree(self.folder)

    def reboot(self) -> None:
        """Every process ends, the boot id changes, files stay, adbd comes back."""
        self.new_boot_id()
        self.init_kills_all()

    # --- the link ---------------------------------------------------------------------------------------------------------

    def kill_adbd(self) -> None:
        """A real disconnect; init starts the daemon again at once unless `adbd_stays_down`."""
        self.run("pkill -9 -x adbd", check=False)

    def adbd_stays_down(self) -> None:
        (self.folder / "state" / "adbd_up").unlink(missing_ok=True)
        self.kill_adbd()

    def adbd_comes_back(self) -> None:
        self.set("adbd_up", "")
        self._wait_for(self._answers, "the answer of adbd")

    def init_kills_all(self) -> None:
        """What init does when USB changes its mode, or at `adb root`: adbd ends, and all that it ever started with it."""
        self.run("kill -9 -1", check=False)

    def adbd_is_plain(self) -> None:
        """From now on, adbd and all that it starts may only do with files what their owner allows, as the shell of a phone."""
        self.set("adbd_plain", "")
        self.kill_adbd()
        self._wait_for(self._answers, "the answer of adbd")

    def silence(self) -> None:
        """The link goes dead without closing, as Wi-Fi does out of range."""
        os.kill(self._relay(), signal.SIGSTOP)

    def end_silence(self) -> None:
        os.kill(self._relay(), signal.SIGCONT)

    # --- what the phone says of itself -------------------------------------------------------------------------------------

    def set(self, name: str, value: str) -> None:
        """One of STATE, or `settings/NAME`, or `fault`."""
        # In place: a file that is bind-mounted must keep its inode.
        (self.folder / "state" / name).write_text(f"{value}\n")

    def get(self, name: str) -> str:
        return (self.folder / "state" / name).read_text().strip()

    def set_properties(self, changes: dict[str, str]) -> None:
        path = self.folder / "state" / "props"
        now = dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}
        path.write_text("".join(f"{name}={value}\n" for name, value in (now | changes).items()))

    def become_android_7(self) -> None:
        """As far as the shell can tell: its level, and without the tools and services that came later."""
        self.set_properties({"ro.build.version.release": "7.0", "ro.build.version.sdk": "24"})
        self.run("cd /system/bin && rm getconf sha256sum")
        self.set("absent_services", "thermalservice")

    def new_boot_id(self) -> None:
        self.set("boot_id", str(uuid.uuid4()))

    def fault(self, kind: str, times: int | None = None) -> None:
        """Makes the next runs of benchmark_model go wrong; see README.md for the kinds."""
        (self.folder / "state" / "go").unlink(missing_ok=True)
        self.set("fault", kind if times is None else f"{kind} x{times}")

    def during(self, moment: str, script: str, *, once: bool = False) -> None:
        """Has a shell script run on the phone at the `start` or `end` of the timed runs; $PID is the process."""
        self.set(f"on_{moment}", f"{'# once' if once else '# always'}\n{script}")

    def heats(self, slowdown: float, seconds: float) -> None:
        """Has it slow down with heat, by that share once it is hot; work and rest change that within so many seconds."""
        self.set("heat", f"{slowdown} {seconds}")

    def starts(self) -> int:
        """How often benchmark_model was started on the phone, by its own count."""
        return len(self.get("starts"))

    def release(self) -> None:
        """Lets a run with the fault `wait` go on."""
        self.set("go", "")

    def ticks(self, counts: dict[int, int]) -> None:
        """Has cpufreq say for how many ticks each clock (in kHz) was used since the start, which it does not by itself."""
        text = "\n".join(f"{khz} {ticks}" for khz, ticks in counts.items())
        for policy in self.sys("devices/system/cpu/cpufreq").glob("policy*"):
            write(policy / "stats" / "time_in_state", text)

    def keep_from_shell(self, *cores: int) -> None:
        """Takes cores away from all that adbd starts, as a cpuset does, except that `taskset` could get them back."""
        left = [core for core in range(os.cpu_count() or 1) if core not in cores]
        self.run(f"taskset -p {sum(1 << core for core in left):x} 1")
        self.kill_adbd()
        self._wait_for(self._answers, "the answer of adbd")

    def park(self, *cores: int) -> None:
        """Switches cores off, and removes their files as many phones do; with none, switches all on."""
        cpu, there = self.sys("devices/system/cpu"), range(os.cpu_count() or 1)
        write(cpu / "online", ",".join(str(core) for core in there if core not in cores))
        for core in there:
            link, policy = cpu / f"cpu{core}" / "cpufreq", 0 if core < len(there) // 2 else len(there) // 2
            link.unlink(missing_ok=True)
            if core not in cores:
                link.symlink_to(f"../cpufreq/policy{policy}")

    @contextlib.contextmanager
    def waking_under_load(self) -> Iterator[None]:
        """For the length of a `with` block, all cores are switched on when several shells have work to do."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                if self.run("ps -A -o S,NAME").count("R sh") > 1:
                    self.park()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def sys(self, path: str) -> Path:
        """A file below the phone's /sys."""
        return self.folder / "sys" / path

    def run(self, command: str, *, check: bool = True) -> str:
        """Runs a shell command on the phone without adb."""
        inside = ["nsenter", f"--target={self._init()}", "--mount", "--pid", "--net", "--root", "--wd=/"]
        return subprocess.run(
            [*inside, "/usr/bin/env", "-i", "PATH=/system/bin", "/system/bin/sh", "-c", command],
            check=check,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, command: list[str]) -> int:
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        (self.folder / f"{name}.pid").write_text(str(process.pid))
        return process.pid

    def _pid(self, name: str) -> int | None:
        """Of a process of this phone that lives; its command line tells it from a stranger with the same number."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except FileNotFoundError:
            return None
        return pid if str(self.folder) in command.split("\0") else None

    def _init(self) -> int:
        outer = self._pid("outer")
        init = first_child(outer) if outer else None
        if init is None:
            raise RuntimeError(f"the test phone in {self.folder} is not running")
        return init

    def _relay(self) -> int:
        pid = self._pid("relay")
        if pid is None:
            raise RuntimeError(f"the link of the test phone in {self.folder} is not running")
        return pid

    def _write_sys(self) -> None:
        """cpufreq as a phone with one class of small cores shows it: the last half of this machine's cores are the big ones."""
        count = os.cpu_count() or 1
        first_big = count // 2
        cpu = self.sys("devices/system/cpu")
        for name in ("online", "possible", "present"):
            write(cpu / name, f"0-{count - 1}" if count > 1 else "0")
        for policy, cores, khz in ((0, range(first_big), LITTLE_KHZ), (first_big, range(first_big, count), BIG_KHZ)):
            files = {
                "related_cpus": " ".join(map(str, cores)),
                "scaling_governor": "sched_pixel",
                "scaling_cur_freq": khz,
                "scaling_min_freq": 300000,
                "scaling_max_freq": khz,
                "cpuinfo_max_freq": khz,
                "cpuinfo_min_freq": 300000,
            }
            for name, value in files.items() if cores else ():
                write(cpu / "cpufreq" / f"policy{policy}" / name, value)
            for core in cores:
                link = cpu / f"cpu{core}" / "cpufreq"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(f"../cpufreq/policy{policy}")
        for zone, (kind, celsius) in enumerate({"BIG": 36.2, "LITTLE": 34.0, "battery": 27.5}.items()):
            write(self.sys(f"class/thermal/thermal_zone{zone}/type"), kind)
            write(self.sys(f"class/thermal/thermal_zone{zone}/temp"), int(celsius * 1000))
        write(self.sys("class/thermal/cooling_device0/type"), "thermal-cpufreq-0")
        write(self.sys("class/thermal/cooling_device0/cur_state"), 0)

    def _answers(self) -> bool:
        # The first packet of the protocol: 24 bytes of CNXN with an empty banner.
        hello = bytes.fromhex("434e584e 00000001 00001000 00000000 00000000 bcb1a7b1".replace(" ", ""))
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(hello)
                return link.recv(4) == b"CNXN"
        except OSError:
            return False

    def _wait_for(self, condition, what: str, limit_s: float = 60):
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise TimeoutError(f"waited {limit_s} s for {what} of the test phone")


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def read(path: Path) -> str:
    """What a file holds; nothing where it is not there."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def first_child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


@contextlib.contextmanager
def running(**options):
    """A phone for the length of a `with` block: options of `Phone` and of its `start`."""
    serial = options.pop("serial", "SPNASTEST01")
    with tempfile.TemporaryDirectory(prefix="spnas-phone-") as folder:
        phone = Phone(Path(folder) / "phone", serial=serial)
        phone.start(**options)
        try:
            yield phone
        finally:
            phone.stop()
