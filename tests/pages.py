"""The commands of a page of the docs, taken from its text, and run one after the other as a reader would.

Commands are in blocks fenced as `sh` or indented by four blanks, after the `$` of blocks fenced as `console`, and in the text,
between backticks, if they have an option and no word in capitals to be replaced. A comment, which no reader of the page sees,
says what is different here, where nobody waits for good results:

    <!-- ci: skip, needs a phone -->                       the next block is left out, for this reason
    <!-- ci: same as docs/tutorial.md -->                  the next block is left out: that page has the same commands
    <!-- ci: profile --rounds 2; train --epochs 1 -->      options that from here on are added to these commands
    <!-- ci: before: mkdir photos -->                      run before the next block: what a reader has already

An option that is given twice has its last value, so what is added replaces what the text says.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from installed import CHECKOUT, environment, make_namesakes
from tiny import TINY

COMMENT = re.compile(r"\s*<!-- ci: (.+?) -->")
FENCE = re.compile(r"(\s*)```(\w*)")
IN_TEXT = re.compile(r"`(spnas [a-z]+ [^`]*-[^`]*)`")
ONCE = {"skip, ": "skip", "same as ": "same_as", "before: ": "before"}
TO_REPLACE = re.compile(r"\b[A-Z]{3,}\b")
LIMIT_S = 400
# What makes the photos and weights that a reader has.
SCRIPTS = ("photos.py", "weights.py")


@dataclass(frozen=True)
class Block:
    """Commands that stand together.

    Attributes:
        line: of the page, of the first command.
        code: what a shell reads.
        skip: why it is not run, None where it is.
        same_as: a page that has the same commands, and is run.
        before: commands to run first.
        added: options by command.
    """

    line: int
    code: str
    skip: str | None = None
    same_as: str | None = None
    before: str = ":"
    added: dict[str, str] = field(default_factory=dict)


def blocks(page: str) -> Iterator[Block]:
    """Every block of commands of a page, in its order."""
    once: dict[str, str] = {}
    added: dict[str, str] = {}
    for line, code in _pieces(page.splitlines()):
        comment = COMMENT.fullmatch(code)
        if comment is None:
            yield Block(line, code, added=dict(added), **once)
            once = {}
        elif which := next((each for each in ONCE if comment[1].startswith(each)), None):
            once[ONCE[which]] = comment[1].removeprefix(which)
        else:
            added |= dict(each.strip().split(" ", 1) for each in comment[1].split(";"))


def _pieces(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Comments for this runner and blocks of commands, each with its line."""
    at = 0
    while at < len(lines):
        start, line = at, lines[at]
        at += 1
        if fence := FENCE.match(line):
            at = lines.index(f"{fence[1]}```", at) + 1
            body = [each.removeprefix(fence[1]) for each in lines[start + 1 : at - 1]]
            if fence[2] == "console":
                body = [each.removeprefix("$ ") for each in body if each.startswith("$ ")]
            if fence[2] in ("sh", "console"):
                yield start + 2, "\n".join(body)
        elif line.startswith("    ") and not lines[start - 1].strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield start + 1, "\n".join(each.removeprefix("    ") for each in lines[start:at]).strip()
        elif COMMENT.fullmatch(line):
            yield start + 1, line
        else:
            yield from ((start + 1, code) for code in IN_TEXT.findall(line) if not TO_REPLACE.search(code))


def run_page(page: Path, programs: Path, folder: Path) -> list[Block]:
    """Runs the commands of a page, none of which may fail, in a folder where the user has packages of the names of ours.

    Returns:
        The blocks that were run.
    """
    make_namesakes(folder)
    (folder / "tiny.yaml").write_text(TINY)
    for script in SCRIPTS:
        shutil.copy(CHECKOUT / "tests" / script, folder)
    variables = environment(programs, folder)
    found = list(blocks(page.read_text(encoding="utf-8")))
    for block in found:
        if block.same_as is not None:
            elsewhere = (CHECKOUT / block.same_as).read_text(encoding="utf-8").splitlines()
            assert {line.partition("  #")[0].strip() for line in block.code.splitlines()} <= set(elsewhere), f"line {block.line}"
    wanted = [block for block in found if block.skip is None and block.same_as is None]
    for block in wanted:
        done = run(block, folder, variables)
        assert done.returncode == 0, f"{page.name}:{block.line}\n{block.code}\n\n{done.stdout[-4000:]}"
        assert "Traceback" not in done.stdout, f"{page.name}:{block.line}\n{done.stdout[-4000:]}"
    return wanted


def run(block: Block, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a block in a folder, up to its first command that fails; its output and errors are in `stdout`."""
    programs, _, others = variables["PATH"].partition(":")
    with_options = folder / ".with-options"
    with_options.mkdir(exist_ok=True)
    cases = "".join(f'{command}) set -- "$@" {options};;\n' for command, options in block.added.items())
    spnas = with_options / "spnas"
    spnas.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}esac\necho "\\$ spnas $*"\nexec {shlex.quote(programs)}/spnas "$@"\n')
    spnas.chmod(0o755)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{block.before}\n{block.code}"],
        cwd=folder, env=variables | {"PATH": f"{with_options}:{programs}:{others}"}, timeout=LIMIT_S, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
