"""From what a user hands over to a native model: which framework it belongs to."""

from __future__ import annotations

import sys
from typing import Any

from dualml import registry
from dualml.errors import DualmlError, ParityError
from dualml.native.protocol import NativeModel
from dualml.native.trainable import Trainable
from dualml.protocol import AdoptingBackend


def adopted(given: Any, side: str) -> NativeModel:
    """The native model of one side.

    Args:
        given: A model, a function that returns one, or a ``Trainable``.
        side: ``left`` or ``right``, for messages.

    Raises:
        ParityError: It is no model of a framework that is known here.
    """
    whole = given if isinstance(given, Trainable) else Trainable(given)
    model = whole.model
    owner = owner_of(model)
    if owner is None and callable(model):
        model = called(model, side)
        if isinstance(model, Trainable):
            return adopted(model, side)
        owner = owner_of(model)
    if owner is None:
        raise ParityError(
            f"the {side} model must be a torch.nn.Module, a Keras model, a function without arguments that returns "
            f"one, or a dualml.Trainable; got {type(model).__name__}"
        )
    found: NativeModel = owner.adopt(model, whole.loss, whole.optimizer)
    return found


def called(function: Any, side: str) -> Any:
    """What a function returns.

    Raises:
        ParityError: It needs arguments, or fails.
    """
    try:
        return function()
    except DualmlError:
        raise
    except Exception as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise ParityError(
            f"the {side} model: {name}() must return a model, but it raised {type(error).__name__}: "
            f"{error}{_line(error)}"
        ) from None


def _line(error: BaseException) -> str:
    """Where in the user's code an error came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""


def owner_of(model: Any) -> AdoptingBackend | None:
    """The backend whose framework a model belongs to; ``None`` if none does."""
    for name in sorted(registry.names(), key=registry.load_order):
        packages = registry.FRAMEWORKS.get(name)
        if packages is not None and not any(package in sys.modules for package in packages):
            continue  # its objects cannot exist, and importing it takes seconds
        try:
            backend = registry.load(name)
        except DualmlError:
            continue
        if isinstance(backend, AdoptingBackend) and backend.owns(model):
            return backend
    return None
