"""Transposed convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml_tensorflow.layers.base import Make

Pairs = Sequence[Sequence[int]]


class _General:
    """A transposed convolution with groups, any dilation, and crops of its own for each side.

    Not stock: ``keras.layers.Conv*DTranspose`` have no groups, refuse a stride together with a dilation, have no
    float64 kernel for a dilation on a CPU, and crop only as ``same`` does, whatever their ``output_padding``.
    The whole result is computed group by group, with a kernel that holds zeros where a dilation skips positions,
    and cropped; both are exact.

    Args:
        values: Of the stock class.
        groups: Parts into which channels and filters are divided.
        spread: The dilation; ``dilation_rate`` of the stock class stays 1.
        ends: Values taken off (or, below 0, zeros put on) before and after each axis.
        settings: Of the stock class.
    """

    # Of the stock class.
    add_weight: Any
    bias_initializer: Any
    dtype: Any
    filters: int
    kernel: Any
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    use_bias: bool

    def __init__(self, *values: Any, groups: int, spread: Sequence[int], ends: Pairs, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.groups = groups
        self.spread = tuple(int(step) for step in spread)
        self.ends = tuple((int(before), int(after)) for before, after in ends)

    def build(self, input_shape: Any) -> None:
        """The stock layer's weights, with the filters of one group in the kernel."""
        filters = self.filters
        self.filters = filters // self.groups
        with_bias, self.use_bias = self.use_bias, False
        super().build(input_shape)  # type: ignore[misc] # of the stock class beside this one
        self.filters, self.use_bias = filters, with_bias
        if with_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(filters,),
                initializer=self.bias_initializer,
                dtype=self.dtype,
            )

    def call(self, inputs: Any) -> Any:
        """Shape ``(examples, *spatial, filters)``."""
        kernel = self._spread(self.kernel)
        sizes = [
            (n - 1) * stride + k for n, stride, k in zip(inputs.shape[1:-1], self.strides, kernel.shape, strict=False)
        ]
        whole = tf.concat(
            [
                tf.nn.conv_transpose(
                    part,
                    weights,
                    tf.stack([tf.shape(inputs)[0], *sizes, kernel.shape[-2]]),
                    self.strides,
                    "VALID",
                )
                for part, weights in zip(
                    tf.split(inputs, self.groups, axis=-1), tf.split(kernel, self.groups, axis=-1), strict=True
                )
            ],
            axis=-1,
        )
        kept = [
            slice(max(before, 0), size - max(after, 0)) for (before, after), size in zip(self.ends, sizes, strict=True)
        ]
        outputs = whole[(slice(None), *kept, slice(None))]
        if any(min(pair) < 0 for pair in self.ends):
            more = [(max(-before, 0), max(-after, 0)) for before, after in self.ends]
            outputs = tf.pad(outputs, [(0, 0), *more, (0, 0)])
        return outputs if self.bias is None else outputs + self.bias

    def _spread(self, kernel: Any) -> Any:
        """The kernel with ``dilation - 1`` zeros between its positions."""
        for axis, step in enumerate(self.spread):
            if step > 1:
                shape = list(kernel.shape)
                gaps = [(0, 0)] * (len(shape) + 1)
                gaps[axis + 1] = (0, step - 1)
                wide = tf.pad(tf.expand_dims(kernel, axis + 1), gaps)
                wide = tf.reshape(wide, [*shape[:axis], shape[axis] * step, *shape[axis + 1 :]])
                kernel = wide[(*(slice(None),) * axis, slice(0, (shape[axis] - 1) * step + 1))]
        return kernel

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """``(n - 1) stride + dilation (k - 1) + 1`` less what is taken off, along each axis."""
        sizes = [
            (n - 1) * stride + step * (k - 1) + 1 - sum(pair)
            for n, stride, k, step, pair in zip(
                input_shape[1:-1],
                self.strides,
                self.kernel_size,
                self.spread,
                self.ends,
                strict=True,
            )
        ]
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The stock layer's, and what is set here."""
        return {**super().get_config(), "groups": self.groups, "spread": self.spread, "ends": self.ends}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="dualml")
class GeneralConv1DTranspose(_General, keras.layers.Conv1DTranspose):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Conv1DTranspose`` with groups, dilation at any stride, and crops."""


@keras.saving.register_keras_serializable(package="dualml")
class GeneralConv2DTranspose(_General, keras.layers.Conv2DTranspose):  # type: ignore[misc] # keras is untyped
    """``keras.layers.Conv2DTranspose`` with groups, dilation at any stride, and crops."""


_STOCK = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose}
_GENERAL = {1: GeneralConv1DTranspose, 2: GeneralConv2DTranspose}


def _stock_settings(node: Node) -> dict[str, Any] | None:
    """What the stock layer calls a node's crops; ``None`` if it has no word for them."""
    settings = node.settings
    if settings.groups > 1 or max(settings.dilations) > 1:
        return None
    if not any(map(any, settings.crops)) and all(
        extra < stride for extra, stride in zip(settings.extra, settings.strides, strict=True)
    ):
        return {"padding": "valid", "output_padding": settings.extra}
    if settings.crops == settings.same_crops and settings.extra == settings.fill:
        return {"padding": "same", "output_padding": None}  # with a number, "same" takes off something else
    return None


def conv_transpose(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001 (one signature for all)
    """``keras.layers.Conv*DTranspose``, or ``GeneralConv*DTranspose``."""
    settings = node.settings
    common = {
        "filters": settings.filters,
        "kernel_size": settings.sizes,
        "strides": settings.strides,
        "dilation_rate": 1,
        "data_format": "channels_last",
        "activation": None,
        "use_bias": settings.bias,
        "kernel_initializer": "zeros",
        "bias_initializer": "zeros",
        "name": node.name,
        "dtype": precision,
    }
    stock = _stock_settings(node)
    if stock is not None:
        return _STOCK[settings.rank](**stock, **common)
    ends = [(before, after - extra) for (before, after), extra in zip(settings.crops, settings.extra, strict=True)]
    return _GENERAL[settings.rank](
        padding="valid", output_padding=None, groups=settings.groups, spread=settings.dilations, ends=ends, **common
    )


LAYERS: Mapping[str, Make] = dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), conv_transpose)
