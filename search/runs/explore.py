"""An exploration with a finished search's supernet, up to the front in the search's folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from search import processes
from search.finding.additive import Agreement
from search.finding.explore import BATCH_NORM_BATCHES, MOST_IMAGES, Explored, Explorer, Way, agreement_of, front, write_front
from search.finding.search import Found, Search
from search.finding.selection import near
from search.listener import SILENT, Listener
from search.report.figures import draw_front
from search.runs.images import as_in
from search.runs.run import SearchRun, load_run


@dataclass(frozen=True)
class ExploreResult:
    """The result of an exploration.

    Attributes:
        networks: all that were scored, in this and in earlier explorations of the run.
        front: their Pareto front, the fastest first.
        agreement: how well a sum over layers, fitted to the scores of some, orders the others; None if they are too few.
    """

    networks: tuple[Explored, ...]
    front: list[Explored]
    agreement: Agreement | None = None


def explore(
    run: SearchRun | str | os.PathLike[str], way: Way = "random", networks: int = 100, listener: Listener = SILENT
) -> ExploreResult:
    """Scores networks with the weights of a finished search's supernet; saves their Pareto front and its figure in its folder.

    The networks are within 3 % of the target latency, or of any latency if the search had no target. Earlier explorations count.

    Args:
        run: the search, or its folder.
        way: `random` draws networks independently; `evolution` mutates and crosses the best so far.
        networks: total number to score in this way, with those of earlier explorations.
        listener: follows the progress, and may stop it.

    Raises:
        InputError: there is no finished search, its data cannot be used, or the band holds too few networks. Or there are several
            processes.
        KeyboardInterrupt: the listener stopped it; what was scored is saved, and the next call continues from there.
    """
    require_one_process()
    run = _search_run(run)
    with run.folder.held():
        return _explored(run, way, networks, listener)


def _explored(run: SearchRun, way: Way, networks: int, listener: Listener) -> ExploreResult:
    search, found = (run.search, run.found) if run.search and run.found else _again(run)
    model, config = search.model, search.config
    band = model.range_ms() if search.aim_ms is None else near(search.aim_ms)
    scorer = search.scorer(batches=BATCH_NORM_BATCHES, most_images=MOST_IMAGES)
    weights = hashlib.sha256(config.decisive.encode()).hexdigest()[:16]
    explorer = Explorer(way, model, scorer, band, config.seed, run.folder.explored, weights)
    begun = False

    def on_scored(done: int) -> None:
        nonlocal begun
        if not begun:
            listener.begin(done, networks)
        begun = True
        listener.progress(done, networks, f"{band[0]:.4g} to {band[1]:.4g} ms")

    scored = explorer.explore(networks, on_scored, listener.stop)
    listener.end()
    best = front(scored)
    write_front(model, best, run.folder)
    figure = run.folder.figure("front")
    # With the supernet's weights, as the others have them; its own are trained.
    draw_front(scored, best, scorer.score([found.architecture])[0], config.target_ms, figure)
    listener.note(
        f"Explored: {len(scored)} networks from {band[0]:.4g} to {band[1]:.4g} ms on {scorer.images} held-out images, "
        f"{len(best)} of them on the Pareto front, in {run.folder.front} and {figure}"
    )
    agreement = agreement_of(model, scored, scorer.images)
    if agreement is not None:
        listener.note(
            f"A sum over layers fitted to these scores orders networks that it was not fitted to with a rank correlation of "
            f"{agreement.rank_correlation:.2f} ({agreement.low:.2f} to {agreement.high:.2f}). That is how consistent the scores "
            f"are, not how true: networks of one latency are best compared by training them."
        )
    for doubt in run.result.doubts:
        listener.note(f"The search that gave the weights is doubtful: {doubt.words}")
    return ExploreResult(scored, best, agreement)


def require_one_process(option: str = "--explore") -> None:
    """Checks, before any training, that what cannot be shared can follow: an exploration, or what another option asks for.

    Raises:
        InputError: this is one of several processes.
    """
    if processes.state().num_processes > 1:
        raise InputError(
            f"{option} runs in a single process",
            where=option,
            hint="train without it; then run the same command with it and --resume, as one process",
        )


def _search_run(run: SearchRun | str | os.PathLike[str]) -> SearchRun:
    loaded = run if isinstance(run, SearchRun) else load_run(run)
    if not isinstance(loaded, SearchRun):
        raise InputError("this is a training; give the folder of a search", where=str(loaded.folder.path))
    return loaded


def _again(run: SearchRun) -> tuple[Search, Found]:
    """The supernet from the checkpoint of a finished search."""
    config, table = run.config, run.table
    images = as_in(config, table.space)
    model = RuntimeModel(table, config.limits(len(images.classes)))
    search = Search(model, images, config, run.folder)
    if search.resumed_at < search.steps:
        raise InputError("its checkpoint is missing, or not from the end of the search", where=str(run.folder.checkpoint))
    return search, search.run(lambda step: None)
