"""The keys by which a phone recognises this computer."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
from adb_shell.auth.keygen import encode_pubkey, get_user_info, keygen
from adb_shell.auth.sign_pythonrsa import PythonRSASigner
from pyasn1.error import PyAsn1Error

from profiling.errors import InputError, NoDeviceError
from profiling.outside import is_folder, read_bytes

VARIABLE = "ADB_VENDOR_KEYS"
_SIZE_LIMIT = 2**16


def load_signers(
    notify: Callable[[str], None], *, adb_key: Path | None = None, own_key: Path | None = None
) -> list[PythonRSASigner]:
    """Signs for all keys that adb would try, so that phones which know adb on this computer know spnas too.

    The first one, which a phone is asked to accept when it knows none, is adb's own, or one of ours where there is none. After it
    come those of ADB_VENDOR_KEYS: files, and folders with files `*.adb_key`, separated as in PATH.

    Args:
        notify: called with the keys that are used, and with those that cannot be.
        adb_key: ~/.android/adbkey by default.
        own_key: in the user's configuration folder by default; made at the first call.

    Raises:
        NoDeviceError: none can be read, and none can be made.
    """
    # Not `Path.home()`: it raises where this user has no home, as in some containers.
    adb_key = adb_key or Path(os.path.expanduser("~/.android/adbkey"))  # noqa: PTH111
    own_key = own_key or platformdirs.user_config_path("spnas") / "adbkey"
    first = adb_key if os.access(adb_key, os.R_OK) else own_key
    signers: dict[Path, PythonRSASigner] = {}
    problems: dict[Path, str] = {}
    for path in dict.fromkeys((first, *_vendor_keys())):
        try:
            if path == own_key and not os.access(_public(path), os.R_OK):
                _make(path)
            signers[path] = _signer(path)
        except (OSError, ValueError, PyAsn1Error, InputError) as error:
            problems[path] = error.problem if isinstance(error, InputError) else str(error)
    if not signers:
        raise NoDeviceError(
            f"the phone asks for a key, and this one cannot be used: {problems[first]}",
            where=str(first),
            hint=f"name another key in the environment variable {VARIABLE}",
        )
    for path, problem in problems.items():
        notify(f"{path}: this key cannot be used: {problem}")
    notify(f"the phone asks for a key; using {', '.join(map(str, signers))}")
    return list(signers.values())


def _vendor_keys() -> Iterator[Path]:
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if is_folder(name):
            yield from sorted(Path(name).glob("*.adb_key"))
        else:
            yield Path(name)


def _signer(key: Path) -> PythonRSASigner:
    """Of a private key; where its public key is missing, that is computed, as adb does."""
    private = read_bytes(key, _SIZE_LIMIT).decode()
    try:
        public = read_bytes(_public(key), _SIZE_LIMIT).decode()
    except InputError:
        public = base64.b64encode(encode_pubkey(str(key))).decode() + get_user_info()
    return PythonRSASigner(public, private)


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def _make(key: Path) -> None:
    """Makes a pair of keys that only this user can read from the first moment on."""
    key.parent.mkdir(parents=True, exist_ok=True)
    key.touch(mode=0o600)
    keygen(str(key))
