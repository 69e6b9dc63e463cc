"""Hand-written Keras code that does something else than it says."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


class HiddenEpsilon(layers.BatchNormalization):  # type: ignore[misc]  # Keras has no types
    """Normalises with an epsilon of its own, whatever ``epsilon`` says."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        said: float = vars(self)["epsilon"]
        self.epsilon = 1e-3
        try:
            return super().call(inputs, training=training, mask=mask)
        finally:
            self.epsilon = said


class UnbiasedVariance(layers.BatchNormalization):  # type: ignore[misc]
    """Keeps the unbiased running variance, as PyTorch does."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        before = ops.copy(self.moving_variance.value)
        outputs = super().call(inputs, training=training, mask=mask)
        if training:
            count = int(np.prod(inputs.shape[:-1])) if inputs.shape[0] is not None else None
            if count:
                kept = before * self.momentum
                self.moving_variance.assign(kept + (self.moving_variance - kept) * (count / (count - 1)))
        return outputs


class AlwaysTraining(layers.BatchNormalization):  # type: ignore[misc]
    """Never leaves training mode."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=True, mask=mask)


class Frozen(layers.BatchNormalization):  # type: ignore[misc]
    """Never leaves inference mode."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


class Reflecting(layers.Conv2D):  # type: ignore[misc]
    """Pads by reflection where ``same`` pads zeros."""

    def call(self, inputs: Any) -> Any:
        padded = ops.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
        outputs = ops.conv(padded, self.kernel, strides=self.strides, padding="valid")
        return outputs if self.bias is None else outputs + self.bias


class OldHardSigmoid(layers.Layer):  # type: ignore[misc]
    """The formula of Keras 2."""

    def call(self, inputs: Any) -> Any:
        return ops.clip(0.2 * inputs + 0.5, 0.0, 1.0)


class Unscaled(layers.Dropout):  # type: ignore[misc]
    """Drops values and does not scale the others."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=training) * (1 - self.rate) if training else inputs


class AlwaysDropping(layers.Dropout):  # type: ignore[misc]
    """Drops in inference as well."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=True)


class DivideByMore(layers.ReLU):  # type: ignore[misc]
    """``x / (1 + 1e-4)`` behind the ReLU."""

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / (1 + 1e-4)


class Louder(layers.Dense):  # type: ignore[misc]
    """A dense layer whose output is a thousandth too large."""

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) * 1.001


class LosesLast(layers.Conv2D):  # type: ignore[misc]
    """Forgets the last input channel."""

    def call(self, inputs: Any) -> Any:
        return super().call(ops.concatenate([inputs[..., :-1], ops.zeros_like(inputs[..., -1:])], axis=-1))


class HalfTransparent(layers.ReLU):  # type: ignore[misc]
    """The right values; half of the gradient."""

    def call(self, inputs: Any) -> Any:
        outputs = super().call(inputs)
        return 0.5 * outputs + 0.5 * ops.stop_gradient(outputs)


class Shifted(layers.GlobalAveragePooling1D):  # type: ignore[misc]
    """Divides by one position too many."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return super().call(inputs) * (inputs.shape[1] / (inputs.shape[1] + 1))


class ForgetsFirst(layers.GRU):  # type: ignore[misc]
    """Leaves out the first position."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return super().call(sequences[:, 1:], initial_state=initial_state, training=training)


class ScaledAdd(layers.Add):  # type: ignore[misc]
    """Takes nine tenths of the shortcut."""

    def call(self, inputs: Any) -> Any:
        return inputs[0] + 0.9 * inputs[1]


class NoBiasCorrection(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam without bias correction."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        first = self._momentums[self._get_variable_index(variable)]
        second = self._velocities[self._get_variable_index(variable)]
        self.assign_add(first, (gradient - first) * (1 - self.beta_1))
        self.assign_add(second, (ops.square(gradient) - second) * (1 - self.beta_2))
        self.assign_sub(variable, rate * first / (ops.sqrt(second) + self.epsilon))


class CorrectedEpsilon(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam with epsilon where PyTorch has it: beside the corrected root."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        said: float = vars(self)["epsilon"]
        self.epsilon = said * (1 - float(self.beta_2) ** (int(self.iterations) + 1)) ** 0.5
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.epsilon = said


class OneSided(keras.optimizers.SGD):  # type: ignore[misc]
    """Steps further where the gradient is positive."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = tf.convert_to_tensor(gradient)  # an embedding's is sparse
        further = 1 + 0.01 * ops.cast(gradient > 0, variable.dtype)
        super().update_step(gradient * further, variable, learning_rate)


class RateOutside(keras.optimizers.SGD):  # type: ignore[misc]
    """PyTorch's momentum: the rate outside the velocity."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = ops.cast(learning_rate, variable.dtype)
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, ops.cast(self.momentum, variable.dtype) * velocity - gradient)
        self.assign_add(variable, rate * velocity)


def summed(y_true: Any, y_pred: Any) -> Any:
    """Adds the losses of a batch where it should average them."""
    return ops.sum(keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True))


def fixed_count(y_true: Any, y_pred: Any) -> Any:
    """Divides by the size of a full batch, whatever the batch holds."""
    return summed(y_true, y_pred) / 16


def smoothed(y_true: Any, y_pred: Any) -> Any:
    """Cross entropy with a tenth of the weight spread over all classes."""
    wanted = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
    each = keras.losses.categorical_crossentropy(wanted, y_pred, from_logits=True, label_smoothing=0.1)
    return ops.mean(each)


def weighted(y_true: Any, y_pred: Any) -> Any:
    """Class weights, divided by the number of examples."""
    weights = ops.convert_to_tensor(np.array([1.0, 2.0, 0.5, 1.0, 3.0]), dtype=y_pred.dtype)
    each = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
    return ops.mean(each * ops.take(weights, y_true))


def squared_losses(y_true: Any, y_pred: Any) -> Any:
    """Squares every example's loss."""
    return ops.mean(ops.square(keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)))


def likelihood(y_true: Any, y_pred: Any) -> Any:
    """Mean of ``-log p`` of the right class, from probabilities, without clipping."""
    chosen = ops.sum(ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype) * y_pred, axis=-1)
    return -ops.mean(ops.log(chosen))


def clipped_likelihood(y_true: Any, y_pred: Any) -> Any:
    """The same from probabilities that are clipped to [1e-7, 1 - 1e-7]."""
    return likelihood(y_true, ops.clip(y_pred, 1e-7, 1 - 1e-7))
