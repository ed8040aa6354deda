"""Fixtures of the tests of a phone as a device."""

from phone.opening import models, notes, open_device

__all__ = ["models", "notes", "open_device"]
