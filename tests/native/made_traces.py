"""Traces made by hand, each call evaluated in NumPy with the framework's axes, so that readings can be checked."""

from __future__ import annotations

import numpy as np

from dualml.native.protocol import Call, Trace, Value
from dualml.native.read import read


class Recorder:
    """Writes a trace call by call.

    Attributes:
        arrays: What each value holds, by key, with the framework's axes.
        weights: Every weight by its native name.
    """

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.values, self.arrays, self.calls = {}, {}, []
        self.weights, self.inputs, self.constants = {}, {}, {}

    def value(self, array_or_shape, *, integer=False):
        """A new value: its array, or only its shape where nothing is evaluated."""
        key = len(self.values)
        if isinstance(array_or_shape, np.ndarray):
            self.arrays[key] = array_or_shape
            array_or_shape = array_or_shape.shape
        self.values[key] = Value(key, tuple(array_or_shape), integer)
        return key

    def input(self, *shape, name="x", high=None):
        """An input of random numbers, or of whole ones below ``high``."""
        array = self.random.normal(size=shape) if high is None else self.random.integers(0, high, shape)
        self.inputs[name] = self.value(array, integer=high is not None)
        return self.inputs[name]

    def constant(self, array):
        """An array that calls read and that no call made."""
        key = self.value(np.asarray(array))
        self.constants[key] = np.asarray(array)
        return key

    def shape(self, key):
        return self.values[key].shape

    def call(self, kind, inputs, output, *, name=None, weights=None, settings=None, **more):
        """A call; ``output`` is an array, a shape, or a list of several; ``weights`` are shapes or arrays by role."""
        name = name or f"{kind}_{len(self.calls)}"
        inputs = (inputs,) if isinstance(inputs, int) else tuple(inputs)
        outputs = tuple(self.value(item) for item in (output if isinstance(output, list) else [output]))
        own = {}
        for role, weight in (weights or {}).items():
            if isinstance(weight, str):
                own[role] = weight
                continue
            own[role] = f"{name}.{role}"
            made = weight if isinstance(weight, np.ndarray) else np.abs(self.random.normal(size=weight)) + 0.1
            self.weights[own[role]] = made
        more.setdefault("native", kind)
        self.calls.append(Call(name, kind, dict(settings or {}), inputs, outputs, weights=own, **more))
        return outputs[0] if len(outputs) == 1 else outputs

    def trace(self, *outputs):
        names = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
        return Trace(
            dict(self.inputs),
            dict(self.values),
            tuple(self.calls),
            dict(zip(names, outputs, strict=True)),
            constants=dict(self.constants),
        )

    def read(self, *outputs, **options):
        return read(self.trace(*outputs), self.weights, "float64", **options)

    # Calls evaluated on the way

    def permute(self, x, axes, **more):
        return self.call("permute", x, self.arrays[x].transpose(axes), settings={"axes": list(axes)}, **more)

    def reshape(self, x, shape, kind="reshape", **more):
        return self.call(kind, x, self.arrays[x].reshape(shape), **more)

    def dense(self, x, units, *, bias=True, kernel=None, **more):
        """Over the last axis."""
        kernel = self.random.normal(size=(self.shape(x)[-1], units)) if kernel is None else kernel
        offset = self.random.normal(size=units) if bias else np.zeros(units)
        weights = {"kernel": kernel, **({"bias": offset} if bias else {})}
        made = self.arrays[x] @ kernel + offset
        return self.call("dense", x, made, weights=weights, settings={"units": units, "bias": bias}, **more)

    def softmax(self, x, axis, **more):
        """Along one of the framework's axes."""
        powers = np.exp(self.arrays[x])
        setting = axis - 1 if axis else -len(self.shape(x))
        settings = {"function": {"softmax": {"axis": setting}}}
        return self.call("activation", x, powers / powers.sum(axis=axis, keepdims=True), settings=settings, **more)

    def activation(self, x, kind="relu", **more):
        function = {"relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}[kind]
        return self.call("activation", x, function(self.arrays[x]), settings={"function": {kind: {}}}, **more)

    def dropout(self, x, rate=0.5, **more):
        return self.call("dropout", x, self.arrays[x], settings={"rate": rate}, **more)

    def batch_norm(self, x, *, channels_first, epsilon=1e-3, **more):
        """In inference."""
        axis = 1 if channels_first else -1
        size = self.shape(x)[axis]
        roles = ("scale", "offset", "running_mean", "running_variance")
        weights = {role: np.abs(self.random.normal(size=size)) + 0.5 for role in roles}
        along = [1] * len(self.shape(x))
        along[axis] = size
        scale, offset, mean, variance = (weights[role].reshape(along) for role in roles)
        made = (self.arrays[x] - mean) / np.sqrt(variance + epsilon) * scale + offset
        settings = {"epsilon": epsilon, "momentum": 0.9, "variance": "biased", "scale": True, "offset": True}
        return self.call(
            "batch_norm", x, made, weights=weights, settings=settings, channels_first=channels_first, **more
        )

    def part(self, x, axis, start, stop, **more):
        """Some positions of one of the framework's axes."""
        index = [slice(None)] * len(self.shape(x))
        index[axis] = slice(start, stop)
        settings = {"start": start, "stop": stop, "step": 1, "axis": axis - 1 if axis else -len(self.shape(x))}
        return self.call("slice", x, self.arrays[x][tuple(index)], settings=settings, **more)

    def select(self, x, axis, index, **more):
        """One position of one of the framework's axes."""
        settings = {"index": index, "axis": axis - 1 if axis else -len(self.shape(x))}
        return self.call("select", x, np.take(self.arrays[x], index, axis=axis), settings=settings, **more)

    def add(self, *inputs, **more):
        return self.call("add", inputs, sum(self.arrays[key] for key in inputs), **more)

    def concat(self, inputs, axis, **more):
        settings = {"axis": axis - 1 if axis else -len(self.shape(inputs[0]))}
        made = np.concatenate([self.arrays[key] for key in inputs], axis=axis)
        return self.call("concat", inputs, made, settings=settings, **more)

    def conv2d(self, x, filters, size, output, *, padding="valid", stride=1, channels_first=True, bias=True, **more):
        """Shapes only."""
        shape = self.shape(x)
        channels = shape[1] if channels_first else shape[-1]
        weights = {"kernel": (size, size, channels, filters), **({"bias": (filters,)} if bias else {})}
        settings = {
            "filters": filters,
            "kernel_size": size,
            "stride": stride,
            "dilation": 1,
            "padding": padding,
            "padding_mode": "zeros",
            "groups": 1,
            "bias": bias,
        }
        return self.call("conv2d", x, output, weights=weights, settings=settings, channels_first=channels_first, **more)
