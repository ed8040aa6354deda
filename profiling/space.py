"""Search spaces, the choices in them, and architectures.

A search space fixes the macro-architecture: which layers there are, and for each searchable layer the nested kernels and
expansion ratios to choose from (paper, section 3.1). An architecture is one choice per searchable layer.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from profiling.errors import InputError
from profiling.layers import Bottleneck, FBNetBlock, Head, LayerSpec, MBConv, Stem
from profiling.network import NetworkSpec
from profiling.space_limits import require_convertible, require_few
from profiling.specfile import FieldError, SpecModel, parse_spec, read_spec
from profiling.stages import FROM_LIST, HeadSettings, Kernel, Positive, Stage, StemSettings, scaled_channels

Spec = TypeVar("Spec", bound=SpecModel)
Folder = Literal["spaces", "architectures"]


@dataclass(frozen=True)
class Choice:
    """What a searchable layer may become: an MBConv with this kernel and expansion ratio, or nothing (`SKIP`)."""

    kernel: int
    expansion: int

    @property
    def name(self) -> str:
        """`skip`, or kernel and ratio, e.g. `5x5-6`. Names are read back through `SearchSpace.choices`, never parsed."""
        return "skip" if self == SKIP else f"{self.kernel}x{self.kernel}-{self.expansion}"

    def layer(self, largest: MBConv) -> Bottleneck:
        """What it makes of a place whose largest layer is this one; not for `SKIP`.

        At ratio 1 there is an expanding convolution too, as in FBNet: it is the first part of that of larger ratios.
        """
        if self.expansion > 1:
            return replace(largest, kernel=self.kernel, expansion=self.expansion)
        values = {field.name: getattr(largest, field.name) for field in fields(largest)}
        return FBNetBlock(**values | {"kernel": self.kernel, "expansion": 1, "depthwise": 1})


SKIP = Choice(0, 0)


@dataclass(frozen=True)
class Slot:
    """One place for a layer in the network of a space.

    Attributes:
        position: index among all places, the stem being 0; it stays the same when layers are skipped.
        choices: by name, what the layer may become, in the order of `SearchSpace.choices`; empty for a fixed layer.
        layers: the layer for each choice but `skip`; under the name `fixed` for a fixed layer.
    """

    position: int
    choices: tuple[str, ...]
    layers: Mapping[str, LayerSpec]

    @property
    def is_searchable(self) -> bool:
        """Whether there is something to choose."""
        return bool(self.choices)


class SearchSpace(SpecModel):
    """The macro-architecture and the choices within it.

    Attributes:
        name: a word for people; two spaces are the same when their `digest` is.
        resolution: height and width of the images in pixels.
        image_channels: 3 for colour, 1 for grey images.
        classes: outputs of the classifier.
        kernels: depthwise kernel sizes, odd and increasing; each is the inner core of the next.
        expansions: expansion ratios, increasing; the channels of each are the first channels of the next. See `Choice.layer`
            for ratio 1.
        skip: whether a layer with a residual connection may be dropped.
        width_multiplier: scales all channels but the head's below 1, rounded to a multiple of `channel_divisor`
            and never by more than 10 % down, as MobileNetV2 does.
        data: the images that a file was written for, as `spnas init` was given them: for the commands that are suggested next.
            Only a file has it; the space is the same with other images.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    resolution: Positive
    image_channels: Literal[1, 3] = 3
    classes: Annotated[int, Field(ge=2, le=10**6)]
    kernels: Annotated[tuple[Kernel, ...], FROM_LIST]
    expansions: Annotated[tuple[Positive, ...], FROM_LIST]
    skip: bool = True
    width_multiplier: Annotated[float, Field(gt=0, le=16)] = 1.0
    channel_divisor: Positive = 8
    stem: StemSettings
    stages: Annotated[tuple[Stage, ...], Field(min_length=1), FROM_LIST]
    head: HeadSettings
    data: Annotated[str | None, Field(exclude=True)] = None

    @field_validator("kernels")
    @classmethod
    def _nested_kernels(cls, kernels: tuple[int, ...]) -> tuple[int, ...]:
        # At stride 2 TensorFlow's padding puts a 1×1 kernel in a corner of a 3×3 one, so that it is not nested in it.
        if not kernels or any(kernel % 2 == 0 or kernel < 3 for kernel in kernels) or list(kernels) != sorted(set(kernels)):
            raise ValueError(f"kernels must be odd and increasing, at least 3, such as [3, 5, 7], not {list(kernels)}")
        return kernels

    @field_validator("expansions")
    @classmethod
    def _nested_expansions(cls, expansions: tuple[int, ...]) -> tuple[int, ...]:
        if not expansions or list(expansions) != sorted(set(expansions)):
            raise ValueError(f"expansion ratios must be increasing, such as [3, 6], not {list(expansions)}")
        return expansions

    @model_validator(mode="after")
    def _has_something_to_search(self) -> Self:
        if all(stage.is_fixed for stage in self.stages):
            raise ValueError("every stage is fixed, so there is nothing to search")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        searchable = sum(stage.layers for stage in self.stages if not stage.is_fixed)
        require_few(sum(stage.layers for stage in self.stages), searchable, len(self.choices))
        require_convertible([list(slot.layers.values())[-1] for slot in self.slots])
        return self

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Every choice of the space, smallest first. This is the one table that naming, encoding, decoding and display use."""
        built = tuple(Choice(kernel, expansion) for expansion in self.expansions for kernel in self.kernels)
        return (SKIP, *built) if self.skip else built

    @cached_property
    def choices_by_name(self) -> Mapping[str, Choice]:
        """The same table by name."""
        return {choice.name: choice for choice in self.choices}

    def scaled(self, channels: int) -> int:
        """A number of channels under the width multiplier."""
        return scaled_channels(channels, self.width_multiplier, self.channel_divisor)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All places for layers, from the stem to the head."""
        stem = Stem(
            self.resolution, self.image_channels, self.scaled(self.stem.channels), self.stem.stride, self.stem.kernel,
            activation=self.stem.activation,
        )  # fmt: skip
        slots = [Slot(0, (), {"fixed": stem})]
        resolution, in_channels = stem.out_resolution, stem.out_channels
        for stage in self.stages:
            out_channels = self.scaled(stage.channels)
            for index in range(stage.layers):
                stride = stage.stride if index == 0 else 1
                largest = MBConv(
                    resolution, in_channels, out_channels, stride, self.kernels[-1], self.expansions[-1],
                    residual=stride == 1 and in_channels == out_channels, activation=stage.activation,
                )  # fmt: skip
                slots.append(self._slot(len(slots), stage, largest))
                resolution, in_channels = largest.out_resolution, out_channels
        head_channels = self.scaled(self.head.channels) if self.width_multiplier > 1 else self.head.channels
        head = Head(resolution, in_channels, head_channels, self.classes, activation=self.head.activation)
        slots.append(Slot(len(slots), (), {"fixed": head}))
        return tuple(slots)

    def _slot(self, position: int, stage: Stage, largest: MBConv) -> Slot:
        if stage.kernel is not None and stage.expansion is not None:
            fixed = stage.excited(replace(largest, kernel=stage.kernel, expansion=stage.expansion))
            return Slot(position, (), {"fixed": fixed})
        choices = [choice for choice in self.choices if choice != SKIP or largest.residual]
        layers = {choice.name: stage.excited(choice.layer(largest)) for choice in choices if choice != SKIP}
        return Slot(position, tuple(choice.name for choice in choices), layers)

    @cached_property
    def searchable(self) -> tuple[Slot, ...]:
        """The places where there is something to choose, in order."""
        return tuple(slot for slot in self.slots if slot.is_searchable)

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every distinct layer that a network of the space may have, in the order of the places: what has to be measured."""
        return tuple(dict.fromkeys(layer for slot in self.slots for layer in slot.layers.values()))

    @cached_property
    def digest(self) -> str:
        """A hash of everything but the name."""
        return hashlib.sha256(self.model_dump_json(exclude={"name"}).encode()).hexdigest()[:16]

    def with_parameters(
        self,
        *,
        resolution: int | None = None,
        width_multiplier: float | None = None,
        classes: int | None = None,
        image_channels: int | None = None,
    ) -> Self:
        """The same space at another input resolution (pixels), width multiplier or number of classes, or for other images.

        None leaves a value as it is; `image_channels` is 3 for colour, 1 for grey images.

        Raises:
            InputError: a value is out of range.
        """
        wanted = {
            "resolution": resolution,
            "width_multiplier": width_multiplier,
            "classes": classes,
            "image_channels": image_channels,
        }
        changed = {name: value for name, value in wanted.items() if value is not None}
        try:
            return self.model_validate(self.model_dump() | changed)
        except ValidationError as error:
            given = ", ".join(f"{name} {value}" for name, value in changed.items())
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"{given} is out of range for the space {self.name}: {reason[0].lower()}{reason[1:]}") from error

    @property
    def largest(self) -> Architecture:
        """The architecture with the largest choice of every layer: all others are part of it."""
        return Architecture(space=self, choices=tuple(slot.choices[-1] for slot in self.searchable))

    def uniform(self, choice: str) -> Architecture:
        """The architecture with the same choice in every layer.

        Raises:
            InputError: a layer does not have this choice.
        """
        for slot in self.searchable:
            if choice not in slot.choices:
                raise InputError(
                    f"the layer at place {slot.position} of {self.name} cannot be {choice!r}; allowed: {', '.join(slot.choices)}"
                )
        return Architecture(space=self, choices=(choice,) * len(self.searchable))


class Architecture(SpecModel):
    """One choice per searchable layer of a space.

    As a file: `{"space": NAME or the space itself, "choices": ["3x3-3", "skip", …]}`; a space that ships with spnas
    stands there by name, any other in full, so that the file can be used anywhere.
    """

    space: SearchSpace
    choices: tuple[str, ...]

    @field_validator("space", mode="before")
    @classmethod
    def _space_by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in built_in_names("spaces"):
                raise ValueError(f"unknown space {value!r}; spaces: {', '.join(built_in_names('spaces'))}")
            return load_space(value)
        return value

    @field_validator("choices")
    @classmethod
    def _choices_of_the_space(cls, choices: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "space" not in info.data:
            return choices
        space: SearchSpace = info.data["space"]
        if len(choices) != len(space.searchable):
            raise ValueError(
                f"{len(choices)} choices given, but the space {space.name} has {len(space.searchable)} searchable layers"
            )
        for index, (choice, slot) in enumerate(zip(choices, space.searchable, strict=True)):
            if choice not in slot.choices:
                raise FieldError((index,), f"{choice!r} is not a choice of this layer; allowed: {', '.join(slot.choices)}")
        return choices

    @property
    def chosen(self) -> list[Choice]:
        """The choices themselves, which `choices` has by name."""
        return [self.space.choices_by_name[name] for name in self.choices]

    def placed_layers(self) -> Iterator[tuple[Slot, LayerSpec | None]]:
        """Each place of the space with its layer, None where it is skipped."""
        choices = iter(self.choices)
        for slot in self.space.slots:
            yield slot, slot.layers.get(next(choices) if slot.is_searchable else "fixed")

    @property
    def network(self) -> NetworkSpec:
        """The network with these choices."""
        return NetworkSpec(tuple(layer for _, layer in self.placed_layers() if layer is not None))

    def scaled(self, width: float = 1.0, *, resolution: int | None = None, classes: int | None = None) -> Self:
        """The same choices with `width` times the channels, at another resolution or with other classes unless None.

        Raises:
            InputError: a value is out of range.
        """
        width_multiplier = self.space.width_multiplier * width
        space = self.space.with_parameters(resolution=resolution, width_multiplier=width_multiplier, classes=classes)
        return type(self)(space=space, choices=self.choices)

    def to_json(self) -> str:
        """The text of an architecture file."""
        shipped = self.space.name in built_in_names("spaces") and load_space(self.space.name) == self.space
        space = self.space.name if shipped else self.space.model_dump(mode="json")
        return json.dumps({"space": space, "choices": self.choices}, indent=2) + "\n"


def random_architectures(space: SearchSpace, seed: int) -> Iterator[Architecture]:
    """Endless distinct architectures, the same ones for the same seed.

    Each is drawn layer by layer from proportions of the choices that are themselves drawn anew for every architecture. Drawing
    every layer uniformly instead would crowd nearly all networks around the mean latency and test a runtime model only there.
    """
    generator = random.Random(f"spnas-architectures-{seed}")
    seen: set[tuple[str, ...]] = set()
    names = [choice.name for choice in space.choices]
    misses = 0
    while misses < 1000:
        weights = {name: generator.expovariate(1.0) for name in names}
        choices = tuple(
            generator.choices(slot.choices, weights=[weights[name] for name in slot.choices])[0] for slot in space.searchable
        )
        if choices in seen:
            misses += 1
            continue
        misses = 0
        seen.add(choices)
        yield Architecture(space=space, choices=choices)


@cache
def built_in_names(folder: Folder) -> tuple[str, ...]:
    """Names of the spaces or architectures that ship with spnas."""
    return tuple(sorted(Path(entry.name).stem for entry in resources.files("profiling").joinpath(folder).iterdir()))


def load_space(name_or_file: str) -> SearchSpace:
    """A space that ships with spnas, by name, or one from a YAML file.

    Raises:
        InputError: neither, or the file does not hold a space.
    """
    return _load(name_or_file, SearchSpace, "spaces", ".yaml")


def load_architecture(name_or_file: str) -> Architecture:
    """An architecture that ships with spnas, by name, or one from a JSON file.

    Raises:
        InputError: neither, or the file does not hold an architecture.
    """
    return _load(name_or_file, Architecture, "architectures", ".json")


@cache
def _built_in(name: str, model: type[SpecModel], folder: Folder, ending: str) -> SpecModel:
    file = resources.files("profiling").joinpath(folder, name + ending)
    return parse_spec(file.read_text(encoding="utf-8"), model, where=file.name, is_json=ending == ".json")


def _load(name_or_file: str, model: type[Spec], folder: Folder, ending: str) -> Spec:
    if name_or_file in built_in_names(folder):
        return cast("Spec", _built_in(name_or_file, model, folder, ending))
    if os.path.lexists(name_or_file):
        return read_spec(Path(name_or_file), model)
    names = ", ".join(built_in_names(folder))
    raise InputError(f"no such file, and no {folder[:-1]} of that name ships with spnas ({names})", where=name_or_file)
