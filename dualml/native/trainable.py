"""A native model with what it is trained by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trainable:
    """A model that the user already has, with its own loss and optimizer, for ``dualml.diff``.

    Attributes:
        model: A ``torch.nn.Module``, a Keras model, or a function without arguments that returns one.
        loss: In PyTorch ``loss(outputs, targets)``; in Keras ``loss(y_true, y_pred)``, a loss object or its name.
        optimizer: In PyTorch an optimizer over the model's parameters or a function that takes parameters and returns
            one; in Keras an optimizer object.
        name: What reports call it.

    Example:
        >>> import dualml
        >>> dualml.Trainable(lambda: None, name="old").name
        'old'
    """

    model: Any
    loss: Any = None
    optimizer: Any = None
    name: str = ""
