"""Fixtures that tests of every package share."""

from phone.adb import adb_port
from phone.fixture import make_phone, phone, phone_root

__all__ = ["adb_port", "make_phone", "phone", "phone_root"]
