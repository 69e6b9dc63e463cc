"""Recurrent layers in both directions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dualml.spec.base import OneKey
from dualml.spec.layers.base import Composite, Layer, Shape
from dualml.spec.layers.merge import Add, Average, Concat, Multiply
from dualml.spec.layers.recurrent import Gru, Lstm, Recurrent, SimpleRnn


class Bidirectional(Composite):
    """Two recurrent layers of the same settings, one in each direction, and their outputs merged.

    (Schuster and Paliwal, IEEE Transactions on Signal Processing 45, 1997.) With ``return_sequences`` both outputs of
    a step stand side by side; else each direction gives its state after the whole sequence, as
    ``keras.layers.Bidirectional`` does. The last step of ``torch.nn.LSTM(bidirectional=True)`` holds a
    backward state that has read one step only; its ``h_n`` holds what is meant here.
    """

    kind = "bidirectional"

    layer: Annotated[Recurrent, OneKey(SimpleRnn, Lstm, Gru)] = Field(kw_only=False)
    """The layer of the forward direction; the backward one has its settings and parameters of its own."""
    merge: Literal["concat", "sum", "multiply", "average"] = "concat"
    """How the outputs become one: side by side, forward first, or combined value by value."""

    @field_validator("layer")
    @classmethod
    def _zeros_where_masked(cls, layer: Recurrent) -> Recurrent:
        """Masked outputs are zeros if nothing is said, in Keras too: its wrapper changes the layers' default."""
        if layer.name is not None or layer.inputs is not None or layer.reverse:
            raise ValueError("name and inputs belong to bidirectional itself, and reverse to neither; remove them here")
        return layer if layer.masked_output else layer.model_copy(update={"masked_output": "zeros"})

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        forward = self.layer.model_copy(update={"name": "forward", "inputs": "input"})
        backward = self.layer.model_copy(update={"name": "backward", "inputs": "input", "reverse": True})
        both = ["forward", "backward"]
        if self.merge == "concat":
            return forward, backward, Concat(axis=-1, name="concat", inputs=both)
        kind = {"sum": Add, "multiply": Multiply, "average": Average}[self.merge]
        return forward, backward, kind(name=kind.kind, inputs=both)
