"""Stock recurrent layers: each layer of a stack and each direction as a call of its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dualml_torch.native.dropping import thinned
from dualml_torch.native.recipes import Function, Pass, Recipe, Template, tensors_of
from dualml_torch.native.settings import Said, axis_setting
from dualml_torch.native.trace import Observer
from dualml_torch.native.weights import Kept, kept, names_by_role

_KINDS = {"RNN_TANH": "simple_rnn", "RNN_RELU": "simple_rnn", "LSTM": "lstm", "GRU": "gru"}
_FUNCTIONS: dict[str, Any] = {
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
    "LSTM": torch.lstm,
    "GRU": torch.gru,
}
_ATTRIBUTES = {
    "kernel": "weight_ih",
    "recurrent_kernel": "weight_hh",
    "bias": "bias_ih",
    "recurrent_bias": "bias_hh",
}


def recurrent_kept(module: nn.RNNBase) -> tuple[Kept, ...]:
    """The arrays of every layer and direction; those of a stack or of two directions with ``l1_reverse`` before."""
    return tuple(item for layer in range(module.num_layers) for item in _layer_kept(module, layer))


def _prefix(module: nn.RNNBase, layer: int, direction: int) -> str:
    alone = module.num_layers == 1 and not module.bidirectional
    return "" if alone else f"l{layer}{'_reverse' if direction else ''}"


def _layer_kept(module: nn.RNNBase, layer: int) -> tuple[Kept, ...]:
    return tuple(
        kept(
            _KINDS[module.mode],
            role,
            attribute=f"{attribute}_l{layer}{'_reverse' if direction else ''}",
            prefix=_prefix(module, layer, direction),
        )
        for direction in range(1 + module.bidirectional)
        for role, attribute in _ATTRIBUTES.items()
        if module.bias or "bias" not in role
    )


@dataclass(frozen=True)
class Stack:
    """Runs a recurrent module layer by layer, with the functions it calls itself.

    Attributes:
        arrays: What it holds.
    """

    arrays: tuple[Kept, ...]

    def __call__(
        self, observer: Observer, path: str, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run it; ``NotImplemented`` for packed sequences, single examples, projections and states to start from."""
        given = [*args, *kwargs.values()]
        x = given[0]
        plain = isinstance(x, Tensor) and x.ndim == 3 and not module.proj_size and module.dropout < 1
        states = tensors_of(given[1:])
        if not plain or any(observer.is_value(state) or bool(state.any()) for state in states):
            return NotImplemented
        observer.demand([x])
        observer.before([x])
        name = observer.name_of_module(path)
        last: list[Tensor] = []
        cells: list[Tensor] = []
        for layer in range(module.num_layers):
            x = self._layer(observer, name, path, module, layer, x, last, cells)
            if module.dropout and layer + 1 < module.num_layers:
                x = _thinned(observer, f"{name}.l{layer}.dropout", module, x)
        final = _stacked(observer, f"{name}.last", last)
        if module.mode != "LSTM":
            return x, final
        return x, (final, _stacked(observer, f"{name}.cells", cells))

    def _layer(
        self,
        observer: Observer,
        name: str,
        path: str,
        module: nn.RNNBase,
        layer: int,
        x: Tensor,
        last: list[Tensor],
        cells: list[Tensor],
    ) -> Tensor:
        """Both directions of a layer, joined; their last states go to the lists."""
        run = LayerRun(path, layer)
        whole = observer.run(run, [x])
        found: list[Tensor] = []
        for direction in range(1 + module.bidirectional):
            prefix = _prefix(module, layer, direction)
            outputs = _part(whole, direction, module)
            arrays = tuple(item for item in self.arrays if item.prefix == prefix)
            own = f"{name}.{prefix}" if prefix else name
            said = _said(module, direction)
            said = replace(said, weights=names_by_role(observer.weights, path, arrays))
            keys = observer.keys_of(own, [x])
            recipe = _one_direction(run, direction)
            found.append(observer.call(own, said, keys, [x], outputs[0], recipe, type(module).__name__))
            _await_states(observer, own, outputs[1:])
            last.append(outputs[1])
            cells += outputs[2:]
        if len(found) == 1:
            return found[0]
        joined = torch.cat(found, dim=2)
        said = Said("concat", {"axis": axis_setting(2, 3)}, code="torch.cat(x, dim=2)")
        own = f"{name}.l{layer}.concat"
        recipe = Function(torch.cat, Template.of((found, 2), {}, found, {}))
        return observer.call(own, said, observer.keys_of(own, found), found, joined, recipe, "torch.cat")  # type: ignore[no-any-return]


