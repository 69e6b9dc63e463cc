"""``torch.nn.MultiheadAttention`` in the terms of a spec."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualml.native.protocol import OPAQUE
from dualml_torch.native.recipes import Function, Pass, Template
from dualml_torch.native.settings import Said
from dualml_torch.native.trace import Observer
from dualml_torch.native.weights import Kept, kept, names_by_role

_PARTS = ("query", "key", "value")
_SIGNATURE = inspect.signature(nn.MultiheadAttention.forward)


def attention_kept(module: nn.MultiheadAttention) -> tuple[Kept, ...]:
    """The arrays: packed projections are taken apart."""
    size = module.embed_dim
    found: list[Kept] = []
    for place, part in enumerate(_PARTS):
        rows = (place * size, (place + 1) * size)
        if module.in_proj_weight is not None:
            found.append(kept("attention", f"{part}_kernel", attribute="in_proj_weight", rows=rows))
        else:
            found.append(kept("attention", f"{part}_kernel", attribute=f"{part[0]}_proj_weight"))
        if module.in_proj_bias is not None:
            found.append(kept("attention", f"{part}_bias", attribute="in_proj_bias", rows=rows))
    found.append(kept("attention", "output_kernel", attribute="out_proj.weight"))
    if module.out_proj.bias is not None:
        found.append(kept("attention", "output_bias", attribute="out_proj.bias"))
    return tuple(found)


@dataclass(frozen=True)
class Attending:
    """Runs an attention module as one call.

    Attributes:
        arrays: What it holds.
    """

    arrays: tuple[Kept, ...]

    def __call__(
        self, observer: Observer, path: str, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run it; ``NotImplemented`` for what the spec's attention has not."""
        bound = _SIGNATURE.bind(module, *args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        query, key, value = given["query"], given["key"], given["value"]
        causal = _causal(given["attn_mask"], query, key, module)
        plain = query.ndim == 3 and key is value and module.bias_k is None and not module.add_zero_attn
        padding = given["key_padding_mask"]
        if not plain or causal is None or module.dropout >= 1:
            return NotImplemented
        observer.demand([query, key])
        observer.before([query, key])
        kept_tensor = None if padding is None else _kept(observer, padding)
        name = observer.name_of_module(path)
        inputs = [query, *([] if key is query else [key]), *([] if kept_tensor is None else [kept_tensor])]
        run = AttentionRun(
            path,
            cross=key is not query,
            masked=kept_tensor is not None,
            causal=causal,
            need_weights=bool(given["need_weights"]),
            average=bool(given["average_attn_weights"]),
        )
        said = Said(
            "attention",
            {
                "heads": module.num_heads,
                "size": module.head_dim,
                "kv_heads": module.num_heads,
                "units": module.embed_dim,
                "causal": causal,
                "mask": None if kept_tensor is None else "",
                "rotary": None,
                "rate": float(module.dropout),
                "bias": module.in_proj_bias is not None,
            },
            weights=names_by_role(observer.weights, path, self.arrays),
            unsaid=() if module.dropout else ("rate",),
            code=_written(module),
            batch_axis=0 if module.batch_first else 1,
        )
        keys = observer.keys_of(name, inputs)
        found, weights = observer.run(run, inputs, observer.mask(name))
        made = observer.call(name, said, keys, inputs, found, _first(run), type(module).__name__)
        if weights is not None:
            self._await_weights(observer, f"{name}.weights", keys, inputs, weights, run)
        return made, weights

    @staticmethod
    def _await_weights(
        observer: Observer,
        name: str,
        keys: tuple[int, ...],
        inputs: list[Tensor],
        weights: Tensor,
        run: AttentionRun,
    ) -> None:
        def record() -> None:
            said = Said(OPAQUE, code="attention weights")
            observer.call(name, said, keys, inputs, weights, lambda of, given: run(of, given)[1], "MultiheadAttention")

        observer.await_reader(weights, record)


def _first(run: AttentionRun) -> Any:
    return lambda of, inputs: run(of, inputs)[0]


def _written(module: nn.MultiheadAttention) -> str:
    shown = f"{module.embed_dim}, {module.num_heads}, dropout={module.dropout}, batch_first={module.batch_first}"
    return f"nn.MultiheadAttention({shown})"


def _causal(mask: Tensor | None, query: Tensor, key: Tensor, module: Any) -> bool | None:
    """Whether a mask forbids just the keys behind each query; ``None`` for any other mask."""
    if mask is None:
        return False
    time = 1 if module.batch_first else 0
    shape = (query.shape[time], key.shape[time])
    if tuple(mask.shape) != shape:
        return None
    ahead = torch.ones(shape, dtype=torch.bool, device=mask.device).triu(1)
    if mask.dtype is torch.bool:
        return True if bool((mask == ahead).all()) else None
    open_ = torch.zeros(shape, dtype=mask.dtype, device=mask.device).masked_fill(ahead, -torch.inf)
    return True if bool((mask == open_).all()) else None


def _kept(observer: Observer, padding: Tensor) -> Tensor:
    """A value that is true for keys that are read."""
    known = observer.kept_of.get(id(padding))
    if known is not None:
        return known()
    name = observer.name_of_function("kept")
    observer.before([padding])
    keys = observer.keys_of(name, [padding])
    opposite = torch.logical_not if padding.dtype is torch.bool else _is_zero
    recipe = Function(opposite, Template.of((padding,), {}, [padding], {}))
    made = opposite(padding)
    found: Tensor = observer.call(name, Said(OPAQUE, code="~x"), keys, [padding], made, recipe, "torch.logical_not")
    return found


def _is_zero(mask: Tensor) -> Tensor:
    return mask == 0


@dataclass(frozen=True)
class AttentionRun:
    """How the module runs.

    Attributes:
        path: The module's.
        cross: Whether there is a memory among the inputs.
        masked: Whether the last input says which keys are read.
        causal: Whether a query reads only keys up to its own position.
        need_weights: As the user asked.
        average: As the user asked.
    """

    path: str
    cross: bool
    masked: bool
    causal: bool
    need_weights: bool
    average: bool

    def __call__(self, of: Pass, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The values, and the weights if they are asked for."""
        module: Any = of.model.get_submodule(self.path)
        query, memory = inputs[0], inputs[1] if self.cross else inputs[0]
        ignored = ~(inputs[-1] != 0) if self.masked else None
        time = 1 if module.batch_first else 0
        ahead = None
        if self.causal:
            shape = (query.shape[time], memory.shape[time])
            ahead = torch.ones(shape, dtype=torch.bool, device=query.device).triu(1)
        if of.training and module.training and module.dropout and of.mask is not None:
            return self._written_out(module, query, memory, ignored, ahead, of.mask), None
        rate = module.dropout
        try:
            module.dropout = 0.0 if of.training else rate
            found: tuple[Tensor, Tensor | None] = type(module).forward(
                module,
                query,
                memory,
                memory,
                key_padding_mask=ignored,
                need_weights=self.need_weights,
                attn_mask=ahead,
                average_attn_weights=self.average,
            )
            return found
        finally:
            module.dropout = rate

    @staticmethod
    def _written_out(
        module: Any, query: Tensor, memory: Tensor, ignored: Tensor | None, ahead: Tensor | None, mask: Tensor
    ) -> Tensor:
        """Step by step, for the fused function draws a mask of its own."""
        if not module.batch_first:
            query, memory = query.transpose(0, 1), memory.transpose(0, 1)
        kernels = (
            (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
            if module.in_proj_weight is None
            else module.in_proj_weight.chunk(3)
        )
        biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
        q, k, v = (
            functional.linear(x, kernel, bias).view(*x.shape[:2], module.num_heads, -1).transpose(1, 2)
            for x, kernel, bias in zip((query, memory, memory), kernels, biases, strict=True)
        )
        scores = (q @ k.transpose(2, 3)) * module.head_dim**-0.5
        for hidden in (ahead, None if ignored is None else ignored[:, None, None, :]):
            scores = scores if hidden is None else scores.masked_fill(hidden, -torch.inf)
        weights = scores.softmax(-1) * mask.to(scores.dtype).div_(1.0 - module.dropout)
        heads = (weights @ v).transpose(1, 2).flatten(2)
        found: Tensor = functional.linear(heads, module.out_proj.weight, module.out_proj.bias)
        return found if module.batch_first else found.transpose(0, 1)
