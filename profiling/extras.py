"""The extras of the package: what each is for, and which of their packages are installed.

Which packages belong to an extra is read from the metadata of the installed distribution, that is from setup.cfg. Without
metadata, as in a checkout that was never installed, nothing is known to be missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from profiling.errors import MissingExtraError

P = ParamSpec("P")
T = TypeVar("T")

DISTRIBUTION = "spnas"
CORE = "core"
PURPOSES = {
    CORE: "devices, table, predict, random, report",
    "convert": "profile, validate, compare: TFLite models for a device",
    "search": "data, init, search, train, evaluate",
    "export": "export: TFLite and ONNX files",
    "heic": "HEIC photos among the images",
}
# Where the name to import is not that of the package.
MODULES = {"adb-shell": "adb_shell", "pyyaml": "yaml", "scikit-learn": "sklearn", "pillow": "PIL"}


@dataclass(frozen=True)
class Package:
    """A package that an extra needs.

    Attributes:
        name: as pip knows it.
        wanted: the versions that will do, such as `>=2.6`.
        version: the one that is installed; None if there is none, an empty text if it does not say.
    """

    name: str
    wanted: str
    version: str | None

    @property
    def module(self) -> str:
        """The name to import."""
        return MODULES.get(self.name, self.name.replace("-", "_"))

    @property
    def fits(self) -> bool:
        """Whether the installed version is one of those that will do."""
        return self.version == "" or (self.version is not None and SpecifierSet(self.wanted).contains(self.version, True))


def packages(extra: str) -> list[Package]:
    """The packages of an extra by name, with those of the extras it contains; the core's own are not among them.

    Args:
        extra: one of `PURPOSES`.
    """
    found = {each.name.lower(): each for each in _requirements(extra)}
    return [Package(name, str(each.specifier), _installed(name)) for name, each in sorted(found.items())]


def _requirements(extra: str) -> Iterator[Requirement]:
    try:
        every = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return
    for each in every:
        always = each.marker is None or each.marker.evaluate({"extra": ""})
        if always if extra == CORE else not always and each.marker is not None and each.marker.evaluate({"extra": extra}):
            if each.name != DISTRIBUTION:
                yield each
            for below in each.extras if each.name == DISTRIBUTION else ():
                yield from _requirements(below)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        # Under another name, such as tensorflow-cpu.
        return None if find_spec(Package(name, "", None).module) is None else ""


def install_command(extra: str) -> str:
    """What to type to install an extra, or the core."""
    return f"pip install '{DISTRIBUTION}'" if extra == CORE else f"pip install '{DISTRIBUTION}[{extra}]'"


def require(extra: str) -> None:
    """Makes sure that all packages of an extra are there, before any work.

    Raises:
        MissingExtraError: some are not.
    """
    missing = [each.name for each in packages(extra) if each.version is None]
    if missing:
        raise _missing(missing, extra)


def needs(extra: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function that is of use only with an extra: it calls `require` first."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def with_extra(*args: P.args, **kwargs: P.kwargs) -> T:
            require(extra)
            return function(*args, **kwargs)

        return with_extra

    return decorate


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to install for a module that was not found; None where no extra has it, or it is there and lacks something itself."""
    module = (error.name or "").partition(".")[0]
    for extra in PURPOSES:
        missing = [each for each in packages(extra) if each.version is None]
        if module in {each.module for each in missing}:
            return _missing([each.name for each in missing], extra)
    return None


def _missing(names: Sequence[str], extra: str) -> MissingExtraError:
    return MissingExtraError(names, install_command(extra))
