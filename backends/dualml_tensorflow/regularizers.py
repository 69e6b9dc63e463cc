"""Penalties on parameters, to be added to the loss.

Not ``keras.regularizers``: they take their factors through ``ops.cast``, which makes them float32 first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dualml.spec.regularizers import Regularizer


def penalty(regularizer: Regularizer, parameters: Mapping[str, Any]) -> Any:
    """``l1 sum |w| + l2 sum w^2`` over the parameters in scope, shape ``()``, differentiable.

    Args:
        regularizer: The settings; its factors become numbers of the parameters' dtype.
        parameters: All parameters by neutral name; a sum does not depend on their layout.
    """
    l1, l2 = regularizer.factors
    total = tf.zeros((), next(iter(parameters.values())).dtype)
    for name, parameter in parameters.items():
        if not regularizer.applies(name):
            continue
        value = tf.convert_to_tensor(parameter)
        if l1:
            total += l1 * tf.reduce_sum(tf.abs(value))
        if l2:
            total += l2 * tf.reduce_sum(tf.square(value))
    return total
