"""What people and machines see: results on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiling.errors import SpnasError, describe
from spnas_cli.columns import GAP, NARROWEST, blocks, measured, screen_width

if TYPE_CHECKING:
    from rich.text import Text

    from latency_db.limits import LimitedSpace
    from profiling.space import Architecture
    from search.finding.doubts import Doubt

PROGRAM, TYPED = "spnas", "spnas.typed"
PLAIN_PROGRESS_SECONDS = 15.0
MOST_CHARACTERS = 400
MOST_OF_A_FACT = 10_000
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # some scripts need them


def is_main_process() -> bool:
    """Whether this process does the printing; torchrun and `accelerate launch` start several."""
    return os.environ.get("RANK", "0") == "0"


def verbosity() -> int:
    """-1 after `--quiet`, 1 after `--verbose`, else 0; also where no command runs, as in a notebook."""
    context = click.get_current_context(silent=True)
    return context.find_root().obj or 0 if context else 0


def typed_words() -> list[str] | None:
    """The command as it was typed, in words; None when called from Python code."""
    context = click.get_current_context(silent=True)
    return None if context is None else [PROGRAM, *context.meta.get(TYPED, ())]


def shown_command(words: Sequence[str]) -> str:
    """A command as a shell takes it, without the name of the user's folder, for files that are passed on."""
    home = f"{Path.home()}{os.sep}"
    parts = (f"~/{shlex.quote(word.removeprefix(home))}" if word.startswith(home) else shlex.quote(word) for word in words)
    return " ".join(parts)


