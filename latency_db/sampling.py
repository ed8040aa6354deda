"""Random networks of a given latency: the paper's baseline, and the start of an exploration."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
import numpy.typing as npt

from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from profiling.places import FIXED, Slot
from profiling.space import Architecture, SearchSpace

BATCH = 8192
MOST_DRAWS = 200 * BATCH
MOST_FOR_RANGE = 16 * BATCH
BANDS = 24  # that the range of a space is cut into to draw evenly from it
BAND = 0.01  # networks of one latency differ by at most this share of it


def just_below(target_ms: float) -> tuple[float, float]:
    """The bounds of the latencies that count as a target's, in ms: within 1 % below it."""
    return (1 - BAND) * target_ms, target_ms


def networks_between(model: RuntimeModel, at_least_ms: float, at_most_ms: float, seed: int) -> Iterator[Architecture]:
    """Distinct random architectures whose predicted latency lies between two bounds, the same ones for the same seed.

    They are drawn by rejection: architectures are distributed as by `profiling.draws.random_architectures`, from proportions of
    the choices that are drawn anew for each, and those outside the bounds are thrown away. So what is left differs in what it is
    made of as much as the latency allows, instead of crowding around one mixture of choices that happens to have it.

    The iterator never ends; where the bounds contain no more networks, it raises instead of searching forever.

    Args:
        model: predicts latencies; its space is drawn from, within its limits.
        at_least_ms, at_most_ms: both bounds are included.
        seed: of the draws.

    Raises:
        InputError: the bounds are in the wrong order, no network reaches them or a limit (at the call), or MOST_DRAWS draws
            in a row gave no new network (at any step).
    """
    fastest, slowest = model.range_ms()
    if not at_least_ms <= at_most_ms:
        raise InputError(f"the range from {at_least_ms:g} to {at_most_ms:g} ms is empty: give the lower bound first")
    if at_most_ms < fastest or at_least_ms > slowest:
        raise InputError(
            f"no network takes {at_least_ms:g} to {at_most_ms:g} ms: "
            f"those of {model.space.name} take {fastest:.4g} to {slowest:.4g} ms"
            f" according to table {model.table.name}"
        )
    model.limited.require_reachable()
    return _rejection(model, at_least_ms, at_most_ms, seed)


def networks_near(model: RuntimeModel, target_ms: float, within: float, count: int, seed: int) -> list[Architecture]:
    """So many distinct random architectures near a latency, or as many as there are.

    Args:
        model: predicts latencies; its space is drawn from.
        target_ms: in ms.
        within: how far from it they are at most, as a share of it.
        count: how many at most.
        seed: of the draws.
    """
    drawn: list[Architecture] = []
    with suppress(InputError):  # there are no more; `extend` keeps those that came before
        drawn.extend(islice(networks_between(model, target_ms * (1 - within), target_ms * (1 + within), seed), count))
    return drawn


def networks_over_range(model: RuntimeModel, count: int, seed: int) -> list[Architecture]:
    """Distinct random architectures whose latencies are spread evenly over the range of the space, by their logarithm.

    Drawn without regard to latency, most would crowd in the middle. Where the range has hardly any network, at its ends, there
    are fewer; the fastest and the slowest are always among them.

    Args:
        model: predicts latencies; its space is drawn from.
        count: how many at most, besides these two.
        seed: of the draws.
    """
    fastest, slowest = model.range_ms()
    edges = np.geomspace(fastest, slowest, BANDS + 1)[1:-1]
    of_each = -(-count // BANDS)
    found: list[dict[bytes, Architecture]] = [{} for _ in range(BANDS)]
    for drawn, predicted, _ in islice(_draws(model, f"spnas-networks-over-range-{seed}"), MOST_FOR_RANGE // BATCH):
        for row, band in zip(drawn, np.searchsorted(edges, predicted), strict=True):
            if len(found[band]) < of_each and (key := row.tobytes()) not in found[band]:
                found[band][key] = _architecture(model.space, row)
        if all(len(those) == of_each for those in found):
            break
    return [*model.extremes(), *(each for those in found for each in those.values())]


def _draws(
    model: RuntimeModel, seed: str
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.bool_]]]:
    """Random architectures by the thousand, without end.

    Returns:
        They themselves, as by `random_choices`; (networks,) their latencies in ms, and whether their files keep to the limit.
    """
    generator = np.random.default_rng(random.Random(seed).getrandbits(64))
    costs, sizes = (
        [np.array(list(layer.values()), np.float64) for layer in layers] for layers in (model.costs, model.limited.layer_bytes)
    )
    varying = [slot.varies for slot in model.space.slots]
    while True:
        drawn, ways = random_choices(model.space, BATCH, generator)
        steps = [steps for steps, varies in zip(ways, varying, strict=True) if varies]
        sums, in_file = (
            np.sum([those[taken] for those, taken in zip(each, steps, strict=True)], axis=0) for each in (costs, sizes)
        )
        predicted = model.calibration.scale * (model.fixed_ms + sums) + model.calibration.offset_ms
        yield drawn, predicted, in_file <= model.limited.bytes_left


