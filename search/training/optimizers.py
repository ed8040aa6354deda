"""The optimizers of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search.fitting import require_number, require_weights

SETTINGS = {"weight_decay", "momentum", "decay", "epsilon", "dampening", "betas", "eps"}


class RMSprop(torch.optim.Optimizer):
    """RMSProp as `tf.train.RMSPropOptimizer` of TensorFlow 1 computes it, which the authors trained with.

    With the gradient g, the mean square v and the momentum m, element by element:

        v ← decay · v + (1 − decay) · g²                v starts at 1
        m ← momentum · m + lr · g / √(v + ε)            m starts at 0
        w ← w − m

    `torch.optim.RMSprop` starts v at 0, adds ε outside the root, and multiplies the momentum by the learning rate of the
    present step. Source: `ApplyRMSProp` in tensorflow/core/kernels/training_ops.cc.

    Args:
        parameters: as for every optimizer of PyTorch.
        lr: learning rate.
        weight_decay: L2 penalty; its gradient, `weight_decay` · w, is part of g.
        decay, momentum, epsilon: as above; by default those of the authors.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
    ) -> None:
        options = {"lr": lr, "weight_decay": weight_decay, "decay": decay, "momentum": momentum, "epsilon": epsilon}
        super().__init__(parameters, options)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            gradients: dict[Tensor, Tensor] = {weight: weight.grad for weight in group["params"] if weight.grad is not None}
            if gradients:
                self._move(list(gradients), list(gradients.values()), group)

    def _move(self, weights: list[Tensor], gradients: list[Tensor] | tuple[Tensor, ...], group: dict[str, Any]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {"mean_square": torch.ones_like(weight), "momentum": torch.zeros_like(weight)}
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        mean_squares, momenta = ([self.state[weight][name] for weight in weights] for name in ("mean_square", "momentum"))
        torch._foreach_mul_(mean_squares, group["decay"])
        torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(mean_squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_addcdiv_(momenta, gradients, roots, group["lr"])
        torch._foreach_sub_(weights, momenta)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from a checkpoint; the state of `torch.optim.RMSprop`, used here before, is translated."""
        super().load_state_dict(self._translated(state_dict) if _is_torch_s(state_dict) else state_dict)

    def _translated(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The state of `torch.optim.RMSprop` in the terms of this one.

        The mean square becomes what it would have been from 1: after n steps that start still weighs decayⁿ. The momentum goes
        on with the distance of the last step.
        """
        groups, states = [], {}
        for group in state_dict["param_groups"]:
            groups.append(self.defaults | {name: group[name] for name in ("params", "lr", "weight_decay")})
            for number in group["params"]:
                if old := state_dict["state"].get(number):
                    states[number] = {
                        "mean_square": old["square_avg"] + group["alpha"] ** float(old["step"]),
                        "momentum": old["momentum_buffer"] * group["lr"],
                    }
        return {"state": states, "param_groups": groups}


def _is_torch_s(state: Mapping[str, Any]) -> bool:
    """Whether this is the state of `torch.optim.RMSprop`, which was used here before."""
    return any("alpha" in group for group in state["param_groups"])


# What each keeps of a parameter; the second of RMSProp is what `torch.optim.RMSprop` kept.
KEPT: dict[type[torch.optim.Optimizer], tuple[set[str], ...]] = {
    RMSprop: ({"mean_square", "momentum"}, {"square_avg", "momentum_buffer", "step"}),
    torch.optim.SGD: ({"momentum_buffer"},),
    torch.optim.AdamW: ({"exp_avg", "exp_avg_sq", "step"},),
}


def require_fitting(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Checks that a state is one of this optimizer with these parameters and settings.

    Raises:
        ValueError: it is not; KeyError, TypeError, AttributeError: something is missing or of another type.
    """
    groups, given = optimizer.state_dict()["param_groups"], state["param_groups"]
    if [group["params"] for group in groups] != [group["params"] for group in given]:
        raise ValueError("the optimizer is of other parameters")
    is_torch_s = _is_torch_s(state)
    for group, other in zip(groups, given, strict=True):
        for number in ("lr", "alpha") if is_torch_s else ("lr",):
            require_number(other[number], 0)
        # Other versions of PyTorch have other settings besides.
        names = {"weight_decay"} if is_torch_s else set(group) & {*SETTINGS, *other} - {"lr", "params"}
        odd = [name for name in sorted(names) if group[name] != other[name]]
        if odd:
            raise ValueError(f"{odd[0]} of the optimizer is {other[odd[0]]!r}, not {group[odd[0]]!r}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, kept in state["state"].items():
        if number not in range(len(parameters)) or set(kept) not in KEPT[type(optimizer)]:
            raise ValueError(f"the optimizer keeps {', '.join(map(str, kept))} of parameter {number}")
        for name, value in kept.items():
            shape = torch.Size() if name == "step" else parameters[number].shape
            require_weights({name: torch.as_tensor(value)}, {name: torch.empty(shape)})


def make_optimizer(
    name: Literal["rmsprop", "sgd", "adamw"], weights: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimizer by name; batch norm and biases do not decay."""
    weights = list(weights)
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in weights if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in weights if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    match name:
        case "rmsprop":
            return RMSprop(groups, lr=learning_rate)
        case "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Gives all weights of an optimizer the same learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
