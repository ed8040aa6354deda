"""The executable `benchmark_model`: a file of the user's or an official build, checked before it goes to a device."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

from platformdirs import user_cache_path

from profiling.errors import InputError
from profiling.files import make_folder, write_text, written_whole
from profiling.outside import read_bytes
from profiling.phone.elf import ElfFile

BASE_URL = "https://storage.googleapis.com/litert/binaries"
DEFAULT_VERSION = "2.2.0"
SIZE_LIMIT = 200 * 2**20

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?([a-z0-9.+-]*)|nightly|latest")
_OFFLINE_HINT = "without a network, fetch the file elsewhere and give it with --benchmark-tool FILE"


class _Architecture(NamedTuple):
    """An ABI of Android or Linux: word size and e_machine in the ELF header of executables, and the folder of official builds."""

    bits: int
    machine: int
    platform: str | None = None


_ARCHITECTURES = {
    "arm64-v8a": _Architecture(64, 183, "android_arm64"),
    "x86_64": _Architecture(64, 62, "android_x86_64"),
    "armeabi-v7a": _Architecture(32, 40),
    "armeabi": _Architecture(32, 40),
    "x86": _Architecture(32, 3),
    # Not of Android, but of a machine that is reached over ssh.
    "linux_arm64": _Architecture(64, 183, "linux_arm64"),
    "linux_x86_64": _Architecture(64, 62, "linux_x86_64"),
    "linux_arm": _Architecture(32, 40),
}
_OTHER_FILES = (
    (b"<", "a web page, probably from a failed download"),
    (b"#!", "a script"),
    (b"MZ", "a Windows executable"),
    (b"\xcf\xfa\xed\xfe", "a macOS executable"),
    (b"PK", "a ZIP archive or an app"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"\x7fELF", "cut off within its header"),
)


@dataclass(frozen=True)
class BenchmarkBinary:
    """An executable that fits the device it was asked for.

    Attributes:
        path: the file on this machine.
        sha256: of its content; part of the conditions of every measurement.
        version: of LiteRT, where it was downloaded by version.
        loader: the program on the device that starts it; empty where it is static.
    """

    path: Path
    sha256: str
    version: str | None = None
    loader: str = ""


def find(
    tool: str,
    abis: Sequence[str],
    *,
    page_bytes: int | None = None,
    cache: Path | None = None,
    base_url: str = BASE_URL,
    context: ssl.SSLContext | None = None,
    timeout_s: float = 30,
    progress: Callable[[int, int | None], None] | None = None,
) -> BenchmarkBinary:
    """The executable that `--benchmark-tool` names.

    Args:
        tool: a file, or a version of LiteRT (`2.2.0`, `nightly`, `latest`) to download once and keep.
        abis: the device's ABIs, best first (`ro.product.cpu.abilist`).
        page_bytes: size of its memory pages; None where it is unknown.
        cache: where downloads are kept; the user's cache folder by default.
        base_url, context: where official builds are, and what certificates are trusted.
        timeout_s: for each answer of the server.
        progress: called with the bytes received and the total, None if the server does not say.

    Raises:
        InputError: no such file, not an executable for this device, or it cannot be downloaded.
    """
    if not _VERSION.fullmatch(tool):
        path = Path(os.path.expanduser(tool))  # noqa: PTH111 - which leaves a user that there is not
        if not os.path.lexists(path) or path.is_dir():
            raise InputError(
                "no such benchmark tool",
                where=str(path),
                hint=f"give a file, or a version such as --benchmark-tool {DEFAULT_VERSION} to download it",
            )
        content = read_bytes(path, SIZE_LIMIT)
        found = check(content, abis, where=str(path), page_bytes=page_bytes)
        return BenchmarkBinary(path, _sha256(content), loader=found.loader)
    platform = _official_platform(abis)
    kept = (cache or user_cache_path("spnas") / "benchmark_model") / tool / platform / "benchmark_model"
    sha256 = _recorded_hash(kept)
    if sha256 is None or not kept.exists() or _sha256(kept.read_bytes()) != sha256:
        url = f"{base_url}/{tool}/{platform}/benchmark_model"
        content = _fetch(url, context, timeout_s, progress)
        check(content, abis, where=url)
        sha256 = _keep(content, kept)
    found = check(read_bytes(kept, SIZE_LIMIT), abis, where=str(kept), page_bytes=page_bytes)
    return BenchmarkBinary(kept, sha256, tool, found.loader)


def check(content: bytes, abis: Sequence[str], *, where: str, page_bytes: int | None = None) -> ElfFile:
    """Makes sure that a device with these ABIs, and memory pages of this size, can execute this, by its ELF header.

    Raises:
        InputError: says what it is instead.
    """
    hint = (
        f"give the benchmark_model built for the device, or a version such as --benchmark-tool {DEFAULT_VERSION} to download it"
    )
    found = ElfFile.parse(content)
    if found is None:
        raise InputError(f"the benchmark tool is {_what_else(content[:20])}, not an ELF executable", where=where, hint=hint)
    if not found.is_executable:
        raise InputError("the benchmark tool is an ELF file, but not an executable", where=where, hint=hint)
    fitting = [name for name, each in _ARCHITECTURES.items() if (each.bits, each.machine) == (found.bits, found.machine)]
    if not set(fitting) & set(abis):
        built_for = fitting[0] if fitting else f"another processor ({found.bits}-bit, ELF machine {found.machine})"
        raise InputError(
            f"the benchmark tool is built for {built_for}, and the device runs {', '.join(abis)}", where=where, hint=hint
        )
    if page_bytes is not None and found.alignment is not None and found.alignment < page_bytes:
        raise InputError(
            f"the benchmark tool is linked for memory pages of {found.alignment / 1024:g} KiB, and the device has pages of "
            f"{page_bytes / 1024:g} KiB",
            where=where,
            hint=f"use another build, linked with -Wl,-z,max-page-size={page_bytes}; a static one is no remedy by itself",
        )
    return found


def _what_else(head: bytes) -> str:
    if not head:
        return "empty"
    for magic, name in _OTHER_FILES:
        if head.lstrip().startswith(magic):
            return name
    return "a text" if all(byte >= 32 or byte in b"\t\r\n" for byte in head) else "something else"


def _official_platform(abis: Sequence[str]) -> str:
    for abi in abis:
        if abi in _ARCHITECTURES and (platform := _ARCHITECTURES[abi].platform):
            return platform
    raise InputError(
        f"there is no official benchmark_model for {', '.join(abis)}", hint="build one and give it with --benchmark-tool FILE"
    )


class _NoRedirect(HTTPRedirectHandler):
    """A redirect could lead away from HTTPS; the official builds need none."""

    def redirect_request(self, *_: object) -> None:
        return None


def _fetch(
    url: str, context: ssl.SSLContext | None, timeout_s: float, progress: Callable[[int, int | None], None] | None
) -> bytes:
    if not url.startswith("https://"):
        raise InputError("the benchmark tool is only downloaded over HTTPS", where=url)
    content = bytearray()
    try:
        with build_opener(HTTPSHandler(context=context), _NoRedirect).open(url, timeout=timeout_s) as response:
            length = response.headers["Content-Length"]
            total = int(length) if length else None
            while chunk := response.read(2**16):
                content += chunk
                if progress:
                    progress(len(content), total)
                if max(len(content), total or 0) > SIZE_LIMIT:
                    raise InputError(f"the download is larger than {SIZE_LIMIT // 2**20} MiB", where=url, hint=_OFFLINE_HINT)
    except HTTPError as error:
        found = "there is no such file" if error.code == 404 else f"the server answered {error.code} {error.reason}"
        raise InputError(
            f"cannot download the benchmark tool: {found}", where=url, hint="try another version, or --benchmark-tool FILE"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"cannot download the benchmark tool: {reason}", where=url, hint=_OFFLINE_HINT) from error
    if total is not None and len(content) != total:
        raise InputError(f"the download ended after {len(content)} of {total} bytes", where=url, hint="try again")
    return bytes(content)


def _keep(content: bytes, kept: Path) -> str:
    """Saves a download in the cache, whole or not at all, with its hash beside it; returns the hash."""
    sha256, recorded = _sha256(content), _recorded_hash(kept)
    if recorded not in (None, sha256):
        raise InputError(
            f"the download (SHA-256 {sha256}) is not the file that this version was before ({recorded})",
            where=str(kept),
            hint=f"if that is expected, as with nightly, remove {_record(kept)} and run again",
        )
    make_folder(kept.parent)
    with written_whole(kept) as arriving:
        arriving.write_bytes(content)
        arriving.chmod(0o755)
    write_text(_record(kept), f"{sha256}\n")
    return sha256


def _record(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _recorded_hash(kept: Path) -> str | None:
    return _record(kept).read_text(encoding="ascii").strip() if _record(kept).exists() else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
