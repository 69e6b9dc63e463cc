"""Low rank: a layer becomes two with fewer weights in all, the best such approximation of its kernel.

With the singular values ``s`` the kernel ``K = U diag(s) V``, shape ``(inputs, units)``, becomes ``A B`` with
``A = U_r sqrt(s_r)`` and ``B = sqrt(s_r) V_r`` of rank ``r`` (Eckart and Young, Psychometrika 1, 1936). A convolution's
kernel is taken as ``(positions channels, filters)``: first ``r`` filters of the same window, then a window of 1.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.compress.editing import SIZES, Editor, Smaller, finished, has_kernel, why_not
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.graph import Node

FIRST = "low_rank"
"""What the name of the layer that is put in front ends in."""
LEAST = 0.02
"""Share of the weights below which a layer stays as it is: there is little to gain, and an output's layer to lose."""


@dataclass(frozen=True)
class _Factors:
    left: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def of(cls, kernel: Array) -> _Factors:
        return cls(*np.linalg.svd(kernel.astype(np.float64).reshape(-1, kernel.shape[-1]), full_matrices=False))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole."""
        return len(self.left), self.right.shape[1]

    @property
    def largest_rank(self) -> int:
        """The largest with which both parts together have fewer weights than the whole."""
        return (math.prod(self.shape) - 1) // sum(self.shape)

    def rank(self, keep: float | None, energy: float | None) -> int:
        """The rank that keeps a share of the weights, or of the sum of the squares of the singular values."""
        if energy is None:
            assert keep is not None
            return max(1, math.floor(keep * math.prod(self.shape) / sum(self.shape)))
        squares = np.cumsum(self.values**2)
        return min(int(np.searchsorted(squares, energy * squares[-1])) + 1, len(squares))


def lower_rank(
    spec: Spec, weights: Mapping[str, Array], keep: float | None = None, energy: float | None = None
) -> Smaller:
    """Make two layers of each one that has fewer weights then.

    Args:
        spec: The model.
        weights: All parameters and buffers.
        keep: Share of each layer's weights that stay.
        energy: Instead of that: share of the sum of the squares of each kernel's singular values that stays.

    Raises:
        UnsupportedError: No layer has fewer weights then.
    """
    graph, editor, arrays = spec.graph, Editor(spec), dict(weights)
    nodes = [node for node in graph.nodes if has_kernel(node)]
    reasons = {node.name: why_not(graph, node, editor) for node in nodes}
    kept = {name: why for name, why in reasons.items() if why is not None}
    total = sum(weights[item.name].size for item in graph.parameters)
    for node in nodes:
        if node.name not in kept and weights[f"{node.name}.kernel"].size < LEAST * total:
            kept[node.name] = f"it holds less than {LEAST:.0%} of the weights"
    by_path: dict[str, list[Node]] = {}
    for node in nodes:
        if node.name not in kept:
            by_path.setdefault(node.path, []).append(node)
    layers = {}
    for path in sorted(by_path, key=_place, reverse=True):  # from the end: what is put in moves what comes behind
        times = {node.name: _Factors.of(weights[f"{node.name}.kernel"]) for node in by_path[path]}
        rank = max(factors.rank(keep, energy) for factors in times.values())
        if rank > min(factors.largest_rank for factors in times.values()):
            kept |= dict.fromkeys(times, f"with rank {rank} it would have no fewer weights")
            continue
        for name, factors in times.items():
            _factorise(name, factors, rank, arrays)
            layers[name] = f"rank {rank} of {len(factors.values)}"
        _split(editor, by_path[path][0], rank)
    in_order = {node.name: layers[node.name] for node in nodes if node.name in layers}
    return finished(editor, arrays, in_order, kept, "svd")


def _place(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", path)]


def _factorise(name: str, factors: _Factors, rank: int, arrays: dict[str, Array]) -> None:
    kernel = arrays[f"{name}.kernel"]
    root = np.sqrt(factors.values[:rank])
    first = (factors.left[:, :rank] * root).reshape(*kernel.shape[:-1], rank)
    second = (root[:, None] * factors.right[:rank]).reshape(*(1,) * (kernel.ndim - 2), rank, kernel.shape[-1])
    arrays[f"{name}_{FIRST}.kernel"] = first.astype(kernel.dtype)
    arrays[f"{name}.kernel"] = second.astype(kernel.dtype)


def _split(editor: Editor, node: Node, rank: int) -> None:
    """Two layers in place of one, of which the second has its name: others find it, and its bias, as before."""
    layers, index = editor.at(node.path)
    second: dict[str, Any] = layers[index][node.operation]
    name = second["name"] or _own_name(node)
    first = copy.deepcopy(second) | {
        "name": f"{name}_{FIRST}", SIZES[node.operation]: rank, "activation": None, "bias": False,
    }  # fmt: skip
    second |= {"name": name, "inputs": None}
    if node.operation != "dense":
        second |= {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": "valid", "padding_mode": "zeros"}
    layers.insert(index, {node.operation: first})


def _own_name(node: Node) -> str:
    """The name that a layer without one has among its neighbours: its kind and a number."""
    found = re.search(rf"{node.operation}_\d+\Z", node.name)
    assert found is not None, node.name
    return found.group()
