"""Adam, NAdam and Adamax."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.base import Formula

Slots = dict[str, Any]
Wanted = dict[str, tuple[tuple[int, ...], float]]


def first_moment(slot: Any, gradient: Any, beta: float) -> None:
    """``m <- b1 m + (1 - b1) g``, as ``torch.lerp`` does it (aten/src/ATen/native/Lerp.h)."""
    if beta > 0.5:
        slot.assign_add((gradient - slot) * (1.0 - beta))
    else:  # the other end: with b1 = 0 the moment is the gradient
        slot.assign(gradient - (gradient - slot) * beta)


def adam_step(
    gradient: Any,
    variable: Any,
    slots: Slots,
    *,
    rate: Any,
    updates: Any,
    betas: tuple[float, float],
    epsilon: float,
    placement: str,
    amsgrad: bool = False,
) -> None:
    """Adam after weight decay."""
    (beta1, beta2), dtype = betas, variable.dtype
    first, second = slots["first_moment"], slots["second_moment"]
    first_moment(first, gradient, beta1)
    second.assign(second * beta2 + gradient * (1.0 - beta2) * gradient)
    if amsgrad:
        largest = slots["largest_second_moment"]
        largest.assign(tf.maximum(largest, second))
        second = largest
    step_size = rate / (1.0 - beta1**updates)
    root_correction = tf.sqrt(1.0 - beta2**updates)
    root = tf.sqrt(second)
    if placement == "corrected":
        denominator = root / tf.cast(root_correction, dtype) + epsilon
    else:
        step_size *= root_correction
        denominator = root + epsilon
    variable.assign_sub(first * tf.cast(step_size, dtype) / denominator)


@keras.saving.register_keras_serializable(package="dualml")
class FormulaAdam(Formula):
    """Adam as in ``dualml.spec.optimizers.Adam``.

    Differs from ``keras.optimizers.Adam``: epsilon may join the root of the bias-corrected second moment
    (``epsilon_placement`` corrected, as ``torch.optim.Adam``; Keras' epsilon is then worth ``sqrt(1 - b2^t)`` of
    its own, 31.6 times less at the first update); and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_placement: str = "corrected",
        amsgrad: bool = False,
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        settings = {
            "beta_1": float(beta_1),
            "beta_2": float(beta_2),
            "epsilon": float(epsilon),
            "epsilon_placement": epsilon_placement,
            "amsgrad": amsgrad,
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The moments."""
        names = ("first_moment", "second_moment", "largest_second_moment")
        return dict.fromkeys(names if self.settings["amsgrad"] else names[:2], (shape, 0.0))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Adam``."""
        settings = self.settings
        adam_step(
            gradient,
            variable,
            slots,
            rate=rate,
            updates=self.updates,
            betas=(settings["beta_1"], settings["beta_2"]),
            epsilon=settings["epsilon"],
            placement=settings["epsilon_placement"],
            amsgrad=settings["amsgrad"],
        )


@keras.saving.register_keras_serializable(package="dualml")
class FormulaNadam(Formula):
    """NAdam as in ``dualml.spec.optimizers.NAdam``.

    Differs from ``keras.optimizers.Nadam``: ``momentum_decay`` may be other than 1, weight decay may be coupled, each
    variable has its own product of momenta, and 0.96 is a float64 number (there it is a float32 one).
    """

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        settings = {
            "beta_1": float(beta_1),
            "beta_2": float(beta_2),
            "epsilon": float(epsilon),
            "momentum_decay": float(momentum_decay),
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The moments and the product of momenta."""
        return {"first_moment": (shape, 0.0), "second_moment": (shape, 0.0), "momentum_product": ((), 1.0)}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.NAdam``."""
        settings, dtype, updates = self.settings, variable.dtype, self.updates
        beta1, beta2 = settings["beta_1"], settings["beta_2"]

        def momentum(step: Any) -> Any:
            return beta1 * (1.0 - 0.5 * 0.96 ** (step * settings["momentum_decay"]))

        now, following = momentum(updates), momentum(updates + 1.0)
        product = slots["momentum_product"]
        product.assign(product * tf.cast(now, dtype))
        first, second = slots["first_moment"], slots["second_moment"]
        first_moment(first, gradient, beta1)
        second.assign(second * beta2 + gradient * (1.0 - beta2) * gradient)
        denominator = tf.sqrt(second / tf.cast(1.0 - beta2**updates, dtype)) + settings["epsilon"]
        so_far = tf.cast(product, tf.float64)
        of_gradient = tf.cast(rate * (1.0 - now) / (1.0 - so_far), dtype)
        of_moment = tf.cast(rate * following / (1.0 - so_far * following), dtype)
        variable.assign_sub(of_gradient * gradient / denominator)
        variable.assign_sub(of_moment * first / denominator)


@keras.saving.register_keras_serializable(package="dualml")
class FormulaAdamax(Formula):
    """Adamax as in ``dualml.spec.optimizers.Adamax``.

    Differs from ``keras.optimizers.Adamax``: epsilon may be added to each gradient's size (``epsilon_placement``
    gradient, as ``torch.optim.Adamax``), and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_placement: str = "gradient",
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        settings = {
            "beta_1": float(beta_1),
            "beta_2": float(beta_2),
            "epsilon": float(epsilon),
            "epsilon_placement": epsilon_placement,
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The first moment and the largest gradient."""
        return dict.fromkeys(("first_moment", "largest_gradient"), (shape, 0.0))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Adamax``."""
        settings = self.settings
        first, largest = slots["first_moment"], slots["largest_gradient"]
        first_moment(first, gradient, settings["beta_1"])
        in_norm = settings["epsilon_placement"] == "gradient"
        size = tf.abs(gradient) + settings["epsilon"] if in_norm else tf.abs(gradient)
        largest.assign(tf.maximum(largest * settings["beta_2"], size))
        divisor = largest if in_norm else largest + settings["epsilon"]
        step_size = tf.cast(rate / (1.0 - settings["beta_1"] ** self.updates), variable.dtype)
        variable.assign_sub(first * step_size / divisor)
