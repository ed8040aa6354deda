"""Fixtures that tests of every package share."""

from phone.fixture import make_phone, phone, phone_root

__all__ = ["make_phone", "phone", "phone_root"]
