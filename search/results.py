"""What runs leave as their result, in the form of their files and of `--json`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, RootModel

from profiling.specfile import SpecModel
from profiling.stages import FROM_LIST
from search.config import Positive
from search.finding.doubts import Doubt

Accuracy = Annotated[float, Field(ge=0, le=1)]
Doubts = Annotated[tuple[Doubt, ...], FROM_LIST]
Count = Annotated[int, Field(ge=0)]
NO_TOP5 = "n/a (five classes or fewer)"


class SearchResult(SpecModel):
    """What `spnas search --json` prints and `result.json` holds.

    Attributes:
        architecture: of the network found, one choice per searchable layer.
        predicted_ms: its latency predicted from the table.
        target_ms: the latency it must not exceed; None with a fixed runtime weight.
        accuracy: of the network with its weights, on held-out images that took no part in choosing it, 0 to 1.
        held_out_images: that it was measured on; None in results of earlier versions.
        chance: the accuracy of always guessing their most frequent class, 0 to 1; None in results of earlier versions.
        memory_mb, size_mb: of TFLite's arena and of the file in the precision of the table, in MB of 10^6 bytes
            (`profiling.footprint`); None in results of earlier versions.
        doubts: why not to rely on it; empty where all is well, and in results of earlier versions.
    """

    architecture: Annotated[tuple[str, ...], FROM_LIST]
    predicted_ms: Positive
    target_ms: Positive | None
    accuracy: Accuracy
    held_out_images: int | None = None
    chance: Accuracy | None = None
    memory_mb: Positive | None = None
    size_mb: Positive | None = None
    doubts: Doubts = ()

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The network in words, with its latency and its accuracy."""
        target = (
            "" if self.target_ms is None else f" (target {self.target_ms:g} ms, {self.predicted_ms / self.target_ms - 1:+.2%})"
        )
        images = "" if self.held_out_images is None else f"{self.held_out_images} "
        return [
            ("network", " ".join(self.architecture)),
            ("predicted", f"{self.predicted_ms:.4g} ms{target}"),
            ("accuracy", f"{self.accuracy:.2%} on {images}held-out images"),
        ]


class SupernetResult(SpecModel):
    """What `spnas search --supernet --json` prints and `supernet.json` holds.

    Attributes:
        steps: that it was trained for.
        largest, fastest: accuracy with shared weights of the largest network, and of the fastest by the first table, 0 to 1.
        held_out_images: that they were measured on.
        chance: the accuracy of always guessing their most frequent class, 0 to 1.
        doubts: as for `SearchResult`.
    """

    steps: Count
    largest: Accuracy
    fastest: Accuracy
    held_out_images: Count
    chance: Accuracy
    doubts: Doubts = ()

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Both accuracies in words."""
        return [
            ("largest network", f"{self.largest:.2%} on {self.held_out_images} held-out images, with shared weights"),
            ("fastest network", f"{self.fastest:.2%}"),
        ]


class TrainResult(SpecModel):
    """What `spnas train --json` prints and `result.json` holds; accuracies on held-out images, 0 to 1.

    Attributes:
        network: the network, as the user named it.
        origin: where its weights come from, in words.
        epochs: passes over the training images.
        top1, top5: of the averaged weights, which the file holds; top-5 is None for five classes or fewer.
        last_top1, last_top5: of the weights of the last step.
        held_out_images, chance: as for `SearchResult`.
        doubts: as for `SearchResult`.
    """

    network: str
    origin: str
    epochs: int
    top1: Accuracy
    top5: Accuracy | None
    last_top1: Accuracy
    last_top5: Accuracy | None
    held_out_images: int | None = None
    chance: Accuracy | None = None
    doubts: Doubts = ()

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Its accuracy in words, and where its weights come from."""
        images = "" if self.held_out_images is None else f"{self.held_out_images} "
        return [
            ("top-1", f"{self.top1:.2%} on {images}held-out images ({self.last_top1:.2%} without weight averaging)"),
            ("top-5", NO_TOP5 if self.top5 is None else f"{self.top5:.2%}"),
            ("origin", self.origin),
        ]


class ComparedRow(SpecModel):
    """A row of `compare.json`; see `latency_db.comparison.ComparedNetwork.to_json`. Earlier versions lack some."""

    name: str
    parameters: Count | None
    multiply_adds: Count | None
    predicted_ms: Positive | None
    measured_ms: Positive | None
    low_ms: Positive | None
    high_ms: Positive | None
    top1: Accuracy | None
    runs: Count = 1
    top1_from: str | None = None
    family: str = ""
    width: Positive = 1.0
    note: str | None = None
    network: str | None = None
    memory_mb: Positive | None = None
    size_mb: Positive | None = None
    role: Literal["found", "random", "uniform"] | None = None
    seed: int | None = None
    held_out_images: Annotated[int, Field(ge=1)] | None = None
    settings: dict[str, JsonValue] | None = None

    @property
    def cells(self) -> dict[str, str]:
        """What a table of networks shows of it, by column; empty where it is not known."""

        def text(value: float | None, form: str, factor: float = 1.0) -> str:
            return "" if value is None else form.format(value * factor)

        return {
            "network": self.name,
            "role": self.role or "",
            "parameters": text(self.parameters, "{:.2f} M", 1e-6),
            "multiply-adds": text(self.multiply_adds, "{:.1f} M", 1e-6),
            "memory MB": text(self.memory_mb, "{:.2f}"),
            "file MB": text(self.size_mb, "{:.2f}"),
            "predicted ms": text(self.predicted_ms, "{:.3f}"),
            "measured ms": text(self.measured_ms, "{:.3f}"),
            "low": text(self.low_ms, "{:.3f}"),
            "high": text(self.high_ms, "{:.3f}"),
            "top-1": " ".join(filter(None, (text(self.top1, "{:.2f} %", 100), (self.top1_from or "").partition(":")[0]))),
        }


class ComparedRows(RootModel[tuple[ComparedRow, ...]]):
    """What `spnas compare --json` prints and `compare.json` holds."""
