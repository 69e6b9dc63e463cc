"""Activation functions: the stock Keras layer, unless it rounds constants to float32 or cannot express the function.

Several TensorFlow kernels hold constants in float32 whatever the input's dtype. In float32 that is the
framework's own arithmetic, and the stock layer is used; in float64 it is an error of 1e-9 to 1e-8, and a layer
of this module evaluates the formula in full. These layers are registered with Keras, so a saved model that
holds one reloads wherever ``dualml_tensorflow`` is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml.spec import activations as spec

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_OVER_PI = math.sqrt(2.0 / math.pi)


class Elementwise(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    """A layer without variables whose output has its input's shape."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape


@keras.saving.register_keras_serializable(package="dualml")
class Gelu(Elementwise):
    """``x (1 + erf(x / sqrt 2)) / 2``, or the tanh form.

    Why not stock: ``tf.nn.gelu`` (``python/ops/nn_ops.py``) takes its constants through ``tf.cast`` of a Python
    float, which makes them float32 first: 5e-9 (exact form) and 9e-10 (tanh form) off in float64. And no
    stock layer has a name for the tanh form, which in float32 is ``keras.activations.gelu``'s own here.
    """

    def __init__(self, approximate: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.approximate = approximate

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        if inputs.dtype == tf.float32:
            return keras.activations.gelu(inputs, approximate=self.approximate == "tanh")
        if self.approximate == "tanh":
            return 0.5 * inputs * (1.0 + tf.tanh(ROOT_TWO_OVER_PI * (inputs + 0.044715 * inputs * inputs * inputs)))
        return 0.5 * inputs * (1.0 + tf.math.erf(inputs * ROOT_HALF))

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "approximate": self.approximate}


@keras.saving.register_keras_serializable(package="dualml")
class Linear(Elementwise):
    """The inputs, as a tensor of their own.

    Why not stock: ``keras.activations.linear`` returns the very tensor it is given, and a tape has one gradient for
    it, that of all its readers, where the value of this layer has some of them and the layer before it others.
    """

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        return tf.identity(inputs)


@keras.saving.register_keras_serializable(package="dualml")
class LeakyRelu(Elementwise):
    """``x`` where ``x > 0``, else ``negative_slope x``.

    Why not stock: the attribute ``alpha`` of the kernel behind ``tf.nn.leaky_relu`` is a float32, so in float64
    a slope of 0.01 is 0.00999999977; and ``keras.layers.LeakyReLU`` refuses a negative slope in any precision.
    """

    def __init__(self, negative_slope: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        return tf.where(inputs > 0, inputs, self.negative_slope * inputs)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "negative_slope": self.negative_slope}


@keras.saving.register_keras_serializable(package="dualml")
class Softplus(Elementwise):
    """``log(1 + exp(beta x)) / beta``, and ``x`` itself where ``beta x > threshold``.

    Why not stock: ``keras.activations.softplus`` has neither setting.
    """

    def __init__(self, beta: float, threshold: float | str, **settings: Any) -> None:
        super().__init__(**settings)
        self.beta = beta
        self.threshold = threshold

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        scaled = self.beta * inputs
        values = tf.math.softplus(scaled) / self.beta
        if self.threshold == "none":
            return values
        return tf.where(scaled > self.threshold, inputs, values)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "beta": self.beta, "threshold": self.threshold}


SELU_SCALE = 1.0507009873554805
SELU_SLOPE = SELU_SCALE * 1.6732632423543772


def _clip(x: Any, minimum: float, maximum: float) -> Any:
    """Derivative 0 at both ends, where ``tf.clip_by_value`` has 1."""
    return tf.where(x > minimum, tf.where(x < maximum, x, maximum), minimum)


def _clipped_relu(x: Any, max_value: float | str, negative_slope: float, threshold: float) -> Any:
    values = tf.where(x > threshold, x, negative_slope * (x - threshold))
    return values if isinstance(max_value, str) else tf.where(x < max_value, values, max_value)


def _selu(x: Any) -> Any:
    return tf.where(x > 0, SELU_SCALE * x, SELU_SLOPE * tf.math.expm1(tf.minimum(x, 0.0)))


def _celu(x: Any, alpha: float) -> Any:
    return tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0.0) / alpha))


FORMULAS: Mapping[str, Callable[..., Any]] = {
    "clipped_relu": _clipped_relu,
    "selu": _selu,
    "celu": _celu,
    "swish": lambda x, beta: x * tf.sigmoid(beta * x),
    "hard_tanh": _clip,
    "hard_shrink": lambda x, threshold: tf.where(tf.abs(x) > threshold, x, tf.zeros_like(x)),
    "soft_shrink": lambda x, threshold: keras.activations.soft_shrink(x, threshold=threshold),
    "squareplus": lambda x, b: (x + tf.sqrt(tf.square(x) + b)) / 2.0,
    "threshold": lambda x, at, value: tf.where(x > at, x, value),
}
"""What ``Formula`` evaluates; Python floats beside a tensor become numbers of its dtype, in full precision."""


