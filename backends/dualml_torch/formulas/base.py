"""What all update formulas have: a loop over parameters, a count of updates, weight decay of either kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

Parameters = Iterable[Any]
"""Parameters, or groups of them, as every ``torch.optim.Optimizer`` takes them."""


class Formula(torch.optim.Optimizer):
    """A step over all parameters that have a gradient; subclasses say how one is updated."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Do one update; ``closure``, where given, first evaluates the loss again and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    if "step" not in state:
                        state["step"] = torch.zeros((), dtype=torch.float32)  # shape and dtype as in torch.optim.Adam
                    state["step"] += 1
                    self._update(parameter, parameter.grad, group, state)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError


def slot(state: dict[str, Any], name: str, parameter: Tensor, start: float = 0.0) -> Tensor:
    """A parameter's slot, made at the first update."""
    if name not in state:
        state[name] = torch.full_like(parameter, start, memory_format=torch.preserve_format)
    found: Tensor = state[name]
    return found


def decayed(parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """The gradient with coupled decay added; decoupled decay is taken off the parameter instead."""
    decay = group["weight_decay"]
    if decay == 0:
        return gradient
    if not group["decoupled_weight_decay"]:
        return gradient.add(parameter, alpha=decay)
    # keras/src/backend/tensorflow/optimizer.py, _apply_weight_decay: variable - variable * wd * lr
    parameter.sub_((parameter * decay).mul_(group["lr"]))
    return gradient


def average(old: Tensor, new: Tensor, weight: float) -> None:
    """``old <- weight old + (1 - weight) new``."""
    old.mul_(weight).add_(new, alpha=1 - weight)


def check(rule: str, *conditions: bool, **values: Any) -> None:
    """Refuse settings.

    Raises:
        ValueError: A condition does not hold; the message states the rule and the values.
    """
    if not all(conditions):
        raise ValueError(f"{rule}, got {', '.join(f'{name}={value}' for name, value in values.items())}")
