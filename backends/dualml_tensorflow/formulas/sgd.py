"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.base import Formula


@keras.saving.register_keras_serializable(package="dualml")
class FormulaSgd(Formula):
    """Stochastic gradient descent as in ``dualml.spec.optimizers.Sgd``.

    Differs from ``keras.optimizers.SGD``: the momentum buffer may hold gradients (``lr_in_momentum`` false, as
    ``torch.optim.SGD``), which matters when the learning rate changes; and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay: str = "coupled",
        lr_in_momentum: bool = False,
        **options: Any,
    ) -> None:
        settings = {"momentum": float(momentum), "nesterov": nesterov, "lr_in_momentum": lr_in_momentum}
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], float]]:
        """The momentum buffer."""
        return {"momentum": (shape, 0.0)} if self.settings["momentum"] else {}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Sgd``."""
        rate = tf.cast(rate, variable.dtype)
        momentum, nesterov = self.settings["momentum"], self.settings["nesterov"]
        if not momentum:
            variable.assign_sub(gradient * rate)
            return
        buffer = slots["momentum"]
        if self.settings["lr_in_momentum"]:
            buffer.assign(buffer * momentum - gradient * rate)
            variable.assign_add(buffer * momentum - gradient * rate if nesterov else buffer)
        else:
            buffer.assign(buffer * momentum + gradient)
            direction = gradient + buffer * momentum if nesterov else buffer
            variable.assign_sub(direction * rate)
