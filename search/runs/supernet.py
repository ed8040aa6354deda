"""The training of one supernet for many devices and targets, and the networks that it gives without more training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latency_db.limits import UNLIMITED, Limits
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from latency_db.table_files import write_table
from latency_db.targets import Target, in_ms
from profiling.errors import InputError
from profiling.files import require_folder, write_text
from profiling.space import Architecture
from search import processes
from search.config import (
    DEFAULTS,
    SearchConfig,
    SupernetConfig,
    TrainingConfig,
    TrainingOptions,
    configured,
    sensible_learning_rate,
    steps_of,
    supernet_schedule,
)
from search.convnet.saved import FROM_SUPERNET, SavedNetwork
from search.finding.derive import Source, best_rated, config_of, cut_out, load_source, require_space_of
from search.finding.doubts import TrainingFacts, chance, training_doubts
from search.finding.scoring import Score
from search.finding.search import check_target, table_digest
from search.finding.whole_range import SupernetTraining
from search.images.data import Data
from search.listener import SILENT, Listener
from search.report.figures import draw_network
from search.results import SearchResult, SupernetResult
from search.run_folder import RunFolder
from search.runs.explore import require_one_process
from search.runs.images import as_in, begin_with, counted, image_settings
from search.runs.run import SearchRun
from search.steps import SupernetStep

AT_ONCE = 5  # networks that are tested side by side


def train_supernet(
    tables: Sequence[LatencyTable],
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    options: TrainingOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> SupernetResult:
    """Trains a supernet on networks of all latencies, for `networks_from`.

    Args:
        tables: of one search space; networks are drawn over the range of each.
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        folder: of the run; a run already in it is continued, unless the options say otherwise.
        options: of the training.
        listener: follows the progress, and may stop it.

    Raises:
        InputError: the tables are of several spaces, the images cannot be used, or the folder contains something else.
        TableError: a table is incomplete.
        TrainingError: the loss is no longer finite, or there is not enough memory.
        KeyboardInterrupt: the listener stopped it; the next call continues from there.
    """
    for table in tables:
        table.require_space(tables[0].space)
    models = [RuntimeModel(table) for table in tables]
    data, run = os.fspath(data), RunFolder(folder)
    processes.from_main(lambda: require_folder(run.path))
    begun = processes.from_main(lambda: run.read_config(SupernetConfig)) if options.resume else None
    images = begin_with(data, models[0].space, options, begun, listener)
    config = _config(models, data, images, options, begun)
    with processes.on_main(run.held()):
        processes.from_main(lambda: run.prepare(options.resume))
        training = SupernetTraining(models, images, config, run)
        processes.from_main(lambda: run.write_config(config.to_yaml()))
        steps = _train(training, images, config, listener)
        result = _ends(training, models[0], images, Source(run, config, training.supernet), steps)
        if processes.index() == 0:
            run.write_supernet(result.model_dump(mode="json"))
    return result


def _config(
    models: Sequence[RuntimeModel], data: str, images: Data, options: TrainingOptions, begun: SupernetConfig | None
) -> SupernetConfig:
    settings = options.settings(*supernet_schedule(images.train_images, options.batch_size, begun))
    steps = steps_of(images.train_images, settings["batch_size"], settings["epochs"])
    usual_rate = begun.learning_rate if begun else sensible_learning_rate(settings["batch_size"], steps)
    digests = " ".join(table_digest(model.table) for model in models)
    return configured(
        SupernetConfig,
        {
            "tables": [model.table.name for model in models],
            "space_digest": models[0].space.digest,
            "tables_digest": hashlib.sha256(digests.encode()).hexdigest()[:16],
            "data": data,
            **image_settings(data, images, begun),
            **settings,
            "learning_rate": options.learning_rate or usual_rate,
        },
    )


def _train(training: SupernetTraining, images: Data, config: SupernetConfig, listener: Listener) -> tuple[SupernetStep, ...]:
    for line in images.notes:
        listener.note(line)
    listener.note(
        f"{counted(images)}; "
        f"{training.steps} steps of {config.batch_size}, for all latencies of {', '.join(config.tables)}"
        + (f"; from step {training.resumed_at}" if training.resumed_at else "")
    )

    def on_step(step: SupernetStep) -> None:
        listener.step(step)
        listener.progress(step.step, step.steps, f"CE {step.cross_entropy:.3f}, learning rate {step.learning_rate:.2g}")

    listener.begin(training.resumed_at, training.steps)
    steps = training.run(on_step, listener.stop)
    listener.end()
    return steps


def _ends(
    training: SupernetTraining, model: RuntimeModel, images: Data, source: Source, steps: Sequence[SupernetStep]
) -> SupernetResult:
    """The accuracies of the largest and the fastest network, between which those of all others can be expected."""
    ends = [model.space.largest, model.extremes()[0]]
    largest_score, fastest_score = cut_out([model, model], source, images, ends, training.steps)
    accuracy, tested = _accuracy(largest_score), len(largest_score.right)
    facts = TrainingFacts(accuracy, tested, [step.cross_entropy for step in steps], images, source.config)
    return SupernetResult(
        steps=training.steps,
        largest=accuracy,
        fastest=_accuracy(fastest_score),
        held_out_images=tested,
        chance=chance(images),
        doubts=tuple(training_doubts(facts)),
    )


@dataclass(frozen=True)
class Wanted:
    """A network that is wanted.

    Attributes:
        table: of the device that it is for.
        target_ms: latency that it must not exceed, in ms, or as a share of the table's range, `50%`.
        folder: for it alone.
        limits: to its memory and its file.
    """

    table: LatencyTable
    target_ms: Target | str
    folder: Path
    limits: Limits = UNLIMITED


def networks_from(
    supernet: str | os.PathLike[str],
    wanted: Sequence[Wanted],
    *,
    data: str | os.PathLike[str] | None = None,
    resume: bool = True,
    listener: Listener = SILENT,
) -> list[SearchRun]:
    """For each table and target the network that a search would end with, cut out of a trained supernet; nothing is trained.

    Args:
        supernet: folder of a search, or of the training of a supernet.
        wanted: tables of the space that it was trained for, targets and folders.
        data: where its images are now; by default where they were.
        resume: whether networks that are in their folders already stay; if False, the folders must be empty.
        listener: follows the progress, and may stop it.

    Returns:
        The runs in the same order, each as a finished search in its folder.

    Raises:
        InputError: there is no finished supernet, its images cannot be used, a table is of another space, a target is out of
            reach, or a folder holds something else.
        TableError: a table is incomplete.
        KeyboardInterrupt: the listener stopped it; the networks so far are in their folders.
    """
    require_one_process("--from")
    source_folder = RunFolder(supernet)
    config, targets = config_of(source_folder), []
    for each in wanted:
        require_space_of(source_folder, config, each.table)
        model = RuntimeModel(each.table)
        targets.append(in_ms(each.target_ms, model, listener.note))
        check_target(model, targets[-1])
        require_folder(each.folder)
    images = as_in(config, model.space, None if data is None else os.fspath(data))
    # A file is that of the network with the classes of the images.
    models = [RuntimeModel(each.table, replace(each.limits, classes=len(images.classes))) for each in wanted]
    source = load_source(source_folder, config, model.space, len(images.classes))
    networks = [
        Network(RunFolder(each.folder), _config_of_network(source, each, target_ms), model, best_rated(model, source, target_ms))
        for each, model, target_ms in zip(wanted, models, targets, strict=True)
    ]
    for network in networks:
        network.require_place(resume)
    _cut_all([network for network in networks if network.run.kind is None], source, images, listener)
    return [network.finished() for network in networks]


@dataclass(frozen=True)
class Network:
    """A network to be cut out: its folder and settings, the model that predicts its latency, and what it is."""

    run: RunFolder
    config: SearchConfig
    model: RuntimeModel
    architecture: Architecture

    def require_place(self, resume: bool) -> None:
        """Checks that its folder is empty or, if it may be resumed, holds this network or its beginnings.

        Raises:
            InputError: it does not.
        """
        with self.run.held():
            self.run.prepare(resume)
            there = self.run.read_config(SearchConfig)
        if there is not None and there.decisive != self.config.decisive:
            hint = "choose another folder"
            problem = "the folder has something else than this network of this supernet"
            raise InputError(problem, where=str(self.run.path), hint=hint)

    def finished(self) -> SearchRun:
        """As it lies in its folder."""
        return SearchRun(self.run, self.config, self.run.read_result(SearchResult), self.architecture)


def _cut_all(networks: Sequence[Network], source: Source, images: Data, listener: Listener) -> None:
    """A few at a time, so that images are loaded once for these."""
    steps = steps_of(images.train_images, source.config.batch_size, source.config.epochs)
    listener.begin(0, len(networks))
    for first in range(0, len(networks), AT_ONCE):
        some = networks[first : first + AT_ONCE]
        scores = cut_out([each.model for each in some], source, images, [each.architecture for each in some], steps)
        for network, score in zip(some, scores, strict=True):
            with network.run.held():
                _leave(network, score, images)
        done = first + len(some)
        listener.progress(done, len(networks), f"{networks[done - 1].config.table}: {_accuracy(scores[-1]):.2%}")
        if listener.stop():
            raise KeyboardInterrupt
    listener.end()


def _config_of_network(source: Source, wanted: Wanted, target_ms: float) -> SearchConfig:
    return configured(
        SearchConfig,
        {
            **{name: getattr(source.config, name) for name in TrainingConfig.model_fields},
            "table": wanted.table.name,
            "space_digest": source.config.space_digest,
            "table_digest": table_digest(wanted.table),
            "target_ms": target_ms,
            "max_memory_mb": wanted.limits.memory_mb,
            "max_size_mb": wanted.limits.size_mb,
            "supernet": str(source.folder.path),
        },
    )


def _leave(network: Network, score: Score, images: Data) -> None:
    """Writes what a search leaves, but for what tells of its training."""
    run, model, accuracy = network.run, network.model, _accuracy(score)
    needs = model.limited.footprint(network.architecture)
    facts = TrainingFacts(accuracy, len(score.right), [], images, network.config)
    result = SearchResult(
        architecture=network.architecture.choices,
        predicted_ms=score.predicted_ms,
        target_ms=network.config.target_ms,
        accuracy=accuracy,
        held_out_images=len(score.right),
        chance=chance(images),
        memory_mb=needs.memory_mb,
        size_mb=needs.size_mb,
        doubts=tuple(training_doubts(facts)),
    )
    run.write_config(network.config.to_yaml())
    write_table(model.table, run.table)
    SavedNetwork(
        name=run.name,
        layers=tuple(layer for _, layer in network.architecture.placed_layers()),
        classes=images.classes,
        state=score.network.state_dict(),
        top1=accuracy,
        origin=FROM_SUPERNET,
        framing=images.framing,
        centre_crop=images.centre_crop,
    ).save(run.network)
    draw_network(model, network.architecture, run.figure("network"))
    write_text(run.architecture, network.architecture.to_json())
    run.write_result(result.model_dump(mode="json"))


def _accuracy(score: Score) -> float:
    """On all images: none of them took part in choosing the network."""
    return float(score.right.double().mean())
