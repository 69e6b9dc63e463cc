"""What a stock Keras layer means: the frame that ``layers`` and its kin fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import tensorflow as tf
from keras import tree

_PLACE = object()


@dataclass(frozen=True)
class Given:
    """What a layer is called with.

    Attributes:
        layer: The layer.
        args: By position.
        kwargs: By name.
        base: The stock class's own ``call``, if that is what is called: by a subclass, as ``super().call``.
        inherited: Whether the layer is a subclass whose own code computes what its base class does.
    """

    layer: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    base: Callable[..., Any] | None = None
    inherited: bool = False

    @property
    def tensors(self) -> list[Any]:
        """Every tensor in it, in order, as often as it is given."""
        return [item for item in tree.flatten((self.args, dict(self.kwargs))) if isinstance(item, tf.Tensor)]

    def argument(self, name: str) -> Any:
        """An argument of the layer's ``call``; ``None`` if it is not given."""
        try:
            bound = inspect.signature(self.layer.call).bind_partial(*self.args, **self.kwargs)
        except TypeError:
            return self.kwargs.get(name)
        return bound.arguments.get(name, self.kwargs.get(name))

    def emptied(self) -> Given:
        """The same call without its tensors, so that they need not be kept."""
        return self._mapped(lambda item: _PLACE if isinstance(item, tf.Tensor) else item)

    def with_tensors(self, tensors: Sequence[Any]) -> Given:
        """An emptied call with tensors in their places."""
        rest = iter(tensors)
        return self._mapped(lambda item: next(rest) if item is _PLACE else item)

    def _mapped(self, function: Callable[[Any], Any]) -> Given:
        args, kwargs = tree.map_structure(function, (self.args, dict(self.kwargs)))
        return replace(self, args=args, kwargs=kwargs)

    def mask_of(self, tensor: Any) -> Any:
        """The mask that Keras attached to a tensor; ``None``: none."""
        return keras.src.backend.get_keras_mask(tensor)


@dataclass(frozen=True)
class Meaning:
    """A stock layer in the terms of the spec.

    Attributes:
        kind: Kind of the spec's layer.
        settings: Its settings, all of them.
        channels_first: Whether channels are behind the batch.
        said: Setting to the constructor's argument it comes from; for what is left to the default.
        fused: Attribute that holds a function applied at the end, or empty.
        random: Whether it draws a mask in training.
        inputs: What it reads, if that is not all tensors it is given, each once, in their order.
        folded: Whether the last of ``inputs``, its mask, has an axis of size 1 behind the batch; the spec's has none.
        turned: Whether its first output is the sequence from the end to the beginning.
    """

    kind: str
    settings: Mapping[str, Any]
    channels_first: bool | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    fused: str = ""
    random: bool = False
    inputs: Sequence[Any] | None = None
    folded: bool = False
    turned: bool = False


Reader = Callable[[Given], Meaning | None]
"""Says what a layer means; ``None``: nothing of the catalogue, it is opaque."""


def channels_first(layer: Any) -> bool:
    """Whether a layer takes the axis behind the batch as channels."""
    return getattr(layer, "data_format", "channels_last") == "channels_first"


def renamed(**arguments: str) -> dict[str, str]:
    """A table of settings and arguments; see ``Meaning.said``."""
    return arguments
