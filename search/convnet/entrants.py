"""The arguments of `spnas compare` as entrants: names of the zoo, architectures, TFLite files and trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latency_db.comparison import Contender, Entrant
from profiling.errors import InputError
from profiling.models.foreign import read_tflite
from profiling.space import Architecture, SearchSpace
from search.convnet.contenders import find_contender, role_of
from search.convnet.named import MEASURABLE, Kind, find_architecture, find_trained, resolve
from search.convnet.zoo import (
    CLASSES,
    RESOLUTION,
    SINGLE_PATH,
    TABLE_1_TOP1,
    UNAVAILABLE,
    load_zoo_network,
    single_path,
    zoo_names,
)

PUBLISHED = "published: Single-Path NAS, Table 1"
GIVEN = "given"
TRAINED = "trained network"


@dataclass(frozen=True)
class Scaling:
    """How networks that can be built in several sizes are to be built.

    Attributes:
        widths: channels relative to the network as it is given, one entrant for each.
        resolution: of the images in pixels; None leaves it as it is, 224 for the zoo.
        classes: outputs of the classifier; None takes those of the trained networks and TFLite files beside them, or of the
            architectures beside the zoo, and otherwise leaves them as they are, 1000 for the zoo.
    """

    widths: Sequence[float] = (1.0,)
    resolution: int | None = None
    classes: int | None = None


def arguments_with_zoo(arguments: Sequence[str], *, whole: bool) -> list[str]:
    """The arguments, and behind them the whole zoo, or where there are none the networks of Table 1.

    Those of Table 1 that are unavailable come last, and their rows say so.
    """
    table_1 = (name for name in zoo_names() if name in TABLE_1_TOP1)
    more = (*zoo_names(), *UNAVAILABLE) if whole else () if arguments else (*table_1, *UNAVAILABLE)
    return [*arguments, *(name for name in more if name not in arguments)]


def read_entrants(
    arguments: Sequence[str],
    scaling: Scaling,
    *,
    top1: Mapping[str, float] | None = None,
    published: bool = False,
    space: SearchSpace | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Entrant]:
    """The entrants that these arguments name.

    Args:
        arguments: each a name of the zoo, an architecture, a TFLite model, a trained network or the folder of a run.
        scaling: of zoo and architectures; other files cannot be scaled.
        top1: accuracies by the name of the row, 0 to 1; they override those of a trained network's file.
        published: whether to take those of the paper's Table 1 for the zoo at its full size, where nothing better is known.
        space: the space whose choices name uniform networks; None accepts no uniform networks.
        say: called with what networks get that say nothing of it themselves, in words.

    Raises:
        InputError: an argument is none of these, a file cannot be used, or an accuracy is of no row.
    """
    kinds = {argument: resolve(argument, MEASURABLE, space) for argument in arguments}
    finished = {name: _finished(name, *kind) for name, kind in kinds.items() if kind[0] in ("trained", "tflite")}
    scalable = {
        name: None if kind == "zoo" else find_architecture(place, space)
        for name, (kind, place) in kinds.items()
        if name not in finished
    }
    if scaling.classes is None:
        scaling = _following(finished, scalable, scaling, say)
    entrants = [
        entrant
        for name in arguments
        for entrant in ([finished[name]] if name in finished else _scaled(name, scalable[name], scaling))
    ]
    if published:
        entrants = [_with_published(entrant) for entrant in entrants]
    given = dict(top1 or {})
    names = [entrant.name for entrant in entrants]
    for name in given:
        if name not in names:
            raise InputError(
                "--top1 names a network that is not in this comparison", where=name, hint=f"rows: {', '.join(names)}"
            )
    return [
        replace(entrant, top1=given[entrant.name], top1_from=GIVEN) if entrant.name in given else entrant for entrant in entrants
    ]


def _finished(argument: str, kind: Kind, place: str) -> Entrant:
    """What is compared as it is: a TFLite file or a trained network."""
    if kind == "tflite":
        return Entrant(argument, read_tflite(Path(place)), family=argument)
    # PyTorch takes seconds to load, and a comparison without a trained network needs none of it.
    from search.convnet.saved import deployed_spec

    saved = find_trained(place)
    source = None if saved.top1 is None else TRAINED
    contender = find_contender(Path(place))
    return Entrant(argument, deployed_spec(saved), family=argument, top1=saved.top1, top1_from=source, contender=contender)


def _following(
    finished: Mapping[str, Entrant],
    scalable: Mapping[str, Architecture | None],
    scaling: Scaling,
    say: Callable[[str], None] | None,
) -> Scaling:
    """The scaling with the classes of the networks that come with them, where these agree; the zoo never does."""
    own = {name: entrant.model.classes for name, entrant in finished.items() if entrant.model is not None}
    own = own or {name: given.space.classes for name, given in scalable.items() if given is not None}
    if len(set(own.values())) != 1:
        return scaling
    [name, classes] = next(iter(own.items()))
    if say is not None and any(classes != (CLASSES if given is None else given.space.classes) for given in scalable.values()):
        say(f"All networks get {classes} classes, as {name} has them.")
    return replace(scaling, classes=classes)


def _scaled(argument: str, given: Architecture | None, scaling: Scaling) -> Iterator[Entrant]:
    """An architecture in each width, or a network of the zoo where none is given."""
    if argument in UNAVAILABLE:
        yield Entrant(argument, None, family=argument, note=UNAVAILABLE[argument])
        return
    for width in scaling.widths:
        name = argument if width == 1 else f"{argument}@{width:g}"
        if given is None:
            values = {"resolution": scaling.resolution or RESOLUTION, "classes": scaling.classes or CLASSES}
            network = load_zoo_network(argument, width_multiplier=width, **values)
            architecture = single_path(width_multiplier=width, **values) if argument == SINGLE_PATH else None
        else:
            architecture = given.scaled(width, resolution=scaling.resolution, classes=scaling.classes)
            network = architecture.network
        role = None if given is None else role_of(argument, given)
        yield Entrant(name, network, architecture, family=argument, width=width, contender=Contender(role))


def _with_published(entrant: Entrant) -> Entrant:
    full_size = entrant.model is None or (entrant.family in zoo_names() and entrant.model == load_zoo_network(entrant.family))
    if entrant.top1 is None and full_size and entrant.family in TABLE_1_TOP1:
        return replace(entrant, top1=TABLE_1_TOP1[entrant.family], top1_from=PUBLISHED)
    return entrant
