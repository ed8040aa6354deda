"""The variables of the environment that adb reads mean the same here: where its server listens, and which keys there are."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from adb_shell.auth.keygen import keygen
from hypothesis import given
from hypothesis import strategies as st
from phone.adb import adb
from phone.machine import Phone

from profiling.adb.keys import load_signers
from profiling.adb.server import AdbServer
from profiling.adb.server_address import ServerAddress, server_address
from profiling.errors import InputError, NoDeviceError

SOCKET, ADDRESS, PORT = "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"


class TestAddress:
    @pytest.mark.parametrize(
        ("environment", "address"),
        [
            ({}, ServerAddress("127.0.0.1", 5037)),
            ({SOCKET: "", ADDRESS: "", PORT: ""}, ServerAddress("127.0.0.1", 5037)),
            ({PORT: "5038"}, ServerAddress("127.0.0.1", 5038)),
            ({PORT: "0x13AE"}, ServerAddress("127.0.0.1", 5038)),
            ({ADDRESS: "lab", PORT: "5038"}, ServerAddress("lab", 5038)),
            ({ADDRESS: "lab"}, ServerAddress("lab", 5037)),
            ({SOCKET: "tcp:5038"}, ServerAddress("127.0.0.1", 5038)),
            ({SOCKET: "tcp:lab:5038"}, ServerAddress("lab", 5038)),
            ({SOCKET: "tcp:[::1]:5038"}, ServerAddress("::1", 5038)),
            ({SOCKET: "tcp:lab:5038", ADDRESS: "other", PORT: "nonsense"}, ServerAddress("lab", 5038)),  # as adb prefers it
            ({SOCKET: "localfilesystem:/run/adb 1.sock"}, ServerAddress(path="/run/adb 1.sock")),
            ({SOCKET: "localabstract:adb"}, ServerAddress(path="\0adb")),
        ],
    )
    def test_it_is_that_of_adb(self, environment: dict[str, str], address: ServerAddress) -> None:
        assert server_address(environment) == address

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            *((PORT, value) for value in ("abc", "0", "-1", "65536", "50 37", "5_037", "٥٠٣٧", "5037.0", "0x", "1e3")),
            *((SOCKET, value) for value in ("tcp:", "tcp:lab", "tcp:lab:", "tcp:lab:99999", "tcp:::1:5037", "5037")),
            *((SOCKET, value) for value in ("localfilesystem:", "lab:5037", "vsock:2:5037", "tcp:a b:c:1", " ")),
        ],
    )
    def test_what_cannot_be_meant_is_one_line_that_names_the_variable(self, variable: str, value: str) -> None:
        with pytest.raises(InputError) as caught:
            server_address({variable: value})
        assert caught.value.where == variable
        assert len(str(caught.value).splitlines()) == 1
        assert "unset the variable" in str(caught.value)

    @given(st.sampled_from([SOCKET, ADDRESS, PORT]), st.text(max_size=30))
    def test_no_value_is_fatal(self, variable: str, value: str) -> None:
        with contextlib.suppress(InputError):
            assert 0 < server_address({variable: value}).port < 65536

    def test_a_host_that_cannot_be_is_one_where_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ADDRESS, f"a..{'b' * 70}")
        with pytest.raises(OSError, match="label"):
            AdbServer().devices()

    def test_a_person_reads_one_line(self) -> None:
        environment = {**os.environ, PORT: "abc"}
        done = subprocess.run(
            [sys.executable, "-m", "spnas_cli", "devices"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert (
            done.stderr.strip()
            .splitlines()[-1]
            .endswith("ANDROID_ADB_SERVER_PORT: not a port: 'abc'; give a number from 1 to 65535, or unset the variable")
        )
        assert "Traceback" not in done.stderr


def test_a_server_is_reached_at_a_local_socket(
    phone: Phone, adb_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adb(adb_port, "connect", phone.address)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "adb"))
        listener.listen()

        def relay() -> None:
            near, _ = listener.accept()
            with near, socket.create_connection(("127.0.0.1", adb_port)) as far:
                far.sendall(near.recv(1000))
                while block := far.recv(1000):
                    near.sendall(block)

        threading.Thread(target=relay, daemon=True).start()
        monkeypatch.setenv(SOCKET, f"localfilesystem:{tmp_path / 'adb'}")
        server = AdbServer()
        assert phone.address in [device.serial for device in server.devices()]
        assert server.description == f"adb server {tmp_path / 'adb'}"
    adb(adb_port, "disconnect", phone.address)


class TestVendorKeys:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> dict[str, Path]:
        """Keys by name: that of adb, one in a file, and two in a folder beside files that are none."""
        folder = tmp_path / "keys"
        folder.mkdir()
        paths = {"adb": tmp_path / "adbkey", "file": tmp_path / "lab"}
        paths |= {name: folder / f"{name}.adb_key" for name in ("one", "two")}
        for path in paths.values():
            keygen(str(path))
        (folder / "README").write_text("not a key")
        return paths

    def used(
        self, keys: dict[str, Path], vendor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> tuple[list[str], list[str]]:
        """The names of the keys in their order, and what is said."""
        monkeypatch.setenv("ADB_VENDOR_KEYS", vendor)
        notes: list[str] = []
        signers = load_signers(notes.append, adb_key=keys["adb"], own_key=tmp_path / "own")
        names = {path.with_name(f"{path.name}.pub").read_text().split()[0]: name for name, path in keys.items()}
        return [names[signer.GetPublicKey().split()[0]] for signer in signers], notes

    def test_files_and_folders_are_tried_after_adbs_own(
        self, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        vendor = os.pathsep.join([str(keys["file"]), "", str(keys["one"].parent), str(keys["file"])])
        names, notes = self.used(keys, vendor, monkeypatch, tmp_path)
        assert names == ["adb", "file", "one", "two"]
        assert len(notes) == 1

    def test_one_that_cannot_be_used_is_named_and_the_others_are_tried(
        self, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broken = keys["one"].with_name("broken.adb_key")
        broken.write_text("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
        vendor = os.pathsep.join([str(tmp_path / "missing"), str(broken.parent)])
        names, notes = self.used(keys, vendor, monkeypatch, tmp_path)
        assert names == ["adb", "one", "two"]
        assert [note.partition(": this key cannot be used: ")[0] for note in notes[:-1]] == [
            str(tmp_path / "missing"),
            str(broken),
        ]

    def test_a_private_key_is_enough(self, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        public = keys["file"].with_name("lab.pub")
        saved = public.read_text()
        public.unlink()
        monkeypatch.setenv("ADB_VENDOR_KEYS", str(keys["file"]))
        signers = load_signers(lambda text: None, adb_key=keys["adb"])
        assert signers[1].GetPublicKey().split()[0] == saved.split()[0]

    def test_they_are_enough_where_adbs_own_is_damaged(
        self, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        keys["adb"].write_text("nonsense")
        assert self.used(keys, str(keys["file"]), monkeypatch, tmp_path)[0] == ["file"]
        with pytest.raises(NoDeviceError, match="cannot be used"):
            self.used(keys, str(tmp_path / "missing"), monkeypatch, tmp_path)
