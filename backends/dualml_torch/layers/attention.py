"""Multi-head attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualml.spec.graph import Node
from dualml.spec.layers.positions import Placing, waves
from dualml_torch.layers.base import Make, Masked, Placement, Roles, same, transposed, uninitialised


class Attention(Masked):
    """Multi-head attention with four ``torch.nn.Linear``: ``query``, ``key``, ``value`` and ``output``.

    Why not ``torch.nn.MultiheadAttention``: it has no grouped queries, no rotary embedding, no head size or output
    size of its own, draws its own dropout mask, and in inference gives NaN or another value for queries that may read
    no key, by whether it is asked for its weights. Where it can express the layer the two are equal: its
    ``in_proj_weight`` is the weights of ``query``, ``key`` and ``value`` stacked, ``out_proj`` is ``output``.

    Args:
        query: Projects queries to ``heads size``.
        key: Projects keys to ``kv_heads size``.
        value: Projects values to ``kv_heads size``.
        output: Projects from ``heads size``.
        size: Size of each head.
        scale: What products of queries and keys are multiplied by.
        causal: Whether a query reads only keys up to its own position.
        cross: Whether there is a memory.
        masked: Whether there is a mask.
        rate: Probability that a weight is dropped in training.
        rotary: Turns queries and keys, or ``None``.
    """

    def __init__(
        self,
        query: nn.Module,
        key: nn.Module,
        value: nn.Module,
        output: nn.Module,
        *,
        size: int,
        scale: float,
        causal: bool,
        cross: bool,
        masked: bool,
        rate: float,
        rotary: nn.Module | None,
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = query, key, value, output
        self.size, self.scale, self.rate = size, scale, rate
        self.causal, self.cross, self.masked = causal, cross, masked
        self.rotary = rotary

    def forward(self, input: Tensor, *others: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """Attend.

        Args:
            input: What queries are made of, shape ``(examples, queries, inputs)``.
            *others: The memory, shape ``(examples, keys, inputs)``, if there is one; then the mask, shape
                ``(examples, keys)``, 0 for padding, if there is one.

        Returns:
            Shape ``(examples, queries, units)``.
        """
        memory = others[0] if self.cross else input
        query, key, value = self._cut(self.query(input)), self._cut(self.key(memory)), self._cut(self.value(memory))
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
        if self.masked:
            heads = self._read_masked(query, key, value, others[-1] != 0)
        else:
            heads = self._read(query, key, value, None)
        joined: Tensor = self.output(heads.transpose(1, 2).flatten(2))
        return joined

    def _cut(self, value: Tensor) -> Tensor:
        """Heads in front of positions: ``(examples, heads, positions, size)``."""
        return value.reshape(*value.shape[:-1], value.shape[-1] // self.size, self.size).transpose(1, 2)

    def _read_masked(self, query: Tensor, key: Tensor, value: Tensor, kept: Tensor) -> Tensor:
        """Each head's values, zeros for queries that may read no key; ``kept`` is ``(examples, keys)``."""
        readable = kept[:, None, None, :]
        if self.causal:
            readable = readable & self._before(query, key)
        empty = ~readable.any(dim=-1, keepdim=True)
        return self._read(query, key, value, readable | empty).masked_fill(empty, 0.0)

    def _read(self, query: Tensor, key: Tensor, value: Tensor, readable: Tensor | None) -> Tensor:
        """Each head's values; every query may read a key."""
        if self.mask is None or not self.training:
            return functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=readable,
                dropout_p=self.rate if self.training else 0.0,
                is_causal=self.causal and readable is None,
                scale=self.scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        # The fused function draws its own dropout mask, so a given one needs the steps written out.
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        scores = (query @ key.transpose(-1, -2)) * self.scale
        if readable is None and self.causal:
            readable = self._before(query, key)
        if readable is not None:
            scores = scores.masked_fill(~readable, -torch.inf)
        weights = scores.softmax(dim=-1) * self.mask.to(scores.dtype).div_(1.0 - self.rate)
        return weights @ value

    @staticmethod
    def _before(query: Tensor, key: Tensor) -> Tensor:
        """Which keys stand no later than each query, ``(queries, keys)``."""
        shape = (query.shape[2], key.shape[2])
        return torch.ones(shape, dtype=torch.bool, device=query.device).tril()

    def extra_repr(self) -> str:
        """The settings, in the module's text."""
        return f"size={self.size}, causal={self.causal}, cross={self.cross}, masked={self.masked}, rate={self.rate}"


class Rotary(nn.Module):
    """Turns pairs of a head's numbers by their position; PyTorch has no such module.

    Attributes:
        sines: Shape ``(length, size / 2)``; not in the ``state_dict``.
        cosines: The same.
    """

    sines: Tensor
    cosines: Tensor

    def __init__(self, sines: Tensor, cosines: Tensor, placing: Placing) -> None:
        super().__init__()
        self.register_buffer("sines", sines, persistent=False)
        self.register_buffer("cosines", cosines, persistent=False)
        self.placing = placing

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as stock modules name it)
        """Shape ``(examples, heads, length, size)``, as the input."""
        axis = -1 if self.placing == "interleaved" else -2
        half = input.shape[-1] // 2
        pair = (half, 2) if self.placing == "interleaved" else (2, half)
        a, b = input.reshape(*input.shape[:-1], *pair).unbind(axis)
        turned = (a * self.cosines - b * self.sines, a * self.sines + b * self.cosines)
        return torch.stack(turned, dim=axis).flatten(-2)


def attention(node: Node, placement: Placement) -> nn.Module:
    """``Attention``."""
    settings, shapes = node.settings, node.input_shapes
    size = settings.head_size(shapes)

    def linear(role: str) -> nn.Module:
        inputs, units = node.parameter(f"{role}_kernel").shape  # type: ignore[union-attr] # every role has a kernel
        return uninitialised(nn.Linear, placement, inputs, units, bias=settings.bias)

    rotary = None
    if settings.rotary is not None:
        sines, cosines = (
            torch.tensor(table, dtype=placement.dtype, device=placement.device)
            for table in waves(shapes[0][0], size, settings.rotary.base)
        )
        rotary = Rotary(sines, cosines, settings.rotary.placing)
    return Attention(
        linear("query"),
        linear("key"),
        linear("value"),
        linear("output"),
        size=size,
        scale=settings.scale(shapes),
        causal=settings.causal,
        cross=len(shapes) - (settings.mask is not None) == 2,
        masked=settings.mask is not None,
        rate=settings.rate,
        rotary=rotary,
    )


_PROJECTIONS = ("query", "key", "value", "output")
LAYERS: Mapping[str, Make] = {"attention": attention}
ROLES: Roles = {
    **{("attention", f"{name}_kernel"): transposed(f"{name}.weight", (1, 0)) for name in _PROJECTIONS},
    **{("attention", f"{name}_bias"): same(f"{name}.bias") for name in _PROJECTIONS},
}
