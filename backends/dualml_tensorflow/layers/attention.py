"""Multi-head attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec.graph import Node
from dualml.spec.layers.positions import Placing, waves
from dualml_tensorflow.layers.base import Make, Masked, Variables

PROJECTIONS = ("query", "key", "value", "output")


@keras.saving.register_keras_serializable(package="dualml")
class Attention(keras.layers.Layer, Masked):  # type: ignore[misc] # keras is untyped
    """Multi-head attention with four ``keras.layers.Dense``: ``query``, ``key``, ``value`` and ``output``.

    Why not ``keras.layers.MultiHeadAttention`` and ``GroupQueryAttention``: their kernels have an axis for heads,
    ``(inputs, heads, size)``, and optimizers that treat a kernel as a matrix (Adafactor, Muon) then differ from
    PyTorch's; their scale ``1 / sqrt(size)`` is rounded to float32 in a float64 model, 4e-9 off; a query that may read
    no key gets the mean of all values; they draw their own dropout mask and have no rotary embedding. Where they can
    express the layer the numbers are equal: their kernels are these, reshaped.

    Args:
        heads: Number of heads.
        kv_heads: Number of heads of keys and values.
        size: Size of each head.
        units: Size of the output's last axis.
        use_bias: Whether projections have biases.
        causal: Whether a query reads only keys up to its own position.
        cross: Whether there is a memory.
        masked: Whether there is a mask.
        rate: Probability that a weight is dropped in training.
        rotary: ``(base, placing)`` of the rotary embedding, or ``None``.

    Attributes:
        mask: Which weights are kept, shape ``(examples, heads, queries, keys)``, dtype bool; ``None``: draw.
        seed_generator: What masks are drawn from; ``None`` where nothing is dropped.
    """

    def __init__(
        self,
        *,
        heads: int,
        kv_heads: int,
        size: int,
        units: int,
        use_bias: bool,
        causal: bool,
        cross: bool,
        masked: bool,
        rate: float,
        rotary: tuple[float, Placing] | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.heads, self.kv_heads, self.size, self.units = heads, kv_heads, size, units
        self.use_bias, self.causal, self.cross, self.masked = use_bias, causal, cross, masked
        self.rate, self.rotary = rate, rotary
        self.mask: Any = None
        self.seed_generator = keras.random.SeedGenerator(0) if rate > 0 else None
        self.query, self.key, self.value = (
            self._dense(name, count * size)
            for name, count in (("query", heads), ("key", kv_heads), ("value", kv_heads))
        )
        self.output_projection = self._dense("output", units)

    def _dense(self, name: str, units: int) -> Any:
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any) -> None:
        """Make the projections' variables."""
        shapes = input_shape if isinstance(input_shape[0], (tuple, list)) else [input_shape]
        memory = shapes[1] if self.cross else shapes[0]
        self.query.build(shapes[0])
        self.key.build(memory)
        self.value.build(memory)
        self.output_projection.build((*shapes[0][:-1], self.heads * self.size))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Attend.

        Args:
            inputs: What queries are made of, shape ``(examples, queries, inputs)``; or a list of it, the memory,
                shape ``(examples, keys, inputs)``, if there is one, and the mask, shape ``(examples, keys)``, 0 for
                padding, if there is one.
            training: Whether weights are dropped.

        Returns:
            Shape ``(examples, queries, units)``.
        """
        values = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        x, memory = values[0], values[1] if self.cross else values[0]
        query = self._cut(self.query(x), self.heads)
        key, value = (self._cut(layer(memory), self.kv_heads) for layer in (self.key, self.value))
        if self.rotary is not None:
            query, key = (self._turned(item, *self.rotary) for item in (query, key))
        groups = self.heads // self.kv_heads
        if groups > 1:
            key, value = tf.repeat(key, groups, axis=1), tf.repeat(value, groups, axis=1)
        scores = tf.matmul(query, key, transpose_b=True) * (1.0 / math.sqrt(self.size))
        readable = self._readable(query.shape[2], key.shape[2], values[-1])
        if readable is None:
            heads = tf.matmul(self._thinned(tf.nn.softmax(scores), training), value)
        else:
            # A row without any key would be NaN: it reads all of them, and its result is replaced.
            empty = tf.logical_not(tf.reduce_any(readable, axis=-1, keepdims=True))
            lowest = tf.constant(-math.inf, scores.dtype)
            weights = tf.nn.softmax(tf.where(tf.logical_or(readable, empty), scores, lowest))
            heads = tf.matmul(self._thinned(weights, training), value)
            heads = tf.where(empty, tf.zeros((), heads.dtype), heads)
        joined = tf.reshape(tf.transpose(heads, (0, 2, 1, 3)), (-1, query.shape[2], self.heads * self.size))
        return self.output_projection(joined)

    def _cut(self, value: Any, heads: int) -> Any:
        """Heads in front of positions: ``(examples, heads, positions, size)``."""
        return tf.transpose(tf.reshape(value, (-1, value.shape[1], heads, self.size)), (0, 2, 1, 3))

    def _turned(self, x: Any, base: float, placing: Placing) -> Any:
        """Pairs of numbers turned by their position; the shape of ``x``."""
        length = x.shape[2]
        sines, cosines = (tf.constant(table, x.dtype) for table in waves(length, self.size, base))
        axis = -1 if placing == "interleaved" else -2
        pair = (self.size // 2, 2) if placing == "interleaved" else (2, self.size // 2)
        a, b = tf.unstack(tf.reshape(x, (-1, x.shape[1], length, *pair)), axis=axis)
        turned = tf.stack([a * cosines - b * sines, a * sines + b * cosines], axis=axis)
        return tf.reshape(turned, (-1, x.shape[1], length, self.size))

    def _readable(self, queries: int, keys: int, mask: Any) -> Any:
        """Which keys each query may read, a shape that broadcasts with the scores; ``None``: all."""
        readable = None
        if self.causal:
            readable = tf.range(queries)[:, None] >= tf.range(keys)
            readable = readable[None, None]
        if self.masked:
            kept = tf.not_equal(mask, tf.zeros((), mask.dtype))[:, None, None, :]
            readable = kept if readable is None else tf.logical_and(readable, kept)
        return readable

    def _thinned(self, weights: Any, training: bool) -> Any:
        """The weights after dropout."""
        if not training or self.rate == 0:
            return weights
        if self.mask is None:
            return keras.random.dropout(weights, self.rate, seed=self.seed_generator)
        return weights * tf.cast(self.mask, weights.dtype) / (1.0 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The first input's shape, the last axis ``units``."""
        first = input_shape[0] if isinstance(input_shape[0], (tuple, list)) else input_shape
        return (*first[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        own = (
            *("heads", "kv_heads", "size", "units", "use_bias"),
            *("causal", "cross", "masked", "rate", "rotary"),
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def attention(node: Node, precision: str, native_randomness: bool) -> Any:  # noqa: ARG001
    """``Attention``."""
    settings, shapes = node.settings, node.input_shapes
    rotary = settings.rotary
    return Attention(
        heads=settings.heads,
        kv_heads=settings.key_heads,
        size=settings.head_size(shapes),
        units=node.shape[-1],
        use_bias=settings.bias,
        causal=settings.causal,
        cross=len(shapes) - (settings.mask is not None) == 2,
        masked=settings.mask is not None,
        rate=settings.rate,
        rotary=None if rotary is None else (rotary.base, rotary.placing),
        name=node.name,
        dtype=precision,
    )


def _variables(layer: Any) -> Mapping[str, Any]:
    """Kernels and biases of the projections."""
    found = {}
    for name, dense in zip(PROJECTIONS, (layer.query, layer.key, layer.value, layer.output_projection), strict=True):
        found[f"{name}_kernel"] = dense.kernel
        if layer.use_bias:
            found[f"{name}_bias"] = dense.bias
    return found


LAYERS: Mapping[str, Make] = {"attention": attention}
VARIABLES: Mapping[str, Variables] = {"attention": _variables}
