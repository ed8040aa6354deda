"""What `spnas doctor --device` prints of one phone."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from spnas_cli.output import note, print_json, printable

if TYPE_CHECKING:
    from profiling.phone.checkup import Finding

MARKS = {True: "yes", False: "NO", None: "-"}


def show_checkup(device: str, *, as_json: bool) -> None:
    """Looks at a phone and prints what was found; nothing in it is personal.

    Raises:
        NoDeviceError: there is no such phone, or another run measures on it.
        click.BadParameter: it is this machine.
    """
    from profiling.host.host import NAME
    from profiling.phone.checkup import check_phone
    from spnas_cli import __version__

    if device == NAME:
        raise click.BadParameter("is for phones; `spnas doctor` alone examines this machine", param_hint="--device")
    note(f"looking at {device}, which takes half a minute; its screen goes on")
    findings = check_phone(device, notify=note)
    if as_json:
        print_json({"spnas": __version__, "findings": [asdict(each) for each in findings]})
        return
    click.echo(f"spnas {__version__}; as expected?")
    for each in findings:
        click.echo(_line(each))


def _line(finding: Finding) -> str:
    return f"{MARKS[finding.as_expected]:>4}  {finding.what}: {printable(finding.found)}"
