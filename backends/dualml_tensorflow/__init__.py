"""The TensorFlow backend: native Keras models, differentiated by ``tf.GradientTape``.

Importing it imports TensorFlow. It refuses to run if Keras itself is on another backend: ``keras.layers``
would then be that framework's, and a comparison with it would compare a framework with itself.
"""

from __future__ import annotations

import os

from dualml.errors import BackendUnavailableError
from dualml_tensorflow.startup import without_notes

# Read once, when TensorFlow's libraries load: without it every process prints which instructions its binary
# was compiled for. 2 leaves errors; a user's own setting stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_REMEDY = (
    "set KERAS_BACKEND=tensorflow in the environment before Keras is imported, "
    'or "backend": "tensorflow" in ~/.keras/keras.json'
)

try:
    with without_notes():
        import keras
except ModuleNotFoundError as error:
    # Keras imports the framework it is set to; if that one is absent, Keras is present but set to another.
    if (error.name or "").partition(".")[0] not in {"jax", "torch", "openvino", "mlx"}:
        raise
    raise BackendUnavailableError(
        f"the backend 'tensorflow' needs Keras on TensorFlow, but Keras is set to a framework that is not "
        f"installed ({error.name}); {_REMEDY}"
    ) from error

if keras.config.backend() != "tensorflow":
    raise BackendUnavailableError(
        f"the backend 'tensorflow' needs Keras on TensorFlow, but Keras runs on {keras.config.backend()!r}; {_REMEDY}"
    )

from dualml_tensorflow.backend import backend  # noqa: E402 (only after the check)

__all__ = ["backend"]
