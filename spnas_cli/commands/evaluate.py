"""`spnas evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from spnas_cli.options import Count, json_option
from spnas_cli.output import print_facts, print_json
from spnas_cli.runs import (
    data_option,
    framing_facts,
    framing_json,
    framing_option,
    held_out_seed_option,
    skip_option,
    workers_option,
)

if TYPE_CHECKING:
    from search.images.framing import Framing
    from search.runs.evaluate import Evaluated

HARDEST = 3


@click.command()
@click.argument("network", metavar="NETWORK", type=click.Path(path_type=Path))
@data_option
@held_out_seed_option
@click.option(
    "--split",
    type=click.Choice(["val", "test", "all"]),
    help="Measure on the images of this part instead; `all` takes every image of a folder without parts. "
    "[default: the images that training holds out]",
)
@click.option("--batch-size", type=Count(1, 2**20), metavar="IMAGES", default=256, show_default=True, help="Images per batch.")
@framing_option("as the network was trained")
@workers_option
@skip_option
@json_option
def evaluate(
    network: Path,
    data_name: str,
    seed: int,
    split: Literal["val", "test", "all"] | None,
    batch_size: int,
    framing: Framing | None,
    workers: int,
    skip_unreadable: int,
    as_json: bool,
) -> None:
    """Measure a trained network's accuracy on held-out images.

    NETWORK is the folder of a training or a search, or the network.pt in it. The held-out images are those in `val`, in `test`
    where there is no `val`, or the 20 % that training with the same --seed did not use. Photos are measured in one framing, and
    what the other one would cost is printed with its interval.

    \b
    Examples:
      spnas evaluate trained/network.pt --data digits
      spnas evaluate trained/network.pt --data path/to/images --workers 4 --json
      spnas evaluate trained/network.pt --data path/to/new-images --split all
    """
    from spnas_cli import showing

    found = showing.evaluate(
        network,
        data_name,
        split=split,
        seed=seed,
        batch_size=batch_size,
        workers=workers,
        skip_unreadable=skip_unreadable,
        framing=framing,
    )
    if as_json:
        totals = {"images": found.images, "top1": found.top1, "top5": found.top5}
        framing_of = framing_json(found.framing, found.framings)
        print_json(
            {"network": str(network), "origin": found.origin, **totals, **framing_of, "top1_by_class": found.top1_by_class}
        )
    else:
        _show(found)


def _show(found: Evaluated) -> None:
    from search.results import NO_TOP5

    seen = [(share, name) for name, share in found.top1_by_class.items() if share is not None]
    hardest = ", ".join(f"{name} {share:.2%}" for share, name in sorted(seen)[:HARDEST])
    print_facts(
        [
            ("network", found.origin),
            ("images", f"{found.images} in {len(found.classes)} classes"),
            ("top-1", f"{found.top1:.2%}"),
            ("top-5", NO_TOP5 if found.top5 is None else f"{found.top5:.2%}"),
            *framing_facts(found.framing, found.centre_crop, found.framings),
            ("hardest classes", hardest),
        ]
    )
