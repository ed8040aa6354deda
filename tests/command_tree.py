"""Every command that the program has."""

from __future__ import annotations

import click

from spnas_cli.main import cli


def all_commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Each command with its names, groups too; the program itself has none."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += all_commands(child, (*path, name))
    return found
