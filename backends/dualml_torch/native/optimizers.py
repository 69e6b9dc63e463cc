"""Optimizers of ``torch.optim`` in the terms of a spec, copied onto another model, and their memory.

What a user's own subclass computes is taken to be what its stock base class does: that is what it says it is, and
comparing finds where it is not so.
"""

from __future__ import annotations

import copy
import glob
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dualml.errors import ParityError
from dualml.native.protocol import ReadOptimizer
from dualml.protocol import Array, State
from dualml.spec import optimizers as spec
from dualml.spec.optimizers import Optimizer, ParameterGroup
from dualml_torch.native.weights import Weight, Weights
from dualml_torch.slots import SLOTS

SCHEDULED = 100
"""Updates whose learning rates are read."""

Group = Mapping[str, Any]


def _common(group: Group, decay: str) -> dict[str, Any]:
    return {"lr": float(group["lr"]), "weight_decay": float(group["weight_decay"]), "decay": decay}


def _moments(group: Group) -> dict[str, Any]:
    beta1, beta2 = group["betas"]
    return {"beta1": float(beta1), "beta2": float(beta2), "epsilon": float(group["eps"])}


def _sgd(group: Group) -> Optimizer | None:
    if group["dampening"]:
        return None
    return spec.Sgd(
        **_common(group, "coupled"),
        momentum=float(group["momentum"]),
        nesterov=bool(group["nesterov"]),
        lr_in_momentum=False,
    )


def _adam(group: Group) -> Optimizer:
    decoupled = bool(group.get("decoupled_weight_decay"))
    kind = spec.AdamW if decoupled else spec.Adam
    return kind(
        **_common(group, "decoupled" if decoupled else "coupled"),
        **_moments(group),
        epsilon_placement="corrected",
        amsgrad=bool(group["amsgrad"]),
    )


def _nadam(group: Group) -> Optimizer:
    decay = "decoupled" if group["decoupled_weight_decay"] else "coupled"
    return spec.NAdam(**_common(group, decay), **_moments(group), momentum_decay=float(group["momentum_decay"]))


def _adamax(group: Group) -> Optimizer:
    return spec.Adamax(**_common(group, "coupled"), **_moments(group), epsilon_placement="gradient")


def _rmsprop(group: Group) -> Optimizer:
    return spec.RMSprop(
        **_common(group, "coupled"),
        rho=float(group["alpha"]),
        momentum=float(group["momentum"]),
        centered=bool(group["centered"]),
        epsilon=float(group["eps"]),
        epsilon_placement="outside",
        lr_in_momentum=False,
    )


def _adagrad(group: Group) -> Optimizer:
    return spec.Adagrad(
        **_common(group, "coupled"),
        initial_accumulator=float(group["initial_accumulator_value"]),
        lr_decay=float(group["lr_decay"]),
        epsilon=float(group["eps"]),
        epsilon_placement="outside",
    )


def _adadelta(group: Group) -> Optimizer:
    return spec.Adadelta(**_common(group, "coupled"), rho=float(group["rho"]), epsilon=float(group["eps"]))


READERS: Mapping[type[optim.Optimizer], Callable[[Group], Optimizer | None]] = {
    optim.SGD: _sgd,
    optim.Adam: _adam,
    optim.NAdam: _nadam,
    optim.Adamax: _adamax,
    optim.RMSprop: _rmsprop,
    optim.Adagrad: _adagrad,
    optim.Adadelta: _adadelta,
}
"""By stock class; ``AdamW`` is a subclass of ``Adam``."""

_OWN = frozenset({"params", "lr", "weight_decay", "initial_lr"})
_NO_MEANING = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Settings of groups that change no formula."""


_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "betas": ("beta1", "beta2"),
    "eps": ("epsilon",),
    "alpha": ("rho",),
    "initial_accumulator_value": ("initial_accumulator",),
}
"""Settings of the spec by PyTorch's argument, where the names differ."""


def stock_class(optimizer: optim.Optimizer) -> type[optim.Optimizer] | None:
    """The stock class an optimizer is or extends."""
    return next((kind for kind in type(optimizer).__mro__ if kind in READERS), None)


