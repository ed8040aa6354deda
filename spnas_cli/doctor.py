"""What `spnas doctor` looks at: this machine, the packages and whether they can be imported, caches, and the ways to phones."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from profiling.extras import CORE, PURPOSES, Package, install_command, packages
from spnas_cli import __version__
from spnas_cli.output import ProgressLine, printable

if TYPE_CHECKING:
    from profiling.device import DeviceSummary

# Importing TensorFlow for the first time on a slow disk takes a minute.
IMPORT_TIMEOUT_S = 180.0
OUR_PACKAGES = ("profiling", "latency_db", "search")
# How a package is tried where importing it is not how it is used here; what is printed is the device of trainings.
TRIALS = {
    "torchvision": "import search.images.vision",
    "accelerate": "from accelerate import PartialState; print(PartialState().device.type)",
}
CACHES = {
    "tflite": "TFLite models, built again when needed",
    "benchmark_model": "benchmark tools for phones, as downloaded",
    "data": "data sets, as downloaded",
    "images": "what is known of images",
    "shards": "indexes of shards",
}


@dataclass(frozen=True)
class Installed:
    """An extra, or the core: its packages, and why those that cannot be used cannot.

    Attributes:
        extra: its name.
        purpose: the commands that need it.
        packages: by name.
        problems: by name of the package; one that is not installed is not among them.
    """

    extra: str
    purpose: str
    packages: Sequence[Package]
    problems: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [each.name for each in self.packages if each.version is None]

    @property
    def state(self) -> str:
        """In a word: `ready`, `broken`, `not installed`, or `unknown` where pip knows nothing of spnas itself."""
        if not self.packages:
            return "unknown"
        return "broken" if self.problems else "not installed" if self.missing else "ready"


@dataclass(frozen=True)
class Cache:
    """A folder of the cache: what is in it, and its size in bytes."""

    name: str
    what: str
    folder: Path
    size: int


@dataclass(frozen=True)
class Advice:
    """Something that is missing or broken, and what to do about it.

    Attributes:
        broken: whether something that is installed does not work; otherwise it is only needed for what `problem` names.
    """

    problem: str
    advice: str
    broken: bool = False


def system_facts() -> dict[str, str]:
    """Versions of spnas, Python and the system, and where the code is."""
    return {
        "spnas": __version__,
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
        "code": str(Path(__file__).parent.parent),
    }


def examine_packages(line: ProgressLine) -> tuple[list[Installed], str]:
    """Looks at every extra, and imports what is installed beyond the core, each package in a process of its own.

    Returns:
        The core and the extras; and the device of trainings, an empty text where it is not known.
    """
    known = {extra: packages(extra) for extra in PURPOSES}
    tried = {each.name: each for extra, some in known.items() if extra != CORE for each in some if each.version is not None}
    found: dict[str, tuple[str, str]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result in zip(tried, pool.map(_try, tried.values()), strict=True):
            found[name] = result
            line.update(len(found), len(tried), name, None)
    unfit = {
        each.name: f"version {each.version} is installed, {each.wanted} is needed"
        for some in known.values() for each in some if each.version is not None and not each.fits
    }  # fmt: skip
    problems = {name: problem for name, (_, problem) in found.items() if problem} | unfit
    installed = [
        Installed(extra, PURPOSES[extra], some, {each.name: problems[each.name] for each in some if each.name in problems})
        for extra, some in known.items()
    ]
    return installed, found.get("accelerate", ("", ""))[0]


def _try(package: Package) -> tuple[str, str]:
    """What importing a package printed, and what went wrong, either of them empty where there is nothing."""
    trial = TRIALS.get(package.name, f"import {package.module}")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", trial], capture_output=True, text=True, errors="replace", timeout=IMPORT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return "", f"importing it takes longer than {IMPORT_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    if done.returncode < 0:
        return "", f"importing it ends the process ({signal.Signals(-done.returncode).name})"
    return "", printable(done.stderr.strip().rpartition("\n")[2] or f"importing it ends with {done.returncode}")


def caches() -> Iterator[Cache]:
    """The folders of the cache that exist."""
    import platformdirs

    root = platformdirs.user_cache_path("spnas")
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir():
            yield Cache(folder.name, CACHES.get(folder.name, "other files"), folder, _size(folder))


def _size(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # of another run, which is done with it
            size += file.lstat().st_size if file.is_file() else 0
    return size


def look_for_devices() -> tuple[dict[str, str], list[DeviceSummary], list[Advice]]:
    """Whether phones can be looked for, in words; this machine and its phones; and what keeps all of them from being found."""
    from profiling.devices import list_devices
    from profiling.errors import SpnasError

    try:
        return _ways_to_phones(), list_devices(notify=lambda text: None), []
    except SpnasError as error:  # of a variable that adb reads
        where = f"{error.where}: " if error.where else ""
        return {}, [], [Advice(f"{where}{error.problem}", error.hint or "", broken=True)]


def _ways_to_phones() -> dict[str, str]:
    from profiling.adb.routes import look_around
    from profiling.adb.server import AdbServer

    server = AdbServer()
    seen = look_around(server)
    *_, last = seen.remarks or ("",)
    return {
        "USB": last if seen.usb is None else f"can be searched; {len(seen.usb)} phones on it",
        "adb server": seen.remarks[0] if seen.server is None else f"{server.description} knows {len(seen.server)} phones",
    }


def advise(installed: Sequence[Installed], devices: Sequence[DeviceSummary]) -> Iterator[Advice]:
    """Everything that is missing or broken, with what to do about it."""
    yield from _advise_on_code()
    if not any(each.packages for each in installed):
        yield Advice(
            "it is not known which packages are needed: spnas runs from a folder", "install it: pip install FOLDER", True
        )
    for each in installed:
        for name, problem in each.problems.items():
            yield Advice(
                f"{name}: {problem}", f"install it again: pip install --force-reinstall '{name}{_wanted(each, name)}'", True
            )
        if each.missing:
            problem = f"{each.purpose} ({', '.join(each.missing)} not installed)"
            yield Advice(problem, install_command(each.extra), each.extra == CORE)
    for device in devices:
        if device.missing:
            yield Advice(f"{device.name}: not ready to be measured on", device.missing)
    yield from _advise_on_cache()


def _wanted(installed: Installed, name: str) -> str:
    return next(each.wanted for each in installed.packages if each.name == name)


def _advise_on_code() -> Iterator[Advice]:
    here = Path(__file__).parent.parent
    for name in OUR_PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).parent.parent != here:
            where = "nowhere" if spec is None else str(spec.origin)
            yield Advice(
                f"the package {name} of spnas is hidden by another one, {where}", "remove that place from PYTHONPATH", broken=True
            )


def _advise_on_cache() -> Iterator[Advice]:
    import platformdirs

    from profiling.errors import SpnasError
    from profiling.files import require_folder

    root = platformdirs.user_cache_path("spnas")
    try:
        require_folder(root)
    except SpnasError as error:
        yield Advice(str(error), "set XDG_CACHE_HOME to a folder that can be written", broken=True)
