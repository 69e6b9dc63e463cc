"""What turns an output into a prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

PREDICTIONS: Mapping[str, Callable[[Any], Any]] = {
    "softmax": tf.nn.softmax,
    "sigmoid": tf.math.sigmoid,
    "identity": lambda output: output,
}
"""By ``Graph.predictions``."""
