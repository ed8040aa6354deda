"""Writes docs/commands.md from the commands themselves: `make docs`. A test compares, so that the page is never behind them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from spnas_cli.help import Context
from spnas_cli.main import cli

PAGE = Path(__file__).with_name("commands.md")
WIDTH = 110
HELP = ["-h", "--help"]
INTRODUCTION = """\
# Every command and option

Results go to stdout, progress and notes to stderr. This page is what `spnas COMMAND --help` prints; [another](json.md) has the
fields of `--json`. In a terminal, results fit its width (`COLUMNS=60` sets another one); in a file or pipe each row is one line.

## Completion in the shell

With one of these lines in the shell's start-up file, the Tab key completes commands, options, choices and the names of tables:

```sh
eval "$(_SPNAS_COMPLETE=bash_source spnas)"    # bash 4.4 or later: ~/.bashrc
eval "$(_SPNAS_COMPLETE=zsh_source spnas)"     # zsh: ~/.zshrc
_SPNAS_COMPLETE=fish_source spnas | source     # fish: ~/.config/fish/config.fish
```
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_sections(cli, "spnas", None))


def _sections(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = Context(command, parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=HELP)
    yield f"\n## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _sections(found, below, context)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
