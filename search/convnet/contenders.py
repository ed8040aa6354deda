"""What a network is beside others: found by a search, random, uniform, or none of these; and how it was trained."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from latency_db.comparison import Contender
from latency_db.uniform import uniform_name
from profiling.space import Architecture, load_architecture
from profiling.specfile import SpecModel
from search.config import Settings
from search.run_folder import RunFolder

Role = Literal["found", "random", "uniform"]

# How `spnas random` names its files.
BY_NAME: dict[str, Role] = {"random-[0-9]*.json": "random", "uniform-*.json": "uniform"}
# Where a network or its run may differ and its training still be like that of others.
ITS_OWN = {"network", "seed", "init", "workers", "checkpoint_seconds", "track"}


class _Result(SpecModel):
    """The result of a training, of which one figure matters here."""

    model_config = ConfigDict(extra="allow")

    held_out_images: Annotated[int, Field(ge=1)] | None = None


def role_of(name: str, architecture: Architecture | None = None) -> Role | None:
    """The role of a network, by its file or the folder of its run, as the user named it.

    Args:
        name: a training passes on the role of the network that it was started with, as long as its folder is there.
        architecture: of it, where that is known; else it is read from the file, if that is there.

    Raises:
        InputError: a file that says it is damaged.
    """
    path, passed = Path(name), set[Path]()
    while path not in passed and _is_network_of(run := _run(path), path) and run.kind == "training":
        passed.add(path)
        settings = run.read_config(Settings)
        path = path if settings is None or settings.network is None else Path(settings.network)
    by_name = next((role for pattern, role in BY_NAME.items() if fnmatch(path.name, pattern)), None)
    if by_name is not None:
        return by_name
    if path.name == run.architecture.name or (run.kind == "search" and _is_network_of(run, path)):
        return "found"
    if architecture is None and path.suffix == ".json" and path.is_file():
        architecture = load_architecture(str(path))
    return "uniform" if architecture is not None and uniform_name(architecture) else None


def _run(path: Path) -> RunFolder:
    return RunFolder(path if path.is_dir() else path.parent)


def _is_network_of(run: RunFolder, path: Path) -> bool:
    return path == run.path or path in (run.architecture, run.network)


def find_contender(network: Path) -> Contender:
    """What the file of a trained network is, with the training that left it, if it is still in the folder of that.

    Raises:
        InputError: a file of the training is damaged.
    """
    run = RunFolder(network.parent)
    if run.kind != "training" or network != run.network:
        return Contender(role_of(str(network)))
    config, images = run.read_config(Settings) or Settings(), run.read_result(_Result).held_out_images
    settings = config.model_dump(mode="json", exclude=ITS_OWN, exclude_unset=True)
    settings["init"] = "random" if config.init is None else "given"
    return Contender(role_of(str(network)), config.seed, images, settings)
