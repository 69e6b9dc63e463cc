"""Lion."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.adam import Slots, Wanted
from dualml_tensorflow.formulas.adaptive import mean
from dualml_tensorflow.formulas.base import Formula


@keras.saving.register_keras_serializable(package="dualml")
class FormulaLion(Formula):
    """Lion as in ``dualml.spec.optimizers.Lion``.

    Differs from ``keras.optimizers.Lion``: weight decay may be coupled, and variables may have rates of their own.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float = 0.0,
        decay: str = "decoupled",
        **options: Any,
    ) -> None:
        settings = {"beta_1": float(beta_1), "beta_2": float(beta_2)}
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The memory of gradients."""
        return {"momentum": (shape, 0.0)}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Lion``."""
        beta, momentum = self.settings["beta_1"], slots["momentum"]
        direction = momentum * beta + gradient * (1.0 - beta)
        variable.assign_sub(tf.sign(direction) * tf.cast(rate, variable.dtype))
        mean(momentum, gradient, self.settings["beta_2"])
