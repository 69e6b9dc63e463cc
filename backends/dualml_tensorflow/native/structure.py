"""Where things are in a model: the path of each layer, the name of each weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from dualml_tensorflow.native.weights import Held, held_in, plain


class Structure:
    """Paths and names of one model; those of its copies are the same.

    Attributes:
        paths: Path of each layer, by identity.
        weights: Every weight by name.
        handles: Name of each variable, by identity of the handle that operations see.
        taken: Names that no function's call may have.
        described: What has been said of a layer, by its identity and what it is.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.paths: dict[int, str] = {}
        self.weights: dict[str, Held] = {}
        self.described: dict[tuple[int, str], Any] = {}
        self._names: dict[int, str] = {}
        self.handles: dict[int, str] = {}
        self._walk(model, "")
        self.handles = {id(_handle(held.variable)): name for name, held in self.weights.items()}
        self.taken = frozenset(self.paths.values())

    def name_of(self, variable: Any) -> str:
        """Name of a variable; empty for those that are no weights."""
        handle = None if id(variable) in self._names else _handle(variable)
        return self._names.get(id(variable)) or self.handles.get(id(handle), "")

    def variables(self) -> list[Any]:
        """Every variable that is a weight."""
        return [held.variable for held in self.weights.values()]

    def trained(self) -> dict[str, Held]:
        """Weights that are trained, in the order in which the model lists them."""
        names = [self.name_of(variable) for variable in self.model.trainable_variables]
        return {name: self.weights[name] for name in names if name}

    def buffers(self) -> dict[str, Held]:
        """Weights that were made not to be trained: running statistics."""
        made = {id(item) for layer in self._layers() for item in layer._non_trainable_variables}
        return {
            name: held
            for name, held in self.weights.items()
            if id(held.variable) in made or (isinstance(held.variable, tf.Variable) and not held.variable.trainable)
        }

    def changing(self) -> list[Any]:
        """Variables that a pass may change: buffers, and the state of random numbers."""
        known = {id(held.variable) for held in self.weights.values()}
        state = [variable for variable in self.model.variables if id(variable) not in known]
        return [*(held.variable for held in self.buffers().values()), *state]

    def layer(self, path: str) -> Any:
        """The layer with a path; ``None`` if there is none."""
        return next((layer for layer in self._layers() if self.paths.get(id(layer)) == path), None)

    def _layers(self) -> list[Any]:
        return list(self.model._flatten_layers()) if isinstance(self.model, keras.Layer) else []

    def current(self, name: str) -> Any:
        """A weight's value now, in the framework's layout."""
        return tf.convert_to_tensor(self.weights[name].variable)

    def _walk(self, item: Any, path: str) -> None:
        if id(item) in self.paths:
            return
        held = held_in(item) if isinstance(item, keras.Layer) and item.built else {}
        root = not path
        if root and (held or not list(_children(item))):
            path = str(item.name) if isinstance(item, keras.Layer) else path
        self.paths[id(item)] = path
        for role, weight in held.items():
            self._enter(f"{path}.{role}", weight)
        for name, variable in _variables(item):
            self._enter(f"{path}.{name}" if path else name, plain(variable))
        prefix = "" if root and path == "" else f"{path}."
        taken: set[str] = set()
        for name, child in _children(item):
            found, count = name, 1
            while found in taken:
                count += 1
                found = f"{name}_{count}"
            if id(child) not in self.paths:
                taken.add(found)
                self._walk(child, f"{prefix}{found}")

    def _enter(self, name: str, held: Held) -> None:
        if id(held.variable) in self._names:
            return
        found, count = name, 1
        while found in self.weights:
            count += 1
            found = f"{name}_{count}"
        self.weights[found] = held
        self._names[id(held.variable)] = found


def _handle(variable: Any) -> Any:
    return variable.value.handle if isinstance(variable, keras.Variable) else variable.handle


def _is_state(variable: Any) -> bool:
    """Whether a variable holds the state of random numbers."""
    dtype = tf.as_dtype(variable.dtype)
    return bool(dtype.is_integer or dtype.is_bool)


def _variables(item: Any) -> Iterator[tuple[str, Any]]:
    """A layer's or module's own variables, by attribute where they have one."""
    if isinstance(item, keras.Layer):
        own = [*item._trainable_variables, *item._non_trainable_variables]
        attributes = {id(found): name for name, found in vars(item).items() if isinstance(found, keras.Variable)}
        for variable in own:
            if not _is_state(variable):
                yield attributes.get(id(variable), variable.name).lstrip("_"), variable
    for name, found in _items(item):
        if isinstance(found, tf.Variable) and not _is_state(found):
            yield name, found


def _children(item: Any) -> Iterator[tuple[str, Any]]:
    """Layers and modules directly below, by the name their parent has for them.

    In a functional or sequential model that is the layer's name; elsewhere the attribute it is assigned to.
    """
    if isinstance(item, keras.Layer):
        seen = {id(item)}
        by_name = isinstance(item, keras.Sequential) or hasattr(item, "_operations")  # the latter: functional
        attributes: Mapping[int, str] = {} if by_name else {id(found): name for name, found in _items(item)}
        for layer in item.layers if isinstance(item, keras.Model) else item._layers:
            if id(layer) not in seen and not isinstance(layer, keras.layers.InputLayer):
                seen.add(id(layer))
                yield attributes.get(id(layer), str(layer.name)).lstrip("_"), layer
    elif isinstance(item, tf.Module):
        for name, found in _items(item):
            if isinstance(found, (tf.Module, keras.Layer)):
                yield name, found


def _items(item: Any) -> Iterator[tuple[str, Any]]:
    """Attributes, and what lists and dictionaries among them hold."""
    for name, found in vars(item).items():
        if name in {"_layers", "_metrics", "_tracker", "_operations", "_functional"}:
            continue
        yield name, found
        if isinstance(found, (list, tuple)):
            yield from ((f"{name}.{place}", inner) for place, inner in enumerate(found))
        elif isinstance(found, dict) and not name.startswith("_"):
            yield from ((f"{name}.{key}", inner) for key, inner in found.items())
