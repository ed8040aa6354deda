"""`spnas search --explore`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spnas_cli.output import note, progress
from spnas_cli.runs import stopping_between_steps

if TYPE_CHECKING:
    from latency_db.runtime_model import RuntimeModel
    from search.config import SearchConfig
    from search.data import Data
    from search.explore import Way
    from search.loop import Found

F = TypeVar("F", bound=Callable[..., Any])


def explore_options(command: F) -> F:
    """Adds --explore and --explore-networks to a command."""
    way = click.option(
        "--explore",
        type=click.Choice(["random", "evolution"]),
        help="After the training, score more networks within 3 % of the target, or of any latency, with the supernet's weights.",
    )
    count = click.option(
        "--explore-networks", type=click.IntRange(1), default=100, show_default=True, help="How many networks --explore scores."
    )
    return way(count(command))


def explore_space(
    way: Way, count: int, found: Found, model: RuntimeModel, data: Data, config: SearchConfig, folder: Path
) -> None:
    """Explores within 3 % of the target, or all latencies without one; leaves the front and its figure in the folder."""
    from search.explore import BATCH_NORM_BATCHES, EXPLORED, MOST_IMAGES, Explorer, front, write_front
    from search.figures import draw_front
    from search.scoring import Scorer
    from search.selection import near

    band = model.range_ms() if config.target_ms is None else near(config.target_ms)
    steps = found.metrics[-1].steps
    scorer = Scorer(model, found.supernet, data, config, steps=steps, batches=BATCH_NORM_BATCHES, most_images=MOST_IMAGES)
    run = hashlib.sha256(config.decisive.encode()).hexdigest()[:16]
    explorer = Explorer(way, model, scorer, band, config.seed, folder / EXPLORED, run)
    start: tuple[float, int] | None = None
    with progress("explore") as [line], stopping_between_steps() as stop:

        def on_scored(done: int) -> None:
            nonlocal start
            start = start or (time.monotonic(), done)
            more = done - start[1]
            remaining = (time.monotonic() - start[0]) / more * (count - done) if more else None
            line.update(done, count, f"{band[0]:.4g} to {band[1]:.4g} ms", remaining)

        networks = explorer.explore(count, on_scored, stop)
    best = front(networks)
    write_front(model, best, folder)
    draw_front(networks, best, found.chosen.score, config.target_ms, folder / "front.png")
    note(
        f"Explored: {len(networks)} networks of {band[0]:.4g} to {band[1]:.4g} ms on {scorer.images} held-out images, "
        f"{len(best)} of them in the front, in {folder / 'front.csv'} and {folder / 'front.png'}"
    )
