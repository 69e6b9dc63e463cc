"""Between an optimizer's neutral slots and what ``torch.optim`` optimizers keep for each parameter."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, optim

from dualml.protocol import Array, State
from dualml.slots import check_state, start_state
from dualml.spec.optimizers import AVERAGE, Optimizer
from dualml_torch.formulas import Formula
from dualml_torch.layout import Layout, to_array, to_tensor

SLOTS = {
    "momentum": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
    "largest_second_moment": "max_exp_avg_sq",
    "momentum_product": "mu_product",
    "largest_gradient": "exp_inf",
    "mean_square": "square_avg",
    "mean_gradient": "grad_avg",
    "sum_of_squares": "sum",
    "mean_square_step": "acc_delta",
    "row_variance": "row_var",
    "column_variance": "col_var",
    "variance": "variance",
    AVERAGE: AVERAGE,
}
"""Key in an optimizer's state of each neutral slot."""

UPDATES = "updates"
"""Key in a group of parameters of the number of updates done."""

_FACTORS = {"row_variance": -1, "column_variance": -2}
"""The neutral axis over which a slot is a mean: PyTorch keeps it as an axis of size 1."""


def native_axes(layout: Layout, name: str) -> tuple[int, ...] | None:
    """The native axis of each neutral axis of a parameter, found by asking the layout.

    ``None`` where the layout does more than to move axes and to reorder what is along one, as for the groups of a
    transposed convolution.
    """
    shape = tuple(layout.parameters[name].shape)
    found: dict[int, int] = {}
    neutral_shape: tuple[int, ...] = ()
    for axis, size in enumerate(shape):
        along = torch.arange(size, dtype=torch.float64)[(..., *[None] * (len(shape) - 1 - axis))]
        neutral = layout.to_neutral(name, along.expand(shape))
        neutral_shape = neutral.shape
        for place, length in enumerate(neutral.shape):
            if length > 1 and np.any(neutral.take(0, place) != neutral.take(1, place)):
                found[place] = axis
    spare = [axis for axis in range(len(shape)) if axis not in found.values()]  # axes of size 1: any order will do
    if sorted([*found.values(), *spare]) != list(range(len(shape))) or len(neutral_shape) != len(shape):
        return None
    axes = tuple(found[place] if place in found else spare.pop(0) for place in range(len(shape)))
    return axes if tuple(shape[axis] for axis in axes) == neutral_shape else None


def native_order(layout: Layout, name: str) -> Tensor:
    """Where each number of a parameter's neutral array is in its flattened native tensor."""
    parameter = layout.parameters[name]
    places = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)  # exact up to 2^53
    return torch.tensor(layout.to_neutral(name, places).astype(np.int64), device=parameter.device)


def get_state(optimizer: optim.Optimizer, settings: Optimizer, layout: Layout, step: int) -> State:
    """An optimizer's memory; as it starts where PyTorch has not made a slot yet, which it does in the first update.

    Args:
        optimizer: The native one.
        settings: What it was built from.
        layout: Of the model's parameters.
        step: Updates done.
    """
    slots = {slot: dict(arrays) for slot, arrays in start_state(settings, layout.graph).slots.items()}
    for slot, arrays in slots.items():
        for name in arrays:
            value = optimizer.state.get(layout.parameters[name], {}).get(_key(optimizer, slot, layout, name))
            if value is not None:
                arrays[name] = _to_neutral(slot, layout, name, value)
    return State(step, slots)


def set_state(optimizer: optim.Optimizer, settings: Optimizer, layout: Layout, state: State) -> None:
    """Replace an optimizer's memory.

    Raises:
        WeightsError: Names or shapes are not those of the model; nothing has been changed.
    """
    check_state(state, settings, layout.graph)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        group[UPDATES] = state.step
    plain = isinstance(optimizer, optim.SGD)
    if plain and state.step == 0 and not any(item.any() for slot in state.slots.values() for item in slot.values()):
        return  # as PyTorch is before the first update: its momentum starts as a copy, not as 0 m + g
    for name, parameter in layout.parameters.items():
        kept = {
            _key(optimizer, slot, layout, name): _to_native(slot, layout, name, arrays[name])
            for slot, arrays in state.slots.items()
            if name in arrays
        }
        if not plain:
            kept["step"] = torch.tensor(float(state.step), dtype=torch.float32)
        if kept:
            optimizer.state[parameter] = kept


def _key(optimizer: optim.Optimizer, slot: str, layout: Layout, name: str) -> str:
    if slot in _FACTORS and not isinstance(optimizer, Formula):
        # Stock Adafactor calls the mean over the last native axis row_var.
        axes = native_axes(layout, name)
        assert axes is not None, "stock Adafactor is for matrices"
        return "row_var" if axes[_FACTORS[slot]] == len(axes) - 1 else "col_var"
    return SLOTS[slot]


def _to_neutral(slot: str, layout: Layout, name: str, value: Tensor) -> Array:
    parameter = layout.parameters[name]
    if slot == "momentum_product":
        return np.array(value.item(), dtype=str(parameter.dtype).removeprefix("torch."))
    if slot in _FACTORS:
        if native_axes(layout, name) is None:  # kept as the neutral array is
            return to_array(value.squeeze(_FACTORS[slot]))
        return np.ascontiguousarray(layout.to_neutral(name, value.expand(parameter.shape)).take(0, _FACTORS[slot]))
    return layout.to_neutral(name, value)


def _to_native(slot: str, layout: Layout, name: str, array: Array) -> Tensor:
    parameter = layout.parameters[name]
    if slot == "momentum_product":  # PyTorch would keep a float32 product for float64 parameters too
        return torch.tensor(float(array), dtype=parameter.dtype)
    if slot in _FACTORS:
        axes, kept = native_axes(layout, name), np.expand_dims(array, _FACTORS[slot])
        if axes is None:
            return to_tensor(kept, parameter.dtype, parameter.device)
        whole = layout.to_native(name, np.broadcast_to(kept, [parameter.shape[axis] for axis in axes]))
        return whole.narrow(axes[_FACTORS[slot]], 0, 1).clone()
    return layout.to_native(name, array)
