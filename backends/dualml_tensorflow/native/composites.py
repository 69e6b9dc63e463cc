"""Functions of Keras and TensorFlow that are several operations, as one call each.

``keras.ops.gelu`` executes eight operations, and a table of operations would see eight calls. All functions of
``keras.ops`` and ``keras.activations`` come through ``keras.src.backend``, so replacing them there is enough, however a
user imported them. Of TensorFlow's own, those that users call as attributes of ``tf.nn`` are seen.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras.src.activations import activations as keras_activations

from dualml_tensorflow.native import random
from dualml_tensorflow.native.activations import Function, clipped
from dualml_tensorflow.native.exact import replacing
from dualml_tensorflow.native.shapes import axis_setting
from dualml_tensorflow.native.trace import Reading, Recorder

_BACKEND = keras.src.backend


@dataclass(frozen=True)
class Composite:
    """What a function means with given arguments.

    Attributes:
        kind: Of the spec's layer.
        settings: All of them.
        inputs: Names of the arguments that are values, in order.
        weights: Role to name.
        random: Whether it draws a mask.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("x",)
    weights: Mapping[str, str] = field(default_factory=dict)
    random: bool = False


Arguments = Mapping[str, Any]
Reader = Callable[[Recorder, Arguments], Composite | None]


def _plain(function: Function, name: str = "x") -> Reader:
    return lambda *_: Composite("activation", {"function": function}, (name,))


def _with(make: Callable[[Arguments], Function], name: str = "x") -> Reader:
    return lambda _, given: Composite("activation", {"function": make(given)}, (name,))


def _gelu(given: Arguments) -> Function:
    return {"gelu": {"approximate": "tanh" if given["approximate"] else "none"}}


def _over_axis(kind: str, name: str) -> Reader:
    def read(_: Recorder, given: Arguments) -> Composite | None:
        axis = given["axis"]
        axis = -1 if axis is None else axis
        if not isinstance(axis, int):
            return None
        setting = axis_setting(axis, len(given[name].shape))
        setting = setting if axis >= 0 or setting < 0 else axis
        return Composite("activation", {"function": {kind: {"axis": setting}}}, (name,))

    return read


def _glu(_: Recorder, given: Arguments) -> Composite:
    axis = given["axis"]
    rank = len(given["x"].shape)
    return Composite("glu", {"axis": axis if -rank < axis < 0 else axis_setting(axis, rank)})


def _swish(given: Arguments) -> Function:
    return {"silu": {}} if given["beta"] == 1.0 else {"swish": {"beta": float(given["beta"])}}


def _product(left: str, right: str) -> Reader:
    """A value times a weight on its last axis, of more than two axes."""

    def read(recorder: Recorder, given: Arguments) -> Composite | None:
        if given.get("axes", 1) != 1 or not tf.is_tensor(given[left]):
            return None
        name = recorder.weight_name(given[right])
        shape = tuple(given[right].shape)
        if name is None or len(shape) != 2 or not recorder.known(given[left]):
            return None
        return Composite("dense", {"units": shape[1], "bias": False}, (left,), {"kernel": name})

    return read


def _dropout(values: str) -> Reader:
    def read(_: Recorder, given: Arguments) -> Composite | None:
        if given.get("noise_shape") is not None or not isinstance(given["rate"], (int, float)):
            return None
        return Composite("dropout", {"rate": float(given["rate"])}, (values,), random=True)

    return read


@dataclass(frozen=True)
class _Place:
    """Where a function is, what it means, and what users call it, if not by that name."""

    owner: Any
    name: str
    read: Reader
    native: str = ""


