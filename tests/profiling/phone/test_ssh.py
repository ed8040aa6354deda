"""Another Linux machine as a device, over the program ssh and a real sshd on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from phone.adb import free_port
from phone.opening import NO_SERVER, QUICK
from sshd import Machine, machine
from waiting import started, until, when

from latency_db.bench import Bench
from profiling.adb.connection import Connection
from profiling.adb.ssh import SshTransport, Target
from profiling.adb.sync import PushFile, RefusedFileError
from profiling.device import BuiltModel
from profiling.devices import PhoneOptions
from profiling.errors import InputError, NoDeviceError, ToolOutputError
from profiling.models.builder import TfliteBuilder
from profiling.phone.discovery import list_phones
from profiling.phone.phone import AdbDevice, Limits, open_phone
from profiling.space import SearchSpace
from profiling.specfile import parse_spec

__all__ = ["machine"]

SPACE = """
name: tiny
resolution: 32
image_channels: 3
classes: 10
kernels: [3]
expansions: [3]
stem: {channels: 16}
stages:
  - {layers: 1, channels: 16}
head: {channels: 64}
"""


@pytest.fixture
def open_it(machine: Machine, notes: list[str]) -> Iterator[Callable[[], AdbDevice]]:
    opened: list[AdbDevice] = []

    def open_it() -> AdbDevice:
        limits = Limits(reconnect_s=20)
        opened.append(open_phone(machine.address, tool=str(machine.tool), server=NO_SERVER, limits=limits, notify=notes.append))
        return opened[-1]

    yield open_it
    for device in opened:
        device.close()


def connect(machine: Machine) -> SshTransport:
    return SshTransport(Target.parse(machine.address.removeprefix("ssh:")))


class TestRuns:
    def test_a_model_really_runs_and_nothing_is_left(
        self, machine: Machine, open_it: Callable[[], AdbDevice], models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_it()
        assert f"{machine.address}: over ssh, because the name says so" in notes
        assert f"{device.name}: no battery, so its charge is not watched" in notes
        device.push(models)
        result = device.run(models[0], QUICK)
        assert result.figures.count == 5
        assert "Inference timings in us" in result.output
        assert result.state.flag is None
        device.close()
        assert list(machine.work.iterdir()) == []
        until(lambda: not machine.sessions())

    def test_conditions_name_the_machine_and_its_system(self, open_it: Callable[[], AdbDevice]) -> None:
        device = open_it()
        conditions = device.conditions(replace(QUICK, cores="1"))
        node = os.uname()
        assert device.name.startswith(f"{node.nodename}-")
        assert conditions.os_build.endswith(f", Linux {node.release}")
        assert "unknown" not in (conditions.product, conditions.soc)
        assert conditions.cores == "1"
        assert device.shares_cpu, "over loopback it is this very machine, whose conversions would be in the figures"

    def test_it_keeps_to_its_core(self, open_it: Callable[[], AdbDevice], models: list[BuiltModel]) -> None:
        assert open_it().run(models[0], replace(QUICK, cores="1")).state.flag is None

    def test_a_fault_of_the_tool_is_a_failed_measurement(
        self, machine: Machine, open_it: Callable[[], AdbDevice], models: list[BuiltModel]
    ) -> None:
        device = open_it()
        (machine.folder / "fault").write_text("signal SEGV x1\n")
        with pytest.raises(ToolOutputError, match="Segmentation fault"):
            device.run(models[0], QUICK)
        (machine.folder / "fault").write_text("hang x1\n")
        with pytest.raises(ToolOutputError, match="did not end within 1 s"):
            device.run(models[0], replace(QUICK, timeout_s=1))
        assert device.run(models[0], QUICK).figures.count == 5

    def test_a_run_outlives_the_connection_and_is_fetched_not_made_again(
        self, machine: Machine, open_it: Callable[[], AdbDevice], models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_it()
        device.push(models)
        (machine.folder / "fault").write_text("wait x1\n")
        when(lambda: machine.starts() == 1, machine.cut, (machine.folder / "go").touch)
        assert device.run(models[0], QUICK).figures.count == 5
        assert machine.starts() == 1
        assert f"{device.name}: the phone is back" in notes

    def test_a_second_run_is_refused(self, open_it: Callable[[], AdbDevice]) -> None:
        open_it()
        with pytest.raises(NoDeviceError, match="another run is measuring"):
            open_it()

    def test_a_whole_profile_gives_a_table(self, machine: Machine, builder: TfliteBuilder, tmp_path: Path) -> None:
        space = parse_spec(SPACE, SearchSpace, where="tiny.yaml", is_json=False)
        options = PhoneOptions(tool=str(machine.tool))
        with Bench(machine.address, tmp_path / "spnas.db", rounds=2, settings=QUICK, phone=options, builder=builder) as bench:
            table = bench.profile(space, calibrate=0)
        assert {*table.rows} == {layer.key for layer in space.layers}
        assert table.name == f"tiny-{table.conditions.device}"
        assert table.conditions.tool.startswith("benchmark_model ")


def test_the_list_of_devices_shows_it(machine: Machine) -> None:
    [found] = [one for one in list_phones([machine.address], server=NO_SERVER) if one.name == machine.address]
    assert (found.state, found.missing) == ("ready", None)
    [found] = [one for one in list_phones(["ssh:nobody@"], server=NO_SERVER) if one.name == "ssh:nobody@"]
    assert (found.state, found.missing) == (
        "unreachable",
        "not a machine to reach by ssh; give ssh:USER@HOST, such as ssh:pi@raspberrypi",
    )


class TestTransport:
    def test_commands_give_their_output_and_exit_code_whatever_the_shell_prints_first(self, machine: Machine) -> None:
        with (machine.folder / "sshd_config").open("a") as settings:
            print("ForceCommand echo 'Welcome!'; eval \"$SSH_ORIGINAL_COMMAND\"", file=settings)
        machine.server.send_signal(signal.SIGHUP)
        until(lambda: "Welcome!" in over_ssh(machine, "true"))
        transport = connect(machine)
        assert transport.shell("echo one; exit 3").exit_code == 3
        replies = transport.batch({"first": "echo 'a \"b\" $c'", "second": "cat /nowhere"})
        assert replies["first"].text == 'a "b" $c'
        assert "No such file" in replies["second"].text
        transport.close()

    def test_files_arrive_as_they_are_or_are_refused(self, machine: Machine) -> None:
        transport = connect(machine)
        content = os.urandom(3_000_000)
        transport.push([PushFile(f"{machine.work}/a", content), PushFile(f"{machine.work}/b", b"x", 0o755)])
        assert (machine.work / "a").read_bytes() == content
        assert (machine.work / "b").stat().st_mode & 0o777 == 0o755
        with pytest.raises(RefusedFileError, match="proc"):
            transport.push([PushFile("/proc/spnas/a", b"x")])
        transport.close()

    def test_a_command_without_an_end_is_a_lost_link(self, machine: Machine) -> None:
        notes: list[str] = []
        connection = Connection(lambda: connect(machine), limit_s=5, notify=notes.append)
        assert (
            connection.shell(f"[ -e {machine.work}/twice ] || {{ touch {machine.work}/twice; sleep 60; }}; echo done", 1.0).text
            == "done"
        )
        assert "no answer within 1 s" in notes[0]
        connection.close()

    def test_nothing_of_it_outlives_this_program(self, machine: Machine) -> None:
        code = (
            "import sys; from profiling.adb.ssh import SshTransport, Target\n"
            f"transport = SshTransport(Target.parse({machine.address.removeprefix('ssh:')!r}))\n"
            "print('connected', flush=True); sys.stdin.read()"
        )
        with started([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            assert machine.sessions()
            process.kill()
            process.wait()
            until(lambda: not machine.sessions())


def over_ssh(machine: Machine, command: str) -> str:
    return subprocess.run(
        ["ssh", "-p", str(machine.port), "127.0.0.1", command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    ).stdout


class TestWords:
    def refused(self, address: str) -> str:
        with pytest.raises((NoDeviceError, InputError)) as caught:
            open_phone(address, tool="unused", server=NO_SERVER)
        return str(caught.value)

    def test_a_host_key_that_is_not_known(self, machine: Machine) -> None:
        machine.settings(f"IdentityFile {machine.folder}/key\nUserKnownHostsFile {machine.folder}/none\n")
        assert "its host key is not known yet; connect once by hand with `ssh -p" in self.refused(machine.address)

    def test_a_host_key_that_is_another_one(self, machine: Machine) -> None:
        other = (machine.folder / "key.pub").read_text()
        (machine.folder / "known").write_text(f"[127.0.0.1]:{machine.port} {other}")
        assert "its host key is not the one that it had before; see `ssh" in self.refused(machine.address)

    def test_no_key_there(self, machine: Machine) -> None:
        (machine.folder / "key.pub").write_text("")
        assert "it lets nobody in from here without a password; put a key there with `ssh-copy-id" in self.refused(
            machine.address
        )

    def test_no_server_there(self, machine: Machine) -> None:
        assert "nothing listens at its port; check that its ssh server runs" in self.refused(f"ssh:127.0.0.1:{free_port()}")

    def test_no_host_of_this_name(self, machine: Machine) -> None:
        machine.settings("")
        assert self.refused("ssh:pi@no-such-host.invalid") == (
            "ssh pi@no-such-host.invalid: there is no host with this name; check the name"
        )

    def test_a_shell_that_runs_nothing(self, machine: Machine) -> None:
        with (machine.folder / "sshd_config").open("a") as settings:
            print("ForceCommand echo 'sftp only'", file=settings)
        machine.server.send_signal(signal.SIGHUP)
        until(lambda: "sftp only" in over_ssh(machine, "true"))
        assert "its shell does not run commands" in self.refused(machine.address)

    def test_no_program_ssh(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert "the program ssh is missing; install it (Debian: apt-get install openssh-client)" in self.refused(machine.address)

    @pytest.mark.parametrize(
        "address", ["ssh:", "ssh:-oProxyCommand=id", "ssh:pi@-x", "ssh:a b", "ssh:$(id)", "ssh:h:0", "ssh:@h"]
    )
    def test_what_is_no_address(self, address: str) -> None:
        assert "not a machine to reach by ssh; give ssh:USER@HOST" in self.refused(address)
