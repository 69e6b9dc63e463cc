"""A layer of a model beside the stock object of its framework: the same weights, inputs and output gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from dualml_tensorflow import backend as tensorflow_backend
from dualml_torch import backend as torch_backend
from torch import nn

from dualml.spec.layers import Layer
from dualml.spec.losses import MeanSquaredError
from dualml.spec.model import Input
from dualml.testing.cases import Case
from dualml.weights import initial_weights

BACKENDS = {"torch": torch_backend, "keras": tensorflow_backend}
"""The adapter of each framework, by the name of its conventions."""

IDS = Input(shape=(5,), dtype="integer")
"""An input of whole numbers."""
PAIR = {"a": (3, 4), "b": (3, 4)}
"""Two inputs."""
SINGLE = ("float32",)
"""Where a framework has nothing exact in float64."""
ROUNDED = 1e-15
"""A few roundings of float64."""


def plain(stock: Any, values: list[Any]) -> Any:
    """The stock object called on the layer's inputs, in training."""
    if isinstance(stock, keras.layers.Layer) and "training" in inspect.signature(stock.call).parameters:
        return stock(*values, training=True)
    return stock(*values)


@dataclass(frozen=True)
class Row:
    """One layer and its stock counterpart.

    Attributes:
        layer: The layer.
        shape: Shape of one example, an ``Input``, or one of them for each of several inputs.
        make: Makes the stock object, with nothing said that the layer does not say; for Keras it takes the dtype. A
            function instead of an object is returned as it is.
        call: Calls it on the list of inputs.
        first: PyTorch: whether it has channels behind the batch axis; ``None``: where values have spatial axes.
        pack: Neutral arrays of one example of the layer's weights, by role, as the stock object keeps them; ``None``:
            it is of the adapter's own class and keeps them as the adapter does.
        close: Largest relative difference of an array; 0: bit for bit.
        precisions: In which it is compared.
        drawn: Whether it draws at random, both from one seed.
        own: Whether the native object is not of the stock class.
        scale: Inputs are uniform in ``(-scale, scale)``.
    """

    layer: Layer
    shape: Any
    make: Callable[..., Any]
    call: Callable[[Any, list[Any]], Any] = plain
    first: bool | None = None
    pack: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    close: float = 0.0
    precisions: tuple[str, ...] = ("float64", "float32")
    drawn: bool = False
    own: bool = False
    scale: float = 1.5

    @property
    def name(self) -> str:
        """Test id."""
        names = sorted(self.layer.model_fields_set - {"inputs"})
        values = [getattr(self.layer, name) for name in names]
        said = [f"{name}={getattr(value, 'kind', value)}" for name, value in zip(names, values, strict=True)]
        return "-".join([self.layer.kind, *said])[:70].replace(" ", "")

    def case(self, conventions: Any) -> Case:
        """A model of this layer alone."""
        return Case("stock", self.shape, [self.layer], MeanSquaredError(), conventions, scale=self.scale)


@dataclass
class Found:
    """What one side made of the same numbers, neutral layout but for weights, which are in the stock object's."""

    output: Any
    inputs: list[Any]
    weights: dict[str, Any]
    buffers: dict[str, Any] = field(default_factory=dict)

    def arrays(self) -> Iterator[tuple[str, Any]]:
        """Everything, named."""
        yield "output", self.output
        yield from ((f"gradient for input {place}", array) for place, array in enumerate(self.inputs))
        yield from ((f"gradient of {name}", array) for name, array in self.weights.items())
        yield from ((f"after the batch, {name}", array) for name, array in self.buffers.items())


def variables_of(layer: Any) -> list[Any]:
    """A Keras layer's weights, but for the state of its random numbers."""
    return [item for item in layer.weights if "seed_gen" not in item.path]


def array_of(variable: Any) -> Any:
    """A copy of a Keras variable's value."""
    return np.array(variable.value.numpy())


def required_only(layer: Layer) -> bool:
    """Whether it says nothing but what it must."""
    must = {name for name, item in type(layer).model_fields.items() if item.is_required()}
    return layer.model_fields_set <= must | {"inputs"}


