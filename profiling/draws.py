"""Random architectures of a search space, one by one; `latency_db.sampling` draws them by the thousand and by their latency."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from profiling.places import Choice
from profiling.space import Architecture, SearchSpace


def random_architectures(space: SearchSpace, seed: int) -> Iterator[Architecture]:
    """Endless distinct architectures, the same ones for the same seed.

    Each is drawn layer by layer from proportions of the choices that are themselves drawn anew for every architecture. Drawing
    every layer uniformly instead would crowd nearly all networks around the mean latency and test a runtime model only there.
    """
    generator = random.Random(f"spnas-architectures-{seed}")
    seen: set[tuple[str, ...]] = set()
    misses = 0
    while misses < 1000:
        weights = {choice: generator.expovariate(1.0) for choice in space.choices}
        wide = [generator.expovariate(1.0) for _ in range(space.most_widths)] if space.most_widths > 1 else []
        choices = _drawn(space, generator, weights, wide)
        if choices in seen:
            misses += 1
            continue
        misses = 0
        seen.add(choices)
        yield Architecture(space=space, choices=choices)


def _drawn(
    space: SearchSpace, generator: random.Random, weights: Mapping[Choice, float], wide: Sequence[float]
) -> tuple[str, ...]:
    """Choices by these weights: of kernel and ratio, and of the smallest, the second and so on of a stage's channels."""
    names: list[str] = []
    for slot in space.searchable:
        of_width = dict(zip(slot.widths or [0], wide if slot.widths else [1.0], strict=False))
        # All resolutions alike.
        odds = [weights.get(choice.shape, 1.0) * of_width[choice.channels] for choice in slot.choices_by_name.values()]
        names += generator.choices(slot.choices, weights=odds)
    return space.completed(names)
