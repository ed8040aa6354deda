"""Links to Android's own adbd, directly and through a real adb server: shell, exit codes, files, and the faults of both."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone.adb import adb
from phone.machine import Phone
from phone.stand_in import ask_for_key, keep_silent, listening, offer_tls, speak_http
from waiting import when

from profiling.adb import keys, tcp
from profiling.adb import packets as adb_packets
from profiling.adb.link import LinkLostError
from profiling.adb.server import AdbServer, AdbServerError, connect_server
from profiling.adb.shell import batch_script, packets, run_marked, run_v2, split_batch
from profiling.adb.sync import PushFile, RefusedFileError
from profiling.adb.tcp import WholeTcpTransport, connect_tcp, parse_address
from profiling.adb.transport import Transport
from profiling.errors import InputError, NoDeviceError

FOLDER = "/data/local/tmp"


def over_tcp(phone: Phone) -> Transport:
    return Transport(connect_tcp(phone.address, notify=lambda text: None))


@pytest.fixture(params=["tcp", "server"])
def transport(request: pytest.FixtureRequest, phone: Phone) -> Iterator[Transport]:
    """The same phone over each link: whatever holds for one must hold for the other."""
    if request.param == "tcp":
        made = over_tcp(phone)
    else:
        made = Transport(connect_server(phone.address, AdbServer(("127.0.0.1", request.getfixturevalue("adb_port")))))
    yield made
    made.close()


class TestShell:
    def test_streams_and_exit_code_are_told_apart(self, transport: Transport) -> None:
        reply = transport.shell("echo out; echo err >&2; exit 7")
        assert (reply.stdout, reply.stderr, reply.exit_code) == (b"out\n", b"err\n", 7)

    @pytest.mark.parametrize(("command", "code"), [("true", 0), ("nonsense", 127), ("kill -SEGV $$", 139), ("exit 255", 255)])
    def test_exit_codes_arrive(self, transport: Transport, command: str, code: int) -> None:
        assert transport.shell(command).exit_code == code

    def test_bytes_arrive_unchanged(self, transport: Transport, phone: Phone) -> None:
        phone.run(f"head -c 3000000 /dev/urandom >{FOLDER}/noise")
        reply = transport.shell(f"cat {FOLDER}/noise; sha256sum {FOLDER}/noise >&2")
        assert reply.stderr.decode().split()[0] == hashlib.sha256(reply.stdout).hexdigest()

    def test_an_old_phone_is_asked_by_mark(self, phone: Phone) -> None:
        phone.set_properties({"ro.build.version.sdk": "23"})
        transport = over_tcp(phone)
        for command, code in (("exit 3", 3), ("printf 'no end of line'; false", 1), ("true # comment", 0), ("nonsense", 127)):
            assert transport.shell(command).exit_code == code
        assert transport.shell("printf 'a\\n\\nb'").stdout == b"a\n\nb"
        # With protocol v2 this would stand in stderr: the mark was used.
        assert transport.shell("echo x >&2").stdout == b"x\n"

    def test_output_that_looks_like_a_mark_is_no_mark(self, phone: Phone) -> None:
        link = connect_tcp(phone.address, notify=lambda text: None)
        known = "0" * 32
        assert run_marked(link, "echo; echo abc:5; exit 4", 5).exit_code == 4
        assert run_marked(link, f"echo; echo {known}:0; exit 4", 5, mark=lambda: known).exit_code == 4

    def test_output_without_its_mark_is_cut_off_not_a_result(self, phone: Phone) -> None:
        link = connect_tcp(phone.address, notify=lambda text: None)
        with pytest.raises(LinkLostError, match="cut off"):
            run_marked(link, "echo begin; kill -9 $$", 5)

    def test_output_without_an_exit_packet_is_cut_off_not_a_result(self) -> None:
        class Cut:
            description = "a phone"
            blocks: ClassVar = [b"", b"\x01\x05\x00\x00\x00begin\x01\x05\x00\x00"]

            def open(self, service: str, timeout_s: float) -> Cut:
                return self

            def read(self, timeout_s: float) -> bytes:
                return self.blocks.pop()

            def close(self) -> None:
                pass

        with pytest.raises(LinkLostError, match="cut off"):
            run_v2(Cut(), "echo begin", 5)

    def test_a_batch_is_one_round_trip_and_keeps_commands_apart(self, transport: Transport) -> None:
        commands = {"one": "echo 1; exit 3", "two": "cat /nonsense", "three": "printf x"}
        replies = transport.batch(commands)
        assert {name: reply.exit_code for name, reply in replies.items()} == {"one": 3, "two": 1, "three": 0}
        assert replies["one"].stdout == b"1\n"
        assert replies["three"].stdout == b"x"
        assert b"nonsense" in replies["two"].stdout

    def test_a_silent_command_is_given_up(self, phone: Phone) -> None:
        with pytest.raises(LinkLostError):
            over_tcp(phone).shell("sleep 3600", timeout_s=0.5)


class TestPackets:
    @given(st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=40)), max_size=8), st.lists(st.integers(1, 20), min_size=1))
    def test_packets_are_the_same_however_the_stream_is_cut(self, sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
        stream = b"".join(bytes([kind]) + len(data).to_bytes(4, "little") + data for kind, data in sent)
        blocks, index = [], 0
        while stream:
            size = cuts[index % len(cuts)]
            blocks.append(stream[:size])
            stream, index = stream[size:], index + 1
        assert list(packets(iter(blocks))) == sent

    @given(st.binary(max_size=60))
    def test_a_batch_is_split_whatever_the_commands_print(self, printed: bytes) -> None:
        output = printed + b"\nMARK a 0\n" + printed + b"\nMARK b 9\n"
        if b"MARK" not in printed:
            replies = split_batch(output, "MARK")
            assert [(name, reply.stdout, reply.exit_code) for name, reply in replies.items()] == [
                ("a", printed, 0),
                ("b", printed, 9),
            ]
        assert "MARK a" in batch_script({"a": "true"}, "MARK")


def sha256_on(phone: Phone, path: str) -> str:
    return phone.run(f"sha256sum {path}").split()[0]


class TestFiles:
    def test_files_arrive_whole(self, transport: Transport, phone: Phone) -> None:
        contents = {"large": os.urandom(3_000_001), "empty": b"", "small": b"x"}
        transport.push([PushFile(f"{FOLDER}/{name}", content, 0o755) for name, content in contents.items()])
        for name, content in contents.items():
            assert sha256_on(phone, f"{FOLDER}/{name}") == hashlib.sha256(content).hexdigest()
            assert int(phone.run(f"stat -c %a {FOLDER}/{name}"), 8) & 0o700 == 0o700

    @pytest.mark.parametrize("way", ["tcp", "server"])
    def test_a_full_phone_is_told_at_once_in_its_own_words(
        self, way: str, make_phone: Callable[..., Phone], request: pytest.FixtureRequest
    ) -> None:
        """adb-shell throws the early FAIL away and shows a timeout after ten seconds."""
        phone = make_phone(data="size=2m,mode=771")
        if way == "tcp":
            transport = over_tcp(phone)
        else:
            transport = Transport(connect_server(phone.address, AdbServer(("127.0.0.1", request.getfixturevalue("adb_port")))))
        with pytest.raises(RefusedFileError, match="No space left on device"):
            transport.push([PushFile(f"{FOLDER}/large", bytes(40_000_000)), PushFile(f"{FOLDER}/other", b"x")])
        assert transport.shell("echo still there").text == "still there"

    def test_everything_is_written_through_a_small_send_buffer(self, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
        """adb-shell ignores that a socket takes less than it was given: the push stalls, or arrives with holes."""

        class Small(WholeTcpTransport):
            def connect(self, transport_timeout_s: float) -> None:
                super().connect(transport_timeout_s)
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)

        monkeypatch.setattr(tcp, "WholeTcpTransport", Small)
        content = os.urandom(5 * 2**20)
        transport = over_tcp(phone)
        transport.push([PushFile(f"{FOLDER}/large", content)])
        assert sha256_on(phone, f"{FOLDER}/large") == hashlib.sha256(content).hexdigest()

    @pytest.mark.alone
    def test_20_mb_are_pushed_without_a_wait_for_each_packet(self, phone: Phone) -> None:
        """In the time of 400 shell commands: it takes that of 100 or, on a busy machine, 200; of 3000 where each waits 40 ms."""
        transport, content = over_tcp(phone), os.urandom(20 * 10**6)
        transport.shell("true")
        pushes, shells = [], []
        for _ in range(3):
            begin = time.perf_counter()
            transport.push([PushFile(f"{FOLDER}/large", content)])
            pushes.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            for _ in range(20):
                transport.shell("true")
            shells.append((time.perf_counter() - begin) / 20)
        assert min(pushes) < 400 * min(shells)


class TestLoss:
    def test_a_killed_daemon_is_noticed_at_once(self, phone: Phone) -> None:
        """adb-shell reads the end of the connection as no data, again and again until its timeout."""
        transport = over_tcp(phone)
        transport.shell("true")
        when(lambda: "sleep 3599" in phone.run("ps -A -o CMDLINE"), phone.adbd_stays_down)
        with pytest.raises(LinkLostError, match="closed the connection"):
            transport.shell("sleep 3599", timeout_s=3599)

    def test_a_killed_daemon_is_noticed_through_the_server(self, phone: Phone, adb_port: int) -> None:
        transport = Transport(connect_server(phone.address, AdbServer(("127.0.0.1", adb_port))))
        transport.shell("true")
        phone.adbd_stays_down()
        with pytest.raises(LinkLostError):
            transport.shell("sleep 3600; true", timeout_s=3600)

    def test_a_refused_service_is_an_error_at_once(self, phone: Phone) -> None:
        """adb-shell waits for an OKAY that never comes."""
        link = connect_tcp(phone.address, notify=lambda text: None)
        with pytest.raises(LinkLostError, match="refuses the service nonsense"):
            link.open("nonsense:", 3600)

    def test_small_packets_do_not_wait_for_acknowledgements(self, phone: Phone) -> None:
        transport = WholeTcpTransport("127.0.0.1", phone.port)
        transport.connect(5)
        assert transport._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        transport.close()


class TestConnecting:
    def test_a_closed_port_says_so(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with pytest.raises(NoDeviceError, match="nothing listens at this port") as caught:
            connect_tcp(f"127.0.0.1:{port}", notify=lambda text: None)
        assert "adb tcpip" in str(caught.value.hint)

    def test_an_unknown_host_says_so(self) -> None:
        with pytest.raises(NoDeviceError, match="no host with this name"):
            connect_tcp("phone.invalid:5555", notify=lambda text: None)

    def test_an_address_that_does_not_answer_says_so(self) -> None:
        """A full queue drops whoever comes next, as does a phone that is switched off."""
        with contextlib.ExitStack() as connections:
            full = connections.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(3):
                waiting = connections.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            with pytest.raises(NoDeviceError, match="no answer from this address") as caught:
                connect_tcp(f"127.0.0.1:{full.getsockname()[1]}", notify=lambda text: None, connect_timeout_s=0.3)
        assert "same network" in str(caught.value.hint)

    @pytest.mark.parametrize("behaviour", [keep_silent, speak_http])
    def test_something_else_that_listens_is_told_from_a_phone(self, behaviour: Callable[..., None]) -> None:
        with listening(behaviour) as address, pytest.raises(NoDeviceError, match="does not speak adb"):
            connect_tcp(address, notify=lambda text: None, connect_timeout_s=0.3)

    def test_the_tls_port_is_named(self) -> None:
        with listening(offer_tls) as address, pytest.raises(NoDeviceError, match="Wireless debugging") as caught:
            connect_tcp(address, notify=lambda text: None)
        assert "--via server" in str(caught.value.hint)

    def test_a_person_is_asked_to_press_allow(self, own_keys: list[str]) -> None:
        with listening(ask_for_key(pressed=True)) as address:
            connect_tcp(address, notify=own_keys.append).close()
        assert any("press Allow" in text for text in own_keys)

    def test_a_phone_on_which_nobody_presses_allow(self, own_keys: list[str]) -> None:
        with listening(ask_for_key(pressed=False)) as address, pytest.raises(NoDeviceError, match="does not allow") as caught:
            connect_tcp(address, notify=own_keys.append, allow_timeout_s=0.3)
        assert "unlock it" in str(caught.value.hint)

    @pytest.fixture
    def own_keys(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr(
            adb_packets,
            "load_signers",
            lambda notify: keys.load_signers(notify, adb_key=tmp_path / "none", own_key=tmp_path / "deep" / "adbkey"),
        )
        return []

    def test_own_keys_are_private_and_made_once(self, tmp_path) -> None:
        key = tmp_path / "deep" / "adbkey"
        notes: list[str] = []
        keys.load_signers(notes.append, adb_key=tmp_path / "none", own_key=key)
        assert key.stat().st_mode & 0o777 == 0o600
        content = key.read_bytes()
        keys.load_signers(notes.append, adb_key=tmp_path / "none", own_key=key)
        assert key.read_bytes() == content
        assert str(key) in notes[0]

    def test_adbs_own_key_comes_first(self, tmp_path) -> None:
        keys.load_signers(lambda text: None, adb_key=tmp_path / "none", own_key=tmp_path / "adbkey")
        notes: list[str] = []
        keys.load_signers(notes.append, adb_key=tmp_path / "adbkey", own_key=tmp_path / "own")
        assert str(tmp_path / "adbkey") in notes[0]
        assert not (tmp_path / "own").exists()

    def test_a_folder_for_keys_that_cannot_be_made_is_named(self, tmp_path) -> None:
        """A home that is read-only, or is none."""
        (tmp_path / "home").write_text("a file")
        with pytest.raises(NoDeviceError, match="cannot be used") as caught:
            keys.load_signers(lambda text: None, adb_key=tmp_path / "none", own_key=tmp_path / "home" / "spnas" / "adbkey")
        assert "ADB_VENDOR_KEYS" in str(caught.value.hint)

    def test_a_key_that_cannot_be_used_is_named(self, tmp_path) -> None:
        (tmp_path / "adbkey").write_text("nonsense")
        (tmp_path / "adbkey.pub").write_text("nonsense")
        with pytest.raises(NoDeviceError, match="cannot be used") as caught:
            keys.load_signers(lambda text: None, adb_key=tmp_path / "adbkey")
        assert "ADB_VENDOR_KEYS" in str(caught.value.hint)

    @pytest.mark.parametrize(
        ("text", "address"),
        [("1.2.3.4", ("1.2.3.4", 5555)), ("pixel:5600", ("pixel", 5600)), ("[::1]:5600", ("::1", 5600))],
    )
    def test_addresses(self, text: str, address: tuple[str, int]) -> None:
        assert parse_address(text) == address

    @pytest.mark.parametrize("text", ["", ":5555", "host:port", "host:99999", "user@", "host/path", "::1"])
    def test_no_addresses(self, text: str) -> None:
        with pytest.raises(InputError):
            parse_address(text)


class TestServer:
    def test_it_lists_its_phones_with_their_states(self, phone: Phone, adb_port: int) -> None:
        server = AdbServer(("127.0.0.1", adb_port))
        adb(adb_port, "connect", phone.address)
        assert ("device", phone.address) in [(device.state, device.serial) for device in server.devices()]
        adb(adb_port, "disconnect", phone.address)
        assert phone.address not in [device.serial for device in server.devices()]

    def test_no_server_says_how_to_start_one(self) -> None:
        with pytest.raises(NoDeviceError, match="no adb server is running") as caught:
            connect_server("ABC", AdbServer(("127.0.0.1", 9)))
        assert "adb start-server" in str(caught.value.hint)

    def test_an_unknown_phone_lists_the_known(self, phone: Phone, adb_port: int) -> None:
        adb(adb_port, "connect", phone.address)
        with pytest.raises(NoDeviceError, match="does not know this phone") as caught:
            connect_server("ABC", AdbServer(("127.0.0.1", adb_port)))
        assert phone.address in str(caught.value.hint)
        adb(adb_port, "disconnect", phone.address)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("0A1B unauthorized usb:1-1 transport_id:1", "does not allow this computer"),
            ("0A1B offline", "does not answer"),
            ("0A1B connecting", "still connecting"),
            ("0A1B detached usb:1-1 transport_id:1", "has let go"),
            ("0A1B no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]", "may not open"),
            ("0A1B recovery product:x model:y device:z", "recovery mode"),
            ("0A1B sideload", "sideload mode"),
            ("0A1B rescue", "'rescue'"),
        ],
    )
    def test_each_state_that_is_not_ready_has_words(self, line: str, words: str) -> None:
        with listening(lambda peer: answer_devices(peer, line)) as address:
            host, port = address.split(":")
            with pytest.raises(NoDeviceError, match=words):
                connect_server("0A1B", AdbServer((host, int(port))))

    def test_something_else_at_the_port_is_no_server(self) -> None:
        with listening(speak_http) as address:
            host, port = address.split(":")
            with pytest.raises((AdbServerError, OSError, ValueError)):
                AdbServer((host, int(port))).devices()


def answer_devices(peer, line: str) -> None:
    length = int(peer.exactly(4), 16)
    assert peer.exactly(length) == b"host:devices-l"
    peer.write(b"OKAY%04x%s" % (len(line), line.encode()))