def read_optimizer(
    optimizer: optim.Optimizer, scheduler: Any, model: nn.Module, weights: Weights
) -> tuple[ReadOptimizer, tuple[str, ...]]:
    """An optimizer in the terms of a spec, and what could not be read, a sentence each.

    Groups of parameters that differ in learning rate and weight decay alone become ``groups`` of the spec's optimizer,
    whose patterns are names in ``weights``.
    """
    notes: list[str] = []
    kind = stock_class(optimizer)
    groups = optimizer.param_groups
    native = type(optimizer).__name__
    found: Optimizer | None = None
    if kind is not None:
        if type(optimizer) is not kind and not type(optimizer).__module__.startswith("torch."):
            native = f"{native} (a subclass of {kind.__name__})"
        found = _read(kind, groups, model, weights, notes)
    if found is None:
        notes.append(f"optimizer {native} has no formula in the catalogue: its updates are compared as they are")
    held = {id(parameter) for group in groups for parameter in group["params"]}
    trained = tuple(name for name in weights.parameters if id(weights.by_name[name].tensor(model)) in held)
    read = ReadOptimizer(
        optimizer=found,
        lr=float(groups[0]["lr"]),
        parameters=trained,
        schedule=None if scheduler is None else _schedule(optimizer, scheduler),
        native=native,
        code=_code(optimizer),
        unsaid=_unsaid(optimizer),
    )
    return read, tuple(notes)


def _unsaid(optimizer: optim.Optimizer) -> tuple[str, ...]:
    """Settings of the spec that have PyTorch's defaults."""
    defaults, group = inspect.signature(type(optimizer).__init__).parameters, optimizer.param_groups[0]
    given = {name: value for name, value in group.items() if name in defaults and name != "params"}
    same = [name for name, value in given.items() if _same(value, defaults[name].default)]
    return tuple(setting for name in same for setting in _SETTINGS.get(name, (name,)))


def _read(
    kind: type[optim.Optimizer], groups: list[dict[str, Any]], model: nn.Module, weights: Weights, notes: list[str]
) -> Optimizer | None:
    first = groups[0]
    if any(group.get("maximize") for group in groups):
        return None
    read = READERS[kind](first)
    if read is None:
        return None
    differing = {
        name
        for group in groups[1:]
        for name in group
        if name not in _OWN | _NO_MEANING and not _same(group[name], first.get(name))
    }
    if differing:
        notes.append(f"groups of parameters differ in {', '.join(sorted(differing))}, which a spec cannot say")
        return None
    own: list[ParameterGroup] = []
    for group in groups[1:]:
        if group["lr"] == first["lr"] and group["weight_decay"] == first["weight_decay"]:
            continue
        if not float(first["lr"]):
            notes.append("the first group of parameters has a learning rate of 0, so others have no factor of it")
            return None
        held = {id(parameter) for parameter in group["params"]}
        names = [name for name, weight in weights.by_name.items() if id(weight.tensor(model)) in held]
        own += [
            ParameterGroup(
                match=glob.escape(name),
                lr_factor=float(group["lr"]) / float(first["lr"]),
                weight_decay=float(group["weight_decay"]),
            )
            for name in names
        ]
    return read.model_copy(update={"groups": tuple(own)}) if own else read


def _same(first: Any, second: Any) -> bool:
    return bool(np.array_equal(np.asarray(first, dtype=object), np.asarray(second, dtype=object)))


def _code(optimizer: optim.Optimizer) -> str:
    kind = type(optimizer)
    defaults = inspect.signature(kind.__init__).parameters
    group = optimizer.param_groups[0]
    shown = [
        f"{name}={group[name]!r}"
        for name, parameter in defaults.items()
        if name in group and name != "params" and not _same(group[name], parameter.default)
    ]
    stock = kind.__module__.startswith("torch.")
    return f"{'torch.optim.' if stock else ''}{kind.__name__}({', '.join(['model.parameters()', *shown])})"


def _schedule(optimizer: optim.Optimizer, scheduler: Any) -> tuple[float, ...] | None:
    """Learning rates of the first updates, one step of the scheduler after each."""
    if isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler):
        return None
    own, other = _copied(optimizer, {}, scheduler)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps of the scheduler without steps of the optimizer
        for _ in range(SCHEDULED):
            rates.append(float(own.param_groups[0]["lr"]))
            other.step()
    return tuple(rates)


# ------------------------------------------------------------------ copies


