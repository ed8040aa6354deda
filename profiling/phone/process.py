"""One process at a time on a phone, detached from the link that started it: a lost cable ends nothing, and a hang can be killed.

The process has a folder on the phone with the files `id`, `pid`, `tool`, `cpus`, `seen`, `before`, `after`, `times`, `out`, `err`
and `rc`. The script that starts it may be sent again: when the folder has its id, it only waits. It answers within seconds also
while the process runs, so that a link that has fallen silent is noticed; when the process ends, it answers at once.
"""

from __future__ import annotations

import math
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from profiling.adb.connection import Connection
from profiling.adb.shell import Reply
from profiling.errors import MeasurementError, NoDeviceError, ToolOutputError
from profiling.phone.refusals import next_step
from profiling.phone.watch import TICKS_PROBE, WATCH_SCRIPT, Watched

# The phone answers after so many seconds at the latest. Too short disturbs what it measures; too long hides a dead link.
ANSWER_S = 5
_LOCK_LOST, _FOLDER_GONE, _NO_ROOM = 3, 4, 5


@dataclass(frozen=True)
class Finished:
    """What a process left: its output and exit code, the mask of the cores that it was allowed, and the answers to the probes.

    `watched` is what was seen of it while it ran; `seconds` are those of the phone's own clock, None where it does not show that.
    """

    stdout: str
    stderr: str
    exit_code: int
    cpus: str
    watched: Watched
    seconds: float | None
    probes: Mapping[str, Reply]


class VanishedError(Exception):
    """The process disappeared without an exit code: the phone has restarted, or something killed it or removed our folder."""


