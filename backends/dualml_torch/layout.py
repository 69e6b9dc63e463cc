"""Between the neutral layout and PyTorch's: names, axes and number formats of weights and optimizer slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualml.errors import WeightsError
from dualml.protocol import Array, Arrays, State
from dualml.spec.graph import Graph
from dualml.weights import check_weights

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}
"""PyTorch's dtype of each precision."""

SLOTS: Mapping[str, str] = {
    "momentum": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
}
"""Key in an optimizer's state of each neutral slot."""


@dataclass(frozen=True)
class _Role:
    """How a parameter is kept: the module's attribute, and whether its two axes are swapped."""

    attribute: str
    transposed: bool


_ROLES: Mapping[tuple[str, str], _Role] = {
    ("dense", "kernel"): _Role("weight", transposed=True),  # torch.nn.Linear.weight is (units, inputs)
    ("dense", "bias"): _Role("bias", transposed=False),
}


def to_tensor(array: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of its own with an array's values; contiguous, whatever the array's strides are."""
    formats = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.bool: np.bool_}
    # torch.tensor copies into memory aligned as all of PyTorch's: products of matrices may depend on it.
    return torch.tensor(np.ascontiguousarray(array, dtype=formats[dtype]), dtype=dtype, device=device)


def to_array(tensor: Tensor) -> Array:
    """An array of its own with a tensor's values."""
    return np.array(tensor.detach().cpu().numpy(), order="C", copy=True)


class Layout:
    """Where each neutral parameter of a graph is kept in its native module.

    Args:
        graph: The model.
        native: The module built from it.
        names: The submodule's name for each node.

    Attributes:
        parameters: The native parameter by neutral name.
    """

    def __init__(self, graph: Graph, native: nn.Module, names: Mapping[str, str]) -> None:
        self.graph = graph
        self.parameters: dict[str, nn.Parameter] = {}
        self._transposed: dict[str, bool] = {}
        for node in graph.nodes:
            for parameter in node.parameters:
                role = _ROLES[node.operation, parameter.name.rpartition(".")[2]]
                self.parameters[parameter.name] = getattr(native.get_submodule(names[node.name]), role.attribute)
                self._transposed[parameter.name] = role.transposed

    def to_neutral(self, name: str, tensor: Tensor) -> Array:
        """An array of its own, neutral layout, from a tensor laid out as the native parameter."""
        tensor = tensor.detach().cpu()
        return to_array(tensor.T if self._transposed[name] else tensor)

    def to_native(self, name: str, array: Array) -> Tensor:
        """A tensor of its own, laid out as the native parameter, from an array in the neutral layout."""
        like = self.parameters[name]
        return to_tensor(array.T if self._transposed[name] else array, like.dtype, like.device)

    def get_slots(self, optimizer: torch.optim.Optimizer, slots: tuple[str, ...]) -> dict[str, dict[str, Array]]:
        """An optimizer's slots; zeros where PyTorch has not made them yet, which it does in the first update."""
        return {slot: {name: self._slot(optimizer, slot, name) for name in self.parameters} for slot in slots}

    def _slot(self, optimizer: torch.optim.Optimizer, slot: str, name: str) -> Array:
        kept: Mapping[str, Any] = optimizer.state.get(self.parameters[name], {})
        value = kept.get(SLOTS[slot])
        return self.to_neutral(name, torch.zeros_like(self.parameters[name]) if value is None else value)

    def set_slots(self, optimizer: torch.optim.Optimizer, slots: tuple[str, ...], state: State) -> None:
        """Replace an optimizer's slots and the step each parameter's state holds.

        Raises:
            WeightsError: Names or shapes are not those of the network; nothing has been changed.
        """
        if set(state.slots) != set(slots):
            raise WeightsError(
                f"the optimizer's state must hold the slots {', '.join(slots) or 'none'}, "
                f"got {', '.join(state.slots) or 'none'}; is it of another optimizer?"
            )
        for slot in slots:
            check_weights(state.slots[slot], self.graph, f"slot {slot!r} of the optimizer's state")
        optimizer.state.clear()
        if state.step == 0 and not any(array.any() for arrays in state.slots.values() for array in arrays.values()):
            return  # as PyTorch is before the first update: its momentum starts as a copy, not as 0 m + g
        for name, parameter in self.parameters.items():
            kept: dict[str, Any] = {SLOTS[slot]: self.to_native(name, state.slots[slot][name]) for slot in slots}
            if "first_moment" in slots:
                kept["step"] = torch.tensor(float(state.step), dtype=torch.float32)
            if kept:
                optimizer.state[parameter] = kept

    def get_weights(self) -> dict[str, Array]:
        """All parameters."""
        return {name: self.to_neutral(name, parameter) for name, parameter in self.parameters.items()}

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters in place.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong; nothing has been changed.
        """
        check_weights(weights, self.graph)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.to_native(name, weights[name]))
