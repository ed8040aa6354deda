"""The key by which a phone recognises this computer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs
from adb_shell.auth.keygen import keygen
from adb_shell.auth.sign_pythonrsa import PythonRSASigner

from profiling.errors import NoDeviceError


def load_signers(
    notify: Callable[[str], None], *, adb_key: Path | None = None, own_key: Path | None = None
) -> list[PythonRSASigner]:
    """Signs for adb's key, so that phones which know adb on this computer know spnas too; for one of our own where there is none.

    Args:
        notify: called with the key that is used.
        adb_key: ADB_VENDOR_KEYS or ~/.android/adbkey by default.
        own_key: in the user's configuration folder by default; made at the first call.

    Raises:
        NoDeviceError: neither can be read, and none can be made.
    """
    # Not `Path.home()`: it raises where this user has no home, as in some containers.
    adb_key = adb_key or Path(os.environ.get("ADB_VENDOR_KEYS") or os.path.expanduser("~/.android/adbkey"))  # noqa: PTH111
    own_key = own_key or platformdirs.user_config_path("spnas") / "adbkey"
    path = adb_key if _is_whole(adb_key) else own_key
    try:
        if not _is_whole(path):
            _make(path)
        notify(f"the phone asks for a key; using {path}")
        return [PythonRSASigner.FromRSAKeyPath(str(path))]
    except (OSError, ValueError) as error:
        raise NoDeviceError(
            f"the phone asks for a key, and this one cannot be used: {error}",
            where=str(path),
            hint="name another key in the environment variable ADB_VENDOR_KEYS",
        ) from error


def _is_whole(key: Path) -> bool:
    return os.access(key, os.R_OK) and os.access(_public(key), os.R_OK)


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def _make(key: Path) -> None:
    """Makes a pair of keys that only this user can read from the first moment on."""
    key.parent.mkdir(parents=True, exist_ok=True)
    key.touch(mode=0o600)
    keygen(str(key))
