"""RMSprop, Adagrad and Adadelta."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.adam import Slots, Wanted
from dualml_tensorflow.formulas.base import Formula


def mean(slot: Any, new: Any, weight: float) -> Any:
    """``slot <- weight slot + (1 - weight) new``; returns it."""
    slot.assign(slot * weight + new * (1.0 - weight))
    return slot


@keras.saving.register_keras_serializable(package="dualml")
class FormulaRmsprop(Formula):
    """RMSprop as in ``dualml.spec.optimizers.RMSprop``.

    Differs from ``keras.optimizers.RMSprop``: epsilon may be added to the root (``epsilon_placement`` outside) and the
    learning rate stay outside the momentum, as in ``torch.optim.RMSprop``; and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        rho: float = 0.99,
        momentum: float = 0.0,
        centered: bool = False,
        epsilon: float = 1e-8,
        epsilon_placement: str = "outside",
        lr_in_momentum: bool = False,
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        settings = {
            "rho": float(rho),
            "momentum": float(momentum),
            "centered": centered,
            "epsilon": float(epsilon),
            "epsilon_placement": epsilon_placement,
            "lr_in_momentum": lr_in_momentum,
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The mean square; centred, the mean gradient; the momentum."""
        used = {"mean_square": True, "mean_gradient": self.settings["centered"], "momentum": self.settings["momentum"]}
        return {name: (shape, 0.0) for name, is_used in used.items() if is_used}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.RMSprop``."""
        settings, rate = self.settings, tf.cast(rate, variable.dtype)
        rho, epsilon, momentum = settings["rho"], settings["epsilon"], settings["momentum"]
        square = mean(slots["mean_square"], tf.square(gradient), rho)
        if settings["centered"]:
            square = square - tf.square(mean(slots["mean_gradient"], gradient, rho))
        inside = settings["epsilon_placement"] == "inside"
        divisor = tf.sqrt(square + epsilon) if inside else tf.sqrt(square) + epsilon
        if not momentum:
            variable.assign_sub(gradient * rate / divisor)
            return
        buffer = slots["momentum"]
        if settings["lr_in_momentum"]:
            buffer.assign(buffer * momentum + gradient * rate / divisor)
            variable.assign_sub(buffer)
        else:
            buffer.assign(buffer * momentum + gradient / divisor)
            variable.assign_sub(buffer * rate)


@keras.saving.register_keras_serializable(package="dualml")
class FormulaAdagrad(Formula):
    """Adagrad as in ``dualml.spec.optimizers.Adagrad``.

    Differs from ``keras.optimizers.Adagrad``: epsilon may be added to the root (``epsilon_placement`` outside, as
    ``torch.optim.Adagrad``), the learning rate may fall, and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator: float = 0.0,
        lr_decay: float = 0.0,
        epsilon: float = 1e-10,
        epsilon_placement: str = "outside",
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        settings = {
            "initial_accumulator": float(initial_accumulator),
            "lr_decay": float(lr_decay),
            "epsilon": float(epsilon),
            "epsilon_placement": epsilon_placement,
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The sum of squares."""
        return {"sum_of_squares": (shape, self.settings["initial_accumulator"])}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Adagrad``."""
        settings, total = self.settings, slots["sum_of_squares"]
        total.assign_add(tf.square(gradient))
        epsilon = settings["epsilon"]
        inside = settings["epsilon_placement"] == "inside"
        divisor = tf.sqrt(total + epsilon) if inside else tf.sqrt(total) + epsilon
        falling = rate / (1.0 + (self.updates - 1.0) * settings["lr_decay"])
        variable.assign_sub(gradient * tf.cast(falling, variable.dtype) / divisor)


@keras.saving.register_keras_serializable(package="dualml")
class FormulaAdadelta(Formula):
    """Adadelta as in ``dualml.spec.optimizers.Adadelta``.

    Differs from ``keras.optimizers.Adadelta`` in that weight decay may be coupled, as in ``torch.optim.Adadelta``.
    """

    def __init__(
        self,
        learning_rate: Any = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, decay, {"rho": float(rho), "epsilon": float(epsilon)}, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The mean squares of gradients and of steps."""
        return dict.fromkeys(("mean_square", "mean_square_step"), (shape, 0.0))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Adadelta``."""
        rho, epsilon = self.settings["rho"], self.settings["epsilon"]
        square = mean(slots["mean_square"], tf.square(gradient), rho)
        step = tf.sqrt(slots["mean_square_step"] + epsilon) / tf.sqrt(square + epsilon) * gradient
        mean(slots["mean_square_step"], tf.square(step), rho)
        variable.assign_sub(step * tf.cast(rate, variable.dtype))
