"""Functions with float32 constants or without a float64 kernel, as float64 means them.

Keras and TensorFlow round some constants to float32 whatever the dtype is: the slope of ``leaky_relu``, the root of 2
in ``gelu``. In a float64 run, which is there to tell formulas apart, they would look like another formula. And some
functions have no float64 kernel on a CPU.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.activations import activations as keras_activations

from dualml.spec.layers import Resize
from dualml_tensorflow.layers.shape import LinearResize

_BACKEND = keras.src.backend


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """The kernel's slope is a float32 in every dtype."""
    return tf.where(x > 0, x, tf.constant(negative_slope, x.dtype) * x)


def gelu(x: Any, approximate: bool = True) -> Any:
    """TensorFlow casts the constants from float32."""
    if approximate:
        inner = x + tf.constant(0.044715, x.dtype) * tf.pow(x, tf.constant(3.0, x.dtype))
        return 0.5 * x * (1.0 + tf.tanh(tf.constant(math.sqrt(2.0 / math.pi), x.dtype) * inner))
    return 0.5 * x * (1.0 + tf.math.erf(x / tf.constant(math.sqrt(2.0), x.dtype)))


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Keras casts threshold and maximum from float32."""
    if negative_slope == 0 and threshold == 0 and max_value in (None, 6):
        return tf.nn.relu(x) if max_value is None else tf.nn.relu6(x)
    at, below = tf.constant(float(threshold), x.dtype), tf.constant(float(negative_slope), x.dtype)
    found = tf.where(x > at, x, below * (x - at))
    return found if max_value is None else tf.minimum(found, tf.constant(float(max_value), x.dtype))


def resize(images: Any, size: Any) -> Any:
    """``tf.image.resize`` interpolates in float32 whatever the dtype is."""
    shape = tuple(images.shape)
    found = Resize(size=tuple(int(item) for item in np.ravel(size)), mode="linear", step="sizes").sources(shape[1:])
    low, weights = [item.low.tolist() for item in found], [item.weight.tolist() for item in found]
    return LinearResize(low, weights, dtype=images.dtype.name).call(images)


_EXACT: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (_BACKEND.nn, "gelu", gelu),
    (_BACKEND.nn, "leaky_relu", leaky_relu),
    (keras_activations.ReLU, "static_call", relu),
    (tf.nn, "gelu", lambda features, approximate=False, *_, **__: gelu(features, approximate)),
    (tf.nn, "leaky_relu", lambda features, alpha=0.2, *_, **__: leaky_relu(features, alpha)),
)
"""Owner, name, and what stands for the function in float64."""


@contextmanager
def replacing(places: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """Within it, functions of modules and classes are others.

    Args:
        places: Owner, name and function.
    """
    before = [(owner, name, inspect.getattr_static(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, function in places:
            setattr(owner, name, staticmethod(function) if inspect.isclass(owner) else function)
        yield
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)


@contextmanager
def exactly(precision: str) -> Iterator[None]:
    """Within it, functions with float32 constants compute with those that are meant, on float64 values."""
    if precision != "float64":
        yield
        return
    constants = [(owner, name, _for_float64(getattr(owner, name), exact)) for owner, name, exact in _EXACT]
    kernels = [(_BACKEND.nn, name, _with_kernel(getattr(_BACKEND.nn, name))) for name in _WITHOUT_KERNEL]
    with replacing([*constants, *kernels, _resizing()]):
        yield


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Within it, Python's numbers become float64 as they are; Keras casts them from float32, as Nadam's 0.96."""
    original = keras.src.ops.cast

    def cast(x: Any, dtype: Any) -> Any:
        wide = isinstance(x, float) and keras.backend.standardize_dtype(dtype) == "float64"
        return tf.constant(x, tf.float64) if wide else original(x, dtype)

    with replacing([(keras.src.ops, "cast", cast)]):
        yield


_WITHOUT_KERNEL = ("conv", "depthwise_conv", "separable_conv", "conv_transpose", "max_pool", "average_pool")
"""Functions that on a CPU have no float64 kernel for channels behind the batch, or for pools of three axes."""


def _with_kernel(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same by a kernel that there is: channels moved to the end, or a pool over two axes and then the third."""
    signature = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        inputs = given["inputs"]
        if not tf.is_tensor(inputs) or inputs.dtype != tf.float64:
            return original(*args, **kwargs)
        rank = len(inputs.shape)
        first = keras.config.image_data_format() if given["data_format"] is None else given["data_format"]
        given["data_format"] = "channels_last"
        if first == "channels_first":
            given["inputs"] = tf.transpose(inputs, (0, *range(2, rank), 1))
            return tf.transpose(call(*bound.args, **bound.kwargs), (0, rank - 1, *range(1, rank - 1)))
        return _pooled(original, given) if "pool_size" in given and rank == 5 else original(*bound.args, **bound.kwargs)

    return call


def _pooled(pool: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """A pool over the last two of three axes, then over the first: the same windows, maxima and divisors."""
    x, size, strides = given["inputs"], given["pool_size"], given["strides"]
    size = (size,) * 3 if isinstance(size, int) else tuple(size)
    strides = size if strides is None else (strides,) * 3 if isinstance(strides, int) else tuple(strides)
    examples, depth, height, width, channels = x.shape
    flat = tf.reshape(x, (examples * depth, height, width, channels))
    flat = pool(flat, size[1:], strides[1:], given["padding"], "channels_last")
    _, rows, columns, _ = flat.shape
    deep = tf.reshape(flat, (examples, depth, rows * columns, channels))
    deep = pool(deep, (size[0], 1), (strides[0], 1), given["padding"], "channels_last")
    return tf.reshape(deep, (examples, deep.shape[1], rows, columns, channels))


def _for_float64(original: Callable[..., Any], exact: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        wide = tf.is_tensor(first) and first.dtype == tf.float64
        return exact(*args, **kwargs) if wide else original(*args, **kwargs)

    call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return call


def _resizing() -> tuple[Any, str, Callable[..., Any]]:
    original = tf.image.resize

    def call(images: Any, size: Any, method: Any = "bilinear", **settings: Any) -> Any:
        plain = not settings.get("antialias") and not settings.get("preserve_aspect_ratio")
        if tf.is_tensor(images) and images.dtype == tf.float64 and method == "bilinear" and plain:
            return resize(images, size)
        return original(images, size, method=method, **settings)

    return tf.image, "resize", call