@keras.saving.register_keras_serializable(package="dualml")
class Formula(Elementwise):
    """An activation by its formula.

    Why not stock: the stock layers have no settings for these, but for selu, celu, clipped_relu and hard_tanh, whose
    stock functions take other derivatives exactly where theirs jump (``tf.nn.selu`` at 0, ``keras.activations.celu``
    at 0, ``tf.clip_by_value`` at both ends).
    """

    def __init__(self, kind: str, settings: dict[str, Any], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.kind = kind
        self.settings = dict(settings)

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        return FORMULAS[self.kind](inputs, **self.settings)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "kind": self.kind, "settings": dict(self.settings)}


@keras.saving.register_keras_serializable(package="dualml")
class LogSoftmax(Elementwise):
    """``x - log(sum(exp(x)))`` over one axis of the batch.

    Why not stock: ``keras.layers.Activation("log_softmax")`` knows the last axis only.
    """

    def __init__(self, axis: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        """Values of the inputs' shape and dtype."""
        return tf.nn.log_softmax(inputs, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "axis": self.axis}


def _stock(settings: Any, precision: str, name: str) -> Any:
    """Kinds that ``keras.activations`` knows by the same name, with nothing to set and no constant to round."""
    return keras.layers.Activation(settings.kind, name=name, dtype=precision)


def _gelu(settings: spec.Gelu, precision: str, name: str) -> Any:
    if precision == "float32" and settings.approximate == "none":
        return keras.layers.Activation("gelu", name=name, dtype=precision)  # approximate=False is its default
    assert settings.approximate is not None
    return Gelu(settings.approximate, name=name, dtype=precision)


def _leaky_relu(settings: spec.LeakyRelu, precision: str, name: str) -> Any:
    assert settings.negative_slope is not None
    if precision == "float32" and settings.negative_slope >= 0:
        return keras.layers.LeakyReLU(settings.negative_slope, name=name, dtype=precision)
    return LeakyRelu(settings.negative_slope, name=name, dtype=precision)


def _elu(settings: spec.Elu, precision: str, name: str) -> Any:
    return keras.layers.ELU(settings.alpha, name=name, dtype=precision)


def _softplus(settings: spec.Softplus, precision: str, name: str) -> Any:
    assert settings.beta is not None
    assert settings.threshold is not None
    if settings.beta == 1.0 and settings.threshold == "none":
        return _stock(settings, precision, name)
    return Softplus(settings.beta, settings.threshold, name=name, dtype=precision)


def _formula(settings: Any, precision: str, name: str) -> Any:
    return Formula(settings.kind, dict(settings), name=name, dtype=precision)


def _softmax(settings: spec.Softmax, precision: str, name: str) -> Any:
    if settings.axis == -1:
        return _stock(settings, precision, name)
    return keras.layers.Softmax(axis=_with_batch(settings.axis), name=name, dtype=precision)


def _log_softmax(settings: spec.LogSoftmax, precision: str, name: str) -> Any:
    if settings.axis == -1:
        return _stock(settings, precision, name)
    return LogSoftmax(_with_batch(settings.axis), name=name, dtype=precision)


def _with_batch(axis: int) -> int:
    """An axis of an example as one of the batch."""
    return axis + 1 if axis >= 0 else axis


ACTIVATIONS: Mapping[str, Callable[[Any, str, str], Any]] = {
    spec.Relu.kind: _stock,
    spec.Tanh.kind: _stock,
    spec.Sigmoid.kind: _stock,
    spec.Gelu.kind: _gelu,
    spec.LeakyRelu.kind: _leaky_relu,
    spec.Elu.kind: _elu,
    spec.Silu.kind: _stock,
    spec.Softplus.kind: _softplus,
    spec.Relu6.kind: _stock,
    spec.ClippedRelu.kind: _formula,
    spec.Selu.kind: _formula,
    spec.Celu.kind: _formula,
    spec.Swish.kind: _formula,
    spec.Mish.kind: _stock,
    spec.HardSwish.kind: _stock,
    spec.HardSigmoid.kind: _stock,
    spec.LogSigmoid.kind: _stock,
    spec.SparseSigmoid.kind: _stock,
    spec.HardTanh.kind: _formula,
    spec.TanhShrink.kind: _stock,
    spec.HardShrink.kind: _formula,
    spec.SoftShrink.kind: _formula,
    spec.Softsign.kind: _stock,
    spec.Squareplus.kind: _formula,
    spec.SparsePlus.kind: _stock,
    spec.Threshold.kind: _formula,
    spec.Exponential.kind: _stock,
    spec.Linear.kind: lambda _settings, precision, name: Linear(name=name, dtype=precision),
    spec.Softmax.kind: _softmax,
    spec.LogSoftmax.kind: _log_softmax,
}
"""For each kind of activation, a function ``(settings, precision, name)`` that makes the layer."""
