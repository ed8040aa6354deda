"""Networks of other targets, and for other devices, from a supernet that is there already: nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from profiling.errors import InputError
from profiling.space import Architecture, SearchSpace
from profiling.specfile import read_spec
from search import checkpoint
from search.config import SearchConfig, SupernetConfig
from search.finding.rating import Terms, nothing_learned, rate
from search.finding.scoring import Score, Scorer
from search.finding.search import check_target
from search.fitting import require_weights
from search.images.data import Data
from search.run_folder import RunFolder
from search.supernet.decode import log_likelihoods, reachable_ms, within_budget
from search.supernet.supernet import Supernet

# Enough for the statistics of batch norm, and for an accuracy to one percent; a phone-sized network sees them in half a minute.
BATCH_NORM_IMAGES = 3000
MOST_IMAGES = 3000


@dataclass(frozen=True)
class Source:
    """A trained supernet, and the run that it is of.

    Attributes:
        folder: of the run; config: its settings.
        supernet: with its weights.
    """

    folder: RunFolder
    config: SearchConfig | SupernetConfig
    supernet: Supernet

    def likelihoods(self) -> Terms:
        """What the training has learned of each choice; nothing where it decided nothing."""
        if isinstance(self.config, SupernetConfig):
            return nothing_learned(self.supernet.space)
        return log_likelihoods(self.supernet)


def load_source(folder: RunFolder, config: SearchConfig | SupernetConfig, space: SearchSpace, classes: int) -> Source:
    """The supernet of a finished run.

    Args:
        folder: of a search, or of the training of a supernet; config: its settings, see `config_of`.
        space: that it was trained for, see `require_space_of`.
        classes: of the images that it was trained on.

    Raises:
        InputError: its checkpoint is missing, damaged, or of another space.
    """
    state = checkpoint.load(folder.checkpoint, {"space": config.space_digest})
    supernet = Supernet(space, classes)
    with checkpoint.fitting(folder.checkpoint):
        require_weights(state["supernet"], supernet.state_dict())
        supernet.load_state_dict(state["supernet"])
    return Source(folder, config, supernet.eval())


def config_of(folder: RunFolder) -> SearchConfig | SupernetConfig:
    """The settings of a run that has trained a supernet, to its end.

    Raises:
        InputError: there is none, or a file cannot be read.
    """
    match folder.kind:
        case "search":
            config = read_spec(folder.config, SearchConfig)
        case "supernet":
            return read_spec(folder.config, SupernetConfig)
        case _:
            raise folder.nothing_finished("search")
    if config.supernet is None:
        return config
    problem, hint = "this network was taken from the supernet of another run", f"give that: {config.supernet}"
    raise InputError(problem, where=str(folder.path), hint=hint)


def require_space_of(folder: RunFolder, config: SearchConfig | SupernetConfig, table: LatencyTable) -> None:
    """Checks that a table is of the space that a supernet was trained for.

    Args:
        folder: of the supernet's run; config: its settings.
        table: as above.

    Raises:
        InputError: it is of another.
    """
    if table.space.digest != config.space_digest:
        raise InputError(
            f"its search space {table.space.name} is not the one that the supernet in {folder.path} was trained for",
            where=f"table {table.name}",
            hint="take a table of that space: spnas table list",
        )


def best_rated(model: RuntimeModel, source: Source, target_ms: float) -> Architecture:
    """The network within 1 % below a target that a search would end with, by the same rating.

    Raises:
        InputError: the target is out of reach.
    """
    check_target(model, target_ms)
    target_ms = reachable_ms(model, target_ms)
    terms = rate(model, source.likelihoods(), target_ms, source.config.seed)
    return next(within_budget(model, terms, target_ms))


def cut_out(
    models: Sequence[RuntimeModel], source: Source, data: Data, architectures: Sequence[Architecture], steps: int
) -> list[Score]:
    """Networks with the supernet's weights and batch norm re-estimated, each with its accuracy; images are loaded once for all.

    Args:
        models: for each network the one that predicts its latency.
        source: the supernet.
        data: that it was trained on.
        architectures: of its space.
        steps: that it was trained for; batch norm sees the batches that would have followed.
    """
    batches = max(4, math.ceil(BATCH_NORM_IMAGES / source.config.batch_size))
    scorer = Scorer(models[0], source.supernet, data, source.config, steps=steps, batches=batches, most_images=MOST_IMAGES)
    return [
        replace(score, predicted_ms=model.predict(score.architecture).total_ms)
        for model, score in zip(models, scorer.score(architectures), strict=True)
    ]
