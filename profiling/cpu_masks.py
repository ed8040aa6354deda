"""CPU masks in hexadecimal, as `taskset` and the kernel write them: bit n is core n."""

from __future__ import annotations

from collections.abc import Collection

from profiling.errors import InputError


def mask_of(cores: Collection[int]) -> str:
    """The mask of these cores."""
    return f"{sum(1 << core for core in cores):x}"


def cores_of(mask: str) -> list[int]:
    """The cores in a mask, with or without the kernel's commas.

    Raises:
        ValueError: this is not a mask.
    """
    bits = int(mask.replace(",", ""), 16)
    if bits < 0:
        raise ValueError(mask)
    return [core for core in range(bits.bit_length()) if bits >> core & 1]


def chosen_cores(mask: str, available: Collection[int], *, where: str) -> list[int]:
    """The cores in a mask that a person gave for a device.

    Args:
        mask: what was given.
        available: the cores that are there and on.
        where: the device, for messages.

    Raises:
        InputError: this is not a mask, or it names no core or one that is not available.
    """
    try:
        cores = cores_of(mask)
    except ValueError as error:
        raise InputError(f"{mask!r} is not a CPU mask; use any, big, prime, or hexadecimal such as f0", where=where) from error
    if not cores or not set(cores) <= set(available):
        raise InputError(
            f"the CPU mask {mask} names no core, or cores that are off or do not exist; available are {mask_of(available)}",
            where=where,
        )
    return cores
