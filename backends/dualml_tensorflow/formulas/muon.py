"""Muon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.formulas.adam import Slots, Wanted, adam_step
from dualml_tensorflow.formulas.adaptive import mean
from dualml_tensorflow.formulas.base import Formula


@keras.saving.register_keras_serializable(package="dualml")
class FormulaMuon(Formula):
    """Muon for matrices and AdamW for everything else, as in ``dualml.spec.optimizers.Muon``.

    Differs from ``keras.optimizers.Muon``, which knows one kind of momentum, epsilon and scale and takes the root of a
    shape in float32 (in float64 it fails); and in that ``matrices`` says which variables are orthogonalised.

    Args:
        matrices: For each variable, whether it is; ``None``: those of two axes.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        momentum_average: bool = True,
        nesterov: bool = True,
        ns_steps: int = 5,
        ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315),
        epsilon: float = 1e-7,
        norm_epsilon: str = "floor",
        scale: str = "spectral",
        rms_rate: float = 0.2,
        adam_lr_factor: float = 1.0,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_epsilon: float = 1e-8,
        adam_epsilon_placement: str = "corrected",
        matrices: Sequence[bool] | None = None,
        decay: str = "decoupled",
        **options: Any,
    ) -> None:
        settings = {
            "momentum": float(momentum),
            "momentum_average": momentum_average,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "ns_coefficients": [float(value) for value in ns_coefficients],
            "epsilon": float(epsilon),
            "norm_epsilon": norm_epsilon,
            "scale": scale,
            "rms_rate": float(rms_rate),
            "adam_lr_factor": float(adam_lr_factor),
            "adam_beta_1": float(adam_beta_1),
            "adam_beta_2": float(adam_beta_2),
            "adam_epsilon": float(adam_epsilon),
            "adam_epsilon_placement": adam_epsilon_placement,
            "matrices": matrices if matrices is None else list(matrices),
        }
        super().__init__(learning_rate, weight_decay, decay, settings, **options)

    def slots(self, index: int, shape: tuple[int, ...]) -> Wanted:
        """The momentum of a matrix, the two moments of everything else."""
        matrices = self.settings["matrices"]
        is_matrix = len(shape) == 2 if matrices is None else matrices[index]
        return dict.fromkeys(("momentum",) if is_matrix else ("first_moment", "second_moment"), (shape, 0.0))

    def step(self, gradient: Any, variable: Any, rate: Any, slots: Slots, *, before: Any, index: int) -> None:
        """See ``dualml.spec.optimizers.Muon``."""
        settings = self.settings
        if "momentum" not in slots:
            adam_step(
                gradient,
                variable,
                slots,
                rate=rate * settings["adam_lr_factor"],
                updates=self.updates,
                betas=(settings["adam_beta_1"], settings["adam_beta_2"]),
                epsilon=settings["adam_epsilon"],
                placement=settings["adam_epsilon_placement"],
            )
            return
        momentum, buffer = settings["momentum"], slots["momentum"]
        share = 1.0
        if settings["momentum_average"]:
            mean(buffer, gradient, momentum)
            share = 1.0 - momentum
        else:
            buffer.assign(buffer * momentum + gradient)
        x = gradient * share + buffer * momentum if settings["nesterov"] else tf.convert_to_tensor(buffer)
        norm = tf.sqrt(tf.reduce_sum(tf.square(x)))
        epsilon = settings["epsilon"]
        x = x / (norm + epsilon if settings["norm_epsilon"] == "added" else tf.maximum(norm, epsilon))
        inputs, units = variable.shape
        if settings["scale"] == "rms":
            factor = settings["rms_rate"] * math.sqrt(max(inputs, units))
        else:
            factor = math.sqrt(max(1.0, units / inputs))
        x = newton_schulz(x, settings["ns_coefficients"], settings["ns_steps"])
        variable.assign_sub(x * tf.cast(rate * factor, variable.dtype))


def newton_schulz(x: Any, coefficients: Sequence[float], steps: int) -> Any:
    """Bring the singular values of a matrix of norm at most 1 near 1; its shorter axis comes first meanwhile."""
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = tf.transpose(x) if tall else x
    for _ in range(steps):
        gram = tf.matmul(x, x, transpose_b=True)
        x = x * a + tf.matmul(gram * b + tf.matmul(gram * c, gram), x)
    return tf.transpose(x) if tall else x
