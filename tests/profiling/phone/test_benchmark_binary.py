"""The executable: what is refused before it goes to a phone, and downloads from a real HTTPS server with its own certificate."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import platform
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from profiling.errors import InputError
from profiling.phone.benchmark_binary import DEFAULT_VERSION, check, find

PIXEL = ["arm64-v8a", "armeabi-v7a", "armeabi"]
URL_PATH = f"/{DEFAULT_VERSION}/android_arm64/benchmark_model"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def elf(bits: int = 64, machine: int = 183, kind: int = 3, order: str = "<") -> bytes:
    """An ELF header with some bytes behind it."""
    head = b"\x7fELF" + bytes((1 if bits == 32 else 2, 1 if order == "<" else 2, 1)) + bytes(9)
    return head + struct.pack(f"{order}HHI", kind, machine, 1) + bytes(range(256)) * 400


@pytest.mark.parametrize(
    ("content", "abis"),
    [
        (elf(), PIXEL),
        (elf(kind=2), PIXEL),
        (elf(32, 40), PIXEL),  # a 64-bit Android runs 32-bit tools
        (elf(64, 62), ["x86_64", "x86"]),
        (elf(32, 3), ["x86_64", "x86"]),
    ],
)
def test_executables_for_the_device_are_taken(content: bytes, abis: list[str]):
    check(content, abis, where="tool")


def linked(alignments: dict[int, int], bits: int = 64) -> bytes:
    """An ELF file whose program header lists segments by type, each with its `p_align`."""
    wide = bits == 64
    head = elf(bits, 183 if wide else 40)[:24]
    start, size = (64, 56) if wide else (52, 32)
    rest = struct.pack("<QQQIHHHHHH", 0, start, 0, 0, start, size, len(alignments), 0, 0, 0) if wide else (
        struct.pack("<IIIIHHHHHH", 0, start, 0, 0, start, size, len(alignments), 0, 0, 0)
    )  # fmt: skip
    segments = [
        struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 0, 0, align)
        if wide
        else struct.pack("<IIIIIIII", kind, 0, 0, 0, 0, 0, 5, align)
        for kind, align in alignments.items()
    ]
    return head[:24] + rest[: start - 24] + b"".join(segments)


LOAD, STACK = 1, 0x6474E551


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("align", "page_bytes", "fits"), [
    (4096, 4096, True), (4096, 16384, False), (16384, 16384, True), (65536, 16384, True), (4096, None, True), (0, 16384, True),
])  # fmt: skip
def test_a_tool_must_be_linked_for_the_pages_of_the_phone(bits: int, align: int, page_bytes: int | None, fits: bool):
    content = linked({STACK: 16, LOAD: align}, bits)
    if fits:
        check(content, PIXEL, where="tool", page_bytes=page_bytes)
        return
    with pytest.raises(InputError) as caught:
        check(content, PIXEL, where="tool", page_bytes=page_bytes)
    assert caught.value.problem == "the benchmark tool is linked for memory pages of 4 KiB, and the device has pages of 16 KiB"
    assert "use another build, linked with -Wl,-z,max-page-size=16384; a static one is no remedy" in str(caught.value.hint)


@given(st.binary(max_size=200))
def test_no_header_is_fatal(rest: bytes):
    check(elf()[:24] + rest, PIXEL, where="tool", page_bytes=16384 if not rest else None)
    with contextlib.suppress(InputError):
        check(elf()[:24] + rest, PIXEL, where="tool", page_bytes=16384)


@pytest.mark.parametrize(
    ("content", "abis", "says"),
    [
        (b"", PIXEL, "is empty"),
        (b"\n<!DOCTYPE html><html><body>Not found", PIXEL, "a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", PIXEL, "a web page"),
        (b"#!/bin/sh\nexec ./benchmark_model\n", PIXEL, "a script"),
        (b"version https://git-lfs.github.com/spec/v1\n", PIXEL, "a text"),
        (b"\xcf\xfa\xed\xfe" + bytes(40), PIXEL, "a macOS executable"),
        (elf()[:18], PIXEL, "cut off within its header"),
        (elf(kind=1), PIXEL, "not an executable"),
        (elf(64, 62), PIXEL, "built for x86_64, and the device runs arm64-v8a, armeabi-v7a, armeabi"),
        (elf(64, 183), ["armeabi-v7a", "armeabi"], "built for arm64-v8a"),
        (elf(32, 183), PIXEL, "another processor"),
        (elf(64, 183, order=">"), ["x86_64"], "built for arm64-v8a"),
        (elf(64, 243), PIXEL, "ELF machine 243"),
    ],
)
def test_everything_else_is_refused_by_name(content: bytes, abis: list[str], says: str):
    with pytest.raises(InputError, match=says) as caught:
        check(content, abis, where="tool")
    assert caught.value.where == "tool"
    assert "--benchmark-tool" in str(caught.value.hint)


def test_a_file_is_used_where_it_lies(tmp_path: Path):
    file = tmp_path / "benchmark_model"
    file.write_bytes(elf())
    found = find(str(file), PIXEL)
    assert (found.path, found.sha256, found.version) == (file, hashlib.sha256(elf()).hexdigest(), None)
    for other in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="no such benchmark tool"):
            find(str(other), PIXEL)


def test_the_python_that_runs_here_is_an_executable_for_this_machine():
    """A real ELF file, not one of ours."""
    if sys.platform != "linux":
        pytest.skip("executables are ELF files on Linux")
    find(sys.executable, [{"x86_64": "x86_64", "aarch64": "arm64-v8a"}[platform.machine()]])
    with pytest.raises(InputError, match="the device runs armeabi"):
        find(sys.executable, ["armeabi"])


@dataclass
class Server:
    """Serves `files`, and counts what it was asked."""

    base_url: str
    context: ssl.SSLContext
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    announced: int | None = None
    redirect_to: str | None = None


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return paths


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    chain, key = certificate(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if state.redirect_to:
                self.send_response(302)
                self.send_header("Location", state.redirect_to)
                self.end_headers()
                return
            content = state.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(state.announced or len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    on_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    on_server.load_cert_chain(chain, key)
    running.socket = on_server.wrap_socket(running.socket, server_side=True)
    state = Server(f"https://127.0.0.1:{running.server_port}", ssl.create_default_context(cafile=str(chain)))
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield state
    running.shutdown()
    running.server_close()
    thread.join()


def download(server: Server, cache: Path, **options: object):
    return find(DEFAULT_VERSION, PIXEL, cache=cache, base_url=server.base_url, context=server.context, timeout_s=60, **options)


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_version_is_downloaded_once_and_kept_with_its_hash(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    arrived: list[tuple[int, int | None]] = []
    first = download(server, tmp_path / "cache", progress=lambda done, total: arrived.append((done, total)))
    again = download(server, tmp_path / "cache")
    assert first == again
    assert server.asked == [URL_PATH]
    assert arrived[-1] == (len(elf()), len(elf()))
    assert first.path.read_bytes() == elf()
    assert first.path.stat().st_mode & 0o111
    assert (first.path.parent / "benchmark_model.sha256").read_text().strip() == first.sha256 == hashlib.sha256(elf()).hexdigest()
    assert left_in(tmp_path / "cache") == ["benchmark_model", "benchmark_model.sha256"]


def test_a_damaged_copy_is_downloaded_again(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    kept = download(server, tmp_path / "cache")
    kept.path.write_bytes(elf()[:100])
    assert download(server, tmp_path / "cache") == kept
    assert kept.path.read_bytes() == elf()


def test_another_file_of_the_same_version_is_refused(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    kept = download(server, tmp_path / "cache")
    kept.path.unlink()
    server.files[URL_PATH] = elf(kind=2)
    with pytest.raises(InputError, match=f"is not the file that this version was before .{kept.sha256}"):
        download(server, tmp_path / "cache")
    assert left_in(tmp_path / "cache") == ["benchmark_model.sha256"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no such file"),
        (b"<html>sign in to the network</html>", "a web page"),
        (elf(64, 62), "built for x86_64"),
    ],
)
def test_a_download_that_is_no_tool_for_the_device_leaves_nothing(
    server: Server, tmp_path: Path, content: bytes | None, says: str
):
    if content is not None:
        server.files[URL_PATH] = content
    with pytest.raises(InputError, match=says) as caught:
        download(server, tmp_path / "cache")
    assert caught.value.where == server.base_url + URL_PATH
    assert left_in(tmp_path / "cache") == []


def test_a_download_that_stops_short_leaves_nothing(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    server.announced = len(elf()) + 1000
    with pytest.raises(InputError, match=f"ended after {len(elf())} of {len(elf()) + 1000} bytes"):
        download(server, tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


def test_a_download_that_is_far_too_large_is_not_taken(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    server.announced = 10**12
    with pytest.raises(InputError, match="larger than 200 MiB"):
        download(server, tmp_path / "cache")


def test_a_redirect_is_not_followed(server: Server, tmp_path: Path):
    server.redirect_to = "http://127.0.0.1:9/benchmark_model"
    with pytest.raises(InputError, match="the server answered 302"):
        download(server, tmp_path / "cache")


def test_a_server_with_an_unknown_certificate_is_not_trusted(server: Server, tmp_path: Path):
    server.context = ssl.create_default_context()
    with pytest.raises(InputError, match="certificate verify failed"):
        download(server, tmp_path / "cache")
    assert server.asked == []


def test_without_a_network_the_hint_is_a_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot download the benchmark tool: .*refused") as caught:
        find("2.2.0", PIXEL, cache=tmp_path, base_url="https://127.0.0.1:9", timeout_s=2)
    assert "--benchmark-tool FILE" in str(caught.value.hint)


def test_only_https(tmp_path: Path):
    with pytest.raises(InputError, match="only downloaded over HTTPS"):
        find("nightly", PIXEL, cache=tmp_path, base_url="http://127.0.0.1:9")


def test_an_abi_without_official_builds(tmp_path: Path):
    with pytest.raises(InputError, match="no official benchmark_model for armeabi-v7a") as caught:
        find("2.2.0", ["armeabi-v7a"], cache=tmp_path)
    assert "--benchmark-tool FILE" in str(caught.value.hint)


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path):
    server.files[URL_PATH] = elf()
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be written"):
        download(server, tmp_path / "cache")