_A = _BACKEND.nn
_PLACES: tuple[_Place, ...] = (
    _Place(_A, "gelu", _with(_gelu)),
    _Place(
        _A,
        "leaky_relu",
        _with(lambda given: {"leaky_relu": {"negative_slope": float(given["negative_slope"])}}),
    ),
    _Place(
        keras_activations.ReLU,
        "static_call",
        _with(
            lambda given: clipped(
                None if given["max_value"] is None else float(given["max_value"]),
                float(given["negative_slope"]),
                float(given["threshold"]),
            )
        ),
        "keras.activations.relu",
    ),
    _Place(keras_activations.Mish, "static_call", _plain({"mish": {}}), native="keras.activations.mish"),
    _Place(_A, "silu", _plain({"silu": {}})),
    _Place(_A, "elu", _with(lambda given: {"elu": {"alpha": float(given["alpha"])}})),
    _Place(_A, "celu", _with(lambda given: {"celu": {"alpha": float(given["alpha"])}})),
    _Place(_A, "log_sigmoid", _plain({"log_sigmoid": {}})),
    _Place(_A, "hard_sigmoid", _plain({"hard_sigmoid": {}})),
    _Place(_A, "hard_silu", _plain({"hard_swish": {}})),
    _Place(_A, "sparse_sigmoid", _plain({"sparse_sigmoid": {}})),
    _Place(_A, "sparse_plus", _plain({"sparse_plus": {}})),
    _Place(_A, "squareplus", _with(lambda given: {"squareplus": {"b": float(given["b"])}})),
    _Place(_A, "tanh_shrink", _plain({"tanh_shrink": {}})),
    _Place(_A, "hard_tanh", _plain({"hard_tanh": {"minimum": -1.0, "maximum": 1.0}})),
    _Place(_A, "hard_shrink", _with(lambda given: {"hard_shrink": {"threshold": float(given["threshold"])}})),
    _Place(_A, "soft_shrink", _with(lambda given: {"soft_shrink": {"threshold": float(given["threshold"])}})),
    _Place(
        _A,
        "threshold",
        _with(lambda given: {"threshold": {"at": float(given["threshold"]), "value": float(given["default_value"])}}),
    ),
    _Place(_A, "glu", _glu),
    _Place(_A, "softmax", _over_axis("softmax", "x")),
    _Place(_A, "log_softmax", _over_axis("log_softmax", "x")),
    _Place(_BACKEND.numpy, "matmul", _product("x1", "x2"), native="keras.ops.matmul"),
    _Place(_BACKEND.random, "dropout", _dropout("inputs"), native="keras.random.dropout"),
    _Place(tf.nn, "gelu", _with(_gelu, "features")),
    _Place(tf.nn, "silu", _with(_swish, "features")),
    _Place(tf.nn, "swish", _with(_swish, "features")),
    _Place(
        tf.nn,
        "leaky_relu",
        _with(lambda given: {"leaky_relu": {"negative_slope": float(given["alpha"])}}, "features"),
    ),
    _Place(tf.nn, "softmax", _over_axis("softmax", "logits")),
    _Place(tf.nn, "log_softmax", _over_axis("log_softmax", "logits")),
    _Place(tf.nn, "dropout", _dropout("x")),
    _Place(tf.math, "log_sigmoid", _plain({"log_sigmoid": {}})),
    _Place(tf, "tensordot", _product("a", "b"), native="tf.tensordot"),
)


@contextmanager
def watched(recorder: Recorder) -> Iterator[None]:
    """Within it, this thread's calls of these functions enter the recorder."""
    thread = threading.get_ident()
    with replacing(
        [
            *((place.owner, place.name, _watching(recorder, place, thread)) for place in _PLACES),
            (_BACKEND.numpy, "flip", _turning(recorder)),
        ]
    ):
        yield


def _watching(recorder: Recorder, place: _Place, thread: int) -> Callable[..., Any]:
    original = getattr(place.owner, place.name)
    signature = inspect.signature(original)
    title = "relu" if place.name == "static_call" and place.owner is keras_activations.ReLU else place.name
    title = "mish" if title == "static_call" else title

    def call(*args: Any, **kwargs: Any) -> Any:
        if recorder.silent or threading.get_ident() != thread:
            return original(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        with recorder.silently():
            found = place.read(recorder, bound.arguments)
        if found is None or not all(recorder.known(bound.arguments[name]) for name in found.inputs):
            return original(*args, **kwargs)
        return _enter(recorder, place, title, original, bound, found)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _enter(
    recorder: Recorder,
    place: _Place,
    title: str,
    original: Callable[..., Any],
    bound: inspect.BoundArguments,
    found: Composite,
) -> Any:
    """One such function is called."""
    name = recorder.local(title)
    inputs = [bound.arguments[argument] for argument in found.inputs]
    held = {argument: item for argument, item in bound.arguments.items() if argument not in found.inputs}

    def again(tensors: Any, _: bool, mask: Any) -> Any:
        if found.random:
            return random.kept(tensors[0], mask, found.settings["rate"])
        given = bound.signature.bind_partial()
        given.arguments = {**held, **dict(zip(found.inputs, tensors, strict=True))}
        return original(*given.args, **given.kwargs)

    owner = {id(tf.nn): "tf.nn", id(tf.math): "tf.math"}.get(id(place.owner), "keras.ops")
    native = place.native or f"{owner}.{place.name}"
    reading = Reading(
        kind=found.kind,
        settings=found.settings,
        inputs=inputs,
        replay=again,
        weights=found.weights,
        native=native,
        code=native,
        random=found.random,
    )
    with recorder.silently():
        if found.random:
            made = random.kept(inputs[0], recorder.masks.get(name), found.settings["rate"])
        else:
            made = original(*bound.args, **bound.kwargs)
    return recorder.record(name, reading, [made])[0]


def _turning(recorder: Recorder) -> Callable[..., Any]:
    """``keras.ops.flip`` of what a backward layer read from the end: the sequence in its own order, as it was."""
    original = _BACKEND.numpy.flip

    def flip(x: Any, axis: Any = None) -> Any:
        if not recorder.silent and axis == 1 and id(x) in recorder.turned:
            return recorder.turn_back(x)
        return original(x, axis=axis)

    return flip