def _said(module: nn.RNNBase, direction: int) -> Said:
    settings: dict[str, Any] = {
        "units": module.hidden_size,
        "return_sequences": True,
        "reverse": bool(direction),
        "mask": None,
        "masked_output": "zeros",
        "bias": "double" if module.bias else "none",
    }
    if module.mode == "GRU":
        settings["reset_after"] = True
    elif module.mode != "LSTM":
        settings["nonlinearity"] = "relu" if module.mode == "RNN_RELU" else "tanh"
    unsaid = ("bias", "reset_after") if module.mode == "GRU" else ("bias",)
    return Said(
        _KINDS[module.mode],
        settings,
        batch_axis=0 if module.batch_first else 1,
        unsaid=unsaid if module.bias else unsaid[1:],
        code=f"nn.{module!r}",
    )


def _await_states(observer: Observer, name: str, states: Sequence[Tensor]) -> None:
    """Make last states outputs of a call that is recorded, where something reads them; a cell is behind the state."""
    known: list[Tensor] = []

    def record(count: int) -> None:
        new = states[len(known) : count]
        known.extend(new)
        observer.extend(name, new)

    for place, state in enumerate(states, 1):
        observer.await_reader(state, functools.partial(record, place))


@dataclass(frozen=True)
class LayerRun:
    """One layer of a stack, in both directions if there are two, by the function the module itself calls.

    Returns the steps, and the cells of an LSTM.
    """

    path: str
    layer: int

    def __call__(self, of: Pass, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Do it."""
        module: Any = of.model.get_submodule(self.path)
        (x,) = inputs
        ends = [f"_l{self.layer}{suffix}" for suffix in (("", "_reverse") if module.bidirectional else ("",))]
        names = [name for name in _ATTRIBUTES.values() if module.bias or "bias" not in name]
        flat = [getattr(module, f"{name}{end}") for end in ends for name in names]
        batch = x.shape[0 if module.batch_first else 1]
        zeros = x.new_zeros(len(ends), batch, module.hidden_size)
        states: Any = (zeros, zeros) if module.mode == "LSTM" else zeros
        found = _FUNCTIONS[module.mode](
            x, states, flat, module.bias, 1, 0.0, module.training, module.bidirectional, module.batch_first
        )
        return (found[0], *found[2:])


def _part(whole: Sequence[Tensor], direction: int, module: nn.RNNBase) -> tuple[Tensor, ...]:
    """The steps, the last state ``(1, examples, units)`` and the cell of one direction.

    The state is made of the steps, so that gradients of both meet in the steps.
    """
    steps, *cells = whole
    if module.bidirectional:
        size = module.hidden_size
        steps = steps[..., direction * size : (direction + 1) * size]
        cells = [cell[direction : direction + 1] for cell in cells]
    last = steps.select(1 if module.batch_first else 0, 0 if direction else -1)
    return (steps, last.unsqueeze(0), *cells)


def _one_direction(run: LayerRun, direction: int) -> Recipe:
    def recipe(of: Pass, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        module: Any = of.model.get_submodule(run.path)
        return _part(run(of, inputs), direction, module)

    return recipe


def _thinned(observer: Observer, name: str, module: nn.RNNBase, x: Tensor) -> Tensor:
    """The dropout between two layers."""
    said = Said("dropout", {"rate": float(module.dropout)}, code=f"nn.{module!r}")

    def recipe(of: Pass, inputs: Sequence[Tensor]) -> Tensor:
        return thinned(said, inputs[0], of.mask) if of.training else inputs[0]

    keys = observer.keys_of(name, [x])
    result = observer.run(recipe, [x], observer.mask(name))
    return observer.call(name, said, keys, [x], result, recipe, type(module).__name__)  # type: ignore[no-any-return]


def _stacked(observer: Observer, name: str, parts: list[Tensor]) -> Tensor:
    """States of all layers and directions, ``(layers, examples, units)``; a call where something reads it."""
    if len(parts) == 1:
        return parts[0]
    whole = torch.cat(parts)

    def record() -> None:
        observer.demand(parts)
        said = Said("concat", {"axis": axis_setting(0, 3)}, code="torch.cat(x)")
        recipe = Function(torch.cat, Template.of((parts,), {}, parts, {}))
        observer.call(name, said, observer.keys_of(name, parts), parts, whole, recipe, "torch.cat")

    observer.await_reader(whole, record)
    return whole
