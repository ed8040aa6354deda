"""Networks from papers, in the vocabulary of this project: those of the paper's Table 1, and later ones.

Each stands in a file of `networks/`, with its source; the paper's own network is an architecture of its search space. Those of
Table 1 have ReLU6 after every convolution but the last of a bottleneck: where the authors have ReLU, that costs as much time.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from profiling.convolutions import Activation
from profiling.errors import InputError
from profiling.layers import (
    Bottleneck,
    FBNetBlock,
    FinalLayer,
    Head,
    LayerSpec,
    MBConv,
    MlpHead,
    PoolHead,
    Separable,
    Stem,
    UniversalBottleneck,
)
from profiling.network import NetworkSpec
from profiling.space import Architecture, load_architecture
from profiling.specfile import SpecModel, parse_spec
from profiling.stages import FROM_LIST, Positive, excited, scaled_channels

Block = Literal["separable", "mbconv", "fbnet", "uib", "convolution"]
Ratio = Annotated[float, Field(ge=1, le=64)]
KernelOrNone = Annotated[int, Field(ge=0, le=31)]
SINGLE_PATH = "single-path-nas"
MAX_WIDTH = 16
# What the papers of these networks were measured on: ImageNet.
RESOLUTION, CLASSES = 224, 1000
# Why some networks are unavailable. ChamNet's authors released a network of this name later (192-pixel images, 323 M
# multiply-adds); nothing says that it is the one that Table 1 means.
UNAVAILABLE = {
    "chamnet-b": "its paper (arXiv:1812.08934) does not give the architecture, so that Table 1 could not measure it either",
}
# ImageNet top-1 of the paper's Table 1: trained there by one schedule ("our impl.") where the table has such a row.
TABLE_1_TOP1 = {
    "mobilenet-v1": 0.7060,
    "mobilenet-v2": 0.7359,
    "mnasnet": 0.7461,
    "chamnet-b": 0.7380,
    "proxylessnas-mobile": 0.7465,
    "fbnet-b": 0.7370,
    SINGLE_PATH: 0.7496,
}


class ZooStage(SpecModel):
    """Layers with one number of output channels; the stride is that of the first.

    Attributes:
        channels: of the output.
        stride: as above.
        kernels: of the depthwise (in a block of one convolution, of that) convolutions, one per layer; 0 for none in a `uib`.
        expansions: ratios, one per layer; none in layers without an expansion.
        depthwise: how many depthwise convolutions follow each other, one number per layer of FBNet; 1 in all when not given.
        starts: kernels of the depthwise convolutions before the expansion of a `uib`, one per layer; 0 for none.
        se_ratio: see `profiling.stages.Stage`.
        block, activation: those of the network when not given.
    """

    channels: Positive
    stride: Literal[1, 2] = 1
    kernels: Annotated[tuple[KernelOrNone, ...], Field(min_length=1), FROM_LIST]
    expansions: Annotated[tuple[Ratio, ...], FROM_LIST] = ()
    depthwise: Annotated[tuple[Positive, ...], FROM_LIST] = ()
    starts: Annotated[tuple[KernelOrNone, ...], FROM_LIST] = ()
    se_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    block: Block | None = None
    activation: Activation | None = None

    @model_validator(mode="after")
    def _one_of_each_per_layer(self) -> Self:
        for name in ("expansions", "depthwise", "starts"):
            if len(getattr(self, name)) not in (0, len(self.kernels)):
                raise ValueError(f"{len(self.kernels)} kernels need as many {name}, or none")
        return self


class ZooNetwork(SpecModel):
    """A network as its authors describe it, at width 1.

    Attributes:
        block: what its layers are.
        activation: of every convolution but the last of a bottleneck.
        stem: channels of the 3×3 convolution of stride 2 at the start.
        stages: as above.
        head: channels of the 1×1 convolution before pooling; None where there is none.
        hidden: channels of one more layer between pooling and the classifier, where there is one.
        norm: whether that layer has batch norm, or else a bias.
    """

    block: Block
    activation: Activation = "relu6"
    stem: Positive
    stages: Annotated[tuple[ZooStage, ...], Field(min_length=1), FROM_LIST]
    head: Positive | None = None
    hidden: Positive | None = None
    norm: bool = False

    def network(self, width_multiplier: float, resolution: int, classes: int, image_channels: int) -> NetworkSpec:
        """Its layers; see `load_zoo_network`."""
        stem = scaled_channels(self.stem, width_multiplier)
        layers: list[LayerSpec] = [Stem(resolution, image_channels, stem, 2, 3, activation=self.activation)]
        for stage in self.stages:
            for index in range(len(stage.kernels)):
                layers.append(self._layer(layers[-1], stage, index, scaled_channels(stage.channels, width_multiplier)))
        return NetworkSpec((*layers, self._end(layers[-1], width_multiplier, classes)))

    def _end(self, last: LayerSpec, width_multiplier: float, classes: int) -> FinalLayer:
        resolution, inputs = last.out_resolution, last.out_channels
        if self.head is None:
            return PoolHead(resolution, inputs, inputs, classes)
        # As in MobileNetV2: narrow networks keep what the classifier works on.
        at_least_full = max(width_multiplier, 1.0)
        if self.hidden is None:
            channels = scaled_channels(self.head, at_least_full)
            return Head(resolution, inputs, channels, classes, activation=self.activation)
        channels, hidden = scaled_channels(self.head, width_multiplier), scaled_channels(self.hidden, at_least_full)
        return MlpHead(resolution, inputs, channels, classes, hidden, self.norm, activation=self.activation)

    def _layer(self, before: LayerSpec, stage: ZooStage, index: int, channels: int) -> LayerSpec:
        inputs, stride, kernel = before.out_channels, stage.stride if index == 0 else 1, stage.kernels[index]
        shape = (before.out_resolution, inputs, channels, stride, kernel)
        block, activation = stage.block or self.block, stage.activation or self.activation
        if block == "convolution":
            return Stem(*shape, activation=activation)
        if block == "separable":
            return Separable(*shape, activation=activation)
        # A ratio that is no whole number gives a multiple of 8 channels, as in MobileNetV3.
        ratio, residual = stage.expansions[index], stride == 1 and inputs == channels
        hidden = inputs * int(ratio) if ratio.is_integer() else scaled_channels(inputs, ratio)
        values = (*shape, hidden // inputs, residual)
        options: Any = {"hidden": hidden if hidden % inputs else 0, "activation": activation}
        depthwise, start = (counts[index] if counts else absent for counts, absent in ((stage.depthwise, 1), (stage.starts, 0)))
        # Where a block is the same as an MBConv, it is the layer that tables know.
        layer: Bottleneck = MBConv(*values, **options) if kernel else UniversalBottleneck(*values, start, **options)
        if block == "fbnet" and (ratio == 1 or depthwise > 1):
            layer = FBNetBlock(*values, depthwise, **options)
        elif start:
            layer = UniversalBottleneck(*values, start, **options)
        return layer if stage.se_ratio is None else excited(layer, stage.se_ratio)


@cache
def zoo_names() -> tuple[str, ...]:
    """Names of the networks that can be built."""
    files = resources.files("search").joinpath("networks").iterdir()
    return tuple(sorted({SINGLE_PATH, *(Path(file.name).stem for file in files)}))


@cache
def _definition(name: str) -> ZooNetwork:
    file = resources.files("search").joinpath("networks", f"{name}.yaml")
    return parse_spec(file.read_text(encoding="utf-8"), ZooNetwork, where=file.name, is_json=False)


def load_zoo_network(
    name: str, *, width_multiplier: float = 1.0, resolution: int = RESOLUTION, classes: int = CLASSES, image_channels: int = 3
) -> NetworkSpec:
    """A network of the zoo.

    Args:
        name: one of `zoo_names`.
        width_multiplier: scales all channels, rounded as in `profiling.space`; those before the classifier only above 1.
        resolution: height and width of the images in pixels.
        classes: outputs of the classifier.
        image_channels: 3 for colour, 1 for grey images.

    Raises:
        InputError: there is no such network; lists all of them, or says why it is unavailable. Or a value is out of range.
    """
    if name in UNAVAILABLE:
        raise InputError(f"cannot be built: {UNAVAILABLE[name]}", where=name)
    if name not in zoo_names():
        raise InputError("no network of the zoo has this name", where=name, hint=f"choose from {', '.join(zoo_names())}")
    if name == SINGLE_PATH:
        architecture = single_path(
            width_multiplier=width_multiplier, resolution=resolution, classes=classes, image_channels=image_channels
        )
        return architecture.network
    if not 0 < width_multiplier <= MAX_WIDTH:
        raise InputError(f"the width multiplier must be above 0 and at most {MAX_WIDTH}, not {width_multiplier:g}", where=name)
    return _definition(name).network(width_multiplier, resolution, classes, image_channels)


def single_path(
    *, width_multiplier: float = 1.0, resolution: int = RESOLUTION, classes: int = CLASSES, image_channels: int = 3
) -> Architecture:
    """The paper's network (Fig. 5) as an architecture of its space under these parameters; see `load_zoo_network`.

    Raises:
        InputError: a value is out of range.
    """
    published = load_architecture(SINGLE_PATH)
    space = published.space.with_parameters(
        resolution=resolution, width_multiplier=width_multiplier, classes=classes, image_channels=image_channels
    )
    return Architecture(space=space, choices=published.choices)
