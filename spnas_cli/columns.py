"""How a table fits a terminal: nothing is cut; words wrap, and columns for which there is no room follow in another block."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

GAP = 2
NARROWEST = 20
# A column of words that is no wider is a name, which is easier to read in one piece.
PROSE = 24


@dataclass(frozen=True)
class Column:
    """What a column needs, in characters.

    Attributes:
        least: without breaking a name, or a number and its unit.
        natural: without any line break.
    """

    least: int
    natural: int


def screen_width() -> int | None:
    """The width of the terminal, or what COLUMNS says; None where results go elsewhere, with lines as long as they need to be."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(NARROWEST, shutil.get_terminal_size().columns)
    return None


def measured(header: Text, cells: Sequence[Text], *, words: bool) -> Column:
    """What a column needs. The words of a header may stand below each other; those of cells only where they are prose."""
    widest = max((cell.cell_len for cell in cells), default=0)
    longest = _longest_word([header])
    least = min(widest, max(PROSE, _longest_word(cells))) if words else widest
    return Column(max(longest, least), max(widest, header.cell_len))


def _longest_word(texts: Sequence[Text]) -> int:
    return max((word.cell_len for text in texts for word in text.split(" ")), default=0)


def blocks(columns: Mapping[int, Column], width: int) -> list[dict[int, int]]:
    """Which columns stand side by side in `width` characters, and how wide each is; the first one begins every block.

    A column that does not even fit beside the first one alone gets the room that there is: its words have to be broken.
    """
    label, *others = columns
    most = max((columns[index].least for index in others), default=0)
    first = min(columns[label].least, max(width // 3, width - GAP - most))
    groups: list[list[int]] = [[]]
    used = first
    for index in others:
        if groups[-1] and used + GAP + columns[index].least > width:
            groups.append([])
            used = first
        groups[-1].append(index)
        used += GAP + columns[index].least
    return [_widths(first, {index: columns[index] for index in (label, *group)}, width) for group in groups]


def _widths(first: int, columns: Mapping[int, Column], width: int) -> dict[int, int]:
    """Gives each column what it needs at least, and then those that lack least what else they could use."""
    label, *others = columns
    room = width - GAP * len(others)
    widths = {label: min(first, room), **{index: min(columns[index].least, room - first) for index in others}}
    lacking = {index: column.natural - widths[index] for index, column in columns.items()}
    for index in sorted(columns, key=lambda index: lacking[index]):
        widths[index] += max(0, min(lacking[index], room - sum(widths.values())))
    return widths
