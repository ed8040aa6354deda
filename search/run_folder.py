"""The folder of a run: the name and place of every file that a search, training, exploration or comparison leaves.

Files of one line or one object are read and written here; those with a format of their own (weights, tables, figures, CSV) by the
modules that know the format, at the place that is given here. Folders of earlier versions have the same files.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from latency_db.table import LatencyTable
from latency_db.table_files import read_table
from profiling.errors import InputError
from profiling.files import clear_unfinished, make_folder, write_text, writing
from profiling.locks import holder, lock
from profiling.specfile import read_spec, read_text
from search.config import Settings

Spec = TypeVar("Spec", bound=BaseModel)
Kind = Literal["search", "supernet", "training", "comparison"]
Figure = Literal["progress", "decisions", "network", "kernels", "front", "compare", "width"]


class RunFolder(os.PathLike[str]):
    """The folder of a run, whether it exists or not; `pathlib.Path` and `open` accept it as a path.

    Attributes:
        path: of the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def name(self) -> str:
        """The name of the run: the last part of its absolute path."""
        return self.path.resolve().name

    @property
    def kind(self) -> Kind | None:
        """The kind of the finished run in this folder; None if there is none."""
        if self.comparison.is_file():
            return "comparison"
        if self.supernet.is_file():
            return "supernet"
        if not self.result.is_file():
            return None
        return "search" if self.architecture.is_file() else "training"

    @property
    def begun(self) -> Kind | None:
        """The kind of the run that was begun in this folder and is not finished; None if there is none."""
        config = None if self.kind or os.path.lexists(self.result) else self.read_config(Settings)
        if config is None:
            return None
        settings = config.model_dump()
        return "supernet" if "tables_digest" in settings else "search" if "space_digest" in settings else "training"

    @property
    def holder(self) -> str | None:
        """The process that is writing here, in words; None if there is none."""
        return holder(self._lock)

    # Of a search or training while it runs.

    @property
    def config(self) -> Path:
        """The settings, in YAML."""
        return self.path / "config.yaml"

    @property
    def command(self) -> Path:
        """The command as it was typed, and those that continued the run, one line each; missing if Python code made the run."""
        return self.path / "command.txt"

    @property
    def checkpoint(self) -> Path:
        """The state of training, from which a run continues."""
        return self.path / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """A line for every step that was kept, in CSV."""
        return self.path / "metrics.csv"

    @property
    def accuracy(self) -> Path:
        """A line for every evaluation of a training, in CSV."""
        return self.path / "accuracy.csv"

    # What it ends with.

    @property
    def result(self) -> Path:
        """What the command prints with `--json`."""
        return self.path / "result.json"

    @property
    def supernet(self) -> Path:
        """What the training of a supernet ended with; its weights are in the checkpoint."""
        return self.path / "supernet.json"

    @property
    def network(self) -> Path:
        """The network that was found or trained, with its weights (`search.convnet.saved`)."""
        return self.path / "network.pt"

    @property
    def architecture(self) -> Path:
        """The architecture that a search found."""
        return self.path / "architecture.json"

    @property
    def table(self) -> Path:
        """The latency table of a search."""
        return self.path / "table.json"

    @property
    def candidates(self) -> Path:
        """The candidates that a search chose from, in CSV."""
        return self.path / "candidates.csv"

    def candidate(self, rank: int) -> Path:
        """The architecture of a candidate that was not chosen; the best has rank 1."""
        return self.path / "candidates" / f"{rank:02}.json"

    # Of an exploration.

    @property
    def explored(self) -> Path:
        """The networks that were scored so far."""
        return self.path / "explored.json"

    @property
    def front(self) -> Path:
        """The Pareto front of these, in CSV."""
        return self.path / "front.csv"

    def front_architecture(self, number: int) -> Path:
        """An architecture of the front; the fastest has number 1."""
        return self.path / "front" / f"{number:02}.json"

    def front_architectures(self) -> list[Path]:
        """The existing ones."""
        return sorted((self.path / "front").glob("[0-9]*.json"))

    # Of a comparison, which leaves its conditions in `config`.

    @property
    def comparison(self) -> Path:
        """The rows of a comparison, in JSON."""
        return self.path / "compare.json"

    @property
    def comparison_csv(self) -> Path:
        """The same in CSV."""
        return self.path / "compare.csv"

    @property
    def advantages(self) -> Path:
        """What the found networks of a comparison are better by, in JSON."""
        return self.path / "advantages.json"

    def figure(self, name: Figure) -> Path:
        """A figure, a PNG file."""
        return self.path / f"{name}.png"

    def relative(self, file: Path) -> str:
        """How other files refer to a file in this folder: by its relative path, with `/` on every system."""
        return file.relative_to(self.path).as_posix()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder, and keeps other runs out of it while the block runs; clears away what a killed one left unfinished.

        Raises:
            InputError: another run is writing there, or the folder cannot be created or written; DiskFullError.
        """
        make_folder(self.path)
        with ExitStack() as stack:
            with writing(self.path):
                stack.enter_context(lock(self._lock, self._in_use))
                for folder in filter(Path.is_dir, (self.path, self.candidate(1).parent, self.front_architecture(1).parent)):
                    clear_unfinished(folder)
            yield

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _in_use(self, holder: str) -> InputError:
        hint = "wait until it ends, or choose another folder"
        return InputError(f"another run is writing to this folder: {holder}", where=str(self.path), hint=hint)

    @property
    def _is_empty(self) -> bool:
        return all(file == self._lock for file in self.path.iterdir())

    def prepare(self, resume: bool) -> None:
        """Makes the folder of a search or training.

        Raises:
            InputError: it is not empty and not to be resumed, or cannot be created or written; DiskFullError.
        """
        make_folder(self.path)
        if not resume and not self._is_empty:
            raise InputError(
                "the folder is not empty", where=str(self.path), hint="add --resume to continue its run, or choose another"
            )

    def prepare_comparison(self) -> None:
        """Makes the folder of a comparison; an earlier comparison in it will be replaced.

        Raises:
            InputError: it contains something else, or cannot be created or written; DiskFullError.
        """
        make_folder(self.path)
        if not self._is_empty and not self.comparison.is_file():
            hint = "choose another folder"
            raise InputError("the folder contains something other than a comparison", where=str(self.path), hint=hint)

    def write_config(self, text: str) -> None:
        """Saves the settings, given as YAML.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        write_text(self.config, text)

    def write_command(self, words: Sequence[str]) -> None:
        """Saves the command that made the run.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        write_text(self.command, shlex.join(words) + "\n")

    def add_command(self, words: Sequence[str]) -> None:
        """Saves a command that makes or continues the run, after those before it.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        before = [] if (known := self.read_command()) is None else known.splitlines()
        command = shlex.join(words)
        if before[-1:] != [command]:
            write_text(self.command, "\n".join([*before, command]) + "\n")

    def write_supernet(self, result: Mapping[str, object]) -> None:
        """Saves the result of the training of a supernet.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        write_text(self.supernet, json.dumps(result, indent=2) + "\n")

    def write_result(self, result: Mapping[str, object]) -> None:
        """Saves the result.

        Raises:
            InputError, DiskFullError: it cannot be written.
        """
        write_text(self.result, json.dumps(result, indent=2) + "\n")

    def read_config(self, kind: type[Spec]) -> Spec | None:
        """The settings in the folder, None if it has no such file.

        Raises:
            InputError: the file cannot be read, or does not hold settings of this kind.
        """
        return read_spec(self.config, kind) if os.path.lexists(self.config) else None

    def read_command(self) -> str | None:
        """The commands that made the run, a line each, None where they are not known.

        Raises:
            InputError: the file cannot be read.
        """
        return read_text(self.command).strip() if os.path.lexists(self.command) else None

    def read_result(self, kind: type[Spec]) -> Spec:
        """The result of a search or training.

        Raises:
            InputError: the file is missing, cannot be read, or does not hold a result of this kind.
        """
        return read_spec(self.result, kind)

    def read_table(self) -> LatencyTable | None:
        """The latency table of a search, None where there is none.

        Raises:
            InputError: it cannot be read.
        """
        return read_table(self.table) if os.path.lexists(self.table) else None

    def nothing_finished(self, commands: str) -> InputError:
        """The error that this folder has no finished run of these commands."""
        problem = f"this folder has no finished run of spnas {commands}" if self.path.is_dir() else "no such folder"
        return InputError(problem, where=str(self.path), hint="give the folder that such a command wrote (its -o)")