class PhoneProcesses:
    """Runs processes on a phone, one after the other.

    Args:
        connection: to the phone.
        folder: our own on the phone; no other process may have its path among its arguments.
        before: a shell command that must succeed before each start and every few seconds of a run, to renew the lock.
        clock: seconds.
    """

    def __init__(
        self, connection: Connection, folder: str, *, before: str = "true", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection, self._folder, self._before, self._clock = connection, folder, before, clock

    def run(self, arguments: Sequence[str], tool: str, *, timeout_s: float, probes: Mapping[str, str]) -> Finished:
        """Runs a process to its end.

        Args:
            arguments: what to run; what stands before `tool` is for starting it, such as `taskset f0`.
            tool: the executable among the arguments.
            timeout_s: a process that takes longer is killed.
            probes: shell commands by name, to be run on the phone in the same round trip, after the process.

        Raises:
            ToolOutputError: `hang` when it was killed.
            VanishedError: it is gone, and what it found with it.
            MeasurementError: it could not be started or killed.
            NoDeviceError: another run has taken the lock.
            DeviceLostError: the phone went away.
        """
        identity, deadline = secrets.token_hex(8), self._clock() + timeout_s
        while True:
            answer_s = min(ANSWER_S, max(1, math.ceil(deadline - self._clock())))
            replies = self._connection.batch({**self._commands(arguments, tool, identity, answer_s), **probes})
            self._refuse_no_start(replies["start"])
            if replies["rc"].exit_code == 0:
                return Finished(
                    stdout=replies["out"].stdout.decode(errors="replace"),
                    stderr=replies["err"].stdout.decode(errors="replace"),
                    exit_code=int(replies["rc"].text),
                    cpus=replies["cpus"].text.rpartition(":")[2].strip(),
                    watched=Watched.parse(replies["seen"].text, replies["before"].text, replies["after"].text),
                    seconds=_difference(replies["times"].text),
                    probes={name: replies[name] for name in probes},
                )
            if replies["alive"].exit_code != 0:
                raise VanishedError
            if self._clock() > deadline:
                self.kill_all()
                raise ToolOutputError(
                    "hang", f"the process did not end within {timeout_s:g} s and was killed", where=self._connection.serial
                )

    def kill_all(self) -> None:
        """Kills whatever runs on the phone with a path in our folder, and makes sure that it is gone.

        Raises:
            MeasurementError: it is not.
        """
        kill_in(self._connection, self._folder)

    def _commands(self, arguments: Sequence[str], tool: str, identity: str, answer_s: int) -> dict[str, str]:
        here = f"{self._folder}/run"
        start = arguments.index(tool)
        # The mask is read by the very process that becomes the tool.
        look = ["sh", "-c", 'echo $$ >tool; grep Cpus_allowed: /proc/$$/status >cpus; exec "$0" "$@"']
        wrapper = f"""echo $$ >pid
            exec >out 2>err
            ( {WATCH_SCRIPT} ) 2>/dev/null &
            watch=$!
            {TICKS_PROBE} >before 2>/dev/null
            read -r begin rest </proc/uptime
            {shlex.join([*arguments[:start], *look, *arguments[start:]])}
            echo $? >rc.new
            read -r end rest </proc/uptime
            {TICKS_PROBE} >after 2>/dev/null
            kill $watch 2>/dev/null
            echo $begin $end >times
            mv rc.new rc
            {{ read -r waiting <waiting && kill $waiting; }} 2>/dev/null"""
        # The brackets keep this text, which the shell has among its arguments, from being taken for the process.
        alive = f'read -r pid <pid && grep -q "spnas-run[-]{identity}" /proc/$pid/cmdline'
        return {
            "start": f"""{{ {self._before}; }} || exit {_LOCK_LOST}
                cd {self._folder} || exit {_FOLDER_GONE}
                id={identity}
                if [ "$(cat run/id 2>/dev/null)" != $id ]; then
                    rm -rf run && mkdir run && echo $id >run/id && cd run || exit {_NO_ROOM}
                    setsid sh -c {shlex.quote(wrapper)} "spnas-run-$id" </dev/null >/dev/null 2>&1 &
                fi
                cd {here} || exit {_FOLDER_GONE}
                sleep {answer_s} </dev/null >/dev/null 2>&1 &
                echo $! >waiting
                [ -e rc ] || {{ [ -e pid ] && ! {{ {alive}; }}; }} || wait $!
                rm -f waiting
                kill $! 2>/dev/null
                exit 0""",
            "alive": f"cd {here} && [ ! -e rc ] && {alive}",
            "rc": f"cat {here}/rc",
            "out": f"[ -e {here}/rc ] && cat {here}/out",
            "err": f"[ -e {here}/rc ] && cat {here}/err",
            "cpus": f"cat {here}/cpus",
            **{name: f"cat {here}/{name}" for name in ("times", "seen", "before", "after")},
        }

    def _refuse_no_start(self, start: Reply) -> None:
        if start.exit_code == _FOLDER_GONE:
            raise VanishedError
        if start.exit_code == _LOCK_LOST:
            raise NoDeviceError(
                "another run has taken over this phone",
                where=self._connection.serial,
                hint="wait until one of them has ended, then run again",
            )
        if start.exit_code != 0:
            raise MeasurementError(
                f"the phone cannot start a process: {start.text or 'no message'}",
                where=self._connection.serial,
                hint=next_step(start.text, self._folder),
            )


def kill_in(connection: Connection, folder: str) -> None:
    """Kills whatever runs on the phone with a path in this folder among its arguments, and makes sure that it is gone.

    Raises:
        MeasurementError: it is not.
    """
    # The brackets keep the script, whose text the shell has among its own arguments, from finding itself.
    pattern = f"{folder[:-1]}[{folder[-1]}]/"
    find = f"grep -l '{pattern}' /proc/[0-9]*/cmdline 2>/dev/null"
    script = f"""for try in 1 2 3 4 5 6 7 8; do
        found=$({find})
        [ -n "$found" ] || exit 0
        for file in $found; do pid=${{file#/proc/}}; kill -9 ${{pid%/cmdline}}; done
        sleep 0.3 || sleep 1
    done
    exit 1"""
    if connection.shell(script).exit_code != 0:
        raise MeasurementError("a process on the phone cannot be killed", where=connection.serial, hint="restart the phone")


def _difference(text: str) -> float | None:
    """Of two readings of a clock that stand in one line."""
    try:
        begin, end = map(float, text.split())
    except ValueError:
        return None
    return max(0.0, end - begin)
