"""The settings of a search: a file in every run, so that a run can be repeated and resumed."""

from __future__ import annotations

from typing import Annotated, Self

import yaml
from pydantic import Field, model_validator

from profiling.specfile import SpecModel

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SearchConfig(SpecModel):
    """What a search does. The defaults are the authors' schedule where they published one.

    Attributes:
        table: name of the latency table; space_digest, table_digest: what must be the same when a run is resumed.
        data: name or folder of the data set.
        target_ms: latency to end at, in ms; or
        runtime_weight: λ of Eq. 9; exactly one of both is given.
        epochs: passes over the training images; batch_size: images a step.
        learning_rate: for 256 images, scaled with the batch size; it falls by `decay` every `decay_epochs`.
        threshold_learning_rate: how far thresholds get in the search phase where their gradients are nothing but noise.
        weight_decay, label_smoothing: as usual; thresholds do not decay.
        dropout_phase: share of the steps in which subsets are dropped and the runtime term is left out.
        drop_subset: probability that a subset is dropped in a step of that phase.
        seed: of everything random.
        workers: processes that load images; 0 loads in this one.
        precision: `no` or `bf16` mixed precision.
        checkpoint_seconds: at most this much work is lost when the process is killed.
    """

    table: str
    space_digest: str
    table_digest: str
    data: str
    target_ms: Positive | None = None
    runtime_weight: Annotated[float, Field(ge=0)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=2)] = 1024
    learning_rate: Positive = 0.016
    decay: Positive = 0.97
    decay_epochs: Positive = 2.4
    threshold_learning_rate: Positive = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    label_smoothing: Share = 0.1
    dropout_phase: Share = 0.625
    drop_subset: Share = 0.4
    seed: int = 0
    workers: Annotated[int, Field(ge=0)] = 0
    precision: Annotated[str, Field(pattern="^(no|bf16)$")] = "no"
    checkpoint_seconds: Positive = 60.0

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.target_ms is None) == (self.runtime_weight is None):
            raise ValueError("exactly one of target_ms and runtime_weight must be given")
        return self

    def to_yaml(self) -> str:
        """The text of `config.yaml`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