def copy_optimizer(given: Any, parameters: Mapping[int, nn.Parameter], model: nn.Module) -> tuple[optim.Optimizer, Any]:
    """The same optimizer of other parameters, that has done nothing yet.

    Args:
        given: The user's, or a pair of it and its learning-rate scheduler, or a function of parameters that makes
            either.
        parameters: The other parameter for each of the model's, by the identity of the latter.
        model: Whose parameters the function is given.

    Raises:
        ParityError: It is neither, or holds parameters that are not the model's.
    """
    optimizer, scheduler = _pair(given)
    if not isinstance(optimizer, optim.Optimizer):
        optimizer, scheduler = _pair(optimizer(list(model.parameters())) if callable(optimizer) else None)
        if not isinstance(optimizer, optim.Optimizer):
            raise ParityError(
                "optimizer must be a torch.optim.Optimizer over the model's parameters, a pair of one and its "
                f"scheduler, or a function that takes parameters and returns either, got {type(given).__name__}"
            )
        return optimizer, scheduler
    strange = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if id(parameter) not in parameters
    ]
    if strange:
        raise ParityError(
            f"the optimizer must update parameters of the model it is given with, but {len(strange)} of its are not "
            f"the model's (the first has shape {list(strange[0].shape)}); make it with model.parameters(), or give a "
            "function that takes parameters and makes it"
        )
    return _copied(optimizer, parameters, scheduler)


def _pair(given: Any) -> tuple[Any, Any]:
    return given if isinstance(given, tuple) and len(given) == 2 else (given, None)


def _copied(
    optimizer: optim.Optimizer, parameters: Mapping[int, nn.Parameter], scheduler: Any
) -> tuple[optim.Optimizer, Any]:
    memo: dict[int, Any] = dict(parameters)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            memo.setdefault(id(parameter), parameter)
    own = object.__new__(type(optimizer))
    memo[id(optimizer)] = own
    # A scheduler puts a step of its own into the instance, which would step the user's optimizer.
    kept = {name: value for name, value in vars(optimizer).items() if name not in ("state", "step")}
    own.__dict__.update(copy.deepcopy(kept, memo))
    own.state = type(optimizer.state)(dict)
    _begin(own)
    if scheduler is None:
        return own, None
    other = object.__new__(type(scheduler))
    memo[id(scheduler)] = other
    other.__dict__.update(copy.deepcopy(vars(scheduler), memo))
    return own, other


# ------------------------------------------------------------------ memory


def _begin(optimizer: optim.Optimizer) -> None:
    """Forget everything; ``torch.optim.Adagrad`` begins with a memory, made when the optimizer is."""
    optimizer.state.clear()
    for group in optimizer.param_groups if isinstance(optimizer, optim.Adagrad) else ():
        for parameter in group["params"]:
            start = torch.full_like(parameter, group["initial_accumulator_value"])
            optimizer.state[parameter] = {"step": torch.tensor(0.0, dtype=torch.float32), "sum": start}


def get_state(
    optimizer: optim.Optimizer, settings: Optimizer, names: Iterable[str], model: nn.Module, weights: Weights, step: int
) -> State:
    """An optimizer's memory in the neutral layout; as it starts where PyTorch has made none yet."""
    slots: dict[str, dict[str, Array]] = {slot: {} for slot in settings.slots}
    for name in names:
        weight = weights.by_name[name]
        tensor = weight.tensor(model)
        like = weight.neutral(tensor)
        for slot, shape in settings.slot_shapes(name, like.shape).items():
            value = optimizer.state.get(tensor, {}).get(SLOTS[slot])
            slots[slot][name] = (
                np.full(shape, settings.slot_start(slot), dtype=like.dtype)
                if value is None
                else _neutral(weight, slot, value, like)
            )
    return State(step, slots)


def _neutral(weight: Weight, slot: str, value: Tensor, like: Array) -> Array:
    return np.array(value.item(), dtype=like.dtype) if slot == "momentum_product" else weight.neutral(value)


def set_state(
    optimizer: optim.Optimizer, settings: Optimizer, model: nn.Module, weights: Weights, state: State
) -> None:
    """Replace an optimizer's memory; that of no update becomes none at all, as PyTorch has it."""
    fresh = state.step == 0 and all(
        (array == settings.slot_start(slot)).all() for slot, arrays in state.slots.items() for array in arrays.values()
    )
    _begin(optimizer)
    if fresh:
        return
    for slot, arrays in state.slots.items():
        for name, array in arrays.items():
            weight = weights.by_name[name]
            tensor = weight.tensor(model)
            memory = optimizer.state[tensor]
            if slot == "momentum_product":
                memory[SLOTS[slot]] = torch.tensor(float(array), dtype=tensor.dtype)
                continue
            memory.setdefault(SLOTS[slot], torch.zeros_like(tensor))
            weight.write(memory[SLOTS[slot]], array)
    if not isinstance(optimizer, optim.SGD):
        for memory in optimizer.state.values():
            memory["step"] = torch.tensor(float(state.step), dtype=torch.float32)