def printable(value: object, most: int = MOST_CHARACTERS) -> str:
    """Text that somebody else may have written, on one line, without what controls a terminal or the direction of writing.

    Args:
        value: a name, path or message, with parts from files, devices or command lines.
        most: how many characters of it are shown; of a longer one the middle is left out.
    """
    text = str(value)
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} […] {text[-most // 3 :]}"
    shown = (each if each.isprintable() or each in JOINERS else "\N{REPLACEMENT CHARACTER}" for each in " ".join(text.split()))
    return "".join(shown)


def print_error(error: Exception) -> None:
    """One line on stderr: where, what is wrong, and what to do, each of which may be long without the others being lost."""
    text = f"{type(error).__name__}: {error} (unexpected; run spnas --debug COMMAND to see where)"
    if isinstance(error, SpnasError):
        where, hint = (part and printable(part) for part in (error.where, error.hint))
        text = describe(printable(error.problem), where, hint)
    click.echo(f"Error: {printable(text, 3 * MOST_CHARACTERS)}", err=True)


def note(text: str) -> None:
    """Prints a line on stderr, after an empty one if it begins with a line break; nothing after `--quiet`."""
    if verbosity() >= 0:
        click.echo("\n" * text.startswith("\n") + printable(text, 2 * MOST_CHARACTERS), err=True)


def print_json(value: Any) -> None:
    """One JSON object or list on stdout; characters that are not printable are escaped, which changes nothing for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    escaped = (each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
    click.echo(text if text.isascii() else "".join(escaped))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, left: int = 1) -> None:
    """A table on stdout; the first `left` columns hold words and the others numbers. Square brackets in words are no mark-up.

    A column without a word in it is left out. In a terminal that the table is too wide for, words wrap, and columns that still
    find no room follow below, beside the first column again.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def plain(cell: str | Text, style: str = "") -> Text:
        return cell if isinstance(cell, Text) else Text(printable(cell, MOST_OF_A_FACT), style)

    headers = [plain(column) for column in columns]
    cells = [[plain(cell) for cell in column] for column in zip(*rows, strict=True)] or [[] for _ in headers]
    needs = {
        index: measured(headers[index], column, words=index < left)
        for index, column in enumerate(cells)
        if not index or not column or any(column)
    }
    width = screen_width() or sum(column.natural + GAP for column in needs.values())
    console = Console(width=width, highlight=False)
    console.print(Text("\n" * title.startswith("\n")) + plain(title, "table.title"), soft_wrap=True)
    for number, widths in enumerate(blocks(needs, width)):
        if number:
            click.echo()
        table = Table(header_style="bold", pad_edge=False, box=None)
        for index, wide in widths.items():
            table.add_column(headers[index], justify="left" if index < left else "right", overflow="fold", width=wide)
        shown = [cells[index] for index in widths]
        if any(cell.cell_len > widths[index] for index in widths for cell in cells[index]):
            for row in zip(*shown, strict=True):
                table.add_row(*row)
        elif shown[0]:
            # As one row of tall cells, which looks the same and is laid out five times as fast.
            table.add_row(*(Text("\n").join(column) for column in shown))
        console.print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values on stdout, one pair a line, none cut short but what nobody can have meant.

    In a terminal a long value goes on below itself; a word that is longer than the line, such as a path, stays in one piece.
    """
    shown = [(printable(name), printable(value, MOST_OF_A_FACT)) for name, value in facts]
    width = max(len(name) for name, _ in shown)
    screen = screen_width()
    if screen is None:
        for name, value in shown:
            click.echo(f"{name:<{width}}  {value}")
        return
    # Where names leave no room, values stand below them.
    beside = screen - width - GAP >= NARROWEST
    indent = " " * (width + GAP if beside else 2 * GAP)
    for name, value in shown:
        wrapped = textwrap.wrap(value, screen - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
        lines = [f"{name:<{width}}  {wrapped[0]}", *wrapped[1:]] if beside else [name, *wrapped]
        click.echo(f"\n{indent}".join(lines))


def footprint_facts(limited: LimitedSpace, architecture: Architecture) -> list[tuple[str, str]]:
    """What a network needs besides time, in MB of 10^6 bytes, for `print_facts`."""
    needs, precision = limited.footprint(architecture), limited.precision
    return [
        ("memory", f"{needs.memory_mb:.4g} MB for input and activations (TFLite's arena, {precision}, one thread)"),
        ("file", f"{needs.size_mb:.4g} MB as TFLite {precision}, without metadata and class names"),
    ]


def print_doubts(doubts: Sequence[Doubt], *, err: bool = False) -> None:
    """On stdout, or stderr, what is to be read before a doubtful result; nothing where there is no doubt."""
    if not doubts:
        return
    click.echo("Do not rely on this result:", err=err)
    for doubt in doubts:
        click.echo(f"- {printable(doubt.words)}\n  What to change: {printable(doubt.advice)}", err=err)
    click.echo(err=err)


class ProgressLine:
    """One bar on stderr with the remaining time, or plain lines instead.

    Args:
        label: text at its start.
        bar: rich's progress display; None for plain lines.
        every_s: least number of seconds between two plain lines; infinite for none at all.
    """

    def __init__(self, label: str, bar: Any | None, every_s: float = PLAIN_PROGRESS_SECONDS) -> None:
        self._label, self._bar, self._every_s = printable(label), bar, every_s
        self._task = None if bar is None else bar.add_task(self._label, total=None, text="", remaining="")
        self._last_plain = time.monotonic()

    def update(self, done: float, total: float, text: str, remaining_s: float | None) -> None:
        """Shows `done` of `total`, a short text and the seconds that remain (None: not known yet)."""
        remaining = "" if remaining_s is None else f"{duration(remaining_s)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, text=printable(text), remaining=remaining)
        else:
            self._plain(f"{done:g}/{total:g}", text, remaining)

    def say(self, text: str) -> None:
        """Shows another text while nothing progresses."""
        if self._bar is not None:
            self._bar.update(self._task, text=printable(text), remaining="")
        else:
            self._plain(text)

    def _plain(self, *words: str) -> None:
        if time.monotonic() - self._last_plain >= self._every_s:
            self._last_plain = time.monotonic()
            click.echo("  " + " ".join(filter(None, (self._label, *map(printable, words)))), err=True)


@contextmanager
def progress(*labels: str) -> Iterator[list[ProgressLine]]:
    """A progress line for each label, gone from the terminal or notebook when the work ends; after `--verbose` every step."""
    if verbosity() or not _shows_bars():
        every_s = {-1: math.inf, 0: PLAIN_PROGRESS_SECONDS, 1: 0.0}[verbosity()]
        yield [ProgressLine(label, None, every_s) for label in labels]
        return
    from spnas_cli.bars import Bars

    with Bars() as bars:
        yield [ProgressLine(label, bars) for label in labels]


def _shows_bars() -> bool:
    """Whether stderr is a terminal, or a notebook that can change what it has shown."""
    if sys.stderr.isatty():
        return True
    from rich.console import Console

    return Console(stderr=True).is_jupyter and find_spec("ipywidgets") is not None


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
