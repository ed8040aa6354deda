"""The stand-alone ConvNet, and the blocks that the supernet is made of too.

Padding is TensorFlow's `SAME`, asymmetric at stride 2, so that trained weights are the deployed ones: with PyTorch's symmetric
padding the TFLite graph would need an extra PAD operator, or compute something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from profiling.errors import InputError
from profiling.layers import Bottleneck, FinalLayer, Head, LayerSpec, Separable, Stem, same_padding_resolution
from search import processes

BN_MOMENTUM = 0.01  # TensorFlow's 0.99 is the weight of the past, PyTorch's that of the present
BN_EPSILON = 1e-3
DROPOUT = 0.2


def same_convolution(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """A convolution with TensorFlow's `SAME` padding.

    Args:
        x: (batch, channels, height, width).
        weight: (out, in / groups, k, k).
        stride: of both axes.
        groups: as for `torch.nn.functional.conv2d`.
    """
    kernel = weight.shape[-1]
    if stride == 1 and kernel % 2 == 1:
        return F.conv2d(x, weight, padding=kernel // 2, groups=groups)
    pads: list[int] = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((same_padding_resolution(size, stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


class GlobalBatchNorm(torch.autograd.Function):
    """Batch norm over the images of all processes, as many in each. (torch.nn.SyncBatchNorm runs on GPUs only.)

    Forwards it is batch norm with given mean and variance, for which PyTorch has fast functions in both directions. What is left
    to do here is to find these two, and backwards to add the gradient that goes through them:

        dL/dx = γ/σ · (dL/dy − mean(dL/dy) − x̂ · mean(x̂ · dL/dy)),  x̂ = (x − mean) / σ
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, running_mean: Tensor, running_var: Tensor, gamma: Tensor, beta: Tensor, momentum: float
    ) -> Tensor:
        """As `torch.nn.functional.batch_norm` in training, on (batch, channels, h, w)."""
        var, mean = torch.var_mean(x.double() if x.dtype == torch.float64 else x.float(), (0, 2, 3), correction=0)
        # In double precision, so that subtracting the squared mean again loses nothing.
        mean, var = mean.double(), var.double()
        moments = torch.stack((mean, var + mean.square())) / processes.count()
        processes.add_up([moments])
        mean, var = moments[0], moments[1] - moments[0].square()
        images = x.numel() // x.shape[1] * processes.count()
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((var * images / (images - 1)).to(running_var), momentum)
        mean, var = mean.to(gamma), var.to(gamma)
        ctx.save_for_backward(x, mean, var, gamma)
        return F.batch_norm(x, mean, var, gamma, beta, False, 0.0, BN_EPSILON)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, γ and β; those of γ and β for the images of this process, as for any other parameter."""
        x, mean, var, gamma = ctx.saved_tensors
        given = (dy, x, gamma, mean, var, None, None, False, BN_EPSILON, [True, True, True])
        dx, d_gamma, d_beta = torch.ops.aten.native_batch_norm_backward(*given)
        means = torch.stack((d_beta, d_gamma)) / (x.numel() // x.shape[1] * processes.count())
        processes.add_up([means])
        scale = torch.rsqrt(var + BN_EPSILON)
        slope = -gamma * scale.square() * means[1]
        offset = -gamma * scale * means[0] - slope * mean
        dx += (x * slope[:, None, None] + offset[:, None, None]).to(dx.dtype)
        return dx, None, None, d_gamma, d_beta, None


class BatchDropout(nn.Module):
    """Dropout that is the same for an image, however the images of a step are cut into parts; `p` is its probability."""

    def __init__(self) -> None:
        super().__init__()
        self.p = DROPOUT

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) to the same shape."""
        if not self.training:
            return x
        images, features = x.shape
        return x * (processes.rand_by_row(images, features, x.device) >= self.p) / (1 - self.p)


