"""A real sshd on loopback, for tests that measure on this machine as on another one; it is gone when the test ends."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from phone.adb import free_port, listens
from waiting import until

from profiling.adb.ssh import SshTransport
from profiling.phone import climate

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
TOOL = Path(__file__).parent / "phone" / "rootfs" / "system" / "lib" / "benchmark_model.py"
# As the test phone has it, but on the Python and the LiteRT of the tests.
LAUNCHER = """
#include <unistd.h>
int main(int argc, char **argv) {
    char *program[argc + 4];
    program[0] = PYTHON; program[1] = "-I"; program[2] = SCRIPT;
    for (int i = 0; i < argc; i++) program[3 + i] = argv[i];
    program[3 + argc] = 0;
    execv(PYTHON, program);
    return 127;
}
"""
SCRIPT = """
import runpy, sys
from pathlib import Path
tool = runpy.run_path({tool!r})
here = tool["main"].__globals__
here.update({{name: Path({state!r}, name.lower()) for name in ("FAULT", "GO", "STARTS", "MODELS")}})
tool["main"](sys.argv[1], sys.argv[2:])
"""


@dataclass(frozen=True)
class Machine:
    """This machine, reached over ssh.

    Attributes:
        folder: of everything that the tests know of it: keys, settings, the state of the tool.
        port: of its sshd; server: that process.
    """

    folder: Path
    port: int
    server: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """What `--device` takes."""
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def tool(self) -> Path:
        """The `benchmark_model` for it."""
        return self.folder / "benchmark_model"

    @property
    def work(self) -> Path:
        """Where runs have their folder and their lock."""
        return self.folder / "work"

    def starts(self) -> int:
        """How often the tool was started."""
        return (self.folder / "starts").stat().st_size

    def sessions(self) -> list[int]:
        """Processes of sshd that serve a connection."""
        return [int(pid) for pid in Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()]

    def cut(self) -> None:
        """Breaks every connection."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)

    def settings(self, text: str) -> None:
        """Settings of the program ssh."""
        (self.folder / "ssh_config").write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """This machine, reached over ssh; skipped where there is no sshd, which SPNAS_REQUIRE_PHONE=1 makes a failure."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("gcc") is None:
        reason = "a machine to measure over ssh needs sshd, ssh and gcc (Debian: apt-get install openssh-server gcc)"
        if os.environ.get("SPNAS_REQUIRE_PHONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    for folder in ("work", "bin"):
        (tmp_path / folder).mkdir()
    server, port = start(tmp_path, SSHD)
    made = Machine(tmp_path, port, server)
    identity = f"IdentityFile {tmp_path}/key\nIdentitiesOnly yes\n"
    made.settings(f"{identity}UserKnownHostsFile {tmp_path}/known\nStrictHostKeyChecking accept-new\n")
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    # Tests of several checkouts may run at once.
    monkeypatch.setattr(SshTransport, "folder", str(made.work))
    # It runs the tests, so it is busy.
    monkeypatch.setattr(climate, "BUSY_LIMIT_S", 0.0)
    (tmp_path / "starts").touch()
    build_tool(made)
    yield made
    made.cut()
    server.kill()
    server.wait()


def start(folder: Path, sshd: str) -> tuple[subprocess.Popen[bytes], int]:
    """An sshd that takes one key, and its port."""
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_key", f"AuthorizedKeysFile {folder}/key.pub",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes", "StrictModes no", "UsePAM no",
        "PidFile none",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its less privileged part is confined
    # It ends with the tests, also when those are killed.
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with (folder / "sshd.log").open("w") as log:
        server = subprocess.Popen(
            [*guard, sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log
        )
    until(lambda: listens(port) or server.poll() is not None)
    assert server.poll() is None, (folder / "sshd.log").read_text()
    return server, port


def build_tool(machine: Machine) -> None:
    """Compiles the tool, whose state is in the folder of the machine."""
    script, source = machine.folder / "tool.py", machine.folder / "launcher.c"
    script.write_text(SCRIPT.format(tool=str(TOOL), state=str(machine.folder)))
    source.write_text(LAUNCHER)
    names = {"PYTHON": sys.executable, "SCRIPT": script}
    defines = [f'-D{name}="{value}"' for name, value in names.items()]
    subprocess.run(["gcc", "-static", "-O1", *defines, "-o", str(machine.tool), str(source)], check=True)
