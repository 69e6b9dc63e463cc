"""Keras optimizers in the terms of the spec: what they are, fresh copies, their memory.

Of a float32 model the float64 copy has the hyper-parameters as the user wrote them, in full precision: Keras would
round them to float32, and a run in float64 is there to tell formulas apart. Of a model that itself is float64 they
stay Python floats, so that what Keras makes of them shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from dualml.native.protocol import ReadOptimizer
from dualml.protocol import Array, State
from dualml.spec import optimizers as spec
from dualml_tensorflow.native import describing
from dualml_tensorflow.native.weights import Held
from dualml_tensorflow.slots import STOCK

_O = keras.optimizers
_SCHEDULED = 100


def _moments(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(config[key]) for name, key in (("beta1", "beta_1"), ("beta2", "beta_2"))}


def _adam(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_moments(config),
        "epsilon": float(config["epsilon"]),
        "epsilon_placement": "uncorrected",
        "amsgrad": config["amsgrad"],
    }


def _sgd(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"momentum": float(config["momentum"]), "nesterov": config["nesterov"], "lr_in_momentum": True}


def _rmsprop(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rho": float(config["rho"]),
        "momentum": float(config["momentum"]),
        "centered": config["centered"],
        "epsilon": float(config["epsilon"]),
        "epsilon_placement": "inside",
        "lr_in_momentum": True,
    }


def _adagrad(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "initial_accumulator": float(config["initial_accumulator_value"]),
        "lr_decay": 0.0,
        "epsilon": float(config["epsilon"]),
        "epsilon_placement": "inside",
    }


def _adafactor(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "beta2_decay": float(config["beta_2_decay"]),
        "epsilon1": float(config["epsilon_1"]),
        "epsilon1_placement": "added",
        "epsilon2": float(config["epsilon_2"]),
        "clip_threshold": float(config["clip_threshold"]),
        "rms_of": "after_decay",
    }


_KINDS: Mapping[type, tuple[type[spec.Optimizer], Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    _O.SGD: (spec.Sgd, _sgd),
    _O.AdamW: (spec.AdamW, _adam),
    _O.Adam: (spec.Adam, _adam),
    _O.Nadam: (
        spec.NAdam,
        lambda config: {**_moments(config), "epsilon": float(config["epsilon"]), "momentum_decay": 1.0},
    ),
    _O.Adamax: (
        spec.Adamax,
        lambda config: {**_moments(config), "epsilon": float(config["epsilon"]), "epsilon_placement": "norm"},
    ),
    _O.RMSprop: (spec.RMSprop, _rmsprop),
    _O.Adagrad: (spec.Adagrad, _adagrad),
    _O.Adadelta: (
        spec.Adadelta,
        lambda config: {"rho": float(config["rho"]), "epsilon": float(config["epsilon"])},
    ),
    _O.Lion: (spec.Lion, _moments),
    _O.Adafactor: (spec.Adafactor, _adafactor),
}
"""What each stock optimizer is, and its settings from its configuration; a subclass is read as its base, which is what
it claims to be."""


_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("lr",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "initial_accumulator_value": ("initial_accumulator",),
    "global_clipnorm": ("clip",),
    "gradient_accumulation_steps": ("gathered",),
}
"""Settings of the spec by Keras' argument, where the names differ."""


def _stock(optimizer: Any) -> type | None:
    return next((base for base in type(optimizer).__mro__ if base in _KINDS), None)


def _meant(value: float) -> float:
    """The shortest decimal that is this float32: what somebody wrote who wrote 0.01."""
    return float(np.format_float_positional(np.float32(value), unique=True))


def fresh(optimizer: Any, *, exact: bool) -> Any:
    """An optimizer of the same settings that has done nothing; the user's own stays as it is.

    Args:
        optimizer: The user's.
        exact: Whether hyper-parameters act in full precision.
    """
    config = dict(optimizer.get_config())
    rate = optimizer._learning_rate
    scheduled = isinstance(rate, _O.schedules.LearningRateSchedule)
    if scheduled:
        config["learning_rate"] = _exact_schedule(rate) if exact else rate
    elif exact:
        config["learning_rate"] = _meant(float(rate))
    if exact:
        config = {
            name: np.float64(item) if isinstance(item, float) and name != "learning_rate" else item
            for name, item in config.items()
        }
    made = type(optimizer).from_config(config)
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(made, name, copy.copy(getattr(optimizer, name)))
    return made


def _exact_schedule(schedule: Any) -> Any:
    made = copy.copy(schedule)
    for name, item in vars(made).items():
        if isinstance(item, float):
            setattr(made, name, np.float64(item))
    return made


