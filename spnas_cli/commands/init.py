"""`spnas init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.next_steps import as_argument, evaluate_command, export_command, profile_command, search_command, whole
from spnas_cli.options import MOST_PIXELS, Count, json_option
from spnas_cli.output import note, print_facts, print_json, printable
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from search.runs.proposal import Proposal

DEVICE = "host"


@click.command()
@click.argument("data_name", metavar="NAME|FOLDER")
@click.option(
    "--resolution",
    type=Count(8, MOST_PIXELS),
    metavar="PIXELS",
    help="Height and width that images are scaled to. [default: by their size and number, 224 at most]",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML file to write. [default: the name of the folder with .yaml, here]",
)
@force_option
@json_option
def init(data_name: str, resolution: int | None, target: Path | None, force: bool, as_json: bool) -> None:
    """Begin with your own images: write a search space for them.

    FOLDER has one folder of images per class, or anything else that spnas data takes. The space has as many classes, colour or
    grey, a resolution that fits the size and number of the images, and layers to match; it is a YAML file that may be changed.
    Then come the commands that lead from it to a model for an app. Their target is a share of what the space spans on your
    device, 50%, so they work as they are.

    \b
    Examples:
      spnas init path/to/photos
      spnas init path/to/photos --resolution 96 -o small.yaml
    """
    from profiling.files import require_file, write_text
    from search.runs.proposal import space_name
    from spnas_cli import showing

    data_name = as_argument(data_name)
    file = target or Path(f"{space_name(data_name)}.yaml")
    require_file(file, [".yaml", ".yml"])
    proposal = showing.propose(data_name, resolution=resolution)
    text = proposal.to_yaml()
    if not (file.is_file() and file.read_bytes() == text.encode()):
        require_output(file, [".yaml", ".yml"], force=force)
        write_text(file, text)
    commands = _commands(proposal, file)
    if as_json:
        print_json(_as_json(proposal, file, commands))
    else:
        _show(proposal, file, commands)


def _commands(proposal: Proposal, file: Path) -> list[str]:
    space = proposal.space
    data, run = space.data or "", f"{space.name}-run"
    return [
        profile_command(file, DEVICE),
        search_command(f"{space.name}-{DEVICE}", data, run),
        evaluate_command(run, data),
        export_command(run, data),
    ]


def _as_json(proposal: Proposal, file: Path, commands: list[str]) -> dict[str, object]:
    space = proposal.space
    return {
        "space": space.name,
        "file": str(file),
        "resolution": space.resolution,
        "image_channels": space.image_channels,
        "classes": dict(proposal.classes),
        "layers": len(space.layers),
        "commands": commands,
    }


def _show(proposal: Proposal, file: Path, commands: list[str]) -> None:
    space, images = proposal.space, proposal.images
    sides = images.sides or (0, 0, 0)
    train, held_out = (sum(images.counts[part].values()) for part in ("train", "held out"))
    click.echo(f"Search space {space.name}, in {printable(file)}")
    print_facts(
        [
            ("images", f"{train} to train on, {held_out} held out, in {space.classes} classes"),
            ("shorter side", f"{sides[0]} to {sides[2]} pixels, median {sides[1]}"),
            ("resolution", f"{space.resolution} pixels, {'grey' if space.image_channels == 1 else 'colour'}"),
            ("layers", f"{len(space.searchable)} to search, {len(space.layers)} different ones to measure"),
        ]
    )
    for line in [*images.notes, *_advice(proposal, file)]:
        click.echo(f"- {printable(line)}")
    click.echo("\nNext, one after the other:")
    for command in commands:
        click.echo(f"  {whole(command)}")
    note("\nFor a phone, give its serial number instead of host (spnas devices).")


def _advice(proposal: Proposal, file: Path) -> list[str]:
    """What else there is to know of such images, a line each."""
    from search.config import FEW_IMAGES

    lines = []
    if proposal.space.image_channels == 1:
        lines.append(f"The images are grey. MediaPipe runs models of colour images only: image_channels: 3 in {file} makes one.")
    if (count := sum(proposal.classes.values())) < FEW_IMAGES:
        lines.append(
            f"{count} images are few. Weights of ImageNet may do more than a search: docs/own-images.md, A few hundred images."
        )
    return lines
