"""Watching a pass: stock layers, functions and operations enter the recorder as they are called."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
from tensorflow.python.framework import op_callbacks

from dualml_tensorflow.native import activations, composites, entering, functions, subclasses
from dualml_tensorflow.native.layers import READERS
from dualml_tensorflow.native.stock import Given
from dualml_tensorflow.native.trace import Recorder
from dualml_tensorflow.native.weights import stock_class

LOOKED_INTO = (
    keras.Model,
    keras.layers.Bidirectional,
    keras.layers.SeparableConv2D,
    keras.layers.Lambda,
    keras.layers.Rescaling,
)
"""Stock layers made of others, or of operations that each are a call."""


def _of_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] == "keras"


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Within it, what this thread calls enters the recorder."""
    thread = threading.get_ident()
    original = keras.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.silent or threading.get_ident() != thread:
            return original(layer, *args, **kwargs)
        given = Given(layer, args, kwargs)
        kind = stock_class(layer, READERS)
        if given.tensors and kind is not None:
            meaning = READERS[kind](given)
            if meaning is not None:
                return entering.stock(recorder, original, given, meaning)
            own = isinstance(layer, keras.layers.Activation) and activations.function_of(layer.activation) is None
            if not own:  # else it is the user's own function
                return entering.opaque(recorder, original, given)
        elif given.tensors and (base := subclasses.base_of(layer, READERS)) is not None:
            meaning = READERS[base](given)
            meaning = meaning and subclasses.settled(recorder, original, given, meaning, base)
            if meaning is not None:
                return entering.stock(recorder, original, replace(given, inherited=True), meaning)
        elif given.tensors and not isinstance(layer, LOOKED_INTO) and _of_keras(layer):
            return entering.opaque(recorder, original, given)
        with recorder.within(layer):
            return original(layer, *args, **kwargs)

    def inherited(given: Given, kind: type) -> Any:
        if given.base is None or recorder.silent or threading.get_ident() != thread or not given.tensors:
            return NotImplemented
        meaning = READERS[kind](given) if subclasses.base_of(given.layer, READERS) is kind else None
        if meaning is None:
            return NotImplemented
        return entering.stock(recorder, given.base, given, meaning)

    def executed(
        kind: Any,
        inputs: Sequence[Any],
        attributes: Any,
        outputs: Sequence[Any],
        op_name: Any = None,  # noqa: ARG001 (TensorFlow gives it by name)
        graph: Any = None,
    ) -> None:
        if recorder.silent or graph is not None or threading.get_ident() != thread:
            return
        with recorder.silently():
            functions.observe(recorder, kind if isinstance(kind, str) else kind.decode(), inputs, attributes, outputs)

    keras.Layer.__call__ = call
    op_callbacks.add_op_callback(executed)
    try:
        with composites.watched(recorder), subclasses.watched(READERS, inherited):
            yield
    finally:
        op_callbacks.remove_op_callback(executed)
        keras.Layer.__call__ = original