def read(optimizer: Any, weights: Mapping[str, Held]) -> ReadOptimizer:
    """An optimizer in the terms of the spec.

    Args:
        optimizer: As it is used.
        weights: What it updates, by name.
    """
    config = optimizer.get_config()
    rate = optimizer._learning_rate
    schedule = None
    if isinstance(rate, _O.schedules.LearningRateSchedule):
        schedule = tuple(float(rate(step)) for step in range(_SCHEDULED))
    lr = schedule[0] if schedule else float(rate)
    kind = _stock(optimizer)
    found = None if kind is None else _spec(kind, config, lr, optimizer, weights)
    shown = config if schedule else {**config, "learning_rate": _meant(lr)}
    code = describing.constructor(optimizer, "keras.optimizers", ("learning_rate",), shown)
    native = f"keras.optimizers.{type(optimizer).__name__}" if type(optimizer) in _KINDS else type(optimizer).__name__
    gathered = int(config.get("gradient_accumulation_steps") or 1)
    unsaid = tuple(
        setting
        for argument in describing.defaulted(optimizer, shown)
        for setting in _SETTINGS.get(argument, (argument,))
    )
    return ReadOptimizer(found, lr, tuple(weights), _clip(config), schedule, native, code, gathered, unsaid)


def _spec(
    kind: type, config: Mapping[str, Any], lr: float, optimizer: Any, weights: Mapping[str, Held]
) -> spec.Optimizer | None:
    made, settings = _KINDS[kind]
    decay = float(config.get("weight_decay") or 0.0)
    groups = tuple(
        spec.ParameterGroup(match=literally(name), weight_decay=0.0)
        for name, held in weights.items()
        if decay and not optimizer._use_weight_decay(held.variable)
    )
    ema = None
    if config.get("use_ema"):
        ema = spec.Ema(decay=float(config["ema_momentum"]))
    return made(lr=lr, weight_decay=decay, decay="decoupled", groups=groups, ema=ema, **settings(config))


def literally(name: str) -> str:
    """A pattern that matches this very name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _clip(config: Mapping[str, Any]) -> spec.Clipping | None:
    if config.get("global_clipnorm"):
        return spec.GlobalNorm(float(config["global_clipnorm"]), epsilon=0.0)
    if config.get("clipnorm"):
        return spec.ParameterNorm(float(config["clipnorm"]), epsilon=0.0)
    if config.get("clipvalue"):
        return spec.ValueLimit(float(config["clipvalue"]))
    return None


def slot_variables(
    optimizer: Any, settings: spec.Optimizer, weights: Mapping[str, Held]
) -> dict[str, dict[str, tuple[Any, tuple[int, ...]]]] | None:
    """The variable of each slot and weight, with its neutral shape.

    Args:
        optimizer: A built optimizer.
        settings: What it is read as.
        weights: What it updates, in the order in which it was built.

    Returns:
        ``None`` if its slots are not those of the spec's optimizer.
    """
    kind = _stock(optimizer)
    if kind is None:
        return None
    found: dict[str, dict[str, tuple[Any, tuple[int, ...]]]] = {}
    for slot in settings.slots:
        found[slot] = {}
        attribute = "_model_variables_moving_average" if slot == spec.AVERAGE else STOCK[kind][slot]
        held = getattr(optimizer, attribute)
        for place, (name, weight) in enumerate(weights.items()):
            shape = settings.slot_shapes(name, weight.shape).get(slot)
            variable = held[place] if isinstance(held, Sequence) else held
            if shape is None:
                continue
            if int(np.prod(variable.shape)) != int(np.prod(shape)):
                return None
            found[slot][name] = (variable, shape)
    return found


def get_state(optimizer: Any, slots: Mapping[str, Mapping[str, tuple[Any, tuple[int, ...]]]]) -> State:
    """Copies of an optimizer's slots."""
    found: dict[str, dict[str, Array]] = {
        slot: {name: np.array(variable.numpy()).reshape(shape) for name, (variable, shape) in held.items()}
        for slot, held in slots.items()
    }
    return State(int(optimizer.iterations.numpy()), found)


def set_state(optimizer: Any, slots: Mapping[str, Mapping[str, tuple[Any, tuple[int, ...]]]], state: State) -> None:
    """Replace an optimizer's slots."""
    for slot, held in slots.items():
        for name, (variable, _) in held.items():
            if name in state.slots.get(slot, {}):
                array = np.asarray(state.slots[slot][name], dtype=variable.dtype)
                variable.assign(array.reshape(tuple(variable.shape)))
    optimizer.iterations.assign(state.step)


@contextmanager
def rate(optimizer: Any, lr: float | None) -> Iterator[None]:
    """Another learning rate: from now on, or for an optimizer with a schedule of its own meanwhile."""
    held = optimizer._learning_rate
    if lr is None:
        yield
    elif not isinstance(held, _O.schedules.LearningRateSchedule):
        optimizer.learning_rate = lr
        yield
    else:
        own = vars(optimizer)
        own["_learning_rate"] = keras.Variable(lr, trainable=False, dtype=keras.config.floatx())
        try:
            yield
        finally:
            own["_learning_rate"] = held
