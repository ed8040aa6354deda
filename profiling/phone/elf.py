"""What the headers of an ELF file say of the machine that it is for (System V ABI, "Object Files")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF"
_LOAD, _INTERPRETER = 1, 3
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class ElfFile:
    """An ELF file.

    Attributes:
        bits: 32 or 64; 0 for neither.
        machine: `e_machine`.
        is_executable: whether it is of a type that can be started, position-independent or not.
        alignment: the least `p_align` of the segments that are loaded, in bytes; None where there is none.
        loader: the program that starts it; empty where it is static.
    """

    bits: int
    machine: int
    is_executable: bool
    alignment: int | None = None
    loader: str = ""

    @classmethod
    def parse(cls, content: bytes) -> ElfFile | None:
        """Of a whole file; None where this is no ELF file, or is cut off within its first 20 bytes."""
        if len(content) < 20 or not content.startswith(MAGIC):
            return None
        bits, order = {1: 32, 2: 64}.get(content[4], 0), "<" if content[5] == 1 else ">"
        file_type, machine = struct.unpack_from(f"{order}HH", content, 16)
        try:
            segments = _segments(content, bits, order)
        except (struct.error, OverflowError):  # cut off, or nonsense
            segments = []
        # An alignment of 0 or 1 means none.
        alignments = [each.alignment for each in segments if each.kind == _LOAD and each.alignment > 1]
        loaders = [
            content[each.offset : each.offset + min(each.size, _LONGEST_PATH)] for each in segments if each.kind == _INTERPRETER
        ]
        loader = loaders[0].rstrip(b"\0").decode(errors="replace") if loaders else ""
        return cls(bits, machine, file_type in (2, 3), min(alignments, default=None), loader)


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    size: int
    alignment: int


def _segments(content: bytes, bits: int, order: str) -> list[_Segment]:
    """The program header table: in 64-bit files the flags of a segment stand behind its type, in others behind its sizes."""
    if bits == 64:
        (table,) = struct.unpack_from(f"{order}Q", content, 32)
        size, count = struct.unpack_from(f"{order}HH", content, 54)
        form = f"{order}I4xQ16xQ8xQ"
    else:
        (table,) = struct.unpack_from(f"{order}I", content, 28)
        size, count = struct.unpack_from(f"{order}HH", content, 42)
        form = f"{order}II8xI8xI"
    return [_Segment(*struct.unpack_from(form, content, table + number * size)) for number in range(count)]
