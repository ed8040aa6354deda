"""`spnas devices`."""

from __future__ import annotations

import click

from spnas_cli.options import json_option
from spnas_cli.output import note, print_json, print_table


@click.command()
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Also look for a phone at this address, or for a Linux machine at ssh:USER@HOST.",
)
@json_option
def devices(addresses: tuple[str, ...], as_json: bool) -> None:
    """List the devices to measure on, and what each still needs.

    Lists this machine and every phone on USB or known to an adb server. Use --address for any other phone on the network.

    \b
    Examples:
      spnas devices
      spnas devices --address 192.168.0.17:5555
      spnas devices --address ssh:pi@raspberrypi
    """
    from profiling.devices import list_devices

    found = list_devices(addresses, notify=note)
    if as_json:
        print_json([device.model_dump() for device in found])
        return
    columns = ("device", "model", "SoC", "state", "cores", "temperature", "to profile it")
    rows = [
        (
            device.name,
            device.product,
            device.soc,
            device.state,
            device.cores,
            "unknown" if device.temperature_c is None else f"{device.temperature_c:.0f} °C",
            device.missing or "ready",
        )
        for device in found
    ]
    print_table("Devices", columns, rows, left=len(columns))
