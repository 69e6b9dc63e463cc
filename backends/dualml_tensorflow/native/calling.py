"""How the user's model is called: which argument is which input, which output has which loss."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from dualml.errors import ParityError
from dualml.protocol import Arrays


def resolve(model: Any) -> Any:
    """The model itself, or what a function without arguments returns.

    Raises:
        ParityError: It is neither.
    """
    if not isinstance(model, (keras.Layer, tf.Module)) and callable(model) and not isinstance(model, type):
        model = model()
    if isinstance(model, (keras.Layer, tf.Module)):
        return model
    found = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
    raise ParityError(
        "the TensorFlow side must be a keras.Model, a keras.Layer, a tf.Module or a function without arguments that "
        f"returns one, got {found}"
    )


def _declared(model: Any) -> list[Any] | None:
    """Symbolic inputs of a functional or sequential model."""
    try:
        return list(tree.flatten(model.inputs)) if isinstance(model, keras.Model) and model.inputs else None
    except (AttributeError, ValueError):
        return None


def input_shapes(model: Any) -> dict[str, tuple[int | None, ...]] | None:
    """Shape of each declared input."""
    declared = _declared(model)
    if declared is None:
        return None
    if len(declared) == 1:
        return {"": tuple(declared[0].shape)}
    return {_base(item.name): tuple(item.shape) for item in declared}


def _base(name: str) -> str:
    return name.partition(":")[0]


def input_tensors(model: Any, inputs: Arrays, precision: str) -> dict[str, Any]:
    """Inputs as tensors: of the declared dtype, else floating-point ones in the precision."""
    declared = _declared(model)
    dtypes: dict[str, str] = {}
    if declared is not None:
        names = [""] if len(declared) == 1 else [_base(item.name) for item in declared]
        dtypes = {name: str(item.dtype) for name, item in zip(names, declared, strict=True)}
    found = {}
    for name, array in inputs.items():
        given = np.asarray(array)
        dtype = dtypes.get(name) or (precision if given.dtype.kind == "f" else given.dtype)
        found[name] = tf.constant(given.astype(dtype))
    return found


def arguments(model: Any, tensors: Mapping[str, Any], *, training: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How the model is called with its inputs.

    Raises:
        ParityError: The names are not those of the model.
    """
    function = model.call if isinstance(model, keras.Layer) else model.__call__
    accepted = inspect.signature(function).parameters
    wants_mode = isinstance(model, keras.Layer) or "training" in accepted
    mode = {"training": training} if wants_mode else {}
    if len(tensors) == 1:
        return tuple(tensors.values()), mode
    declared = _declared(model)
    if declared is not None:
        names = [_base(item.name) for item in declared]
        if set(names) != set(tensors):
            raise ParityError(f"the model's inputs are named {', '.join(names)}, got {', '.join(tensors)}")
        structure = getattr(model, "_inputs_struct", declared)
        packed = tree.map_structure(lambda item: tensors[_base(item.name)], structure)
        return (packed,), mode
    if set(tensors) <= set(accepted):
        return (), {**tensors, **mode}
    needed = [item.name for item in accepted.values() if item.default is inspect.Parameter.empty]
    if len(needed) == len(tensors):
        raise ParityError(f"the model's call takes {', '.join(needed)}; name the inputs so, got {', '.join(tensors)}")
    return (dict(tensors),), mode


_REFUSALS = (
    *(tf.errors.OpError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(AssertionError, NotImplementedError, RuntimeError),
)
"""What the framework or the user's own code raises on inputs that do not fit."""


@contextmanager
def refusals(tensors: Mapping[str, Any]) -> Iterator[None]:
    """What the framework refuses becomes one sentence.

    Raises:
        ParityError: With the first line of the framework's reason.
    """
    try:
        yield
    except ParityError:
        raise
    except _REFUSALS as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        given = [f"{name or 'input'} {tuple(tensor.shape)} {tensor.dtype.name}" for name, tensor in tensors.items()]
        reason = f"{type(error).__name__}: {_reason(lines)}"
        raise ParityError(f"the TensorFlow model fails on inputs {', '.join(given)}: {reason}") from error


def _reason(lines: list[str]) -> str:
    """The line that says why, without Keras' lead and its colours."""
    first = next((line for line in lines if not line.startswith("Exception encountered")), lines[0])
    return re.sub("\x1b\\[[0-9;]*m", "", first)


def named_outputs(returned: Any, model: Any) -> dict[str, Any]:
    """What a model returned, by name."""
    if tf.is_tensor(returned):
        return {"output": returned}
    if isinstance(returned, Mapping):
        return {str(name): item for name, item in returned.items() if tf.is_tensor(item)}
    flat = [item for item in tree.flatten(returned) if tf.is_tensor(item)]
    names = list(getattr(model, "output_names", None) or ()) if isinstance(model, keras.Model) else []
    if len(flat) == 1:
        return {"output": flat[0]}
    if len(names) != len(flat) or len(set(names)) != len(flat):
        names = [f"output_{place}" for place in range(len(flat))]
    return dict(zip(names, flat, strict=True))


def matched(loss: Any, targets: Mapping[str, Any], returned: Any, model: Any) -> list[tuple[Any, Any, Any]]:
    """Loss, targets and output of each term.

    Raises:
        ParityError: Losses, targets and outputs do not go together.
    """
    outputs = named_outputs(returned, model)
    names = list(outputs)
    if isinstance(loss, Mapping):
        several = dict(loss)
    elif isinstance(loss, (list, tuple)):
        several = dict(zip(names, loss, strict=True))
    else:
        several = {names[0]: loss} if len(names) == 1 else dict.fromkeys(names, loss)
    if len(targets) == 1 and len(several) == 1:
        return [(next(iter(several.values())), next(iter(targets.values())), outputs[next(iter(several))])]
    missing = [name for name in several if name not in targets or name not in outputs]
    if missing:
        raise ParityError(
            f"losses, targets and outputs must have the same names; losses: {', '.join(several)}; targets: "
            f"{', '.join(targets)}; outputs: {', '.join(names)}"
        )
    return [(item, targets[name], outputs[name]) for name, item in several.items()]


def tensor_of(variable: Any) -> Any:
    """The TensorFlow variable of a Keras variable."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def unbuilt(model: Any) -> bool:
    """Whether some layer has not made its variables yet."""
    if not isinstance(model, keras.Layer):
        return False
    return any(not layer.built for layer in model._flatten_layers())


def first_call(model: Any, inputs: Arrays) -> None:
    """Have a model make its variables."""
    tensors = input_tensors(model, inputs, keras.config.floatx())
    args, kwargs = arguments(model, tensors, training=False)
    with refusals(tensors):
        model(*args, **kwargs)
