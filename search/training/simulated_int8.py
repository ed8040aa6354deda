"""Training with the arithmetic of an int8 TFLite file simulated, so that the weights learn to live with it.

Quantised are the tensors that TFLite's converter quantises, and as it does: weights per output channel, symmetric; activations
per tensor, asymmetric, from the least to the largest of a batch (Jacob et al., arXiv:1712.05877). Gradients pass as if nothing
were rounded. A running range would cut off what lies outside; the exporter's, of some hundred images, is whole.
Batch norm is not folded into the weights here: it scales whole output channels, and their 8-bit steps with them.
Images are left as they are: they have 8 bits before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from search.convnet.activation import Activation
from search.convnet.excitation import BiasedConvolution, Excitation
from search.convnet.network import ConvBN, HeadBlock, MBConvBlock, Network, UniversalBlock

LOW, HIGH = -128, 127
# Activations that TFLite computes in the operator of the convolution before them.
FUSED = frozenset({None, "relu", "relu6"})


class SimulatedInt8:
    """A network that computes in training as its int8 file will; its weights and its form stay what they are.

    Args:
        network: on its device.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._weights = [
            f"{name}.weight"
            for name, module in network.named_modules()
            if isinstance(module, ConvBN | BiasedConvolution | nn.Linear)
        ]
        self._points = [point for module in network.modules() for point in _points(module)]

    def __call__(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes), as the network."""
        parameters = dict(self._network.named_parameters())
        weights = {name: quantised_weight(parameters[name]) for name in self._weights}
        with ExitStack() as hooks:
            for module, entering in self._points:
                hooks.callback(_hook(module, entering=entering).remove)
            logits: Tensor = functional_call(self._network, weights, (images,))
        return logits


def quantised_weight(weight: Tensor) -> Tensor:
    """Weights (out, …) rounded to the 255 steps that each output has of its own, 0 in the middle."""
    largest = weight.detach().flatten(1).abs().amax(1)
    steps = largest.clamp_min(torch.finfo(torch.float32).tiny * HIGH) / HIGH
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -HIGH, HIGH)


def _points(module: nn.Module) -> Iterator[tuple[nn.Module, bool]]:
    """Where activations are quantised in and around a module itself: on entering (True) or on leaving (False) which one."""
    match module:
        case Activation():
            if module.name not in FUSED:
                yield module, True
            yield module, False
        case Excitation():
            yield module.reduce, True
            yield module, False
        case HeadBlock():
            yield (module.between if len(module.between) else module.dropout), True
            yield module.classifier, False
        case MBConvBlock() | UniversalBlock() if module.spec.residual:
            yield module, False


def quantised_activation(x: Tensor) -> Tensor:
    """Activations of any shape rounded to the 256 steps from the least to the largest of them, 0 among the steps."""
    least, largest = x.detach().float().aminmax()
    low, high = least.clamp_max(0.0), largest.clamp_min(0.0)
    step = ((high - low) / (HIGH - LOW)).clamp_min(torch.finfo(torch.float32).tiny)
    zero = (LOW - (low / step).round()).clamp(LOW, HIGH).int()
    return torch.fake_quantize_per_tensor_affine(x.float(), step, zero, LOW, HIGH).to(x.dtype)


def _hook(module: nn.Module, *, entering: bool) -> RemovableHandle:
    if entering:
        return module.register_forward_pre_hook(lambda _, given: (quantised_activation(given[0]), *given[1:]))
    return module.register_forward_hook(lambda _, given, result: quantised_activation(result))
