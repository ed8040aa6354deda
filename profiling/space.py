"""Search spaces, the choices in them, and architectures.

A search space fixes the macro-architecture: which layers there are, and for each searchable layer the nested kernels and
expansion ratios to choose from (paper, section 3.1). An architecture is one choice per searchable layer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from profiling.errors import InputError
from profiling.layers import LayerSpec
from profiling.network import NetworkSpec
from profiling.places import FIXED, SKIP, Choice, Slot, Step
from profiling.slots import build_slots
from profiling.space_limits import require_convertible, require_few
from profiling.specfile import FieldError, SpecModel, parse_spec, read_spec, since
from profiling.stages import FROM_LIST, HeadSettings, Kernel, Positive, Stage, StemSettings, scaled_channels

Spec = TypeVar("Spec", bound=SpecModel)
Folder = Literal["spaces", "architectures"]


class SearchSpace(SpecModel):
    """The macro-architecture and the choices within it.

    Attributes:
        name: a word for people; two spaces are the same when their `digest` is.
        resolution: height and width of the images in pixels. A file may give a list of rising ones to choose from, such as
            `[160, 192, 224]`: then the largest stands here, and the others in `smaller_resolutions`.
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
    smaller_resolutions: Annotated[tuple[Positive, ...], FROM_LIST] = since(())
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

    @model_validator(mode="before")
    @classmethod
    def _split_resolutions(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(listed := values.get("resolution"), list | tuple):
            return values
        if (
            "smaller_resolutions" in values
            or not all(type(each) is int for each in listed)
            or list(listed) != sorted(set(listed))
        ):
            problem = f"resolutions to choose from must be whole numbers that rise, such as [160, 192, 224], not {list(listed)}"
            raise FieldError(("resolution",), problem)
        if not listed:
            raise FieldError(("resolution",), "give one resolution at least")
        return values | {"resolution": listed[-1]} | ({"smaller_resolutions": list(listed[:-1])} if len(listed) > 1 else {})

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
        searchable = [stage for stage in self.stages if not stage.is_fixed]
        pairs = [len(stage.widths) * len(before.widths) for before, stage in pairwise((searchable[0], *searchable))]
        layers = sum(stage.depths[-1] for stage in self.stages)
        decided = len(self.resolutions) * sum(stage.depths[-1] for stage in searchable)
        require_few(layers, decided, len(self.choices) * max(pairs))
        for stage in self.stages:
            self._require_distinct(stage)
        require_convertible([slot.largest for slot in self.slots])
        return self

    def _require_distinct(self, stage: Stage) -> None:
        scaled = [self.scaled(channels) for channels in stage.widths]
        if len(set(scaled)) < len(scaled):
            raise ValueError(
                f"the channels {list(stage.widths)} of a stage become {scaled}, as multiples of {self.channel_divisor}, at width"
                f" {self.width_multiplier:g}: give numbers that stay different, or a smaller channel_divisor"
            )

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Every choice of the space, smallest first. This is the one table that naming, encoding, decoding and display use."""
        built = tuple(Choice(kernel, expansion) for expansion in self.expansions for kernel in self.kernels)
        return (SKIP, *built) if self.skip or any(len(stage.depths) > 1 for stage in self.stages) else built

    @cached_property
    def choices_by_name(self) -> Mapping[str, Choice]:
        """The same table by name."""
        return {choice.name: choice for choice in self.choices}

    def way(self, choices: Sequence[str]) -> Iterator[tuple[Slot, str]]:
        """The way of a network through all places: each with the name of the step through it.

        Args:
            choices: by name, one for each searchable place.

        Raises:
            FieldError: a layer does not have its choice, or not after those before it.
        """
        left, state = iter(choices), self.slots[0].before[0]
        for slot in self.slots:
            choice = next(left) if slot.is_searchable else FIXED
            name = slot.after(state).get(choice)
            if name is None:
                allowed = f"allowed: {', '.join(slot.after(state))}"
                known = choice in slot.choices
                problem = "cannot stand behind the layers before it" if known else "is not a choice of this layer"
                raise FieldError((self.searchable.index(slot),), f"{choice!r} {problem}; {allowed}")
            yield slot, name
            state = slot.steps[name].after

    def completed(self, choices: Sequence[str]) -> tuple[str, ...]:
        """The choices, where each that cannot stand after those before it is the smallest that can: behind the end of its stage
        this is `skip`."""
        state, names = self.slots[0].before[0], list[str]()
        for slot in self.slots:
            there, wanted = slot.after(state), choices[len(names)] if slot.is_searchable else FIXED
            choice = wanted if wanted in there else next(iter(there))
            state = slot.steps[there[choice]].after
            names += [choice] if slot.is_searchable else []
        return tuple(names)

    def scaled(self, channels: int) -> int:
        """A number of channels under the width multiplier."""
        return scaled_channels(channels, self.width_multiplier, self.channel_divisor)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All places for layers, from the stem to the head."""
        return build_slots(self)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The resolutions to choose from, in pixels."""
        return (*self.smaller_resolutions, self.resolution)

    def sizes(self, resolution: int) -> tuple[int, ...]:
        """The height and width in pixels of what comes into each place, at this resolution of the network."""
        sizes = [resolution]
        for slot in self.slots[:-1]:
            strides = {layer.resolution: layer.out_resolution for layer in slot.layers.values()}
            sizes.append(strides[sizes[-1]])
        return tuple(sizes)

    @cached_property
    def searchable(self) -> tuple[Slot, ...]:
        """The places where there is something to choose, in order."""
        return tuple(slot for slot in self.slots if slot.is_searchable)

    @cached_property
    def decided(self) -> tuple[Slot, ...]:
        """Those of them where a supernet decides: all but the stem, whose resolution is not learned but tried."""
        return tuple(slot for slot in self.slots if slot.is_decided)

    @cached_property
    def varying(self) -> tuple[Slot, ...]:
        """The places where networks differ: the searchable ones, and those that what was chosen before them decides."""
        return tuple(slot for slot in self.slots if slot.varies)

    @property
    def most_widths(self) -> int:
        """How many numbers of channels a stage has to choose from, at most."""
        return max(len(stage.widths) for stage in self.stages)

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
        alone: dict[str, Any] = {} if resolution is None else {"smaller_resolutions": ()}
        try:
            return self.model_validate(self.model_dump() | changed | alone)
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
        names = [slot.choices[-1] for slot in self.searchable if not slot.is_decided]
        for slot in self.decided:
            widest = f"{choice}-{slot.widths[-1]}" if slot.widths else choice
            if widest not in slot.choices:
                shapes = dict.fromkeys(each.shape.name for each in slot.choices_by_name.values())
                raise InputError(
                    f"the layer at place {slot.position} of {self.name} cannot be {choice!r}; allowed: {', '.join(shapes)}"
                )
            names.append(widest)
        return Architecture(space=self, choices=tuple(names))


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
        for _ in space.way(choices):
            pass
        return choices

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Its way through all places of the space."""
        return tuple(slot.steps[name] for slot, name in self.space.way(self.choices))

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The same by name, of the varying places only: what costs and scores are kept by."""
        return tuple(name for slot, name in self.space.way(self.choices) if slot.varies)

    @property
    def decided(self) -> list[Step]:
        """Its steps through the places where a supernet decides."""
        return [step for slot, step in zip(self.space.slots, self.steps, strict=True) if slot.is_decided]

    @property
    def resolution(self) -> int:
        """Of its input, in pixels."""
        return self.network.input_shape[1]

    def placed_layers(self) -> Iterator[tuple[Slot, LayerSpec | None]]:
        """Each place of the space with its layer, None where it is skipped."""
        return ((slot, step.layer) for slot, step in zip(self.space.slots, self.steps, strict=True))

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
        # At a given resolution there is none to choose.
        return type(self)(space=space, choices=self.choices[len(self.choices) - len(space.searchable) :])

    def to_json(self) -> str:
        """The text of an architecture file."""
        shipped = self.space.name in built_in_names("spaces") and load_space(self.space.name) == self.space
        space = self.space.name if shipped else self.space.model_dump(mode="json")
        return json.dumps({"space": space, "choices": self.choices}, indent=2) + "\n"


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
