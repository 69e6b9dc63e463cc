"""Keras optimizers for the update formulas that the stock ones do not have.

They are ordinary Keras optimizers: ``model.compile`` takes them, and ``get_config`` brings them back from a saved
model. Numbers that do not depend on the gradient (bias corrections, products of settings) are computed in
float64 and only then rounded to the parameter's dtype, as PyTorch does with Python floats; the operations on
arrays come in PyTorch's order (``torch/optim/sgd.py`` and ``adam.py``, the single-tensor functions).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def floatx(precision: str) -> Iterator[None]:
    """Within it, Keras' global default dtype is another; afterwards it is what it was.

    Keras stores a learning rate in that dtype whatever the parameters' dtype is, and offers no argument for it.
    """
    before = keras.config.floatx()
    keras.config.set_floatx(precision)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def double(value: Any) -> Any:
    """A float64 scalar. ``tf.cast`` of a Python float would round it to float32 first, ``tf.constant`` does not."""
    return tf.constant(value, tf.float64) if isinstance(value, float) else tf.cast(value, tf.float64)


class Formula(keras.optimizers.Optimizer):  # type: ignore[misc] # keras is untyped
    """What both have: a learning rate in float64, dense gradients and weight decay of either kind.

    Args:
        learning_rate: A number, or a Keras schedule.
        weight_decay: ``w``: coupled adds ``w p`` to the gradient; decoupled first does ``p <- p - lr w p``.
        decay: ``coupled`` or ``decoupled``.
        options: Of ``keras.optimizers.Optimizer``.
    """

    def __init__(self, learning_rate: Any, weight_decay: float, decay: str, **options: Any) -> None:
        with floatx("float64"):
            super().__init__(learning_rate=learning_rate, **options)
        # The base class would take weight_decay through float32, and knows the decoupled kind alone.
        self.decay_factor = float(weight_decay)
        self.decay = decay

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "weight_decay": self.decay_factor, "decay": self.decay}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One parameter's update; Keras calls it for each."""
        gradient = tf.convert_to_tensor(gradient)  # an embedding's sparse gradient has repeated rows: sum them
        rate, dtype = double(learning_rate), variable.dtype
        if self.decay_factor and self._use_weight_decay(variable):
            if self.decay == "decoupled":
                variable.assign(variable * tf.cast(1.0 - rate * self.decay_factor, dtype))
            else:
                gradient = gradient + variable * self.decay_factor
        self.step(gradient, variable, rate)

    def step(self, gradient: Any, variable: Any, rate: Any) -> None:
        """The formula after weight decay; ``rate`` is a float64 scalar."""
        raise NotImplementedError


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
        super().__init__(learning_rate, weight_decay, decay, **options)
        self.momentum = float(momentum)
        self.nesterov = nesterov
        self.lr_in_momentum = lr_in_momentum

    def build(self, variables: Any) -> None:
        """Make the momentum buffers."""
        if self.built:
            return
        super().build(variables)
        self.buffers = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def step(self, gradient: Any, variable: Any, rate: Any) -> None:
        """See ``dualml.spec.optimizers.Sgd``."""
        rate = tf.cast(rate, variable.dtype)
        if not self.momentum:
            variable.assign_sub(gradient * rate)
            return
        buffer = self.buffers[self._get_variable_index(variable)].value
        if self.lr_in_momentum:
            buffer.assign(buffer * self.momentum - gradient * rate)
            variable.assign_add(buffer * self.momentum - gradient * rate if self.nesterov else buffer)
        else:
            buffer.assign(buffer * self.momentum + gradient)
            direction = gradient + buffer * self.momentum if self.nesterov else buffer
            variable.assign_sub(direction * rate)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "lr_in_momentum": self.lr_in_momentum,
        }


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
        weight_decay: float = 0.0,
        decay: str = "coupled",
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, decay, **options)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        self.epsilon_placement = epsilon_placement

    def build(self, variables: Any) -> None:
        """Make the two moments."""
        if self.built:
            return
        super().build(variables)
        self.first_moments, self.second_moments = self.add_optimizer_variables(
            variables, ["first_moment", "second_moment"]
        )

    def step(self, gradient: Any, variable: Any, rate: Any) -> None:
        """See ``dualml.spec.optimizers.Adam``."""
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        first, second = self.first_moments[index].value, self.second_moments[index].value
        if self.beta_1 > 0.5:
            first.assign_add((gradient - first) * (1.0 - self.beta_1))
        else:  # the other end, as torch.lerp (aten/src/ATen/native/Lerp.h): with beta_1 = 0 the moment is the gradient
            first.assign(gradient - (gradient - first) * self.beta_1)
        second.assign(second * self.beta_2 + gradient * (1.0 - self.beta_2) * gradient)
        updates = tf.cast(self.iterations + 1, tf.float64)
        step_size = rate / (1.0 - self.beta_1**updates)
        root_correction = tf.sqrt(1.0 - self.beta_2**updates)
        root = tf.sqrt(second)
        if self.epsilon_placement == "corrected":
            denominator = root / tf.cast(root_correction, dtype) + self.epsilon
        else:
            step_size *= root_correction
            denominator = root + self.epsilon
        variable.assign_sub(first * tf.cast(step_size, dtype) / denominator)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "epsilon_placement": self.epsilon_placement,
        }
