"""`spnas doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.checkup import show_checkup
from spnas_cli.options import db_option, json_option
from spnas_cli.output import print_facts, print_json, print_table, printable, progress

if TYPE_CHECKING:
    from profiling.device import DeviceSummary
    from spnas_cli.doctor import Advice, Cache, Installed


@click.command()
@click.option(
    "--device",
    metavar="DEVICE",
    help="Look at this phone instead, for half a minute: does it have what spnas relies on? Prints nothing personal.",
)
@db_option
@json_option
def doctor(device: str | None, db: Path, as_json: bool) -> None:
    """Print versions, devices, caches and what is missing.

    Imports every installed package once, which takes some seconds. Ends with what is missing for which commands, and the command
    that installs it. The exit code is 1 if something that is installed does not work.

    \b
    Examples:
      spnas doctor
      spnas doctor --device 8A2X0L1PQ
    """
    if device is not None:
        show_checkup(device, as_json=as_json)
        return
    from spnas_cli import doctor as examination

    system = examination.system_facts()
    with progress("packages") as [line]:
        installed, trains_on = examination.examine_packages(line)
    system |= {"training on": trains_on} if trains_on else {}
    ways, devices, problems = examination.look_for_devices()
    system |= ways | {"database": _database(db)}
    caches = list(examination.caches())
    advice = [*problems, *examination.advise(installed, devices)]
    if as_json:
        print_json(_as_json(system, installed, devices, caches, advice))
    else:
        _show(system, installed, devices, caches)
        _show_advice(advice)
    if any(each.broken for each in advice):
        raise click.exceptions.Exit(1)


def _database(db: Path) -> str:
    from latency_db.table_files import table_summaries
    from profiling.errors import SpnasError

    if not db.exists():
        return f"{db}: none here yet"
    try:
        count = len(table_summaries(db))
        return f"{db}: {count} table{'s' * (count != 1)}"
    except SpnasError as error:
        return str(error)


def _show(
    system: dict[str, str], installed: Sequence[Installed], devices: Sequence[DeviceSummary], caches: Sequence[Cache]
) -> None:
    print_facts(list(system.items()))
    print_table("\nInstalled", ("part", "state", "for"), [(each.extra, each.state, each.purpose) for each in installed], left=3)
    packages = {each.name: each for part in installed for each in part.packages}
    versions = [(name, package.version or "-", package.wanted) for name, package in sorted(packages.items())]
    print_table("\nPackages", ("package", "version", "needed"), versions, left=3)
    rows = [(each.name, each.product, each.state) for each in devices]
    print_table("\nDevices", ("device", "model", "state"), rows, left=3)
    if caches:
        sizes = [(str(each.folder), f"{each.size / 1e6:.1f}") for each in caches]
        print_table("\nCaches", ("folder", "MB"), sizes)


def _show_advice(advice: Sequence[Advice]) -> None:
    click.echo("\nMissing or broken:" if advice else "\nNothing is missing.")
    for each in advice:
        click.echo(f"- {printable(each.problem)}\n  {printable(each.advice)}")


def _as_json(
    system: dict[str, str],
    installed: Sequence[Installed],
    devices: Sequence[DeviceSummary],
    caches: Sequence[Cache],
    advice: Sequence[Advice],
) -> dict[str, object]:
    return {
        "system": {name.lower().replace(" ", "_"): fact for name, fact in system.items()},
        "installed": [{**asdict(each), "state": each.state} for each in installed],
        "devices": [device.model_dump() for device in devices],
        "caches": [{"name": each.name, "what": each.what, "folder": str(each.folder), "bytes": each.size} for each in caches],
        "advice": [asdict(each) for each in advice],
    }