class BatchNorm(nn.Module):
    """Batch norm that can serve the first of its channels only, as a supernet needs it.

    Attributes:
        gamma, beta: scale and bias (channels,).
        running_mean, running_var: for evaluation (channels,).
        momentum: weight of the present batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = BN_MOMENTUM

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """(batch, first channels, h, w) to the same shape; `gate` (1,) is a factor on the output that costs no pass over it."""
        used = slice(x.shape[1])
        gamma, beta = self.gamma[used], self.beta[used]
        if gate is not None:
            gamma, beta = gamma * gate, beta * gate
        mean, var = self.running_mean[used], self.running_var[used]
        if self.training and processes.count() > 1:
            y: Tensor = GlobalBatchNorm.apply(x, mean, var, gamma, beta, self.momentum)  # type: ignore[no-untyped-call]
            return y
        return F.batch_norm(x, mean, var, gamma, beta, self.training, self.momentum, BN_EPSILON)


class ConvBN(nn.Module):
    """A convolution without bias, batch norm, and ReLU6 unless it is linear."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, linear: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.depthwise, self.linear = stride, depthwise, linear
        self.weight = nn.Parameter(torch.empty(outputs, 1 if depthwise else inputs, kernel, kernel))
        nn.init.kaiming_normal_(self.weight, mode="fan_in" if depthwise else "fan_out", nonlinearity="relu")
        self.bn = BatchNorm(outputs)

    def forward(self, x: Tensor, weight: Tensor | None = None, gate: Tensor | None = None) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉).

        Args:
            x: as above.
            weight: stands in for its own, and may have fewer outputs.
            gate: (1,), a factor on what comes out of batch norm.
        """
        weight = self.weight if weight is None else weight
        y: Tensor = self.bn(same_convolution(x, weight, self.stride, len(weight) if self.depthwise else 1), gate)
        return y if self.linear else F.relu6(y)


class MBConvBlock(nn.Module):
    """A mobile inverted bottleneck convolution (paper, 3.1), with more than one depthwise convolution where FBNet has them."""

    def __init__(self, spec: Bottleneck) -> None:
        super().__init__()
        self.spec = spec
        hidden = spec.hidden_channels
        self.expand = ConvBN(spec.in_channels, hidden) if spec.has_expansion else None
        self.depthwise = ConvBN(hidden, hidden, spec.kernel, spec.stride, depthwise=True)
        self.more_depthwise = nn.Sequential(
            *(ConvBN(hidden, hidden, spec.kernel, depthwise=True) for _ in range(1, spec.depthwise_count))
        )
        self.project = ConvBN(hidden, spec.out_channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.more_depthwise(self.depthwise(y)))
        return x + y if self.spec.residual else y


class SeparableBlock(nn.Sequential):
    """A depthwise and a 1×1 convolution, (batch, in, h, w) to (batch, out, ⌈h/stride⌉, ⌈w/stride⌉)."""

    def __init__(self, spec: Separable) -> None:
        depthwise = ConvBN(spec.in_channels, spec.in_channels, spec.kernel, spec.stride, depthwise=True)
        super().__init__(depthwise, ConvBN(spec.in_channels, spec.out_channels))


class HeadBlock(nn.Module):
    """A 1×1 convolution where there is one, global average pooling, dropout and the classifier."""

    def __init__(self, spec: FinalLayer, classes: int) -> None:
        super().__init__()
        self.features = ConvBN(spec.in_channels, spec.out_channels) if isinstance(spec, Head) else nn.Identity()
        self.dropout = BatchDropout()
        self.classifier = nn.Linear(spec.out_channels, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, h, w) to logits (batch, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.features(x).mean((2, 3))))
        return logits


def build_block(spec: LayerSpec, classes: int) -> nn.Module:
    """The block of any layer; `classes` are the outputs of a head, whatever its spec says.

    Raises:
        InputError: this kind of layer cannot be trained here.
    """
    match spec:
        case Stem():
            return ConvBN(spec.in_channels, spec.out_channels, spec.kernel, spec.stride)
        case Separable():
            return SeparableBlock(spec)
        case Bottleneck():
            return MBConvBlock(spec)
        case FinalLayer():
            return HeadBlock(spec, classes)
    raise InputError("no trainable block is known for this kind of layer", where=spec.key)


class Network(nn.Module):
    """A stand-alone ConvNet.

    Args:
        layers: from stem to head; None where a layer is skipped, so that the places keep their numbers.
        classes: outputs of the classifier.
    """

    def __init__(self, layers: Sequence[LayerSpec | None], classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Identity() if spec is None else build_block(spec, classes) for spec in layers)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes)."""
        x = images
        for block in self.blocks:
            x = block(x)
        return x
