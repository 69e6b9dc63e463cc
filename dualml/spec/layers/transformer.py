"""Transformer blocks, made of attention, dense, normalising and merging layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from dualml.spec.activations import ActivationFunction, Relu
from dualml.spec.initializers import Initializer
from dualml.spec.layers.attention import Attention, Rotary
from dualml.spec.layers.base import Composite, Layer, LayerName, PositiveInt, Shape
from dualml.spec.layers.dense import Dense
from dualml.spec.layers.dropout import Dropout
from dualml.spec.layers.merge import Add, Multiply
from dualml.spec.layers.normalization import LayerNorm, RmsNorm


class FeedForward(Composite):
    """``y = D(f(x K_u + b_u)) K_d + b_d`` over the last axis, ``D`` dropout (Vaswani et al., arXiv:1706.03762, eq. 2).

    With ``gated`` ``y = D(f(x K_g + b_g) (x K_u + b_u)) K_d + b_d`` (Shazeer, arXiv:2002.05202): ``activation: silu``
    is SwiGLU, ``gelu`` GEGLU, ``sigmoid`` GLU. Its dense layers are named ``up``, ``gate`` and ``down``.
    """

    kind = "feed_forward"

    hidden: PositiveInt = Field(kw_only=False)
    """Size between the two."""
    units: PositiveInt | None = None
    """Size of the output's last axis; left out, that of the input."""
    activation: ActivationFunction = Relu()
    """Function ``f``."""
    gated: bool = False
    """Whether ``f`` is a factor of its own."""
    rate: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a hidden value is dropped in training."""
    bias: bool = True
    """Whether the dense layers have biases."""
    kernel_initializer: Initializer | None = None
    """How kernels are drawn; left out, as those of ``dense``."""
    bias_initializer: Initializer | None = None
    """How biases are drawn; left out, as those of ``dense``."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        common: dict[str, Any] = {
            "bias": self.bias,
            "kernel_initializer": self.kernel_initializer,
            "bias_initializer": self.bias_initializer,
        }
        up = Dense(self.hidden, name="up", inputs="input", **common)
        down = Dense(self.units or inputs[0][-1], name="down", **common)
        thin = (Dropout(self.rate, name="hidden_dropout"),) if self.rate else ()
        if not self.gated:
            return up.model_copy(update={"activation": self.activation}), *thin, down
        gate = Dense(self.hidden, name="gate", inputs="input", activation=self.activation, **common)
        return up, gate, Multiply(name="multiply", inputs=["gate", "up"]), *thin, down


class _Block(Composite):
    """What encoder and decoder have in common: settings, and how a sublayer is wrapped."""

    heads: PositiveInt = Field(kw_only=False)
    """Number of heads."""
    hidden: PositiveInt = Field(kw_only=False)
    """Size inside of the feed-forward layer."""
    activation: ActivationFunction = Relu()
    """Function of the feed-forward layer."""
    gated: bool = False
    """Whether the feed-forward layer is gated: ``activation: silu`` then makes it SwiGLU."""
    rate: float | None = Field(default=None, ge=0, lt=1)
    """Probability that a value is dropped in training: an output of a sublayer, or a hidden value."""
    attention_rate: float | None = Field(default=None, ge=0, lt=1)
    """Probability that a weight of attention is dropped in training; left out, ``rate``."""
    norm: Literal["pre", "post"] = "post"
    """Where normalisation stands: before each sublayer (behind the last block of a stack put one more), or after it."""
    norm_kind: Literal["layer_norm", "rms_norm"] = "layer_norm"
    """Which layer normalises."""
    epsilon: float | None = Field(default=None, gt=0)
    """Epsilon of that layer."""
    bias: bool = True
    """Whether projections, dense layers and ``layer_norm`` have biases."""
    size: PositiveInt | None = None
    """Size of each head; left out, the input's units divided by ``heads``."""
    kv_heads: PositiveInt | None = None
    """Number of heads of keys and values; left out, ``heads``."""

    def attention(self, name: str, inputs: list[str], **settings: Any) -> Attention:
        """An attention with the block's settings."""
        thinned = self.rate if self.attention_rate is None else self.attention_rate
        return Attention(
            self.heads,
            size=self.size,
            kv_heads=self.kv_heads,
            bias=self.bias,
            rate=thinned or 0.0,
            name=name,
            inputs=inputs,
            **settings,
        )

    def feed_forward(self, name: str, source: str) -> FeedForward:
        """A feed-forward layer with the block's settings."""
        return FeedForward(
            self.hidden,
            activation=self.activation,
            gated=self.gated,
            rate=self.rate or 0.0,
            bias=self.bias,
            name=name,
            inputs=source,
        )

    def wrapped(self, name: str, source: str, make: Callable[[str], Layer]) -> tuple[list[Layer], str]:
        """A sublayer with its normalisation, dropout and shortcut.

        Args:
            name: The sublayer's name.
            source: What feeds it.
            make: Makes the sublayer, given the name of what it reads.

        Returns:
            The layers, and the name of the one that holds the result.
        """
        layers: list[Layer] = []
        norm, reads, end = f"{name}_norm", source, name
        if self.norm == "pre":
            layers.append(self._normalising(norm, source))
            reads = norm
        layers.append(make(reads))
        if self.rate:
            end = f"{name}_dropout"
            layers.append(Dropout(self.rate, name=end, inputs=name))
        layers.append(Add(name=f"{name}_add", inputs=[source, end]))
        if self.norm == "pre":
            return layers, f"{name}_add"
        layers.append(self._normalising(norm, f"{name}_add"))
        return layers, norm

    def _normalising(self, name: str, source: str) -> Layer:
        if self.norm_kind == "rms_norm":
            return RmsNorm(epsilon=self.epsilon, name=name, inputs=source)
        return LayerNorm(epsilon=self.epsilon, offset=self.bias, name=name, inputs=source)


