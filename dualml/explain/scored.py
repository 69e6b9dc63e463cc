"""The one number of each example that is explained, and its gradient for the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualml.protocol import Array, Arrays, Network
from dualml.reference import predictions
from dualml.spec.graph import Prediction

Float: TypeAlias = NDArray[np.float64]
Targets: TypeAlias = NDArray[np.int64]
Scoring: TypeAlias = Literal["output", "prediction"]
"""``output``: the value the model gives for the target, before softmax or sigmoid; ``prediction``: after it."""

ROWS = 1024
"""Most examples in one pass."""
VALUES = 2**22
"""Most values of inputs in one pass, which bounds its memory."""


@dataclass(frozen=True)
class Scored:
    """A network of which one output value for each example, its score, is explained.

    Attributes:
        network: The model, in any backend.
        output: The output node; its values have one axis.
        scoring: What of it.
    """

    network: Network
    output: str
    scoring: Scoring = "output"

    @property
    def width(self) -> int:
        """How many values the output has."""
        return int(self.network.graph.by_name[self.output].shape[0])

    @property
    def rows(self) -> int:
        """Examples in one pass."""
        values = sum(math.prod(item.shape) for item in self.network.graph.inputs)
        return max(1, min(ROWS, VALUES // max(1, values)))

    def outputs(self, inputs: Arrays) -> Array:
        """The output's values, shape ``(examples, width)``."""
        pieces = [self.network.forward(_rows(inputs, piece))[self.output] for piece in self._pieces(inputs)]
        return np.concatenate(pieces)

    def scores(self, inputs: Arrays, targets: Targets) -> Float:
        """The score of each example, float64.

        Args:
            inputs: Prepared inputs by name.
            targets: Which value of the output is meant, shape ``(examples,)``.
        """
        return score(self.outputs(inputs), targets, self._kind)

    def gradients(self, inputs: Arrays, targets: Targets) -> dict[str, Float]:
        """Gradient of each example's score for each input, float64; zeros for whole numbers."""
        found: dict[str, list[Float]] = {name: [] for name in self.network.graph.input_names}
        for piece in self._pieces(inputs):
            given = _rows(inputs, piece)
            # Of the output itself the gradient does not depend on what it is: no forward pass is needed for it.
            outputs = None if self._kind == "identity" else self.network.forward(given)[self.output]
            slopes = score_slopes(outputs, targets[piece], self.width, self._kind)
            slopes = slopes.astype(self.network.graph.precision)
            for name, gradient in self.network.input_gradients(given, {self.output: slopes}).items():
                found[name].append(gradient.astype(np.float64))
        return {name: np.concatenate(pieces) for name, pieces in found.items()}

    @property
    def _kind(self) -> Prediction:
        return "identity" if self.scoring == "output" else self.network.graph.predictions[self.output]

    def _pieces(self, inputs: Arrays) -> Iterator[slice]:
        count = len(next(iter(inputs.values())))
        for start in range(0, count, self.rows):
            yield slice(start, start + self.rows)


def score(outputs: Array, targets: Targets, kind: Prediction) -> Float:
    """Softmax or sigmoid of the targets' outputs, or the outputs themselves, in float64.

    Example:
        >>> score(np.array([[0.0, 0.0], [1.0, 5.0]]), np.array([1, 0]), "softmax").round(4).tolist()
        [0.5, 0.018]
    """
    return predictions(kind, outputs)[np.arange(len(outputs)), targets]


def score_slopes(outputs: Array | None, targets: Targets, width: int, kind: Prediction) -> Float:
    """Derivative of each example's score for every value of its output, shape ``(examples, width)``.

    With ``p`` the prediction and ``t`` the target: ``p_t (d_tj - p_j)`` for softmax, ``p_t (1 - p_t) d_tj`` for
    sigmoid, ``d_tj`` for the output itself, where ``outputs`` may be ``None``.
    """
    chosen = np.eye(width)[targets]
    if kind == "identity" or outputs is None:
        return chosen
    p = predictions(kind, outputs)
    own = p[np.arange(len(p)), targets][:, None]
    return own * (chosen - p) if kind == "softmax" else own * (1.0 - own) * chosen


def _rows(inputs: Arrays, rows: slice) -> Mapping[str, Array]:
    return {name: array[rows] for name, array in inputs.items()}
