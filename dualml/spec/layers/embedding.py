"""Embeddings of whole numbers, the projection tied to one, and embeddings of positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Layer, LayerName, ParameterShape, PositiveInt, Shape
from dualml.spec.layers.positions import Placing, waves


class _PaddedTable:
    """How a table is drawn whose row of padding starts as zeros; see ``InitializerBase``."""

    def __init__(self, initializer: Any, row: int) -> None:
        self.initializer = initializer
        self.row = row

    def draw(self, seed: int, path: str, shape: Shape, fan_in: int, fan_out: int) -> NDArray[np.float64]:
        """The initializer's numbers, but for one row."""
        table: NDArray[np.float64] = self.initializer.draw(seed, path, shape, fan_in, fan_out)
        table[self.row] = 0.0
        return table

    def problem(self, shape: Shape) -> str | None:
        """As the initializer says."""
        problem: str | None = self.initializer.problem(shape)
        return problem


class Embedding(Layer):
    """``y = T[x]``: row ``x`` of a table ``T`` of shape ``(vocabulary, units)`` for every id ``x``, from 0 on.

    With ``scale`` ``y = sqrt(units) T[x]`` (Vaswani et al., arXiv:1706.03762, section 3.4). The row of
    ``padding_index`` starts as zeros and gets no gradient from this layer; it is read as any other.

    Differs from ``keras.layers.Embedding(mask_zero=True)``, whose row 0 is trained and which attaches a mask to its
    output; use ``padding_mask`` for one. Differs from both frameworks where an id is out of range: the core refuses
    it, while ``tf.gather`` reads -1 as the last row and gives zeros for too large an id on a GPU.
    """

    kind = "embedding"
    takes_integers = True

    vocabulary: PositiveInt = Field(kw_only=False)
    """Number of ids."""
    units: PositiveInt = Field(kw_only=False)
    """Size of each id's row."""
    padding_index: int | None = Field(default=None, ge=0)
    """The id that stands for padding; left out, there is none."""
    scale: bool = False
    """Whether rows are multiplied by ``sqrt(units)``."""
    table_initializer: Initializer | None = None
    """How ``T`` is drawn."""

    @model_validator(mode="after")
    def _padding_in_range(self) -> Embedding:
        if self.padding_index is not None and self.padding_index >= self.vocabulary:
            raise ValueError(
                f"padding_index must be below vocabulary, got {self.padding_index} with a vocabulary of "
                f"{self.vocabulary}; count the padding among the ids"
            )
        return self

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*inputs[0], self.units)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        fans = (self.vocabulary, self.units)
        initializer: Any = self.table_initializer
        if self.padding_index is not None and initializer is not None:
            initializer = _PaddedTable(initializer, self.padding_index)
        return (ParameterShape("table", fans, initializer, *fans),)

    def integers_below(self) -> int:
        return self.vocabulary


class TiedDense(Layer):
    """``y = x T^t + b`` over the last axis, with the table ``T`` of an embedding: logits for each of its ids.

    (Press and Wolf, arXiv:1608.05859.) ``T`` is one parameter with two uses, as GPT-2 has it; its gradient is the sum
    of both. The table is used as it is, also where the embedding scales its rows; the row of the embedding's
    ``padding_index`` gets a gradient from here.
    """

    kind = "tied_dense"

    layer: LayerName = Field(kw_only=False)
    """Name of the embedding."""
    bias: bool = False
    """Whether there is a ``b``, of shape ``(vocabulary,)``."""
    bias_initializer: Initializer | None = None
    """How ``b`` is drawn."""

    def tied(self) -> dict[str, tuple[str, str]]:
        return {"kernel": (self.layer, "table")}

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        values, (vocabulary, units) = inputs
        if values[-1] != units:
            raise ValueError(
                f"the table of {self.layer!r} has rows of {units} units, so the input's last axis must have "
                f"size {units}, got {values[-1]}; put a dense layer of {units} units between them"
            )
        return (*values[:-1], vocabulary)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        vocabulary, units = inputs[1]
        return (ParameterShape("bias", (vocabulary,), self.bias_initializer, units, vocabulary),) * self.bias


class PositionEmbedding(Layer):
    """``y_t = x_t + P_t``: a trained row for each position, ``P`` of shape ``(positions, units)``.

    (Gehring et al., arXiv:1705.03122; the position embeddings of BERT and GPT-2.) The input is ``(length, units)``,
    so ``P`` needs as many rows; of a longer table the first ones are used. Neither framework has it as a layer of its
    own; both are taken to mean their embedding's initial values.
    """

    kind = "position_embedding"

    positions: PositiveInt | None = Field(default=None, kw_only=False)
    """Rows of ``P``; left out, the length of the input."""
    initializer: Initializer | None = None
    """How ``P`` is drawn."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        length, _ = sequence(inputs[0])
        if self.positions is not None and self.positions < length:
            raise ValueError(
                f"positions must cover the input, which has {length} of them, got {self.positions}; "
                "set more, or leave it out"
            )
        return inputs[0]

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        length, units = sequence(inputs[0])
        shape = (self.positions or length, units)
        return (ParameterShape("positions", shape, self.initializer, *shape),)


class PositionEncoding(Layer):
    """``y_t = x_t + e_t`` with ``sin(t / base^(2 i / units))`` and the cosine of the same, ``t`` from 0.

    (Vaswani et al., arXiv:1706.03762, section 3.5.) ``placing: interleaved`` is the paper's: sines at ``2 i``, cosines
    at ``2 i + 1``. ``halves`` has all sines first, then all cosines. Both with the paper's frequencies: Tensor2Tensor's
    halves differ, they divide by ``units / 2 - 1``. Neither framework has it as a layer of its own.
    """

    kind = "position_encoding"

    base: float = Field(default=10000.0, gt=1, kw_only=False)
    """Ratio of the longest wave to the shortest."""
    placing: Placing = "interleaved"
    """Where sines and cosines stand."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        _, units = sequence(inputs[0])
        if units % 2:
            raise ValueError(f"a sine and a cosine for each frequency need an even last axis, got {units}")
        return inputs[0]

    def encoding(self, length: int, units: int) -> NDArray[np.float64]:
        """The array ``e`` that is added, shape ``(length, units)``."""
        sines, cosines = waves(length, units, self.base)
        joined = np.stack([sines, cosines], axis=-1 if self.placing == "interleaved" else 1)
        return joined.reshape(length, units)


def sequence(shape: Shape) -> tuple[int, int]:
    """Length and units of an input.

    Raises:
        ValueError: It has another number of axes.
    """
    if len(shape) != 2:
        raise ValueError(f"it reads a sequence of shape [length, units], got {list(shape)}")
    return shape[0], shape[1]
