"""Builds the file system that every test phone shares: Debian with Android's adbd, its shell and tools, Python and LiteRT."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
SUITE, PYTHON = "trixie", "3.13"
PACKAGES = "adbd,mksh,toybox,python3"
MIRROR = os.environ.get("SPNAS_DEBIAN_MIRROR", "http://deb.debian.org/debian")
UNUSED_S = 24 * 3600  # after this, a root of another recipe goes
CACHE = platformdirs.user_cache_path("spnas") / "test-phone"
# Android's own programs; the rest of /system/bin comes from rootfs/.
TOYBOX = (
    "basename cat chmod chown cmp cp cut date dd df dirname du echo env expr false find free grep head hostname id kill ln ls "
    "md5sum mkdir mkfifo mktemp mv nice nohup od pgrep pidof pkill printf ps pwd readlink realpath rm rmdir sed seq setsid "
    "sha1sum sha256sum sleep sort split stat sync tail taskset tee time timeout top touch tr true truncate uname uniq uptime "
    "wc which xargs"
)


def missing() -> str | None:
    """Why no test phone can be built on this machine; None where it can."""
    if platform.system() != "Linux":
        return "the test phone needs Linux"
    if os.geteuid() != 0:
        return "the test phone needs root (namespaces, mounts)"
    absent = [tool for tool in ("debootstrap", "unshare", "nsenter", "setpriv", "gcc") if shutil.which(tool) is None]
    return f"the test phone needs {', '.join(absent)} (Debian: apt-get install debootstrap util-linux gcc)" if absent else None


def recipe() -> str:
    """Changes when the root must be built anew."""
    files = [HERE / "launcher.c", *sorted(path for path in (HERE / "rootfs").rglob("*") if path.is_file())]
    parts = [Path(__file__).read_text(), *litert_requirements(), *(path.read_text() for path in files)]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def litert_requirements() -> list[str]:
    """The runtime of this machine, so that phone and host run the same code."""
    return [f"{name}=={version(name)}" for name in ("ai-edge-litert", "numpy")]


def debian() -> Path:
    """The plain Debian root, built at the first call."""

    def bootstrap(root: Path) -> None:
        # debootstrap mounts things in it: in a namespace of its own, they go with it however it ends.
        alone = ["unshare", "--mount", "--propagation", "private"]
        run([*alone, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), MIRROR])

    return made_once(CACHE / f"debian-{SUITE}-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]}", bootstrap)


def build() -> Path:
    """The complete root; made at the first call, found again afterwards."""
    root = made_once(CACHE / f"root-{recipe()}", complete)
    os.utime(root)
    return root


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is there whole or not at all: of several processes that want it at once, one makes it and the others wait.

    Args:
        folder: the folder.
        make: is given another path, and makes there what is then renamed; nothing is left there of a process that was killed.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
    return folder


def complete(root: Path) -> None:
    """Makes the root of a phone here, from Debian's."""
    run(["cp", "--archive", "--reflink=auto", str(debian()), str(root)])
    shutil.copytree(HERE / "rootfs", root, dirs_exist_ok=True)
    system = root / "system"
    for script in (system / "bin").iterdir():
        script.chmod(0o755)
    (system / "bin" / "sh").symlink_to("/usr/bin/mksh")
    # adbd asks passwd and libc for its shell, and both mean /bin/sh.
    (root / "usr" / "bin" / "sh").unlink()
    (root / "usr" / "bin" / "sh").symlink_to("mksh")
    for name in TOYBOX.split():
        (system / "bin" / name).symlink_to("/usr/bin/toybox")
    for folder in ("data", "phone", "sys"):
        (root / folder).mkdir(exist_ok=True)
    wheels = ["--target", str(system / "lib" / "python"), "--python-version", PYTHON, "--only-binary=:all:", "--no-deps"]
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *wheels, *litert_requirements()])
    run(["chroot", str(root), "python3", "-m", "compileall", "-q", "/system/lib"])
    run(["gcc", "-static", "-O1", "-o", str(root / "benchmark_model"), str(HERE / "launcher.c")])
    remove_old_roots()


def remove_old_roots() -> None:
    """Those of other recipes, but not what tests of another checkout may be using just now."""
    for old in CACHE.glob("root-*"):
        if old.is_dir() and not old.suffix and time.time() - old.stat().st_mtime > UNUSED_S and not in_use(old):
            shutil.rmtree(old)
            old.with_name(f"{old.name}.lock").unlink(missing_ok=True)


def in_use(root: Path) -> bool:
    """Whether a phone runs on this root: its outermost process has the path among its arguments."""
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(root) in arguments.read_text(errors="replace").split("\0"):
                return True
    return False


def run(command: list[str]) -> None:
    """Runs a command to its end, and says what it printed when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}")
