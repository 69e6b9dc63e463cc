"""Adafactor."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.adam import Slots, Wanted
from dualml_tensorflow.formulas.base import Formula


@keras.saving.register_keras_serializable(package="dualml")
class FormulaAdafactor(Formula):
    """Adafactor as in ``dualml.spec.optimizers.Adafactor``.

    Differs from ``keras.optimizers.Adafactor``: epsilon may be a floor and the size of a parameter that before its
    decay, as in ``torch.optim.Adafactor``; and weight decay may be coupled.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 2.0**-23,
        epsilon_1_placement: str = "floor",
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        rms_of: str = "before_decay",
        weight_decay: float = 0.0,
        decay: str = "decoupled",
        **options: Any,
    ) -> None:
        settings = {
            "beta_2_decay": float(beta_2_decay),
            "epsilon_1": float(epsilon_1),
            "epsilon_1_placement": epsilon_1_placement,
            "epsilon_2": float(epsilon_2),
            "clip_threshold": float(clip_threshold),
            "rms_of": rms_of,
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """Means of rows and columns; of a vector, of each number."""
        if len(shape) < 2:
            return {"variance": (shape, 0.0)}
        return {"row_variance": (shape[:-1], 0.0), "column_variance": ((*shape[:-2], shape[-1]), 0.0)}

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Adafactor``."""
        settings, dtype, updates = self.settings, variable.dtype, self.updates
        epsilon, floor = settings["epsilon_1"], settings["epsilon_1_placement"] == "floor"
        new = tf.cast(updates ** settings["beta_2_decay"], dtype)

        def mean(slot: Any, value: Any) -> Any:
            slot.assign(slot * (1.0 - new) + value * new)
            return slot

        square = tf.square(gradient) if floor else tf.square(gradient) + epsilon
        if "variance" in slots:
            variance = tf.convert_to_tensor(mean(slots["variance"], square))
        else:
            rows = mean(slots["row_variance"], tf.reduce_mean(square, -1))
            columns = mean(slots["column_variance"], tf.reduce_mean(square, -2))
            whole = tf.reduce_mean(rows, -1, keepdims=True)[..., tf.newaxis]
            rows, columns = rows[..., tf.newaxis], columns[..., tf.newaxis, :]
            variance = rows * columns / tf.maximum(whole, epsilon) if floor else rows / whole * columns
        if floor:
            variance = tf.maximum(variance, epsilon * epsilon)
        step = gradient / tf.sqrt(variance)
        step = step / tf.maximum(_rms(step) / settings["clip_threshold"], 1.0)
        size = _rms(before if settings["rms_of"] == "before_decay" else variable)
        relative = tf.cast(tf.minimum(rate, 1.0 / tf.sqrt(updates)), dtype)
        variable.assign_sub(tf.maximum(size, settings["epsilon_2"]) * relative * step)


def _rms(x: Any) -> Any:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
