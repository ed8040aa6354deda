"""Where the adb server listens, by the same variables of the environment that adb itself reads."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from profiling.errors import InputError

_SOCKET, _ADDRESS, _PORT = "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 5037
_TCP = re.compile(r"tcp:(?:(?P<host>\[[^][]+\]|[^:\s][^:]*):)?(?P<port>[^:]*)")
_LOCAL = ("localfilesystem:", "local:")
_ABSTRACT = "localabstract:"


@dataclass(frozen=True)
class ServerAddress:
    """A host and a port, or the path of a local socket (which begins with a null character where it is no file)."""

    host: str = _DEFAULT_HOST
    port: int = _DEFAULT_PORT
    path: str = ""

    def connect(self, timeout_s: float) -> socket.socket:
        """A connection.

        Raises:
            OSError: nobody listens there.
        """
        if not self.path:
            try:
                return socket.create_connection((self.host, self.port), timeout=timeout_s)
            except UnicodeError as error:  # no host can have such a name
                raise OSError(str(error)) from error
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout_s)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path.replace("\0", "@") or f"{host}:{self.port}"


def server_address(environment: Mapping[str, str] = os.environ) -> ServerAddress:
    """ADB_SERVER_SOCKET; without it, ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT; or 127.0.0.1:5037.

    Raises:
        InputError: one of them cannot be meant.
    """
    if spec := environment.get(_SOCKET):
        return _parse_socket(spec)
    port = environment.get(_PORT)
    return ServerAddress(environment.get(_ADDRESS) or _DEFAULT_HOST, _parse_port(port, _PORT) if port else _DEFAULT_PORT)


def _parse_socket(spec: str) -> ServerAddress:
    if found := _TCP.fullmatch(spec):
        host = (found["host"] or _DEFAULT_HOST).strip("[]")
        return ServerAddress(host, _parse_port(found["port"], _SOCKET))
    for prefix in (*_LOCAL, _ABSTRACT):
        name = spec.removeprefix(prefix)
        if spec.startswith(prefix) and name:
            if not hasattr(socket, "AF_UNIX"):
                raise InputError(f"this system has no local sockets: {spec!r}", where=_SOCKET, hint="give tcp:HOST:PORT")
            return ServerAddress(path=f"\0{name}" if prefix == _ABSTRACT else name)
    raise InputError(
        f"not an address of an adb server: {spec!r}",
        where=_SOCKET,
        hint="give tcp:PORT, tcp:HOST:PORT, localfilesystem:PATH or localabstract:NAME, or unset the variable",
    )


def _parse_port(text: str, variable: str) -> int:
    """A port in decimal, or in hexadecimal after 0x, as adb takes it."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text) and 0 < (port := int(text, 16 if "x" in text.lower() else 10)) < 65536:
        return port
    raise InputError(f"not a port: {text!r}", where=variable, hint="give a number from 1 to 65535, or unset the variable")
