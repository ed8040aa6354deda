"""Networks by name, file or run folder. Every command that takes a network looks it up here."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from profiling.errors import InputError
from profiling.layers import LayerSpec
from profiling.outside import is_folder
from profiling.places import SKIP
from profiling.space import Architecture, SearchSpace, built_in_names, load_architecture
from search.convnet.zoo import RESOLUTION, UNAVAILABLE, load_zoo_network, zoo_names
from search.run_folder import RunFolder

if TYPE_CHECKING:
    from search.convnet.saved import SavedNetwork

Kind = Literal["architecture", "uniform", "zoo", "trained", "tflite"]
Name = str | os.PathLike[str]
Layers = tuple[LayerSpec | None, ...]

OF_SPACE: tuple[Kind, ...] = ("architecture", "uniform")
WITH_LAYERS: tuple[Kind, ...] = ("architecture", "zoo", "trained")
WITH_WEIGHTS: tuple[Kind, ...] = ("trained",)
MEASURABLE: tuple[Kind, ...] = ("architecture", "uniform", "zoo", "trained", "tflite")

ENDINGS: dict[str, Kind] = {".json": "architecture", ".yaml": "architecture", ".pt": "trained", ".tflite": "tflite"}


@dataclass(frozen=True)
class Size:
    """The size in which to build a network.

    Attributes:
        width: channels relative to the network as it is given.
        resolution: height and width of the images in pixels; None leaves it as it is, 224 for the zoo.
    """

    width: float = 1.0
    resolution: int | None = None


AS_GIVEN = Size()


def resolve(name: Name, takes: Collection[Kind], space: SearchSpace | None = None) -> tuple[Kind, str]:
    """What a name, file or folder refers to.

    Args:
        name: as the user gave it.
        takes: the kinds that can be used; if a name or folder has several forms, the first of `Kind` among these.
        space: the space whose choices name uniform networks; None if there is none.

    Returns:
        The kind, and the name or file that is meant: of a folder, the file in it.

    Raises:
        InputError: there is nothing of this name, or nothing that can be used; lists what is accepted, suggests a similar name.
    """
    given = os.fspath(name)
    found = _found(given, takes, space)
    if found is not None and found[0] in takes:
        return found
    raise _refusal(given, found and found[0], takes, space)


def _refusal(given: str, found: Kind | None, takes: Collection[Kind], space: SearchSpace | None) -> InputError:
    """The error for a name that refers to nothing, or to something that this command cannot use."""
    names: dict[Kind, Collection[str]] = {
        "architecture": () if "zoo" in takes else built_in_names("architectures"),
        "uniform": () if space is None else [name for name in space.choices_by_name if name != SKIP.name],
        "zoo": zoo_names(),
    }
    if found is not None:
        problem = f"this is {_words(found)}"
    elif is_folder(given):
        problem = "this folder has no finished run with such a network"
    else:
        problem = "no such file, and no network of this name"
    kinds = [kind for kind in takes if kind != "uniform" or space is not None]
    accepted = [_words(kind, names.get(kind, ())) for kind in kinds]
    if {"architecture", "trained"} & set(takes):
        accepted.append("the folder of a run")
    alike = get_close_matches(given, [name for kind in kinds for name in names.get(kind, ())], n=1)
    hint = f"accepted: {', '.join(accepted)}" + "".join(f"; did you mean {name}?" for name in alike)
    return InputError(problem, where=given, hint=hint)


def _found(given: str, takes: Collection[Kind], space: SearchSpace | None) -> tuple[Kind, str] | None:
    path = Path(given)
    if space is not None and given in space.choices_by_name:
        return "uniform", given
    # The paper's own network is both of the zoo, in any size, and an architecture of its space.
    is_architecture = given in built_in_names("architectures")
    if (given in zoo_names() or given in UNAVAILABLE) and not (is_architecture and "zoo" not in takes):
        return "zoo", given
    if is_architecture:
        return "architecture", given
    if is_folder(given):
        run = RunFolder(path)
        files: tuple[tuple[Kind, Path], ...] = (("architecture", run.architecture), ("trained", run.network))
        return next(((kind, str(file)) for kind, file in files if kind in takes and file.is_file()), None)
    if os.path.lexists(given):
        return ENDINGS.get(path.suffix, "trained" if "trained" in takes else "architecture"), given
    return None


def _words(kind: Kind, names: Collection[str] = ()) -> str:
    """A kind in words, with the names that it has."""
    listed = f" ({', '.join(names)})" if names else ""
    match kind:
        case "architecture":
            return "an architecture file (.json)" + (f", one that ships with spnas{listed}" if names else "")
        case "uniform":
            return f"a choice for every layer{listed}"
        case "zoo":
            return f"a network of the zoo{listed}"
        case "trained":
            return "a trained network (.pt)"
        case "tflite":
            return "a TFLite model (.tflite)"


def find_architecture(name: Name, space: SearchSpace | None = None) -> Architecture:
    """The architecture of a file, of a search's folder, or that ships with spnas; with a space, also its uniform networks.

    Raises:
        InputError: it is none of these (see `resolve`), the file does not hold an architecture, or the space has no such network.
    """
    kind, place = resolve(name, OF_SPACE, space)
    return space.uniform(place) if kind == "uniform" and space is not None else load_architecture(place)


def find_layers(name: Name, size: Size = AS_GIVEN) -> Layers:
    """The layers of a network of the zoo, of an architecture or of a trained network.

    Args:
        name: as above, or the folder of a run.
        size: of a network of the zoo or an architecture.

    Returns:
        From stem to head; None where a layer is skipped.

    Raises:
        InputError: it is none of these (see `resolve`), or cannot be had in this size.
    """
    kind, place = resolve(name, WITH_LAYERS)
    if kind == "zoo":
        return load_zoo_network(place, width_multiplier=size.width, resolution=size.resolution or RESOLUTION).layers
    if kind == "trained":
        if size != AS_GIVEN:
            raise InputError("a trained network has a fixed size; give its architecture to change it", where=place)
        return find_trained(place).layers
    architecture = load_architecture(place).scaled(size.width, resolution=size.resolution)
    return tuple(layer for _, layer in architecture.placed_layers())


def own_weights(name: Name) -> Path | None:
    """The file of the weights that a network comes with: that of a trained network, or the one that a search left beside the
    architecture that it found. None if there is none, as for a network of the zoo.

    Raises:
        InputError: it is no network with layers (see `resolve`).
    """
    kind, place = resolve(name, WITH_LAYERS)
    if kind == "trained":
        return Path(place)
    run = RunFolder(Path(place).parent)
    is_found = kind == "architecture" and Path(place).name == run.architecture.name and run.network.is_file()
    return run.network if is_found else None


def find_trained(name: Name) -> SavedNetwork:
    """A trained network by its file or the folder of the run that left it.

    Raises:
        InputError: it is neither (see `resolve`), or the file cannot be used.
    """
    # PyTorch takes seconds to load, and most names need none of it.
    from search.convnet.saved import load_network

    return load_network(Path(resolve(name, WITH_WEIGHTS)[1]))
