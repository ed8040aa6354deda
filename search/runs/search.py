"""A search, from a table and images to the folder it leaves."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

from latency_db.limits import UNLIMITED, Limits
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable
from latency_db.table_files import write_table
from latency_db.targets import Target, in_ms
from profiling.errors import InputError
from profiling.files import require_folder
from search import processes
from search.config import (
    DEFAULTS,
    SearchConfig,
    TrainedFor,
    TrainingOptions,
    configured,
    course,
    search_schedule,
    sensible_learning_rate,
    steps_of,
)
from search.convnet.saved import SavedNetwork
from search.finding.collapse import CollapseWatch
from search.finding.doubts import DecisionFacts, Doubt, TrainingFacts, chance, decision_doubts, training_doubts
from search.finding.search import Found, Search, check_target, table_digest
from search.finding.selection import write_candidates
from search.images.data import Data
from search.listener import SILENT, Listener
from search.report.figures import draw_decisions, draw_network, draw_progress
from search.report.kernel_figure import draw_kernels
from search.results import SearchResult
from search.run_folder import RunFolder
from search.runs.images import begin_with, counted, image_settings
from search.runs.run import SearchRun
from search.steps import SearchStep


def search(
    table: LatencyTable,
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    target_ms: Target | str | None = None,
    runtime_weight: float | None = None,
    limits: Limits = UNLIMITED,
    options: TrainingOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> SearchRun:
    """Trains the supernet against a latency table and saves the network it finds, with the record of the run, in a folder.

    Args:
        table: latencies of the space to search.
        data: name of a data set, or a folder of images; see `search.images.data.load_data`.
        folder: of the run; a run already in it is continued, unless the options say otherwise.
        target_ms: latency that the network found must not exceed, in ms, or as a share of the table's range, `50%`. Give this or
        runtime_weight: λ of Eq. 9, fixed; exactly one of the two.
        limits: to the memory and the file of the network found.
        options: of the training.
        listener: follows the progress, and may stop it.

    Raises:
        InputError: the target or a limit is out of reach, the images cannot be used, or the folder contains something else.
        TableError: the table is incomplete.
        TrainingError: the loss is no longer finite, or there is not enough memory.
        KeyboardInterrupt: the listener stopped it; the next call continues from there.
    """
    if (target_ms is None) == (runtime_weight is None):
        raise InputError("give either target_ms or runtime_weight")
    model = RuntimeModel(table)
    aim_ms = None if target_ms is None else in_ms(target_ms, model, listener.note)
    if aim_ms is not None:
        check_target(model, aim_ms)
    data, run = os.fspath(data), RunFolder(folder)
    processes.from_main(lambda: require_folder(run.path))
    begun = processes.from_main(lambda: run.read_config(SearchConfig)) if options.resume else None
    if begun is not None and begun.supernet is not None:
        where = f"the folder has a network that was cut out of the supernet in {begun.supernet}"
        raise InputError(where, where=str(run.path), hint="choose another folder")
    images = begin_with(data, model.space, options, begun, listener)
    # A file is that of the network with the classes of the images.
    model = RuntimeModel(table, replace(limits, classes=len(images.classes)))
    aim = {"target_ms": aim_ms, "runtime_weight": runtime_weight}
    aim |= {"max_memory_mb": limits.memory_mb, "max_size_mb": limits.size_mb}
    config = _config(model, data, images, aim, options, begun)
    with processes.on_main(run.held()):
        processes.from_main(lambda: run.prepare(options.resume))
        return _searched(model, images, config, run, listener)


def _searched(model: RuntimeModel, images: Data, config: SearchConfig, run: RunFolder, listener: Listener) -> SearchRun:
    if len(images.classes) != model.space.classes:
        have, head = len(images.classes), model.space.classes
        listener.note(
            f"The data has {have} classes and the table a head of {head}: the network gets {have}, its latency is that of {head} "
            f"(spnas profile --classes {have} makes a table for {have})."
        )
    work = Search(model, images, config, run)
    processes.from_main(lambda: run.write_config(config.to_yaml()))
    for line in images.notes:
        listener.note(line)
    found = _train(work, images, listener)
    needs = model.limited.footprint(found.architecture)
    result = SearchResult(
        architecture=found.architecture.choices,
        predicted_ms=found.predicted_ms,
        target_ms=config.target_ms,
        accuracy=found.accuracy,
        held_out_images=len(found.chosen.score.right),
        chance=chance(images),
        memory_mb=needs.memory_mb,
        size_mb=needs.size_mb,
        doubts=_doubts(found, work, images),
    )
    if processes.index() == 0:
        _leave(found, model, images, config, run)
        run.write_result(result.model_dump(mode="json"))
    return SearchRun(run, config, result, found.architecture, work, found)


def _config(
    model: RuntimeModel,
    data: str,
    images: Data,
    aim: dict[str, float | None],
    options: TrainingOptions,
    begun: SearchConfig | None,
) -> SearchConfig:
    settings = options.settings(*search_schedule(images.train_images, options.batch_size, begun))
    steps = steps_of(images.train_images, settings["batch_size"], settings["epochs"])
    learning_rate, phases = options.learning_rate, course(steps, aim["target_ms"])
    trained_for: TrainedFor = "int8" if model.table.conditions.precision == "int8" else "fp32"
    if begun is not None:
        # What was begun goes on as it was: earlier versions had other defaults.
        learning_rate = learning_rate or begun.learning_rate
        phases = {name: getattr(begun, name) for name in phases}
        trained_for = begun.trained_for
    if learning_rate is None:
        learning_rate = sensible_learning_rate(settings["batch_size"], steps)
    return configured(
        SearchConfig,
        {
            "table": model.table.name,
            "space_digest": model.space.digest,
            "table_digest": table_digest(model.table),
            "data": data,
            **image_settings(data, images, begun),
            **aim,
            **settings,
            **phases,
            "learning_rate": learning_rate,
            "trained_for": options.precision or trained_for,
        },
    )


def _train(begun: Search, images: Data, listener: Listener) -> Found:
    config = begun.config
    aim = f"λ = {config.runtime_weight:g}" if config.target_ms is None else f"{config.target_ms:g} ms"
    if config.target_ms is not None and begun.aim_ms != config.target_ms:
        aim = f"{begun.aim_ms:.4g} ms, the slowest below {aim} with at most {begun.model.limited.limits.words}"
    listener.note(
        f"{counted(images)}; "
        f"{begun.steps} steps of {config.batch_size}, aiming at {aim}"
        + (f"; from step {begun.resumed_at}" if begun.resumed_at else "")
    )
    if config.trained_for == "int8":
        listener.note("The network found trains for int8, with the rounding of an int8 file, which takes about twice the time.")
    watch = CollapseWatch(begun.model, begun.aim_ms, begun.deciding_steps)

    def on_step(step: SearchStep) -> None:
        listener.step(step)
        terms = f"CE {step.cross_entropy:.3f}, R {step.runtime_ms:.4g} ms, λ {step.runtime_weight:.3f}"
        listener.progress(step.step, step.steps, f"{step.phase}: {terms}, {_brief(step.choices)}")
        collapse = watch.look(step.choices, step.runtime_ms) if step.phase == "search" else None
        if collapse is not None:
            listener.note(collapse)

    listener.begin(begun.resumed_at, begun.steps)
    found = begun.run(on_step, listener.stop)
    listener.end()
    return found


def _doubts(found: Found, search: Search, images: Data) -> tuple[Doubt, ...]:
    config, tested = search.config, len(found.chosen.score.right)
    facts = TrainingFacts(found.accuracy, tested, [step.cross_entropy for step in found.metrics], images, config)
    deciding = [step for step in found.metrics if step.phase == "search"]
    if not deciding:
        return tuple(training_doubts(facts))
    last = deciding[-1]
    decided = next((each for each in found.candidates if each.origin == "decided"), found.chosen).score.architecture
    decisions = DecisionFacts(
        search.model.space, deciding[0].choices, last.choices, decided.choices, last.runtime_ms, search.aim_ms
    )
    return (*training_doubts(facts), *decision_doubts(decisions, facts))


def _brief(choices: tuple[str, ...]) -> str:
    """How often each choice is taken, e.g. `3 5x5-6, 2 skip`."""
    return ", ".join(f"{count} {name}" for name, count in Counter(choices).most_common())


def _origin(config: SearchConfig) -> str:
    """Where the weights of the network found come from, in words."""
    if not config.final_phase:
        return "weights of the supernet, batch norm re-estimated"
    return "trained by the search that found it" + (", for int8" if config.trained_for == "int8" else "")


def _leave(found: Found, model: RuntimeModel, images: Data, config: SearchConfig, run: RunFolder) -> None:
    write_candidates(found.candidates, run)
    write_table(model.table, run.table)
    SavedNetwork(
        name=run.name,
        layers=tuple(layer for _, layer in found.architecture.placed_layers()),
        classes=images.classes,
        state=found.network.state_dict(),
        top1=found.accuracy,
        origin=_origin(config),
        framing=images.framing,
        centre_crop=images.centre_crop,
        trained_for=config.trained_for if config.final_phase else "fp32",
    ).save(run.network)
    draw_progress(found.metrics, config.target_ms, run.figure("progress"))
    draw_decisions(model.space, found.metrics, config.target_ms, run.figure("decisions"))
    draw_network(model, found.architecture, run.figure("network"))
    draw_kernels(found.supernet, found.architecture, run.figure("kernels"))
