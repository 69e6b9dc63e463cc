"""Layers as ``torch.nn`` modules, stock ones wherever they can express the spec.

Tensors are ``(examples, *shape)`` with the axes of the neutral layout: channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from dualml.spec.graph import Node
from dualml_torch.activations import ACTIVATIONS


@dataclass(frozen=True)
class Placement:
    """How a model is built.

    Attributes:
        device: Where its parameters live.
        dtype: Their number format.
        native_randomness: Whether dropout draws its own masks.
    """

    device: torch.device
    dtype: torch.dtype
    native_randomness: bool


class MaskedDropout(nn.Dropout):
    """``torch.nn.Dropout`` that takes its mask from ``mask`` where one is set.

    In training ``y = x (m / (1 - p))``, in the order of the stock module's own arithmetic
    (``aten/src/ATen/native/Dropout.cpp``). With no mask set it is the stock module. A class of its own
    because the stock one has no way to take a mask, which the two frameworks must share to agree.

    Attributes:
        mask: Which values are kept, shape of the input, dtype bool; or ``None``.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.mask: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the stock module's name)
        """Drop the values that the mask does not keep."""
        if self.mask is None or not self.training:
            return super().forward(input)
        return input * self.mask.to(input.dtype).div_(1.0 - self.p)


def dense(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Linear``, its values unset: no random number is drawn for them."""
    return nn.utils.skip_init(  # type: ignore[no-any-return, no-untyped-call]
        nn.Linear,
        node.input_shapes[0][-1],
        node.settings.units,
        bias=node.settings.bias,
        device=placement.device,
        dtype=placement.dtype,
    )


def activation(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (one signature for all)
    """The module of the activation function."""
    return ACTIVATIONS[node.settings.function.kind](node.settings.function)


def flatten(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``."""
    return nn.Flatten(start_dim=1)


def reshape(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001
    """``torch.nn.Flatten``, ``torch.nn.Unflatten`` or one after the other: there is no stock reshape."""
    if len(node.shape) == 1:
        return nn.Flatten(start_dim=1)
    unflatten = nn.Unflatten(1, node.shape)
    if len(node.input_shapes[0]) == 1:
        return unflatten
    return nn.Sequential(nn.Flatten(start_dim=1), unflatten)


def dropout(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.Dropout`` with its own masks, or ``MaskedDropout`` with given ones."""
    rate = float(node.settings.rate)
    return nn.Dropout(rate) if placement.native_randomness else MaskedDropout(rate)


def add(graph: fx.Graph, node: Node, inputs: list[fx.Node]) -> fx.Node:  # noqa: ARG001
    """``torch.add`` from the first input to the last."""
    total = inputs[0]
    for other in inputs[1:]:
        total = graph.call_function(torch.add, (total, other))
    return total


def concat(graph: fx.Graph, node: Node, inputs: list[fx.Node]) -> fx.Node:
    """``torch.cat``; an axis counted from the front moves behind the batch axis."""
    axis = node.settings.axis
    return graph.call_function(torch.cat, (inputs,), {"dim": axis + 1 if axis >= 0 else axis})


LAYERS: Mapping[str, Callable[[Node, Placement], nn.Module]] = {
    "dense": dense,
    "activation": activation,
    "flatten": flatten,
    "reshape": reshape,
    "dropout": dropout,
}
"""The module of each operation that has one input."""

JOINS: Mapping[str, Callable[[fx.Graph, Node, list[fx.Node]], fx.Node]] = {"add": add, "concat": concat}
"""The function calls of each operation that has several inputs: PyTorch has no module for them."""
