"""Keeps a phone awake while it is measured, and restores its settings, even after a crash of this program."""

from __future__ import annotations

from profiling.adb.connection import Connection
from profiling.phone.probes import parse_awake

# The previous settings, on the phone itself: the next run finds them, from any computer.
JOURNAL = "/data/local/tmp/spnas-restore"
_SETTING = "stay_on_while_plugged_in"
_WAKE_UP, _SLEEP = 224, 223


class Wakefulness:
    """Keeps the screen on from `keep` to `restore`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self) -> None:
        """Turns the screen on and keeps it on. A journal that an earlier run left stays: it knows how things were before that."""
        replies = self._connection.batch(
            {
                "setting": f"settings get global {_SETTING}",
                "power": "dumpsys power | grep -m 1 mWakefulness=",
                "journal": f"cat {JOURNAL}",
            }
        )
        # A phone on which nobody ever changed the setting reports null.
        before, awake = replies["setting"].text.replace("null", "0"), parse_awake(replies["power"].text)
        # Without a valid journal there is nothing to put back to, and then nothing is changed.
        if self._parse(replies["journal"].text) is None and before.isdecimal():
            self._connection.shell(f"echo {before} {'awake' if awake else 'asleep'} >{JOURNAL}.new && mv {JOURNAL}.new {JOURNAL}")
        self._connection.shell(f"[ -e {JOURNAL} ] && svc power stayon true; input keyevent {_WAKE_UP}")

    def restore(self) -> None:
        """Restores what the journal records, and removes it."""
        before = self._parse(self._connection.shell(f"cat {JOURNAL}").text)
        if before is None:
            return
        setting, awake = before
        sleep = "" if awake else f"input keyevent {_SLEEP}; "
        self._connection.shell(f"settings put global {_SETTING} {setting} && {sleep}rm {JOURNAL}")

    @staticmethod
    def _parse(journal: str) -> tuple[int, bool] | None:
        """The setting and whether the screen was on. The file may be anybody's, so only what it can mean is taken from it."""
        words = journal.split()
        valid = len(words) == 2 and words[0].isdecimal() and words[1] in ("awake", "asleep")
        return (int(words[0]), words[1] == "awake") if valid else None