def _architecture(space: SearchSpace, row: npt.NDArray[np.uint8]) -> Architecture:
    choices = (slot.choices[index] for slot, index in zip(space.searchable, row.tolist(), strict=True))
    return Architecture(space=space, choices=tuple(choices))


def _rejection(model: RuntimeModel, at_least_ms: float, at_most_ms: float, seed: int) -> Iterator[Architecture]:
    # The sums here and those of a prediction differ in their last digits, so that the edges are left to the prediction.
    slack = 1e-9 * at_most_ms
    seen: set[bytes] = set()
    in_vain = found = 0
    for drawn, predicted, in_file in _draws(model, f"spnas-networks-between-{seed}"):
        if in_vain >= MOST_DRAWS:
            break
        in_vain += BATCH
        for row in drawn[in_file & (predicted >= at_least_ms - slack) & (predicted <= at_most_ms + slack)]:
            key = row.tobytes()
            if key in seen:
                continue
            seen.add(key)
            architecture = _architecture(model.space, row)
            if at_least_ms <= model.predict(architecture).total_ms <= at_most_ms and model.limited.fits(architecture):
                in_vain, found = 0, found + 1
                yield architecture
    limits = f" with at most {words}" if (words := model.limited.limits.words) else ""
    networks = f"no more than {found} networks" if found else "no network"
    raise InputError(
        f"{MOST_DRAWS:,} random draws gave {networks} between {at_least_ms:g} and {at_most_ms:g} ms{limits}",
        hint="widen the range, or ask for fewer networks",
    )


def random_choices(
    space: SearchSpace, networks: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.intp]]]:
    """Random architectures by the thousand, distributed as by `profiling.draws.random_architectures`, maybe with repetitions.

    Returns:
        (networks, searchable layers) of indices into `Slot.choices`; and for each place (networks,), their steps through it.
    """
    weights = generator.standard_exponential((networks, len(space.choices)))
    wide = generator.standard_exponential((networks, space.most_widths)) if space.most_widths > 1 else np.ones((networks, 1))
    shares = 1 - generator.random((networks, len(space.searchable)))
    drawn = np.empty((networks, len(space.searchable)), np.uint8)
    states, ways, layer = np.zeros(networks, np.intp), [], 0
    for slot, following in zip(space.slots, (*space.slots[1:], None), strict=True):
        wanted = np.zeros(networks, np.intp)
        if slot.is_searchable:
            odds = np.ones((networks, len(slot.choices)))  # all resolutions alike
            if slot.is_decided:
                shapes, widths = _places_of(space, slot)
                odds = weights[:, shapes] * wide[:, widths]
            bounds = np.cumsum(odds, axis=1)
            # A point in (0, total] has passed every bound below it.
            wanted = np.sum(shares[:, layer : layer + 1] * bounds[:, -1:] > bounds, axis=1)
        step_of, choice_of, state_after = _transitions(slot, following)
        ways.append(step_of[states, wanted])
        states = state_after[ways[-1]]
        if slot.is_searchable:
            drawn[:, layer] = choice_of[ways[-1]]
            layer += 1
    return drawn, ways


def _places_of(space: SearchSpace, slot: Slot) -> tuple[list[int], list[int]]:
    """For each choice of a place the index of its kernel and ratio in the space, and of its channels in the place."""
    each = slot.choices_by_name.values()
    widths = [slot.widths.index(choice.channels) if slot.widths else 0 for choice in each]
    return [space.choices.index(choice.shape) for choice in each], widths


def _transitions(slot: Slot, following: Slot | None) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The steps of a place as indices, as `SearchSpace.completed` takes them.

    Returns:
        (states before, choices): the step; (steps,): its choice; (steps,): the state before the next place.
    """
    names, choices = list(slot.steps), list(slot.choices) or [FIXED]
    step_of = [
        [names.index(there.get(choice) or next(iter(there.values()))) for choice in choices]
        for there in map(slot.after, slot.before)
    ]
    choice_of = [choices.index(step.choice_name) for step in slot.steps.values()]
    state_after = [following.before.index(step.after) if following else 0 for step in slot.steps.values()]
    return np.array(step_of), np.array(choice_of), np.array(state_after)
