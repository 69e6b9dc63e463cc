"""What a model calls while it runs: stock layers whole, and beside them every operation that TensorFlow executes.

Within ``watch.recording`` three things are watched, for this thread alone: calls of ``keras.Layer`` (a stock layer is
one call, or two if an activation is fused into it; any other layer is looked into), the functions of ``composites`` (a
``gelu`` is one call, not eight) and, by TensorFlow's callbacks, each executed operation that is part of none of them.
Values are told apart by identity, which is why all of them are kept until the pass is over.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dualml.native.protocol import Call, Trace, Value
from dualml.protocol import Array
from dualml_tensorflow.native.structure import Structure

Tensors = Sequence[Any]
Replay = Callable[[Tensors, bool, Any], Any]
"""Does a call again: its inputs, whether it is training, its mask or ``None``; returns a tensor or several."""


@dataclass(frozen=True)
class Reading:
    """A call in the terms of the spec, before it has a name and keys.

    Attributes:
        kind: As ``Call.kind``.
        settings: As ``Call.settings``.
        inputs: The tensors it reads, in the order of ``Call.inputs``.
        replay: Does it again.
        channels_first: As ``Call.channels_first``.
        weights: Role to the name in ``NativeModel.get_weights``.
        native: As ``Call.native``.
        code: As ``Call.code``.
        unsaid: As ``Call.unsaid``.
        random: Whether it draws a mask in training.
    """

    kind: str
    settings: Mapping[str, Any]
    inputs: Tensors
    replay: Replay
    channels_first: bool | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    native: str = ""
    code: str = ""
    unsaid: tuple[str, ...] = ()
    random: bool = False


@dataclass
class Recorded:
    """A call as it was recorded, and how to do it again."""

    call: Call
    replay: Replay


class Keys:
    """Keys of values, the same in every pass: by the call that made the value, not by how many were made before.

    Attributes:
        decided: By path of a subclass of a stock layer what ``subclasses.settled`` found, the same in every pass, too.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], int] = {}
        self.decided: dict[str, dict[str, Any] | None] = {}

    def of(self, role: str, name: str, place: int) -> int:
        """The key of an input, output or constant."""
        return self._found.setdefault((role, name, place), len(self._found))


