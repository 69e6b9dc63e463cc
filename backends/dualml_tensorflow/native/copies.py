"""A copy of the user's model in another precision; the original stays as it is.

Neither Keras' configs nor ``copy.deepcopy`` do: configs know nothing of what a subclass does in its constructor, and
``deepcopy`` of a Keras object goes through a saved file. So the graph of objects is copied as it stands.
"""

from __future__ import annotations

import collections
import functools
import inspect
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils.tracking import TrackedDict, TrackedList, TrackedSet

from dualml.native.protocol import Precision

_SHARED = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type,
    type(None),
    type(Ellipsis),
    types.ModuleType,
    types.BuiltinFunctionType,
    np.dtype,
    np.generic,
    tf.DType,
    tf.TensorShape,
    inspect.Signature,
    keras.DTypePolicy,
    keras.Initializer,
)
"""What has no state of its own that a model could change."""

_LEFT_OUT = (
    "optimizer",
    "train_function",
    "test_function",
    "predict_function",
    "history",
    "_compile_loss",
    "_compile_metrics",
    "_loss_tracker",
)
"""Attributes of a compiled model that belong to its training, not to what it computes."""

_NUMBERS: Mapping[type, tuple[str, ...]] = {
    keras.layers.MultiHeadAttention: ("_inverse_sqrt_key_dim",),
    keras.layers.GroupQueryAttention: ("_inverse_sqrt_head_dim",),
    keras.layers.Rescaling: ("scale", "offset"),
    keras.regularizers.L1: ("l1",),
    keras.regularizers.L2: ("l2",),
    keras.regularizers.L1L2: ("l1", "l2"),
}
"""Numbers that Keras would round to float32 on their way to float64 arrays; of ``np.float64`` it leaves them alone."""


def copied(value: Any, precision: Precision | None) -> Any:
    """A copy of a model or a loss.

    Args:
        value: What to copy; it stays as it is.
        precision: What floating-point variables and tensors become; ``None``: they stay as they are.
    """
    # Deep models are long chains of references: the depth is that of the model, not of a mistake.
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(Copier(precision).copy(value))
        except BaseException as error:
            failed.append(error)

    limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(max(limit, _DEPTH))
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if failed:
        raise failed[0]
    return found[0]


_STACK, _DEPTH = 512 * 2**20, 200_000
"""Bytes of the copying thread's stack (reserved, not used, until a model needs them), and frames it may hold."""


