"""`spnas export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from profiling.extras import needs
from spnas_cli.options import Count, Number, Seed, json_option
from spnas_cli.output import note, print_facts, print_json
from spnas_cli.outputs import force_option, require_output
from spnas_cli.runs import framing_facts, framing_json, framing_option, workers_option

if TYPE_CHECKING:
    from search.convnet.saved import SavedNetwork
    from search.export.check import ExportCheck
    from search.export.export import Export
    from search.images.framing import Framing


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
    metavar="IMAGES",
    default=200,
    show_default=True,
    help="Number of training images to estimate int8 ranges on, spread evenly over the classes.",
)
@click.option(
    "--check-images",
    type=Count(1, 10**6),
    metavar="IMAGES",
    default=1000,
    show_default=True,
    help="Largest number of held-out images to compare the file with the network on.",
)
@framing_option("as the network was trained")
@click.option("--softmax", is_flag=True, help="Give probabilities, not logits: for ML Kit, and for thresholds on scores.")
@click.option(
    "--accept-drop",
    type=Number(0, 100),
    metavar="POINTS",
    help="Keep the file if its top-1 accuracy falls by at most this many points. [default: 0 for fp32, 0.5 for fp16, 1 for int8]",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write. [default: beside NETWORK, with its name and .tflite, -fp16.tflite, -int8.tflite or .onnx]",
)
@force_option
@click.option("--seed", type=Seed(), default=0, show_default=True, help="Seed for the split of --data, as in training.")
@workers_option
@json_option
@needs("export")
def export(
    network: Path,
    to: Literal["tflite", "onnx"],
    precision: Literal["fp32", "fp16", "int8"],
    data_name: str | None,
    representative_images: int,
    check_images: int,
    framing: Framing | None,
    softmax: bool,
    accept_drop: float | None,
    target: Path | None,
    force: bool,
    seed: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write a trained network as a TFLite or ONNX file for an app.

    NETWORK is the folder of a search or a training, or the network.pt in it. The file is compared with the network image by
    image and kept only if it agrees: for fp32, every logit within 0.1 % of the logits' spread and the same top-1 class on every
    image; for fp16, every logit within 10 % of it and 99 % of the classes; for int8, 90 % of the classes and a top-1 accuracy at
    most 1 point lower. Probabilities are compared too.

    The file contains labels, input size, normalisation and framing (docs/export.md, with code for Android). fp32 and fp16 models
    take floating-point numbers from -1 to 1; int8 models take the bytes of an image as they are, and return bytes.

    \b
    Examples:
      spnas export run/network.pt --to tflite --data digits
      spnas export run/network.pt --to tflite --precision int8 --data digits -o app/digits.tflite
      spnas export run/network.pt --to onnx --data digits --json
      spnas export run/network.pt --to tflite --data path/to/photos --framing stretch --softmax
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
        note("Without --data the file is compared on random pixels, which say nothing about accuracy.")
        if saved.centre_crop is None and (framing or saved.framing) == "crop":
            note("The network does not say how far its photos were cropped: the file says the whole of the shorter side.")
    options = ExportOptions(representative_images, check_images, seed, workers, framing, softmax, accept_drop)
    result = showing.export(saved, target, data_name, precision=precision, to=to, options=options)
    _show(result, saved, "random" if data_name is None else "held-out", as_json)


def _show(result: Export, saved: SavedNetwork, kind: str, as_json: bool) -> None:
    compared, card = result.check, result.card
    if as_json:
        print_json(
            {
                "file": str(result.file),
                "precision": card.precision,
                "trained_for": saved.trained_for,
                "size_bytes": result.size_bytes,
                "images": compared.images,
                "largest_difference": compared.largest_difference,
                "spread": compared.spread,
                "probability_difference": compared.probability_difference,
                "top1_agreement": compared.top1_agreement,
                "top1": compared.top1,
                "top1_exported": compared.top1_exported,
                "top1_drop_interval": compared.guesses and compared.guesses.drop_interval,
                "gives": card.use.gives,
                **framing_json(card.use.framing, result.framings),
            }
        )
        return
    axes = f"{card.resolution}×{card.resolution}×{card.channels}"
    if card.tensor_type == "uint8":
        given = f"uint8, {axes}, the bytes of the image"
    else:
        size = f"any number of images, {card.channels}×{card.resolution}×{card.resolution}" if card.layout == "NCHW" else axes
        given = f"float32, {size}, (bytes - {card.mean:g}) / {card.std:g}"
    facts = [
        ("file", f"{result.file}, {result.size_bytes / 1e6:.3g} MB, {card.precision}"),
        ("input", given),
        ("output", card.use.gives),
        ("compared on", f"{compared.images} {kind} images"),
        ("difference", _difference(compared)),
        ("top-1 agreement", f"{compared.top1_agreement:.2%}"),
    ]
    if saved.trained_for == "int8":
        facts.insert(1, ("trained for", "int8, with the rounding of an int8 file"))
    if compared.guesses is not None:
        falls = f"{-compared.guesses.drop:+.2f} points" if compared.guesses.lost or compared.guesses.gained else "no difference"
        facts.append(("top-1", f"{compared.top1_exported:.2%} (the network: {compared.top1:.2%}; {falls})"))
    facts += framing_facts(card.use.framing, card.use.centre_crop, result.framings)
    print_facts(facts)
    if result.framings is not None and card.use.framing == "crop":
        note("\nMediaPipe stretches the whole photo unless the app names a region of interest: docs/export.md.")


def _difference(compared: ExportCheck) -> str:
    probabilities = f"{compared.probability_difference:.2g} in the probabilities of an image"
    if compared.largest_difference is None:
        return probabilities
    share = f" ({compared.largest_difference / compared.spread:.2g} of their spread)" if compared.spread else ""
    return f"{compared.largest_difference:.3g} in any logit{share}, {probabilities}"
