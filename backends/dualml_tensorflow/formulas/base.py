"""What all update formulas have: a learning rate in float64, dense gradients, decay of either kind, slots, averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
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
    """What they have in common.

    Args:
        learning_rate: A number, or a Keras schedule.
        weight_decay: ``w``: coupled adds ``w p`` to the gradient; decoupled first does ``p <- p - lr w p``.
        decay: ``coupled`` or ``decoupled``.
        settings: Numbers and words of the formula, as the subclass' constructor takes them.
        lr_factors: What the learning rate is multiplied by for each variable; ``None``: 1.
        weight_decays: ``w`` of each variable; ``None``: ``weight_decay``.
        ema_every: Updates from one averaging of the weights to the next, where ``use_ema`` is true; the first copies.
        options: Of ``keras.optimizers.Optimizer``.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float,
        decay: str,
        settings: dict[str, Any],
        *,
        lr_factors: Sequence[float] | None = None,
        weight_decays: Sequence[float] | None = None,
        ema_every: int = 1,
        **options: Any,
    ) -> None:
        with floatx("float64"):
            super().__init__(learning_rate=learning_rate, **options)
        # The base class would take weight_decay through float32, and knows the decoupled kind alone.
        self.decay_factor = float(weight_decay)
        self.decay = decay
        self.settings = settings
        self.lr_factors = None if lr_factors is None else [float(value) for value in lr_factors]
        self.weight_decays = None if weight_decays is None else [float(value) for value in weight_decays]
        self.ema_every = ema_every

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {
            **super().get_config(),
            "weight_decay": self.decay_factor,
            "decay": self.decay,
            "lr_factors": self.lr_factors if self.lr_factors is None else list(self.lr_factors),
            "weight_decays": self.weight_decays if self.weight_decays is None else list(self.weight_decays),
            "ema_every": self.ema_every,
            **dict(self.settings),
        }

    def slots(self, index: int, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], float]]:
        """Shape and first value of each slot of a variable."""
        raise NotImplementedError

    def build(self, variables: Any) -> None:
        """Make the slots, in the order of the variables."""
        if self.built:
            return
        super().build(variables)
        names = dict.fromkeys(
            name for index, variable in enumerate(variables) for name in self.slots(index, tuple(variable.shape))
        )
        self.memory: dict[str, list[Any]] = {name: [] for name in names}
        for index, variable in enumerate(variables):
            wanted = self.slots(index, tuple(variable.shape))
            for name in names:
                self.memory[name].append(self._slot(variable, name, *wanted[name]) if name in wanted else None)

    def _slot(self, variable: Any, name: str, shape: tuple[int, ...], start: float) -> Any:
        # An np.float64 stays what it is; Keras takes a Python float through float32.
        initializer = keras.initializers.Constant(np.float64(start)) if start else "zeros"
        if shape == tuple(variable.shape):
            return self.add_variable_from_reference(variable, name, initializer)
        return self.add_variable(shape, initializer, variable.dtype, name=f"{variable.path.replace('/', '_')}_{name}")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One parameter's update; Keras calls it for each."""
        gradient = tf.convert_to_tensor(gradient)  # an embedding's sparse gradient has repeated rows: sum them
        index = self._get_variable_index(variable)
        rate = double(learning_rate) * (1.0 if self.lr_factors is None else self.lr_factors[index])
        decay = self.decay_factor if self.weight_decays is None else self.weight_decays[index]
        before = tf.convert_to_tensor(variable)
        if decay and self._use_weight_decay(variable):
            if self.decay == "decoupled":
                variable.assign(variable * tf.cast(1.0 - rate * decay, variable.dtype))
            else:
                gradient = gradient + variable * decay
        slots = {name: held[index].value for name, held in self.memory.items() if held[index] is not None}
        self.step(gradient, variable, rate, slots, before=before, index=index)

    def step(self, gradient: Any, variable: Any, rate: Any, slots: dict[str, Any], *, before: Any, index: int) -> None:
        """The formula after weight decay.

        Args:
            gradient: Dense.
            variable: What is updated, decayed.
            rate: Float64 scalar.
            slots: The variable's own.
            before: Its value before decay.
            index: Its number.
        """
        raise NotImplementedError

    @property
    def updates(self) -> Any:
        """Number of this update, from 1, a float64 scalar."""
        return tf.cast(self.iterations + 1, tf.float64)

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        """Keras calls it after every update; its own would round the factor and knows no ``ema_every``."""
        if not self.use_ema:
            return
        step = self.iterations + 1
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            value, old = tf.convert_to_tensor(variable), tf.convert_to_tensor(average)
            mixed = old * self.ema_momentum + value * (1.0 - self.ema_momentum)
            new = tf.where(step == self.ema_every, value, mixed)
            average.assign(tf.where(step % self.ema_every == 0, new, old))
