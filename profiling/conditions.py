"""Everything a latency depends on besides the layer. Figures from different conditions never share a table."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from profiling.specfile import SpecModel

Precision = Literal["fp32", "fp16", "int8"]
Delegate = Literal["xnnpack", "none", "gpu", "nnapi"]
Unknown = Literal["unknown"]
UNKNOWN: Unknown = "unknown"

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
DELEGATES: tuple[Delegate, ...] = ("xnnpack", "none", "gpu", "nnapi")


class Conditions(SpecModel):
    """The conditions of a measurement; what the source of a published table does not say is `unknown`.

    Attributes:
        device: `host`, or the serial number of a phone.
        product: what its maker calls the device, e.g. `Pixel 4`; `model` in files.
        os_build: operating system and build, e.g. Android's `ro.build.fingerprint`.
        soc: the chip.
        runtime: what ran the model, with its version, e.g. `LiteRT 2.3.0`.
        tool: what timed it, with its version or SHA-256.
        threads: number of threads given to the runtime.
        cores: the CPU mask in hexadecimal, or `any`.
        precision: of the model's weights and, for `int8`, activations.
        delegate: what executed the graph.
    """

    device: str
    product: str = Field(alias="model")
    os_build: str
    soc: str
    runtime: str
    tool: str
    threads: Annotated[int, Field(ge=1)] | Unknown
    cores: str
    precision: Precision | Unknown
    delegate: Delegate | Unknown

    @property
    def digest(self) -> str:
        """A hash over every field."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def heats(self) -> bool:
        """Whether a drift that all models share is heat: anywhere but on this machine, where it is other programs' work."""
        return self.device != "host"

    def differences(self, other: Conditions) -> dict[str, tuple[object, object]]:
        """The fields that differ, by their names in files, each with both values."""
        mine, theirs = self.model_dump(), other.model_dump()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
