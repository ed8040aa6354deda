"""Environments that have spnas from its wheel, and no checkout: the core from the registry, and everything beside these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from profiling.host.lock import FOLDER_VARIABLE

CHECKOUT = Path(__file__).parent.parent
SOURCES = (
    "profiling",
    "latency_db",
    "search",
    "spnas_cli",
    "spnas.py",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
# Everyday names, which a user's own packages may have as well.
NAMESAKES = ("profiling", "latency_db", "search")


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built from a copy, so that nothing of an earlier build gets into it."""
    copy = folder / "copy"
    copy.mkdir(parents=True)
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(copy))
    (wheel,) = folder.glob("spnas-*.whl")
    return wheel


def core_environment(folder: Path, wheel: Path) -> Path:
    """What `pip install spnas` makes of an empty environment, in the versions that CI is held to; its folder of programs.

    Raises:
        CalledProcessError: the registry cannot be reached, or lacks something.
    """
    venv.create(folder, with_pip=True)
    constraints = CHECKOUT / ".ci" / "constraints.txt"
    command = [folder / "bin" / "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(command, env=_of_no_python(), check=True, capture_output=True, text=True)
    return folder / "bin"


def whole_environment(folder: Path, wheel: Path) -> Path:
    """The wheel beside the packages that these tests run with, but for the spnas among them; its folder of programs."""
    venv.create(folder)
    programs = folder / "bin"
    _pip("--python", str(programs / "python"), "install", "--no-deps", "--no-index", str(wheel))
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # As a path, not a site folder: its .pth files, one of which may lead to the checkout, are not read.
    (site_packages / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return programs


def make_namesakes(folder: Path) -> None:
    """Packages of the user's own, each of which ends whoever imports it."""
    for name in NAMESAKES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise SystemExit('met the {name} of the user')\n")


def environment(programs: Path, home: Path) -> dict[str, str]:
    """The variables of a shell in which an environment is active, and whose caches are its own."""
    kept = _of_no_python()
    kept |= {"PATH": f"{programs}{os.pathsep}{kept['PATH']}", "XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "80"}
    return kept | {FOLDER_VARIABLE: str(home)}


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *words], env=_of_no_python(), check=True)


def _of_no_python() -> dict[str, str]:
    """The variables of this process but for those that lead Python to some code, and those of spnas."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPNAS_", "VIRTUAL_ENV"))}
