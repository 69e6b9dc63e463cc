"""Layers that make masks: ones where something is to be read, zeros where it is padding."""

from __future__ import annotations

from pydantic import Field

from dualml.spec.layers.base import Layer, Shape


class PaddingMask(Layer):
    """``y = 1`` where an id is not ``index``, else ``y = 0``; the shape of its input.

    It reads whole numbers straight from a model input. Layers with a setting ``mask`` take it by name:
    ``{padding_mask: 0, name: kept, inputs: tokens}``, then ``{lstm: {units: 8, mask: kept}}``.

    Differs from ``keras.layers.Embedding(mask_zero=True)`` and ``keras.layers.Masking``, whose masks travel along
    with tensors unseen and reach every later layer and the loss; PyTorch has no such layer.
    """

    kind = "padding_mask"
    takes_integers = True

    index: int = Field(default=0, kw_only=False)
    """The id that stands for padding."""

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]
