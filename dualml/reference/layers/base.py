"""The operations a node can be: forward formula, vector-Jacobian product and bounds on their rounding errors.

Everything is evaluated in float64, from arguments of any precision taken exactly. A bound says how far a correct
implementation in working precision may lie from the reference *given the same inputs*: nothing is propagated
through layers. Bounds hold for any order of summation, with or without fused multiply-add; they do not hold
for arithmetic that rounds inside a product (TF32, bfloat16) or for Winograd and FFT convolutions.
No bound is ever 0, so a ratio to it always exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualml.protocol import Arrays
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.graph import Node

InputsAndParameters = tuple[list[Float], dict[str, Float]]
"""An array for each input, and one for each parameter by neutral name."""


@dataclass(frozen=True)
class Call:
    """One evaluation of a node.

    Attributes:
        node: What is evaluated.
        weights: Parameters and buffers by neutral name; may hold those of other nodes.
        inputs: One array for each of ``node.inputs``, shape ``(examples, *input_shape)``.
        training: Whether random layers are active.
        mask: Which values a node that draws keeps, shape ``(examples, *node.random_mask)``.
    """

    node: Node
    weights: Arrays
    inputs: tuple[Float, ...]
    training: bool
    mask: NDArray[np.bool_] | None

    def weight(self, role: str) -> Float | None:
        """The parameter or buffer of that role as float64, if the node has one."""
        weight = self.node.weight(role)
        return None if weight is None else double(self.weights[weight.name])

    def name(self, role: str) -> str:
        """Neutral name of the parameter or buffer of that role."""
        weight = self.node.weight(role)
        assert weight is not None, f"{self.node.operation} has no {role}"
        return weight.name


class Operation:
    """What the reference knows about one operation; subclasses fill in the formulas."""

    def forward(self, call: Call) -> Float:
        """The output, shape ``(examples, *node.shape)``."""
        raise NotImplementedError

    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        """Gradients for inputs and parameters from the ``gradient`` for the output."""
        raise NotImplementedError

    def forward_bound(self, call: Call, unit: float) -> Float:
        """Bound on the rounding error of each value of ``forward``."""
        return np.full((len(call.inputs[0]), *call.node.shape), underflow_unit(unit))  # copies are exact

    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        """Bounds on the rounding error of each value of ``backward``."""
        inputs, parameters = self.backward(call, gradient)
        smallest = underflow_unit(unit)
        return (
            [np.full_like(array, smallest) for array in inputs],
            {name: np.full_like(array, smallest) for name, array in parameters.items()},
        )

    def new_buffers(self, call: Call) -> dict[str, Float]:
        """What each buffer becomes in training, by neutral name."""
        return {}

    def new_buffers_bound(self, call: Call, unit: float) -> dict[str, Float]:
        """Bounds on the rounding errors of ``new_buffers``."""
        return {}

    def kinks(self, call: Call) -> NDArray[np.bool_]:
        """Where the derivative jumps, of the output's shape."""
        return np.zeros((len(call.inputs[0]), *call.node.shape), dtype=np.bool_)


def product_bound(left: Float, right: Float, extra: int, unit: float) -> Float:
    """Bound on the error of ``left @ right``, both 2-d, with ``extra`` more roundings of each term.

    ``gamma_{n + extra} |left| |right|`` (Higham, section 3.5), plus an underflow in each operand and product.
    """
    left, right = np.abs(left), np.abs(right)
    length = left.shape[-1]
    underflow = left.sum(axis=-1)[:, None] + right.sum(axis=0)[None, :] + length + 1.0
    return np.asarray(gamma(length + extra, unit) * (left @ right) + underflow_unit(unit) * underflow)


def sum_bound(terms: Sequence[Float], unit: float) -> Float:
    """Bound on the rounding error of a sum of arrays of one shape, in any order."""
    size = sum((np.abs(term) for term in terms), start=np.zeros_like(terms[0]))
    return np.asarray(gamma(len(terms) - 1, unit) * size + underflow_unit(unit) * (2.0 * len(terms)))
