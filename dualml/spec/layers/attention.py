"""Multi-head attention."""

from __future__ import annotations

import math

from pydantic import Field

from dualml.spec.base import Settings
from dualml.spec.initializers import Initializer
from dualml.spec.layers.base import Layer, LayerName, ParameterShape, PositiveInt, Shape
from dualml.spec.layers.embedding import sequence
from dualml.spec.layers.positions import Placing


class Rotary(Settings):
    """Rotary position embedding (Su et al., arXiv:2104.09864): pairs of a head's numbers turn with the position.

    Pair ``i`` of a query or key at position ``t``, from 0, turns by ``t base^(-2 i / size)``:
    ``(a, b) -> (a cos - b sin, a sin + b cos)``.
    """

    base: float = Field(default=10000.0, gt=1)
    """Ratio of the slowest turn to the fastest."""
    interleaved: bool = False
    """Whether pair ``i`` stands at ``2 i`` and ``2 i + 1`` (the paper), or at ``i`` and ``i + size / 2`` (Llama)."""

    @property
    def placing(self) -> Placing:
        """Where the two numbers of a pair stand."""
        return "interleaved" if self.interleaved else "halves"


class Attention(Layer):
    """Multi-head attention (Vaswani et al., arXiv:1706.03762, section 3.2.2).

    ``Q = x K_q + b_q``, ``K = m K_k + b_k``, ``V = m K_v + b_v``, each cut into heads of ``size`` numbers; for each
    head ``A = softmax(Q K^t / sqrt(size))`` over the keys that may be read, and ``y = [A V of every head] K_o + b_o``.
    The first input is ``x``, of shape ``(queries, inputs)``; a second one is the memory ``m`` (cross-attention),
    without it ``m = x``. Fewer ``kv_heads`` than ``heads`` is grouped-query attention (Ainslie et al.,
    arXiv:2305.13245): head ``h`` reads key head ``h // (heads / kv_heads)``; one is multi-query attention.

    A query reads a key unless ``causal`` puts the key behind it (position of the key > position of the query, both
    from 0) or ``mask`` has a 0 for the key. A query that may read no key at all gets zeros for ``A V``, and passes
    no gradient. In training ``A`` is multiplied by a random mask and divided by ``1 - rate``.

    Differs from the frameworks for a query that may read no key: ``torch.nn.MultiheadAttention`` gives NaN where it
    also returns weights, ``keras.layers.MultiHeadAttention`` the mean of all values, ``torch.nn.functional
    .scaled_dot_product_attention`` zeros, as here. Differs from ``torch.nn.MultiheadAttention`` with a ``kdim`` of its
    own, whose initial kernels are wider by ``sqrt 2`` than those of the packed projection; here they are the latter's.
    """

    kind = "attention"
    most_inputs = 2
    references = ("mask",)

    heads: PositiveInt = Field(kw_only=False)
    """Number of heads."""
    size: PositiveInt | None = None
    """Size of each head; left out, the input's units divided by ``heads``."""
    kv_heads: PositiveInt | None = None
    """Number of heads of keys and values; left out, ``heads``."""
    units: PositiveInt | None = None
    """Size of the output's last axis; left out, that of the input."""
    causal: bool = False
    """Whether a query reads only keys up to its own position."""
    mask: LayerName | None = None
    """A layer that gives 1 for a key that is read and 0 for padding, shape ``(keys,)``; left out, all are read."""
    rotary: Rotary | None = None
    """Whether and how queries and keys are turned by their positions."""
    rate: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a weight of ``A`` is dropped in training."""
    bias: bool = True
    """Whether there are ``b_q``, ``b_k``, ``b_v`` and ``b_o``."""
    kernel_initializer: Initializer | None = None
    """How ``K_q``, ``K_k`` and ``K_v`` are drawn."""
    bias_initializer: Initializer | None = None
    """How ``b_q``, ``b_k`` and ``b_v`` are drawn."""
    output_kernel_initializer: Initializer | None = None
    """How ``K_o`` is drawn."""
    output_bias_initializer: Initializer | None = None
    """How ``b_o`` is drawn."""

    @property
    def key_heads(self) -> int:
        """Number of heads of keys and values."""
        return self.heads if self.kv_heads is None else self.kv_heads

    def head_size(self, inputs: tuple[Shape, ...]) -> int:
        """Size of each head.

        Raises:
            ValueError: The input's units do not divide into heads.
        """
        if self.size is not None:
            return self.size
        units = inputs[0][-1]
        if units % self.heads:
            raise ValueError(
                f"the input's {units} units do not divide into {self.heads} heads; set size, the size of each head"
            )
        return units // self.heads

    def scale(self, inputs: tuple[Shape, ...]) -> float:
        """What products of queries and keys are multiplied by."""
        return 1.0 / math.sqrt(self.head_size(inputs))

    def memory(self, inputs: tuple[Shape, ...]) -> Shape:
        """Shape of what keys and values are made of; ``inputs`` may end with the mask's."""
        return inputs[1] if len(inputs) - (self.mask is not None) == 2 else inputs[0]

    def shape(self, inputs: tuple[Shape, ...]) -> Shape:
        queries, units = sequence(inputs[0])
        keys, _ = sequence(self.memory(inputs))
        size = self.head_size(inputs)
        if self.heads % self.key_heads:
            raise ValueError(f"kv_heads must divide heads, got {self.key_heads} for {self.heads} heads")
        if self.mask is not None and inputs[-1] != (keys,):
            raise ValueError(
                f"the mask {self.mask!r} must have one value for each of the {keys} keys, shape [{keys}], "
                f"got shape {list(inputs[-1])}"
            )
        if self.rotary is not None and size % 2:
            raise ValueError(f"rotary turns pairs of numbers, so the size of a head must be even, got {size}")
        if self.rotary is not None and len(inputs) - (self.mask is not None) == 2:
            raise ValueError(
                "rotary compares positions in one sequence, but keys come from a memory of their own; "
                "leave rotary out of cross-attention"
            )
        return (queries, self.units or units)

    def parameters(self, inputs: tuple[Shape, ...]) -> tuple[ParameterShape, ...]:
        size, own, other = self.head_size(inputs), inputs[0][-1], self.memory(inputs)[-1]
        wide, narrow = self.heads * size, self.key_heads * size
        projections = {
            "query": (own, wide, self.kernel_initializer, self.bias_initializer),
            "key": (other, narrow, self.kernel_initializer, self.bias_initializer),
            "value": (other, narrow, self.kernel_initializer, self.bias_initializer),
            "output": (wide, self.units or own, self.output_kernel_initializer, self.output_bias_initializer),
        }
        found = []
        for name, (fan_in, fan_out, kernel, bias) in projections.items():
            found.append(ParameterShape(f"{name}_kernel", (fan_in, fan_out), kernel, fan_in, fan_out))
            if self.bias:
                found.append(ParameterShape(f"{name}_bias", (fan_out,), bias, fan_in, fan_out))
        return tuple(found)

    def random_mask(self, inputs: tuple[Shape, ...]) -> Shape | None:
        return None if self.rate == 0 else (self.heads, inputs[0][0], self.memory(inputs)[0])
