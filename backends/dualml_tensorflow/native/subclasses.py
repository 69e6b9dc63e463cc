"""Users' subclasses of stock Keras layers.

A subclass that computes what its base class computes, by whatever code, is one call: the base class says what is meant,
and judging finds where the subclass departs from that, in training, in gradients or in running statistics. A subclass
that computes something else is looked into; where it calls ``super().call``, that is a call of the stock layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from dualml.native import inherited
from dualml_tensorflow.native.stock import Given, Meaning
from dualml_tensorflow.native.trace import Recorder
from dualml_tensorflow.native.weights import HARMLESS

Base = Callable[..., Any]
"""``call`` of a stock class, which takes the layer first."""

_FREE = HARMLESS | {"call", "build", "compute_output_shape", "compute_output_spec", "compute_mask"}
"""What a subclass may define without changing what ``call`` of its base class computes."""


def base_of(layer: Any, known: Mapping[type, Any]) -> type | None:
    """The stock class whose ``call`` means for a layer what it means for the stock layer; ``None``: there is none.

    None where a subclass replaces something that the base's ``call`` uses itself, such as ``convolution_op``.
    """
    below: list[type] = []
    for kind in type(layer).__mro__:
        if kind in known:
            own = {name for item in below for name in vars(item) if name not in _FREE}
            return None if any(hasattr(kind, name) for name in own) else kind
        below.append(kind)
    return None


def settled(recorder: Recorder, original: Base, given: Given, meaning: Meaning, kind: type) -> Meaning | None:
    """What a subclass means as one call; ``None``: it computes something else than its base class, look into it.

    Decided once for all passes.
    """
    if meaning.fused and getattr(given.layer, meaning.fused) is not keras.activations.linear:
        return None  # two calls in one
    if meaning.random and meaning.kind not in _MASKED:
        return None
    held = recorder.decided
    path = recorder.path(given.layer)
    if path not in held:
        with recorder.silently(), _restored(given.layer):
            held[path] = _settings(original, given, meaning, kind)
    found = held[path]
    return None if found is None else replace(meaning, settings={**meaning.settings, **found})


_MASKED = frozenset({"dropout", "spatial_dropout", "stochastic_depth"})
"""Random layers whose mask can be given to a subclass: what it drops goes through ``keras.random.dropout``."""


def _settings(original: Base, given: Given, meaning: Meaning, kind: Any) -> dict[str, Any] | None:
    """Settings by which a subclass departs from what its base class states; ``None``: it is none of these at all."""
    layer = given.layer
    one = original(layer, *given.args, **_with_mode(given, layer._call_has_training_arg, training=False))
    try:
        takes = "training" in inspect.signature(kind.call).parameters
        other = kind.call(layer, *given.args, **_with_mode(given, takes, training=False))
    except (TypeError, ValueError, tf.errors.OpError):  # it does not take what the subclass takes
        return None
    if not inherited.alike(_arrays(one), _arrays(other)):
        return None
    if meaning.kind != "batch_norm" or meaning.settings["frozen"]:
        return {}
    before = _statistics(layer)
    original(layer, *given.args, **_with_mode(given, layer._call_has_training_arg, training=True))
    x, axis = given.tensors[0].numpy(), 1 if meaning.channels_first else -1
    return inherited.batch_norm_settings(meaning.settings, x, axis, before, _statistics(layer))


def _statistics(layer: Any) -> list[Any]:
    return [np.array(layer.moving_mean.numpy()), np.array(layer.moving_variance.numpy())]


def _arrays(made: Any) -> list[Any]:
    return [item.numpy() for item in tree.flatten(made) if isinstance(item, tf.Tensor)]


def _with_mode(given: Given, takes: bool, *, training: bool) -> dict[str, Any]:
    rest = {name: item for name, item in given.kwargs.items() if name != "training"}
    return {**rest, "training": training} if takes else rest


@contextmanager
def _restored(layer: Any) -> Iterator[None]:
    """Afterwards the layer's variables, the state of its random numbers among them, are what they were."""
    before = [(variable, tf.identity(variable.value)) for variable in layer.variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


@contextmanager
def watched(known: Mapping[type, Any], enter: Callable[[Given, type], Any]) -> Iterator[None]:
    """Within it, calls of ``super().call`` enter the recorder.

    Args:
        known: Stock classes.
        enter: Takes such a call and its stock class; ``NotImplemented``: do it as if nobody watched.
    """
    kinds: list[Any] = list(known)
    before = {kind: vars(kind).get("call") for kind in kinds}
    functions = {kind: _watching(kind, kind.call, enter) for kind in kinds}
    try:
        for kind, function in functions.items():
            kind.call = function
        yield
    finally:
        for kind, function in before.items():
            if function is None:
                del kind.call
            else:
                kind.call = function


def _watching(kind: Any, base: Base, enter: Callable[[Given, type], Any]) -> Base:
    signature = inspect.signature(base)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not args:
            return base(layer, *args, **kwargs)
        named = signature.bind(layer, *args, **kwargs).arguments
        rest = {name: item for place, (name, item) in enumerate(named.items()) if place > 1 and item is not None}
        found = enter(Given(layer, args[:1], rest, base), kind)
        return base(layer, *args, **kwargs) if found is NotImplemented else found

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call
