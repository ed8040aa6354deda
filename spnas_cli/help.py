"""How commands print their help, whole at any width, and what they say to a name that is none of theirs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from difflib import get_close_matches

import click
from typing_extensions import override

from spnas_cli.output import printable

EXAMPLE = "spnas "
GLUE = "\0"


class Formatter(click.HelpFormatter):
    """Breaks long examples as a shell reads them, and leaves room for what options do where the terminal is narrow."""

    @override
    def write(self, string: str) -> None:
        super().write("".join(_broken(line, self.width) for line in string.splitlines(keepends=True)))

    @override
    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width * 2 // 5), col_spacing)


class Context(click.Context):
    """Of our commands."""

    formatter_class = Formatter


class Group(click.Group):
    """Lists its commands with their whole summaries, and suggests one for a mistyped name."""

    context_class = Context

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = self.find(cmd_name)
        if command is not None:
            command.context_class = Context
        return command

    def find(self, name: str) -> click.Command | None:
        """The command of this name, None if there is none."""
        return self.commands.get(name)

    @override
    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        meant = self._meant(ctx, name)
        hint = f"did you mean {' or '.join(meant)}?" if meant else f"{ctx.command_path} --help lists the commands"
        return ctx.fail(f"there is no command {printable(name)!r}; {hint}")

    def _meant(self, ctx: click.Context, name: str) -> list[str]:
        """Whole commands that may be meant: of a similar name, or of this name in a group below."""
        names = self.list_commands(ctx)
        close = [f"{ctx.command_path} {each}" for each in get_close_matches(name.lower(), names, n=2)]
        groups = [(each, command) for each in names if isinstance(command := self.get_command(ctx, each), click.Group)]
        return close or [f"{ctx.command_path} {each} {name}" for each, group in groups if group.get_command(ctx, name)]

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(10**6)) for name, each in found if each and not each.hidden])


def _broken(line: str, width: int) -> str:
    """Breaks an example that is longer than the line between its options; anything else is left as it is."""
    text = line.strip()
    if len(line.rstrip()) <= width or not text.startswith(EXAMPLE):
        return line
    indent, end = line[: line.index(text)], line[len(line.rstrip()) :]
    first, *options = re.split(r" (?=--?[a-z])", text)
    glued = " ".join([first, *(option.replace(" ", GLUE) for option in options)])
    parts = textwrap.wrap(
        glued, width - 2, initial_indent=indent, subsequent_indent=f"{indent}    ", break_long_words=False, break_on_hyphens=False
    )
    return " \\\n".join(parts).replace(GLUE, " ") + end
