"""`spnas data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from profiling.errors import InputError
from spnas_cli.options import json_option
from spnas_cli.output import print_facts, print_json, printable
from spnas_cli.runs import held_out_seed_option

if TYPE_CHECKING:
    from search.runs.overview import Overview

CLASSES_SHOWN = 12


@click.command()
@click.argument("data_name", metavar="NAME|FOLDER")
@held_out_seed_option
@click.option(
    "--thorough",
    is_flag=True,
    help="Decode every pixel of every image. [default: of a small set; otherwise headers, and files that look damaged]",
)
@json_option
def data(data_name: str, seed: int, thorough: bool, as_json: bool) -> None:
    """Look at a data set before training on it.

    Counts the images of each class and part, their sizes and modes, and lists what is wrong with them, all at once: files that
    cannot be read, images that are in training and held out, images in two classes, images of one colour. Nothing is changed.
    What was seen is kept in a cache, so the training that follows starts quickly. Exits with 2 if an image cannot be read.

    \b
    Examples:
      spnas data digits
      spnas data path/to/images --thorough
    """
    from spnas_cli import showing

    found = showing.overview(data_name, seed=seed, thorough=thorough)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    if found.unreadable:
        count = len(found.unreadable)
        hint = f"remove or replace them, or leave them out with --skip-unreadable {count}"
        raise InputError(f"{count} of {found.images} images cannot be read", where=data_name, hint=hint)


def _as_json(found: Overview) -> dict[str, object]:
    return {
        "found": found.found,
        "division": found.division,
        "images": found.images,
        "classes": {part: dict(counts) for part, counts in found.counts.items()},
        "formats": dict(found.formats),
        "modes": dict(found.modes),
        "shorter_side": found.sides and dict(zip(("least", "median", "largest"), found.sides, strict=True)),
        "augment": found.augment and found.augment[0],
        "unreadable": [{"file": file, "reason": reason} for file, reason in found.unreadable.items()],
        "notes": list(found.notes),
    }


def _show(found: Overview) -> None:
    rows = [("found", found.found), ("parts", found.division)]
    rows += [(part, _counted(counts)) for part, counts in found.counts.items() if sum(counts.values())]
    rows += [("formats", _listed(found.formats)), ("modes", _listed(found.modes))]
    if found.sides is not None:
        rows.append(("shorter side", f"{found.sides[0]} to {found.sides[2]} pixels, median {found.sides[1]}"))
    if found.augment is not None:
        rows.append(("augmentation", "".join(found.augment)))
    print_facts([(name, value) for name, value in rows if value])
    for line in found.notes:
        click.echo(f"- {printable(line)}")
    for file, reason in found.unreadable.items():
        click.echo(f"- {printable(file)}: {printable(reason)}")


def _counted(counts: Mapping[str, int]) -> str:
    """The images of all classes, and of each if they are few, or of the smallest and the largest."""
    by_size = sorted(counts.items(), key=lambda item: item[1])
    text = f"{sum(counts.values())} images in {len(counts)} classes: "
    if len(counts) <= CLASSES_SHOWN:
        return text + ", ".join(f"{name} {count}" for name, count in counts.items())
    return text + f"{by_size[0][1]} ({by_size[0][0]}) to {by_size[-1][1]} ({by_size[-1][0]})"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
