"""`spnas devices`."""

from __future__ import annotations

import click

from spnas_cli.options import json_option
from spnas_cli.output import print_json, print_table


@click.command()
@json_option
def devices(as_json: bool) -> None:
    """List the devices that latency can be measured on.

    \b
    Example:
      spnas devices
    """
    from profiling.devices import list_devices

    found = list_devices()
    if as_json:
        print_json([device.model_dump() for device in found])
        return
    columns = ("device", "model", "SoC", "state", "cores", "temperature", "to profile it")
    rows = [
        (
            device.name,
            device.model,
            device.soc,
            device.state,
            device.cores,
            "unknown" if device.temperature_c is None else f"{device.temperature_c:.0f} °C",
            device.missing or "ready",
        )
        for device in found
    ]
    print_table("Devices", columns, rows, left=len(columns))
