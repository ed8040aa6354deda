"""The commands of a page of the docs, taken from its text, and run one block after the other as a reader would.

Commands are in blocks fenced as `sh` or indented by four blanks, and after the `$` of blocks fenced as `console`.
A comment before a block, which a reader of the page does not see, says what is different where nobody waits for results:

    <!-- ci: skip, needs a phone -->                       the next block is left out, for this reason
    <!-- ci: profile --rounds 2; train --epochs 1 -->      options that from here on are added to these commands
    <!-- ci: before: mkdir photos -->                      what a reader has already, made before the next block

An option that is given twice has its last value, so what is added replaces what the text says.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

COMMENT = re.compile(r"<!-- ci: (.+?) -->")
LIMIT_S = 200


@dataclass(frozen=True)
class Block:
    """Commands that stand together.

    Attributes:
        line: of the page, of the first command.
        code: what a shell reads.
        skip: why it is not run, None where it is.
        before: commands to run first.
        added: options by command.
    """

    line: int
    code: str
    skip: str | None = None
    before: str = ""
    added: dict[str, str] = field(default_factory=dict)


def blocks(page: str) -> Iterator[Block]:
    """Every block of commands of a page, in its order."""
    skip: str | None = None
    before = ""
    added: dict[str, str] = {}
    for line, code in _pieces(page):
        comment = COMMENT.fullmatch(code)
        if comment is None:
            yield Block(line, code, skip, before, dict(added))
            skip, before = None, ""
        elif comment[1].startswith("skip, "):
            skip = comment[1].removeprefix("skip, ")
        elif comment[1].startswith("before: "):
            before = comment[1].removeprefix("before: ")
        else:
            added |= dict(each.strip().split(" ", 1) for each in comment[1].split(";"))


def _pieces(page: str) -> Iterator[tuple[int, str]]:
    """Comments for this runner and blocks of commands, each with its line."""
    lines = page.splitlines()
    at = 0
    while at < len(lines):
        start, line = at, lines[at]
        at += 1
        if line.startswith("```"):
            at = lines.index("```", at)
            body = lines[start + 1 : at]
            at += 1
            if line == "```sh":
                yield start + 2, "\n".join(body)
            elif line == "```console":
                yield start + 2, "\n".join(each.removeprefix("$ ") for each in body if each.startswith("$ "))
        elif line.startswith("    ") and not lines[start - 1].strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield start + 1, "\n".join(each.removeprefix("    ") for each in lines[start:at]).strip()
        elif COMMENT.fullmatch(line):
            yield start + 1, line


def run(block: Block, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a block in a folder, up to its first command that fails; its output and errors are in `stdout`."""
    programs, _, others = environment["PATH"].partition(":")
    with_options = folder / ".with-options"
    with_options.mkdir(exist_ok=True)
    cases = "".join(f'{command}) set -- "$@" {options};;\n' for command, options in block.added.items())
    spnas = with_options / "spnas"
    spnas.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}esac\necho "\\$ spnas $*"\nexec {shlex.quote(programs)}/spnas "$@"\n')
    spnas.chmod(0o755)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{block.before}\n{block.code}"],
        cwd=folder, env=environment | {"PATH": f"{with_options}:{programs}:{others}"}, timeout=LIMIT_S, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
