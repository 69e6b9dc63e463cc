"""What a family of layers tells the adapter: how a Keras layer is made and called, and where its weights are.

Every layer is told its dtype and data format, so neither ``keras.config.floatx()`` nor ``keras.json`` matters.
Initial values come from the core, so weights start at zeros here: Keras' own initializers would draw numbers that
nobody uses and move Python's global random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from dualml.spec.graph import Node

Make: TypeAlias = Callable[[Node, str, bool], Any]
"""A function ``(node, precision, native randomness)`` that makes the layer."""
Invoke: TypeAlias = Callable[[Any, list[Any]], Any]
"""Calls a layer on the values of ``node.inputs``; left out, with the only value or the list of them."""
Variables: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""The layer's variables by role; left out, each by its own name."""


class Masked:
    """A layer that takes its random mask from ``mask`` where one is set.

    Attributes:
        mask: Which values to keep, dtype bool; ``None``: draw, as the stock layer does.
    """

    mask: Any = None


class Source:
    """A layer whose value depends on nothing that is differentiated, yet is itself: it has ``tape`` watch the value.

    Attributes:
        tape: Where the value's gradient is wanted; or ``None``.
    """

    tape: Any = None

    def seen(self, value: Any) -> Any:
        """The value, watched."""
        if self.tape is not None:
            self.tape.watch(value)
        return value


@contextmanager
def seen_by(tape: Any, layers: Mapping[str, Any]) -> Iterator[None]:
    """Within it, a tape sees the values of all layers that are sources; with ``None`` it changes nothing."""
    sources = [layer for layer in layers.values() if isinstance(layer, Source) and tape is not None]
    for layer in sources:
        layer.tape = tape
    try:
        yield
    finally:
        for layer in sources:
            layer.tape = None


@contextmanager
def given_masks(layers: Mapping[str, Any], masks: Mapping[str, Any]) -> Iterator[None]:
    """Within it, the layers of a model that draw use these masks.

    A traced function reads the masks while it is traced, so they must be among its arguments.

    Args:
        layers: The Keras layer of each node.
        masks: Tensors by node, dtype bool.
    """
    for name, mask in masks.items():
        layers[name].mask = mask
    try:
        yield
    finally:
        for name in masks:
            layers[name].mask = None