class TransformerEncoder(_Block):
    """Self-attention and a feed-forward layer, each with a shortcut and normalisation.

    ``norm: post`` (Vaswani et al., arXiv:1706.03762, section 3.1): ``h = N(x + D(A(x)))``, ``y = N(h + D(F(h)))``.
    ``norm: pre`` (Xiong et al., arXiv:2002.04745): ``h = x + D(A(N(x)))``, ``y = h + D(F(N(h)))``. ``A`` is
    ``attention``, ``F`` is ``feed_forward``, ``N`` the normalisation, ``D`` dropout. With ``causal`` it is a block of
    a language model such as GPT.

    Equal to ``torch.nn.TransformerEncoderLayer(batch_first=True)`` in training mode. Differs from
    ``torch.nn.TransformerEncoder`` in inference, whose fast path gives zeros at padded positions; here they are
    computed as any other. Keras itself has no such layer.
    """

    kind = "transformer_encoder"

    causal: bool = False
    """Whether a position reads only those up to its own."""
    mask: LayerName | None = None
    """A layer that gives 1 for a position that is read and 0 for padding, shape ``(length,)``."""
    rotary: Rotary | None = None
    """Whether and how queries and keys are turned by their positions."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        first, middle = self.wrapped(
            "attention",
            "input",
            lambda source: self.attention(
                "attention", [source], causal=self.causal, mask=self.mask, rotary=self.rotary
            ),
        )
        second, _ = self.wrapped("feed_forward", middle, lambda source: self.feed_forward("feed_forward", source))
        return (*first, *second)


class TransformerDecoder(_Block):
    """Causal self-attention, attention to a memory and a feed-forward layer; ``inputs: [x, memory]``.

    Each with a shortcut and normalisation as in ``transformer_encoder`` (Vaswani et al., arXiv:1706.03762, section
    3.1); the memory is read as it is. Equal to ``torch.nn.TransformerDecoderLayer(batch_first=True)`` with a causal
    ``tgt_mask``. Keras itself has no such layer.
    """

    kind = "transformer_decoder"
    fewest_inputs = 2
    most_inputs = 2
    input_names = ("input", "memory")

    causal: bool = True
    """Whether a position reads only those of its own sequence up to its own."""
    mask: LayerName | None = None
    """A layer that gives 1 for a position of its own sequence that is read and 0 for padding."""
    memory_mask: LayerName | None = None
    """The same for the memory's positions."""

    def expand(self, inputs: tuple[Shape, ...]) -> tuple[Layer, ...]:
        first, own = self.wrapped(
            "attention",
            "input",
            lambda source: self.attention("attention", [source], causal=self.causal, mask=self.mask),
        )
        second, read = self.wrapped(
            "cross_attention",
            own,
            lambda source: self.attention("cross_attention", [source, "memory"], mask=self.memory_mask),
        )
        third, _ = self.wrapped("feed_forward", read, lambda source: self.feed_forward("feed_forward", source))
        return (*first, *second, *third)
