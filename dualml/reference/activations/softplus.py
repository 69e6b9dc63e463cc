"""Smooth rectifiers: softplus, log_sigmoid, squareplus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.reference.activations.base import ActivationReference, Elementwise, sigmoid
from dualml.reference.rounding import Float


def _threshold(settings: Any) -> float:
    return np.inf if settings.threshold == "none" else float(settings.threshold)


def _softplus(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    smooth = (np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))) / settings.beta
    return np.where(z > _threshold(settings), x, smooth)


def _softplus_derivative(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.where(z > _threshold(settings), 1.0, sigmoid(z))


def _softplus_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    rounded_argument = 0.0 if settings.beta == 1 else np.abs(x) * sigmoid(z)
    return np.asarray(_softplus(settings, x) + rounded_argument)


def _softplus_derivative_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.asarray(sigmoid(z) * (1.0 if settings.beta == 1 else 1.0 + np.abs(z) * sigmoid(-z)))


def _at_threshold(settings: Any, x: Float, unit: float) -> NDArray[np.bool_]:
    threshold = _threshold(settings)
    if np.isinf(threshold):
        return np.zeros(x.shape, dtype=np.bool_)
    return np.asarray(np.abs(settings.beta * x - threshold) <= 4.0 * unit * abs(threshold))


def _softplus_jump(settings: Any, x: Float, unit: float) -> Float:
    z = settings.beta * x
    return np.where(_at_threshold(settings, x, unit), np.log1p(np.exp(-np.abs(z))) / settings.beta, 0.0)


def _softplus_derivative_jump(settings: Any, x: Float, unit: float) -> Float:
    return np.where(_at_threshold(settings, x, unit), sigmoid(-settings.beta * x), 0.0)


def _softplus_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:
    return np.asarray(settings.beta * x == _threshold(settings))


def _log_sigmoid(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


def _root(settings: Any, x: Float) -> Float:
    return np.asarray(np.hypot(x, np.sqrt(settings.b)))


def _squareplus(settings: Any, x: Float) -> Float:
    root = _root(settings, x)  # for negative x the sum would cancel
    return np.where(x > 0, (x + root) / 2.0, settings.b / (2.0 * (root + np.abs(x))))


def _squareplus_derivative(settings: Any, x: Float) -> Float:
    root = _root(settings, x)
    return np.where(x > 0, (1.0 + x / root) / 2.0, settings.b / (2.0 * root * (root + np.abs(x))))


def _squareplus_magnitude(settings: Any, x: Float) -> Float:
    return np.asarray((np.abs(x) + _root(settings, x)) / 2.0)


FUNCTIONS: Mapping[str, ActivationReference] = {
    "softplus": Elementwise(
        _softplus,
        _softplus_derivative,
        constant=24,  # 8.8: TensorFlow float64, x = -34; PyTorch 3.9
        magnitude=_softplus_magnitude,
        derivative_constant=20,  # 6.2: TensorFlow float32, x = -14.5; PyTorch 2.0
        derivative_magnitude=_softplus_derivative_magnitude,
        kink=_softplus_kinks,
        jump=_softplus_jump,
        derivative_jump=_softplus_derivative_jump,
    ),
    "log_sigmoid": Elementwise(
        _log_sigmoid,
        lambda _, x: sigmoid(-x),
        constant=24,  # 7.8: TensorFlow with XLA float32, x = 14; PyTorch 1.9
        magnitude=lambda settings, x: -_log_sigmoid(settings, x),
        derivative_constant=20,  # 7.7: TensorFlow float32, x = 14.4; PyTorch 2.9
        derivative_magnitude=lambda _, x: sigmoid(-x),
    ),
    "squareplus": Elementwise(
        _squareplus,
        _squareplus_derivative,
        constant=6,  # 2.4 in both
        magnitude=_squareplus_magnitude,
        derivative_constant=8,  # 1.9 in both
        derivative_magnitude=lambda _, x: np.ones_like(x),
    ),
}
"""By kind."""
