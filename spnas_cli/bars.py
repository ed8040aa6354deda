"""Progress bars on stderr that a narrow terminal shows whole: what the work is at stands on a line below its bar."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text
from typing_extensions import override

WIDE = 120
BAR, SHORT_BAR = 24, 12


class Bars(Progress):
    """Bars with a label, a count, the remaining time and a text, gone when the work ends."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._wide = console.width >= WIDE
        bar = BarColumn(bar_width=BAR if self._wide else SHORT_BAR)
        columns = [TextColumn("{task.description}", markup=False), bar, MofNCompleteColumn()]
        columns.append(TextColumn("{task.fields[remaining]}"))
        if self._wide:
            columns.append(TextColumn("{task.fields[text]}", style="dim", markup=False))
        super().__init__(*columns, console=console, transient=True)

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        if self._wide:
            yield from super().get_renderables()
            return
        for task in self.tasks:
            yield self.make_tasks_table([task])
            if task.fields["text"]:
                yield Text(f"  {task.fields['text']}", "dim")
