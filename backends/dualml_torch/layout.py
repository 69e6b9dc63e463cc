"""Between the neutral layout and PyTorch's: names, axes and number formats of weights and optimizer slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualml.protocol import Array, Arrays
from dualml.spec.graph import Buffer, Graph, Node
from dualml.weights import check_weights
from dualml_torch.layers import ROLES, Role

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}
"""PyTorch's dtype of each precision."""


def to_tensor(array: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of its own with an array's values; contiguous, whatever the array's strides are."""
    formats = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.bool: np.bool_}
    # torch.tensor copies into memory aligned as all of PyTorch's: products of matrices may depend on it.
    return torch.tensor(np.ascontiguousarray(array, dtype=formats[dtype]), dtype=dtype, device=device)


def to_array(tensor: Tensor) -> Array:
    """An array of its own with a tensor's values; those of bfloat16 in float32, as NumPy has no such format."""
    tensor = tensor.detach().cpu()
    return np.array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(), order="C", copy=True)


class Layout:
    """Where each neutral parameter and buffer of a graph is kept in its native module.

    Args:
        graph: The model.
        native: The module built from it.
        names: The submodule's name for each node.

    Attributes:
        parameters: The native parameter by neutral name.
        buffers: The native buffer by neutral name.
    """

    def __init__(self, graph: Graph, native: nn.Module, names: Mapping[str, str]) -> None:
        self.graph = graph
        self._native = native
        self.parameters: dict[str, nn.Parameter] = {}
        self.buffers: dict[str, Tensor] = {}
        self._kept: dict[str, tuple[Role, Node]] = {}
        for node in graph.nodes:
            for weight in node.weights:
                role = ROLES[node.operation, weight.role]
                tensor = attribute(native.get_submodule(names[node.owner]), role.attribute)
                if weight.name in self._kept:  # shared or tied
                    continue
                self._kept[weight.name] = role, node
                if isinstance(weight, Buffer):
                    self.buffers[weight.name] = tensor
                else:
                    self.parameters[weight.name] = tensor

    def to_neutral(self, name: str, tensor: Tensor) -> Array:
        """An array of its own, neutral layout, from a tensor laid out as the native parameter or buffer."""
        role, node = self._kept[name]
        return np.array(role.to_neutral(tensor.detach().cpu().numpy(), node), order="C", copy=True)

    def to_native(self, name: str, array: Array) -> Tensor:
        """A tensor of its own, laid out as the native parameter or buffer, from an array in the neutral layout."""
        role, node = self._kept[name]
        like = self.parameters[name] if name in self.parameters else self.buffers[name]
        return to_tensor(role.to_native(np.asarray(array), node), like.dtype, like.device)

    def get_weights(self) -> dict[str, Array]:
        """All parameters and buffers."""
        return {name: self.to_neutral(name, tensor) for name, tensor in (self.parameters | self.buffers).items()}

    def get_buffers(self) -> dict[str, Array]:
        """All buffers."""
        return {name: self.to_neutral(name, tensor) for name, tensor in self.buffers.items()}

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters and buffers in place.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong; nothing has been changed.
        """
        check_weights(weights, self.graph)
        with torch.no_grad():
            for name, tensor in (self.parameters | self.buffers).items():
                tensor.copy_(self.to_native(name, weights[name]))

    @contextmanager
    def kept_buffers(self) -> Iterator[None]:
        """Afterwards the buffers, and PyTorch's own counters beside them, are what they were before."""
        before = [(tensor, tensor.clone()) for tensor in self._native.buffers()]
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in before:
                    tensor.copy_(value)


def attribute(module: nn.Module, name: str) -> Any:
    """An attribute of a module; ``name`` may be dotted."""
    return attrgetter(name)(module)
