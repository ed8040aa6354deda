"""`spnas export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from spnas_cli.options import Count, Seed, json_option
from spnas_cli.output import note, print_facts, print_json
from spnas_cli.outputs import force_option, require_output
from spnas_cli.runs import workers_option

if TYPE_CHECKING:
    from search.export.export import Export


@click.command()
@click.argument("network", metavar="NETWORK", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["tflite", "onnx"]), required=True, help="Format of the file.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the weights; int8 also quantises activations, input and output. ONNX takes fp32 only.",
)
@click.option(
    "--data",
    "data_name",
    metavar="NAME|FOLDER",
    help="The data set that the network was trained on: held-out images to compare the file with the network, training images "
    "to estimate int8 ranges. digits, fashion-mnist or cifar10, or a folder as for spnas train. "
    "[default: none; compares on random pixels]",
)
@click.option(
    "--representative-images",
    type=Count(1, 10**6),
    default=200,
    show_default=True,
    help="Number of training images to estimate int8 ranges on, spread evenly over the classes.",
)
@click.option(
    "--check-images",
    type=Count(1, 10**6),
    default=1000,
    show_default=True,
    help="Largest number of held-out images to compare the file with the network on.",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="The file to write. [default: beside NETWORK, with its name and .tflite, -fp16.tflite, -int8.tflite or .onnx]",
)
@force_option
@click.option("--seed", type=Seed(), default=0, show_default=True, help="Seed for the split of --data, as in training.")
@workers_option
@json_option
def export(
    network: Path,
    to: Literal["tflite", "onnx"],
    precision: Literal["fp32", "fp16", "int8"],
    data_name: str | None,
    representative_images: int,
    check_images: int,
    target: Path | None,
    force: bool,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write a trained network as a TFLite or ONNX file for an app.

    NETWORK is the folder of a search or a training, or the network.pt in it. The file is compared with the network image by
    image and kept only if it agrees: for fp32, every logit within 0.001 and the same top-1 class on every image; for fp16, every
    logit within 0.1 and 99 % of the classes; for int8, 90 % of the classes and a top-1 accuracy at most 1 point lower.

    The file contains labels, input size and normalisation (docs/export.md). fp32 and fp16 models take floating-point numbers
    from -1 to 1; int8 models take the bytes of an image as they are, and return bytes.

    \b
    Examples:
      spnas export run/network.pt --to tflite --data digits
      spnas export run/network.pt --to tflite --precision int8 --data digits -o app/digits.tflite
      spnas export run/network.pt --to onnx --data digits --json
    """
    from search.convnet.named import WITH_WEIGHTS, find_trained, resolve
    from search.export.export import ExportOptions
    from spnas_cli import showing

    file = Path(resolve(network, WITH_WEIGHTS)[1])
    saved = find_trained(file)
    if target is None:
        target = file.with_name(f"{file.stem}{'' if precision == 'fp32' else f'-{precision}'}.{to}")
    require_output(target, [f".{to}"], force=force)
    if data_name is None:
        note("Without --data the file is compared on random pixels, and its metadata says that images are not cropped.")
    options = ExportOptions(representative_images, check_images, seed, workers)
    result = showing.export(saved, target, data_name, precision=precision, to=to, options=options)
    _show(result, precision, "random" if data_name is None else "held-out", as_json)


def _show(result: Export, precision: str, kind: str, as_json: bool) -> None:
    compared = result.check
    if as_json:
        print_json(
            {
                "file": str(result.file),
                "precision": precision,
                "size_bytes": result.size_bytes,
                "images": compared.images,
                "largest_difference": compared.largest_difference,
                "top1_agreement": compared.top1_agreement,
                "top1": compared.top1,
                "top1_exported": compared.top1_exported,
            }
        )
        return
    card = result.card
    axes = f"{card.resolution}×{card.resolution}×{card.channels}"
    if card.tensor_type == "uint8":
        given = f"uint8, {axes}, the bytes of the image"
    else:
        size = f"any number of images, {card.channels}×{card.resolution}×{card.resolution}" if card.layout == "NCHW" else axes
        given = f"float32, {size}, (bytes - {card.mean:g}) / {card.std:g}"
    facts = [
        ("file", f"{result.file}, {result.size_bytes / 1e6:.3g} MB, {precision}"),
        ("input", given),
        ("compared on", f"{compared.images} {kind} images"),
        ("largest difference", f"{compared.largest_difference:.3g} in any logit"),
        ("top-1 agreement", f"{compared.top1_agreement:.2%}"),
    ]
    if compared.top1 is not None and compared.top1_exported is not None:
        facts.append(("top-1", f"{compared.top1_exported:.2%} (the network: {compared.top1:.2%})"))
    print_facts(facts)