class Recorder:
    """What one pass calls.

    Attributes:
        calls: What was recorded, in order.
        values: Every value, by key.
        constants: Keys of values that calls read and no call made.
        notes: Sentences for the report.
        training: Whether the pass is one in training mode.
        masks: What random calls keep, by name.
    """

    def __init__(self, keys: Keys, structure: Structure, *, training: bool, masks: Mapping[str, Any]) -> None:
        """Begin a pass.

        Args:
            keys: Of the model.
            structure: Of the model: paths of its layers and names of its weights.
            training: Whether the pass is one in training mode.
            masks: What random calls keep, by name.
        """
        self.calls: list[Recorded] = []
        self.values: dict[int, Any] = {}
        self.constants: list[int] = []
        self.notes: list[str] = []
        self.training, self.masks = training, masks
        self.variables = structure.handles
        self.current = structure.current
        self._structure = structure
        self.weights: dict[int, str] = {}
        self.transposed: set[int] = set()
        self.turned: dict[int, tuple[Any, str]] = {}
        self.pending: dict[int, Callable[[], Any]] = {}
        self.silent = 0
        self.decided = keys.decided
        self._inside: list[str] = []
        self._keys = keys
        self._key_of: dict[int, int] = {}
        self._kept: list[Any] = []
        self._names: dict[str, int] = {}

    def input(self, name: str, tensor: Any) -> int:
        """Enter an input of the model; returns its key."""
        return self._enter(self._keys.of("input", name, 0), tensor)

    def output(self, name: str, tensor: Any) -> int:
        """The key of what the model returned; a tensor that no call made becomes a constant."""
        if not self.known(tensor):
            self.constants.append(self._enter(self._keys.of("returned", name, 0), tensor))
        return self.key(tensor)

    def known(self, tensor: Any) -> bool:
        """Whether a tensor is a value of the trace."""
        return id(tensor) in self._key_of

    def key(self, tensor: Any) -> int:
        """The key of a known tensor."""
        return self._key_of[id(tensor)]

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def unique(self, name: str, *, numbered: bool = False) -> str:
        """A name that no call of this pass has: the name itself if it is free, else with a number."""
        taken = self._structure.taken
        while True:
            count = self._names.get(name, 0) + 1
            self._names[name] = count
            found = name if count == 1 and not numbered else f"{name}_{count}"
            if found == name or found not in taken:
                return found

    def local(self, name: str) -> str:
        """A name for a call of a function: below the path of the layer whose code calls it, if that has one."""
        path = self._inside[-1] if self._inside else ""
        return self.unique(f"{path}.{name}") if path else self.unique(name, numbered=True)

    @contextmanager
    def within(self, layer: Any) -> Iterator[None]:
        """Within it, functions are called by a layer's code."""
        self._inside.append(self._structure.paths.get(id(layer), self._inside[-1] if self._inside else ""))
        try:
            yield
        finally:
            self._inside.pop()

    def once(self, layer: Any, what: str, make: Callable[[], Any]) -> Any:
        """What is made of a layer's settings, made once for all passes."""
        held = self._structure.described
        if (id(layer), what) not in held:
            held[id(layer), what] = make()
        return held[id(layer), what]

    def path(self, layer: Any) -> str:
        """Where a layer is in the model; its name, if it is not among the model's own."""
        return self._structure.paths.get(id(layer), str(layer.name))

    def variable(self, variable: Any) -> str:
        """Name of a variable in ``NativeModel.get_weights``."""
        return self._structure.name_of(variable)

    def native_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a weight as the framework has it."""
        return tuple(self._structure.weights[name].variable.shape)

    def named(self, layer: Any) -> list[tuple[Any, str]]:
        """A layer's variables, its layers' too, with their names; the state of random numbers is left out."""
        return [(variable, name) for variable in layer.variables if (name := self._structure.name_of(variable))]

    def keep(self, tensor: Any) -> None:
        """Have a tensor live until the pass is over, so that no other takes its identity."""
        self._kept.append(tensor)

    def mark_weight(self, tensor: Any, name: str, *, transposed: bool = False) -> None:
        """A tensor that is a weight's value as it stands, or with its two axes swapped."""
        self._kept.append(tensor)
        self.weights[id(tensor)] = name
        if transposed:
            self.transposed.add(id(tensor))

    def weight_name(self, value: Any) -> str | None:
        """Name of the weight that a variable or tensor is, as it stands."""
        if isinstance(value, (keras.Variable, tf.Variable)):
            return self._structure.name_of(value) or None
        return None if id(value) in self.transposed else self.weights.get(id(value))

    def turn_back(self, tensor: Any) -> Any:
        """The sequence in its own order that a tensor of ``turned`` is the reverse of."""
        aligned, name = self.turned[id(tensor)]
        key = self.key(tensor)
        if not any(key in item.call.inputs for item in self.calls):
            self.calls = [item for item in self.calls if item.call.name != name]
        return aligned

    def record(self, name: str, reading: Reading, outputs: Tensors) -> tuple[Any, ...]:
        """Enter a call; returns its outputs, each a tensor that no other value is."""
        inputs = []
        for place, tensor in enumerate(reading.inputs):
            if not self.known(tensor) and id(tensor) in self.pending:
                self.pending.pop(id(tensor))()  # a mask that nobody had read before
            if not self.known(tensor):
                self.constants.append(self._enter(self._keys.of("constant", name, place), tensor))
            inputs.append(self.key(tensor))
        made = tuple(self._own(tensor) for tensor in outputs)
        keys = tuple(self._enter(self._keys.of("output", name, place), tensor) for place, tensor in enumerate(made))
        call = Call(
            name=name,
            kind=reading.kind,
            settings=reading.settings,
            inputs=tuple(inputs),
            outputs=keys,
            channels_first=reading.channels_first,
            weights=reading.weights,
            native=reading.native,
            code=reading.code,
            where=where(),
            unsaid=reading.unsaid,
        )
        self.calls.append(Recorded(call, reading.replay))
        return made

    def _own(self, tensor: Any) -> Any:
        if not self.known(tensor) and id(tensor) not in self.weights:
            return tensor
        with self.silently():
            made = tf.identity(tensor)
        for name in ("_keras_mask", "_keras_logits"):  # what Keras hangs onto tensors goes with the value
            if hasattr(tensor, name):
                setattr(made, name, getattr(tensor, name))
        return made

    def _enter(self, key: int, tensor: Any) -> int:
        self._kept.append(tensor)
        self._key_of[id(tensor)] = key
        self.values[key] = tensor
        return key

    @contextmanager
    def silently(self) -> Iterator[None]:
        """Within it nothing is recorded."""
        self.silent += 1
        try:
            yield
        finally:
            self.silent -= 1

    @contextmanager
    def aloud(self) -> Iterator[None]:
        """Within it everything is recorded, whatever is silent around it."""
        depth, self.silent = self.silent, 0
        try:
            yield
        finally:
            self.silent = depth

    def trace(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Trace:
        """What was recorded."""
        values = {key: describe(key, tensor) for key, tensor in self.values.items()}
        constants = {key: array_of(self.values[key]) for key in self.constants}
        return Trace(inputs, values, tuple(item.call for item in self.calls), outputs, constants, tuple(self.notes))


def describe(key: int, tensor: Any) -> Value:
    """A tensor as a value."""
    return Value(key, tuple(tensor.shape), tensor.dtype.is_integer or tensor.dtype.is_bool)


def array_of(tensor: Any) -> Array:
    """A copy of a tensor's numbers."""
    return np.array(tensor.numpy())


_HERE = os.path.dirname(os.path.abspath(__file__))
_RUNNER = os.path.join(_HERE, "running.py")
_OTHERS = tuple(
    os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep for module in (keras, tf, np, contextlib)
)


def where() -> str:
    """File and line of the code of the user's that does the call; empty if a framework's own code does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != _RUNNER:
        name = frame.f_code.co_filename
        if not name.startswith((*_OTHERS, _HERE, "<")):
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
