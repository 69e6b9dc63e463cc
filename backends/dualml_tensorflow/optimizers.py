"""Optimizers: the stock Keras one where its formula is the spec's, else one of ``formulas``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from dualml.spec import optimizers as spec
from dualml.spec.optimizers import Optimizer
from dualml_tensorflow.formulas import FormulaAdam, FormulaSgd, floatx


def _filled(settings: Optimizer) -> dict[str, Any]:
    """All settings by name; every one must have a value, since no default is ours or the framework's to choose."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ValueError(f"{settings.kind}: every setting must be filled in (Spec.resolved), got no {missing}")
    return values


def _number(value: float, precision: str) -> float:
    """A setting as a stock optimizer takes it in full precision.

    Keras casts Python floats to float32 on their way to float64 arrays, and leaves ``np.float64`` (which is a
    ``float`` too) as it is. To float32 arrays it must stay a Python float: an ``np.float64`` would promote the
    arithmetic to float64, which a loop written by hand does not do.
    """
    return np.float64(value) if precision == "float64" else float(value)


def _sgd(settings: spec.Sgd, precision: str) -> Any:
    """``keras.optimizers.SGD`` for steps in the momentum and decoupled decay."""
    values = _filled(settings)
    momentum, decay = values["momentum"], values["weight_decay"]
    # Without momentum it holds neither steps nor gradients; without decay its kind does not matter.
    if (values["lr_in_momentum"] or not momentum) and (values["decay"] == "decoupled" or not decay):
        return keras.optimizers.SGD(
            float(values["lr"]),
            momentum=_number(momentum, precision),
            nesterov=values["nesterov"],
            weight_decay=_number(decay, precision) if decay else None,
        )
    return FormulaSgd(
        float(values["lr"]),
        momentum=momentum,
        nesterov=values["nesterov"],
        weight_decay=decay,
        decay=values["decay"],
        lr_in_momentum=values["lr_in_momentum"],
    )


def _adam(settings: spec.Adam, precision: str) -> Any:
    """``keras.optimizers.Adam`` or ``AdamW`` for an uncorrected epsilon and decoupled decay."""
    values = _filled(settings)
    decay = values["weight_decay"]
    if values["epsilon_placement"] == "uncorrected" and (values["decay"] == "decoupled" or not decay):
        stock = keras.optimizers.AdamW if settings.kind == spec.AdamW.kind else keras.optimizers.Adam
        none = 0.0 if stock is keras.optimizers.AdamW else None  # what each takes for no decay
        return stock(
            float(values["lr"]),
            beta_1=_number(values["beta1"], precision),
            beta_2=_number(values["beta2"], precision),
            epsilon=_number(values["epsilon"], precision),
            weight_decay=_number(decay, precision) if decay else none,
        )
    return FormulaAdam(
        float(values["lr"]),
        beta_1=values["beta1"],
        beta_2=values["beta2"],
        epsilon=values["epsilon"],
        epsilon_placement=values["epsilon_placement"],
        weight_decay=decay,
        decay=values["decay"],
    )


OPTIMIZERS: Mapping[str, Callable[[Any, str], Any]] = {
    spec.Sgd.kind: _sgd,
    spec.Adam.kind: _adam,
    spec.AdamW.kind: _adam,
}
"""For each kind of optimizer, a function ``(settings, precision)`` that makes the native one."""


def build_optimizer(settings: Optimizer, precision: str, variables: list[Any]) -> Any:
    """A native optimizer with its slots made for these variables, in their order.

    Args:
        settings: Every setting filled in.
        precision: Dtype of the variables.
        variables: The Keras variables it will update.
    """
    with floatx(precision):
        optimizer = OPTIMIZERS[settings.kind](settings, precision)
        optimizer.build(variables)
    return optimizer
