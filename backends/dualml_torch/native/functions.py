"""Functions of PyTorch: run, and recorded where they make or change a value."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

from dualml.native.protocol import OPAQUE
from dualml_torch.native import settings
from dualml_torch.native.dropping import DROPPING, thinned
from dualml_torch.native.function_readers import READERS
from dualml_torch.native.merging_readers import note_derived
from dualml_torch.native.moving_readers import cut, selected
from dualml_torch.native.recipes import Function, Pass, Recipe, Template, tensors_of
from dualml_torch.native.seen import Seen
from dualml_torch.native.settings import Said
from dualml_torch.native.trace import Observer


def read_function(observer: Observer, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function, and record it if it makes or changes a value."""
    raw = getattr(function, "__name__", "function")
    name = resolve_name(function).split(".")[-2] if raw == "__get__" else raw.strip("_")
    given = tensors_of((args, kwargs))
    observer.demand(given)
    flows = any(observer.is_value(tensor) for tensor in given)
    if raw in ("__set__", "__delete__") or name in _ASKING or not (flows or any(map(observer.is_weight, given))):
        return function(*args, **kwargs)
    if not flows:
        result = function(*args, **kwargs)
        note_derived(observer, name, args, kwargs, result)
        said = _opaque(observer, given)
        observer.defer(result, lambda: _finish(observer, function, said, name, args, kwargs, result))
        return result
    if name in DROPPING:
        return _dropped(observer, function, name, args, kwargs)
    observer.before(given)
    result = function(*args, **kwargs)
    if name in LARGEST and not isinstance(result, Tensor):
        return _largest(observer, function, name, args, kwargs, result)
    if name in PARTS and isinstance(result, tuple | list):
        return _parts(observer, function, name, args, kwargs, result)
    if name in DIVIDING and isinstance(result, Tensor) and id(args[0]) in observer.sums:
        return _divided_sum(observer, function, name, args, kwargs, result)
    made = _recorded(observer, function, name, args, kwargs, result)
    if name == "sum" and isinstance(made, Tensor):
        _note_sum(observer, Seen(observer, name, args, kwargs, made))
    return made


_ASKING = frozenset(
    {
        *("shape", "size", "dim", "ndim", "numel", "nelement", "len", "dtype", "device", "stride", "item", "tolist"),
        *("requires_grad", "grad_fn", "is_leaf", "grad", "is_floating_point", "is_contiguous", "is_cuda", "layout"),
        *("requires_grad_", "register_hook", "retain_grad", "repr", "format", "hash", "is_nonzero", "bool", "int"),
        *(
            "equal",
            "is_complex",
            "is_sparse",
            "is_nested",
            "is_quantized",
            "names",
            "version",
            "data_ptr",
            "get_device",
        ),
    }
)
"""Functions that ask something of a tensor and make none."""


def native_name(function: Any) -> str:
    """PyTorch's full name of a function."""
    found: str = resolve_name(function) or getattr(function, "__name__", "function")
    return found.removesuffix(".__get__")