class Copier:
    """Copies objects that refer to each other; what several refer to is copied once.

    Attributes:
        precision: What floating-point variables and tensors become; ``None``: they stay as they are.
        made: The copy of each object, by the object's identity.
    """

    def __init__(self, precision: Precision | None) -> None:
        self.precision = precision
        self.made: dict[int, Any] = {}
        self._kept: list[Any] = []  # identities are unique only while the objects live
        self._functions = self._table()

    def copy(self, value: Any) -> Any:
        """The copy of any object; of what cannot change, the object itself."""
        if isinstance(value, _SHARED):
            return value
        if id(value) in self.made:
            return self.made[id(value)]
        self._kept.append(value)
        copied = self._of(value)
        self.made[id(value)] = copied
        return copied

    def _of(self, value: Any) -> Any:
        for kinds, function in self._functions:
            if isinstance(value, kinds):
                return function(value)
        module = type(value).__module__ or ""
        foreign = module.partition(".")[0] in {"tensorflow", "numpy", "builtins", "_thread", "threading", "wrapt", "re"}
        if foreign and not isinstance(value, tf.Module):
            return value
        return self._object(value)

    def _table(self) -> tuple[tuple[Any, Callable[[Any], Any]], ...]:
        return (
            (tf.Variable, self._variable),
            (keras.Variable, self._keras_variable),
            (tf.Tensor, self._tensor),
            (np.ndarray, np.copy),
            (TrackedList, self._tracked_list),
            (TrackedDict, self._tracked_dict),
            (TrackedSet, self._tracked_set),
            (dict, self._dict),
            (list, self._list),
            (tuple, self._tuple),
            ((set, frozenset), lambda found: type(found)(self.copy(item) for item in found)),
            (collections.deque, lambda found: collections.deque((self.copy(item) for item in found), found.maxlen)),
            (types.MethodType, lambda found: types.MethodType(found.__func__, self.copy(found.__self__))),
            (types.FunctionType, self._function),
            (functools.partial, self._partial),
            (weakref.ReferenceType, self._reference),
        )

    def _changes(self, dtype: Any) -> bool:
        return self.precision is not None and dtype.is_floating and dtype.name != self.precision

    def _tensor(self, tensor: Any) -> Any:
        if not hasattr(tensor, "numpy"):
            return tensor
        return tf.cast(tensor, self.precision) if self._changes(tensor.dtype) else tensor

    def _variable(self, variable: Any) -> Any:
        with tf.init_scope():
            return tf.Variable(
                self._tensor(tf.convert_to_tensor(variable)), trainable=variable.trainable, name=variable.name[:-2]
            )

    def _keras_variable(self, variable: Any) -> Any:
        copied = object.__new__(type(variable))
        self.made[id(variable)] = copied
        for name, item in vars(variable).items():
            copied.__dict__[name] = self.copy(item)
        if self.precision is not None and tf.as_dtype(variable.dtype).is_floating:
            copied.__dict__["_dtype"] = self.precision
        return copied

    def _object(self, value: Any) -> Any:
        copied = object.__new__(type(value))
        self.made[id(value)] = copied
        left_out = _LEFT_OUT if isinstance(value, keras.Model) else ()
        own = getattr(value, "__dict__", {})
        for name, item in own.items():
            copied.__dict__[name] = None if name in left_out else self.copy(item)
        for name in _slots(type(value)):
            if name not in own and hasattr(value, name):
                object.__setattr__(copied, name, self.copy(getattr(value, name)))
        if self.precision is not None:
            self._convert(copied)
        return copied

    def _convert(self, copied: Any) -> None:
        """Put a copied layer, regularizer, symbolic tensor or generator into the precision."""
        own = getattr(copied, "__dict__", {})
        for name in _NUMBERS.get(type(copied), ()) if self.precision == "float64" else ():
            own[name] = np.float64(own[name]) if isinstance(own[name], float) else own[name]
        if isinstance(copied, keras.KerasTensor):
            if tf.as_dtype(copied.dtype).is_floating:
                own["_dtype" if "_dtype" in own else "dtype"] = self.precision
        elif isinstance(copied, keras.layers.InputLayer):
            if tf.as_dtype(own["_dtype"]).is_floating:
                own["_dtype"] = self.precision
        elif isinstance(copied, keras.Loss):
            if tf.as_dtype(own["_dtype"]).is_floating:
                own["_dtype"], own["_dtype_policy"] = self.precision, keras.DTypePolicy(self.precision)
        elif isinstance(copied, keras.Layer):
            policy = own.get("_dtype_policy")
            if policy is not None and tf.as_dtype(policy.compute_dtype).is_floating:
                own["_dtype_policy"] = keras.DTypePolicy(self.precision)

    def _tracked_list(self, value: Any) -> Any:
        copied = TrackedList.__new__(TrackedList)
        self.made[id(value)] = copied
        copied.tracker = self.copy(value.tracker)
        for item in value:
            list.append(copied, self.copy(item))
        return copied

    def _tracked_dict(self, value: Any) -> Any:
        copied = TrackedDict.__new__(TrackedDict)
        self.made[id(value)] = copied
        copied.tracker = self.copy(value.tracker)
        for key, item in value.items():
            dict.__setitem__(copied, self.copy(key), self.copy(item))
        return copied

    def _tracked_set(self, value: Any) -> Any:
        copied = TrackedSet.__new__(TrackedSet)
        self.made[id(value)] = copied
        copied.tracker = self.copy(value.tracker)
        for item in value:
            set.add(copied, self.copy(item))
        return copied

    def _dict(self, value: Any) -> Any:
        copied = type(value)() if type(value) is not collections.defaultdict else type(value)(value.default_factory)
        self.made[id(value)] = copied
        for key, item in value.items():
            # Keras counts and finds some of its objects by identity.
            key = id(self.made[key]) if type(key) is int and key in self.made else self.copy(key)
            copied[key] = self.copy(item)
        return copied

    def _list(self, value: Any) -> Any:
        copied: list[Any] = []
        self.made[id(value)] = copied
        copied.extend(self.copy(item) for item in value)
        return copied

    def _tuple(self, value: Any) -> Any:
        items = [self.copy(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)

    def _partial(self, value: Any) -> Any:
        keywords = {name: self.copy(item) for name, item in value.keywords.items()}
        return functools.partial(self.copy(value.func), *(self.copy(item) for item in value.args), **keywords)

    def _reference(self, value: Any) -> Any:
        target = value()
        return value if target is None else weakref.ref(self.copy(target))

    def _function(self, value: Any) -> Any:
        """A function; one that closes over a layer or a variable gets the copies of these."""
        cells = value.__closure__ or ()
        held = [_content(cell) for cell in cells]
        if not any(map(_refers, held)):
            return value
        closure = tuple(types.CellType() for _ in cells)
        copied = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
        copied.__kwdefaults__, copied.__module__, copied.__doc__ = value.__kwdefaults__, value.__module__, value.__doc__
        self.made[id(value)] = copied
        copied.__dict__.update({name: self.copy(item) for name, item in vars(value).items()})
        for cell, item in zip(closure, held, strict=True):
            if item is not _EMPTY:
                cell.cell_contents = self.copy(item)
        return copied


_EMPTY = object()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _refers(item: Any, depth: int = 2) -> bool:
    """Whether something is a layer or a variable, a method of one, or holds one."""
    if isinstance(item, types.MethodType):
        return _refers(item.__self__)
    if isinstance(item, (list, tuple, dict)) and depth:
        inner = item.values() if isinstance(item, dict) else item
        return any(_refers(part, depth - 1) for part in inner)
    return isinstance(item, (keras.Layer, keras.Variable, tf.Variable, tf.Module))


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        found.extend([slots] if isinstance(slots, str) else slots)
    return [name for name in found if name not in {"__dict__", "__weakref__"}]
