"""What people and machines see: results on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from search.finding.doubts import Doubt

PLAIN_PROGRESS_SECONDS = 15.0


def is_main_process() -> bool:
    """Whether this process does the printing; torchrun and `accelerate launch` start several."""
    return os.environ.get("RANK", "0") == "0"


def verbosity() -> int:
    """-1 after `--quiet`, 1 after `--verbose`, else 0; also where no command runs, as in a notebook."""
    context = click.get_current_context(silent=True)
    return context.find_root().obj or 0 if context else 0


def note(text: str) -> None:
    """Prints a line on stderr, except after `--quiet`."""
    if verbosity() >= 0:
        click.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON object or list on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """A table on stdout; the first `left` columns hold words and the others numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False, box=None)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values on stdout, one pair a line, none cut short."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def print_doubts(doubts: Sequence[Doubt], *, err: bool = False) -> None:
    """On stdout, or stderr, what is to be read before a doubtful result; nothing where there is no doubt."""
    if not doubts:
        return
    click.echo("Do not rely on this result:", err=err)
    for doubt in doubts:
        click.echo(f"- {doubt.words}\n  What to change: {doubt.advice}", err=err)
    click.echo(err=err)


def printable(value: object) -> str:
    """Text that came from a file, without characters that would control a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))


class ProgressLine:
    """One bar on stderr with the remaining time, or plain lines instead.

    Args:
        label: text at its start.
        bar: rich's progress display; None for plain lines.
        every_s: least number of seconds between two plain lines; infinite for none at all.
    """

    def __init__(self, label: str, bar: Any | None, every_s: float = PLAIN_PROGRESS_SECONDS) -> None:
        self._label, self._bar, self._every_s = label, bar, every_s
        self._task = None if bar is None else bar.add_task(label, total=None, text="", remaining="")
        self._last_plain = time.monotonic()

    def update(self, done: float, total: float, text: str, remaining_s: float | None) -> None:
        """Shows `done` of `total`, a short text and the seconds that remain (None: not known yet)."""
        remaining = "" if remaining_s is None else f"{duration(remaining_s)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, text=text, remaining=remaining)
        else:
            self._plain(f"{done:g}/{total:g}", text, remaining)

    def say(self, text: str) -> None:
        """Shows another text while nothing progresses."""
        if self._bar is not None:
            self._bar.update(self._task, text=text, remaining="")
        else:
            self._plain(text)

    def _plain(self, *words: str) -> None:
        if time.monotonic() - self._last_plain >= self._every_s:
            self._last_plain = time.monotonic()
            click.echo("  " + " ".join(filter(None, (self._label, *words))), err=True)


@contextmanager
def progress(*labels: str) -> Iterator[list[ProgressLine]]:
    """A progress line for each label, gone from the terminal or notebook when the work ends; after `--verbose` every step."""
    if verbosity() or not _shows_bars():
        every_s = {-1: math.inf, 0: PLAIN_PROGRESS_SECONDS, 1: 0.0}[verbosity()]
        yield [ProgressLine(label, None, every_s) for label in labels]
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    texts = (TextColumn("{task.fields[remaining]}"), TextColumn("[dim]{task.fields[text]}"))
    with Progress(*columns, *texts, console=Console(stderr=True), transient=True) as bar:
        yield [ProgressLine(label, bar) for label in labels]


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
