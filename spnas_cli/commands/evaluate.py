"""`spnas evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import json_option
from spnas_cli.output import print_facts, print_json, printable
from spnas_cli.runs import data_option, workers_option

if TYPE_CHECKING:
    from search.training.accuracy import Accuracy

HARDEST = 3


@click.command()
@click.argument("network", metavar="NETWORK.pt", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="As in training: says which images of a folder without `val` are held out.",
)
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Images that are computed together.")
@workers_option
@json_option
def evaluate(network: Path, data_name: str, seed: int, batch_size: int, workers: int, as_json: bool) -> None:
    """Measure the accuracy of a trained network on the held-out images of a data set.

    NETWORK.pt is the file that `spnas train` or `spnas search` leaves. Held-out images are those in `val`, or the one in five
    that a training with the same --seed did not see.

    \b
    Examples:
      spnas evaluate trained/network.pt --data digits
      spnas evaluate trained/network.pt --data path/to/images --workers 4 --json
    """
    from search.convnet.named import load_known_images
    from search.convnet.saved import load_network
    from search.training.accuracy import evaluate as evaluated

    saved = load_network(network)
    data = load_known_images(saved, data_name, seed)
    accuracy = evaluated(saved, data, batch_size, workers)
    by_class = dict(zip(saved.classes, accuracy.top1_by_class, strict=True))
    if as_json:
        totals = {"images": sum(accuracy.images), "top1": accuracy.top1, "top5": accuracy.top5}
        print_json({"network": str(network), "origin": saved.origin, **totals, "top1_by_class": by_class})
    else:
        _show(accuracy, by_class, saved.origin)


def _show(accuracy: Accuracy, by_class: dict[str, float | None], origin: str) -> None:
    seen = [(share, name) for name, share in by_class.items() if share is not None]
    hardest = ", ".join(f"{printable(name)} {share:.2%}" for share, name in sorted(seen)[:HARDEST])
    print_facts(
        [
            ("network", printable(origin)),
            ("images", f"{sum(accuracy.images)} in {len(by_class)} classes"),
            ("top-1", f"{accuracy.top1:.2%}"),
            ("top-5", "–" if accuracy.top5 is None else f"{accuracy.top5:.2%}"),
            ("hardest classes", hardest),
        ]
    )