def written(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A call as it would be written, tensors as ``x``."""

    def shown(item: Any) -> str:
        if isinstance(item, Tensor):
            return "x"
        if isinstance(item, list | tuple) and any(isinstance(part, Tensor) for part in item):
            return f"[{', '.join(map(shown, item))}]"
        return repr(item)

    parts = [*map(shown, args), *(f"{name}={shown(item)}" for name, item in kwargs.items())]
    return f"{native_name(function)}({', '.join(parts)})"


def unsaid(function: Any, said: Said, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings that are what the function takes where nothing is said, of a function that says what that is."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()  # built into PyTorch
    names = list(parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    found = []
    for setting in said.setting_names:
        name = next((name for name in (*settings.NATIVE_NAMES.get(setting, ()), setting) if name in parameters), None)
        if name is None or parameters[name].default is inspect.Parameter.empty:
            continue
        value, default = given.get(name, parameters[name].default), parameters[name].default
        if not isinstance(value, Tensor) and value == default:
            found.append(setting)
    return tuple(found)


def _recorded(
    observer: Observer, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """Record a function that has run."""
    given = tensors_of((args, kwargs))
    if not tensors_of(result) and not observer.changed(given):
        return result
    seen = Seen(observer, name, args, kwargs, result)
    reader = READERS.get(name)
    said = reader(seen) if reader is not None else None
    return _finish(observer, function, said or _opaque(observer, given), name, args, kwargs, result)


def _opaque(observer: Observer, given: Sequence[Tensor]) -> Said:
    return Said(OPAQUE, weights={name: name for tensor in given for name in observer.weight_names(tensor)})


def _finish(
    observer: Observer,
    function: Any,
    said: Said,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
    recipe: Recipe | None = None,
) -> Any:
    given = tensors_of((args, kwargs))
    inputs = [tensor for tensor in given if id(tensor) not in observer.places]
    if said.inputs is not None:
        inputs = list(said.inputs)
    name = observer.name_of_function(name)
    keys = observer.keys_of(name, inputs)
    if recipe is None:
        returned = {id(tensor) for tensor in tensors_of(result)}
        mutated = [place for place, tensor in enumerate(inputs) if observer.changed([tensor])]
        extra = tuple(place for place in mutated if id(inputs[place]) not in returned)
        recipe = Function(function, Template.of(args, kwargs, inputs, observer.places), extra)
    said = replace(
        said,
        code=said.code or written(function, args, kwargs),
        unsaid=said.unsaid or unsaid(function, said, args, kwargs),
    )
    return observer.call(name, said, keys, inputs, result, recipe, native_name(function))


def _dropped(observer: Observer, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function that drops values."""
    seen = Seen(observer, name, args, kwargs)
    said = settings.dropout(DROPPING[name], seen.get(1, "p", 0.5))
    active, x = seen.get(2, "training", seen.get(2, "train", True)), seen.x
    if said is None or not seen.values(x):
        observer.before([x])
        return _recorded(observer, function, name, args, kwargs, function(*args, **kwargs))
    said = replace(said, inputs=(x,), code=written(function, args, kwargs), unsaid=unsaid(function, said, args, kwargs))
    native = Function(function, Template.of(args, kwargs, [x], observer.places))
    in_training = active if observer.training else None

    def recipe(of: Pass, inputs: Sequence[Tensor]) -> Any:
        # In inference, or where the user's code says not to drop, the function decides what happens.
        if of.training and in_training is not False:
            return thinned(said, inputs[0], of.mask)
        return native(of, inputs)

    name = observer.name_of_function(name)
    observer.before([x])
    keys = observer.keys_of(name, [x])
    result = observer.run(recipe, [x], observer.mask(name))
    return observer.call(name, said, keys, [x], result, recipe, native_name(function))


PARTS = frozenset({"chunk", "split", "tensor_split", "unbind", "iter", "unsafe_chunk", "unsafe_split"})
"""Functions that cut a value in parts."""


def _parts(
    observer: Observer, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """Each part as a call of its own."""
    seen = Seen(observer, name, args, kwargs)
    x = seen.x
    place = 1 if name in ("unbind", "iter") else 2
    axis = seen.get(place, "dim", 0) % x.ndim
    if not seen.values(x):
        return _recorded(observer, function, name, args, kwargs, result)
    found, start = [], 0
    template = Template.of(args, kwargs, [x], observer.places)
    for number, part in enumerate(result):
        if part.ndim < x.ndim:
            said = selected(x, axis, number).reading(x)
        else:
            said = cut(x, axis, start, start + part.shape[axis], 1).reading(x)
            start += part.shape[axis]
        recipe = _part(Function(function, template), number)
        found.append(_finish(observer, function, said, name, args, kwargs, part, recipe))
    return tuple(found) if isinstance(result, tuple) else found


LARGEST = frozenset({"max"})
"""Functions that return values and where they stand."""


def _largest(
    observer: Observer, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """The largest values over an axis, where that is global pooling; their places are a call only if one reads them."""
    seen = Seen(observer, name, args, kwargs)
    dim, keep = seen.get(1, "dim"), seen.get(2, "keepdim", False)
    pooled = isinstance(dim, int) and seen.values(seen.x)
    said = settings.over_positions(seen.x, dim, what="max", keepdim=keep, ties="first") if pooled else None
    if said is None:
        return _recorded(observer, function, name, args, kwargs, result)
    whole = Function(function, Template.of(args, kwargs, [seen.x], observer.places))
    values = _finish(observer, function, said.reading(seen.x), name, args, kwargs, result[0], _part(whole, 0))
    places = Said(OPAQUE, inputs=(seen.x,))
    observer.await_reader(
        result[1], lambda: _finish(observer, function, places, name, args, kwargs, result[1], _part(whole, 1))
    )
    return type(result)((values, result[1]))


DIVIDING = frozenset({"div", "truediv", "true_divide", "divide"})
"""Functions that divide."""


def _note_sum(observer: Observer, seen: Seen) -> None:
    """Remember a sum over positions: divided by how many these are, it is their mean."""
    dim, keep = seen.get(1, "dim"), seen.get(2, "keepdim", False)
    said = settings.over_positions(seen.x, dim, what="average", keepdim=keep) if seen.values(seen.x) else None
    if said is not None:
        count = seen.x.numel() // max(seen.result.numel(), 1)
        observer.sums[id(seen.result)] = observer.calls[-1].name, said.reading(seen.x), count


def _divided_sum(
    observer: Observer, function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    """A sum over positions divided by how many these are: their mean, which reads what the sum reads."""
    summed, said, count = observer.sums[id(args[0])]
    seen = Seen(observer, name, args, kwargs, result)
    divisor = seen.get(1, "other")
    if not isinstance(divisor, int | float) or divisor != count or seen.get(2, "rounding_mode"):
        return _recorded(observer, function, name, args, kwargs, result)
    inner = observer.book.recipes[summed]
    observer.absorbed.add(summed)
    outer = Function(function, Template.of(args, kwargs, [args[0]], observer.places))
    code = f"{native_name(function)}(x.sum(...), {divisor})"
    return _finish(
        observer,
        function,
        replace(said, code=code),
        name,
        args,
        kwargs,
        result,
        lambda of, inputs: outer(of, [inner(of, inputs)]),
    )


def _part(whole: Recipe, number: int) -> Recipe:
    return lambda of, inputs: whole(of, inputs)[number]
