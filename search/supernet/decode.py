"""From indicators to an architecture, and to the best one within a latency budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice

import numpy as np
import torch

from latency_db.limits import Choices
from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from profiling.places import FIXED, SKIP, Choice, Slot, Step
from profiling.space import Architecture, SearchSpace
from search.supernet import superkernel
from search.supernet.decisions import Decisions, last_of, links
from search.supernet.knapsack import Costs, fill_knapsack
from search.supernet.supernet import Supernet

TOLERANCE = 0.01
ROUNDING = 1e-9
SMALLEST = 1e-30


def hard_architecture(space: SearchSpace, decisions: Decisions, resolution: int | None = None) -> Architecture:
    """The architecture of hard decisions, at a resolution or the largest; `decisions.encode` is the inverse."""
    counts = (decisions.use_kernel.sum(1), decisions.use_expansion.sum(1), decisions.use_layer)
    wide = iter(decisions.use_width.sum(1).round().int().tolist()[1:])
    names = [Choice(0, 0, resolution=resolution or space.resolution).name] if space.smaller_resolutions else []
    # One transfer from the device for all of them.
    each = torch.stack(counts, dim=1).round().int().tolist()
    for slot, (kernels, expansions, used) in zip(space.decided, each, strict=True):
        channels = slot.widths[next(wide) - 1] if slot.widths else 0
        names.append(Choice(space.kernels[kernels - 1], space.expansions[expansions - 1], channels).name if used else SKIP.name)
    return Architecture(space=space, choices=tuple(names))


@torch.no_grad()
def log_likelihoods(supernet: Supernet) -> tuple[Mapping[str, float], ...]:
    """For each varying place the log-likelihood of each step, its indicators taken as independent probabilities."""
    space, relaxed = supernet.space, supernet.decide(superkernel.probability)
    # Nested probabilities fall from subset to subset; a choice ends with the one that is in use while the next is not.
    kernels, ratios, widths = (last_of(p).tolist() for p in (relaxed.use_kernel, relaxed.use_expansion, relaxed.use_width))
    of_layers = iter(zip(kernels, ratios, supernet.use_layers(superkernel.probability).tolist(), strict=True))
    terms = []
    for slot, link in zip(space.varying, links(space), strict=True):
        likely = Likely(space, slot, *next(of_layers), widths[link.decides]) if slot.is_decided else None
        terms.append({name: 0.0 if likely is None else likely.log_of(step) for name, step in slot.steps.items()})
    return tuple(terms)


@dataclass(frozen=True)
class Likely:
    """How likely each kernel, each ratio and each number of channels of one place is the largest in use; and the layer at all."""

    space: SearchSpace
    slot: Slot
    kernels: Sequence[float]
    ratios: Sequence[float]
    use_layer: float
    widths: Sequence[float]

    def log_of(self, step: Step) -> float:
        """The log-likelihood of a step; behind the end of its stage there is but one."""
        choice = step.choice or SKIP
        if step.before.ended:
            return 0.0
        if choice == SKIP:
            return math.log(max(1 - self.use_layer, SMALLEST))
        kernel = self.kernels[self.space.kernels.index(choice.kernel)]
        ratio = self.ratios[self.space.expansions.index(choice.expansion)]
        width = self.widths[self.slot.widths.index(choice.channels)] if self.slot.widths else 1.0
        return math.log(max(self.use_layer * width * kernel * ratio, SMALLEST))


def within_budget(model: RuntimeModel, scores: Costs, target_ms: float) -> Iterator[Architecture]:
    """The architectures whose predicted latency lies within 1 % below the target, the highest total score first.

    Of those with the same latency, up to the grid, only the best comes. Where the space has no network in that band, the slowest
    one below the target comes alone, and without one of these, the fastest. All keep to the limits of the model.

    Args:
        model: gives the costs, with its calibration, and the limits.
        scores: for each varying place the score of each step, higher is better.
        target_ms: at least the latency of the fastest network.

    Raises:
        InputError: no network keeps to the limits.
    """
    band_ms = target_ms * (1 - TOLERANCE), target_ms * (1 + ROUNDING)
    none_yet = True
    for architecture in _fitting(model, partial(_ranked, model, scores, band_ms)):
        none_yet = False
        yield architecture
    if none_yet:
        slowest = _fitting(model, partial(_ranked, model, scores, (0.0, band_ms[1]), slowest_first=True))
        yield next(slowest, None) or fastest_within_limits(model)


def fastest_within_limits(model: RuntimeModel) -> Architecture:
    """The fastest architecture that keeps to the limits of the model.

    Raises:
        InputError: there is none.
    """
    fastest, slowest = model.extremes()
    if model.limited.fits(fastest):
        return fastest
    model.limited.require_reachable()
    quickness = [{name: -ms for name, ms in layer.items()} for layer in model.costs]
    any_ms = 0.0, model.predict(slowest).total_ms
    found = next(_fitting(model, partial(_ranked, model, quickness, any_ms)), None)
    if found is None:
        raise InputError(f"no network of {model.space.name} keeps to {model.limited.limits.words} at once")
    return found


def reachable_ms(model: RuntimeModel, target_ms: float) -> float:
    """The target, or the latency of the slowest network below it where the limits of the model leave none within 1 %.

    Raises:
        InputError: no network keeps to the limits.
    """
    if not model.limited.limits.words:  # spares the time
        return target_ms
    alike = [dict.fromkeys(layer, 0.0) for layer in model.costs]
    ms = model.predict(next(within_budget(model, alike, target_ms))).total_ms
    return target_ms if ms >= target_ms * (1 - TOLERANCE) else ms


Ranking = Callable[[Choices], Iterator[tuple[float, Architecture]]]
"""The architectures with these choices, each with what it is ranked by, the highest first."""


def _fitting(model: RuntimeModel, ranked: Ranking) -> Iterator[Architecture]:
    """In the order of their rank the architectures that need no more memory than the limit.

    Memory is not a sum over layers. Where a network needs too much, what is in conflict is taken out, which leaves a few parts of
    the space that have no network in common; the best of each part stands in the queue.
    """
    queue: list[tuple[float, int, Architecture, Iterator[tuple[float, Architecture]], Choices]] = []
    numbers = count()

    def enqueue(networks: Iterator[tuple[float, Architecture]], choices: Choices) -> None:
        for rank, architecture in islice(networks, 1):
            heappush(queue, (-rank, next(numbers), architecture, networks, choices))

    enqueue(ranked(model.limited.choices), model.limited.choices)
    while queue:
        _, _, architecture, networks, choices = heappop(queue)
        if model.limited.fits(architecture):
            yield architecture
            enqueue(networks, choices)
        else:
            for part in _without(choices, model.limited.conflict(architecture)):
                enqueue(ranked(part), part)


def _without(choices: Choices, box: Choices) -> Iterator[Choices]:
    """Parts that together hold every combination of these choices but those of the box, none twice."""
    for index, (names, conflicting) in enumerate(zip(choices, box, strict=True)):
        inside = tuple(tuple(set(those) & set(own)) for those, own in zip(choices, box, strict=True))
        outside = tuple(name for name in names if name not in conflicting)
        if outside:
            yield (*inside[:index], outside, *choices[index + 1 :])


def _ranked(
    model: RuntimeModel, scores: Costs, bounds_ms: tuple[float, float], choices: Choices, *, slowest_first: bool = False
) -> Iterator[tuple[float, Architecture]]:
    """Of each latency on the grid between two bounds the best network, each with its rank: its score, or else its latency."""
    limited, line, (least_ms, most_ms) = model.limited, model.calibration, bounds_ms
    if not all(choices):
        return
    slots, allowed = model.space.slots, iter(choices)
    ways = [_allowed(slot.steps, next(allowed) if slot.is_searchable else (FIXED,)) for slot in slots]

    def those(layers: Costs) -> list[Mapping[str, float]]:
        """Of all places: what all networks have costs nothing here."""
        varying = iter(layers)
        each = [next(varying) if slot.varies else dict.fromkeys(slot.steps, 0.0) for slot in slots]
        return [{name: layer[name] for name in steps} for layer, steps in zip(each, ways, strict=True)]

    sizes = those(limited.layer_bytes)
    count_bytes = sum(max(layer.values()) for layer in sizes) > limited.bytes_left
    least_sum_ms, most_sum_ms = ((ms - line.offset_ms) / line.scale - model.fixed_ms for ms in bounds_ms)
    knapsack = fill_knapsack(
        ways, those(model.costs), those(scores), most_sum_ms, sizes if count_bytes else None, limited.bytes_left
    )
    places, cells = (each[::-1] for each in np.nonzero(np.isfinite(knapsack.best)))
    if not slowest_first:
        in_band = places >= least_sum_ms / knapsack.step_ms - len(ways)
        places, cells = places[in_band], cells[in_band]
        order = np.argsort(-knapsack.best[places, cells], kind="stable")
        places, cells = places[order], cells[order]
    done = set()
    # At the edges of the band, and of the bytes, the sum before rounding may lie outside.
    for place, cell in zip(places.tolist(), cells.tolist(), strict=True):
        architecture = Architecture(space=model.space, choices=knapsack.choices(place, cell))
        ms = model.predict(architecture).total_ms
        if place not in done and least_ms <= ms <= most_ms and limited.fits_size(architecture):
            done.add(place)
            yield (ms if slowest_first else float(knapsack.best[place, cell])), architecture


def _allowed(steps: Mapping[str, Step], choices: Sequence[str]) -> Mapping[str, Step]:
    return {name: step for name, step in steps.items() if step.choice_name in choices}