class Comparison:
    """A row built in its framework, beside its stock object.

    Args:
        side: ``torch`` or ``keras``: the framework and the conventions.
        row: What is compared.
        precision: Number format.
    """

    def __init__(self, side: str, row: Row, precision: str) -> None:
        self.side, self.row, self.precision = side, row, precision
        self.case = row.case(side)
        self.graph = self.case.graph(precision)
        self.node = self.graph.nodes[0]
        self.network = BACKENDS[side].build(self.graph, self.case.weights(precision), native_randomness=row.drawn)
        names = dict(self.network.native.named_modules()) if side == "torch" else {}
        self.native = names.get(self.node.name) if side == "torch" else self.network.native.get_layer(self.node.name)
        self.stock = self.made()

    def made(self) -> Any:
        """A new stock object with its own first weights."""
        if self.side == "torch":
            stock = self.row.make()
            return stock.to(getattr(torch, self.precision)) if isinstance(stock, nn.Module) else stock
        stock = self.row.make(self.precision)
        if isinstance(stock, keras.layers.Layer) and self.row.call is plain:
            stock.build((None, *self.node.input_shapes[0]))
        elif isinstance(stock, keras.layers.Layer):  # a first call makes its weights
            kinds = ["int64" if item.integer else self.precision for item in self.graph.inputs]
            shapes = zip(self.node.input_shapes, kinds, strict=True)
            self.row.call(stock, [tf.zeros((2, *shape), kind) for shape, kind in shapes])
        return stock

    def packed(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Neutral arrays, by full name, as the stock object keeps them."""
        if self.row.pack is not None:
            return dict(self.row.pack({name.rpartition(".")[2]: array for name, array in arrays.items()}))
        self.network.set_weights({**self.case.weights(self.precision), **arrays})
        if self.native is None:
            return {}
        if self.side == "torch":
            state = self.native.state_dict()
            return {name: item.numpy().copy() for name, item in state.items() if item.is_floating_point()}
        return {item.path: array_of(item) for item in variables_of(self.native)}

    def ours(self) -> Found:
        """The adapter's layer, in training."""
        batch = self.case.batch(self.precision)
        self.network.set_weights(self.case.weights(self.precision))
        self.seed()
        names = [*self.graph.input_names, self.node.name]
        masks = {} if self.row.drawn else self.case.masks()
        found = self.network.gradients(batch, self.case.objective, masks=masks or None, taps=names)
        self.inputs = [found.values[name] for name in self.node.inputs]
        self.upstream = found.values_gradients[self.node.name]
        return Found(
            found.values[self.node.name],
            [found.values_gradients[name] for name in self.node.inputs],
            self.packed(found.parameters) if self.graph.parameters else {},
            self.packed(found.buffers) if self.graph.buffers else {},
        )

    def seed(self) -> None:
        """What both sides draw from."""
        if not self.row.drawn:
            return
        if self.side == "torch":
            torch.manual_seed(5)
        else:
            self.network.seed(5)
            self.drawn_from = self.native.seed_generator.state.numpy()

    def theirs(self) -> Found:
        """The stock object with the same weights, in training; after ``ours``."""
        weights = self.packed(self.case.weights(self.precision)) if self.graph.weights else {}
        return self._torch(weights) if self.side == "torch" else self._keras(weights)

    def _torch(self, weights: dict[str, Any]) -> Found:
        module, parameters = self.stock, {}
        if isinstance(module, nn.Module):
            missing = module.load_state_dict({name: torch.tensor(item) for name, item in weights.items()}, strict=False)
            assert not missing.unexpected_keys
            assert all("num_batches" in name for name in missing.missing_keys)
            parameters = dict(module.named_parameters())
            module.train()
        self.seed()
        values = [torch.tensor(self._in(item), requires_grad=item.dtype.kind == "f") for item in self.inputs]
        output = self.row.call(module, values)
        upstream = torch.tensor(self.upstream)
        # A view, not a copy: the order of a bias's sum depends on where the numbers lie.
        output.backward(upstream.movedim(-1, 1) if self._first(self.upstream) else upstream)
        state = module.state_dict() if isinstance(module, nn.Module) else {}
        return Found(
            self._out(output.detach().numpy()),
            [np.zeros(item.shape) if item.grad is None else self._out(item.grad.numpy()) for item in values],
            {name: item.grad.numpy() for name, item in parameters.items() if item.grad is not None},
            {name: item.numpy() for name, item in state.items() if name not in parameters and item.is_floating_point()},
        )

    def _first(self, array: Any) -> bool:
        return self.row.first is not False and array.ndim > 2

    def _in(self, array: Any) -> Any:
        return np.moveaxis(array, -1, 1).copy() if self._first(array) else array

    def _out(self, array: Any) -> Any:
        return np.moveaxis(array, 1, -1) if self._first(array) else array

    def _keras(self, weights: dict[str, Any]) -> Found:
        layer, variables = self.stock, []
        if isinstance(layer, keras.layers.Layer):
            variables = variables_of(layer)
            for variable, array in zip(variables, weights.values(), strict=True):
                variable.assign(array)
            if self.row.drawn:
                layer.seed_generator.state.assign(self.drawn_from)
        trained = [item for item in variables if item.trainable]
        values = [tf.constant(item) for item in self.inputs]
        with tf.GradientTape() as tape:
            tape.watch([item for item in values if item.dtype.is_floating])
            output = self.row.call(layer, values)
        slopes = tape.gradient(
            output,
            [*values, *(item.value for item in trained)],
            self.upstream,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        arrays = [np.array(tf.convert_to_tensor(item)) for item in slopes]
        names = dict(zip((id(item) for item in variables), weights, strict=True))
        return Found(
            output.numpy(),
            arrays[: len(values)],
            {names[id(item)]: array for item, array in zip(trained, arrays[len(values) :], strict=True)},
            {names[id(item)]: array_of(item) for item in variables if not item.trainable},
        )

    def first_weights(self, count: int) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """First values of at least ``count`` numbers of each weight, ours and theirs, in the stock object's layout."""
        mine: dict[str, list[Any]] = {}
        stock: dict[str, list[Any]] = {}
        for seed in range(count):
            for name, array in self.packed(initial_weights(self.graph, seed)).items():
                mine.setdefault(name, []).append(array)
            made = self.made()
            if self.side == "torch":
                arrays = {name: item.numpy() for name, item in made.state_dict().items() if item.is_floating_point()}
            else:
                arrays = dict(zip(mine, map(array_of, variables_of(made)), strict=True))
            for name, array in arrays.items():
                stock.setdefault(name, []).append(array)
        return mine, stock
