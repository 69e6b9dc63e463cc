"""The user's own TensorFlow models, read and run for ``dualml diff``."""

from __future__ import annotations

from dualml_tensorflow.native.model import TensorflowModel

__all__ = ["TensorflowModel"]
