"""Watching a model run: every operation it calls, and every value between them.

``TorchFunctionMode`` shows each function; a stock layer that the tables know is one operation, so what it calls
inside is not shown. Values are known by the identity of their tensors, which stay alive while the pass runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from dualml.native.protocol import Call, Value
from dualml.protocol import Array, Arrays
from dualml_torch.layout import to_array
from dualml_torch.native.book import Book, Known, doubled, where
from dualml_torch.native.recipes import Pass, Recipe, tensors_of
from dualml_torch.native.settings import Said
from dualml_torch.native.weights import Weights

Expand = Callable[["Observer", str, nn.Module, tuple[Any, ...], dict[str, Any]], Any]
"""Runs a stock layer as one operation or several; ``NotImplemented``: look at what it calls inside."""


class Observer(TorchFunctionMode):
    """One pass of a model, watched.

    Args:
        model: The model; its modules' ``forward`` is wrapped while this is entered.
        weights: Its weights.
        book: Shared by all passes.
        training: Whether the pass is one of training.
        dtype: Number format of values.
        masks: What random calls keep, by name.
        gradients: Whether gradients of values are wanted.
        read_function: Says what a function is.
        expand: What runs a stock layer, or ``None`` for any other module.

    Attributes:
        calls: What was done so far.
        values: Every value, as it was when it was made.
        shapes: Of every value.
        slopes: Gradient of every value, once the backward pass is done.
        constants: Values that calls read and no call made.
        notes: What could not be seen.
        kept_of: For a mask that is true where something is not read, by the tensor's identity: makes its opposite.
        derived: For a tensor made of one weight alone, by the tensor's identity: how (``transposed``, ``rows``), and
            the weight's name.
        absorbed: Names of calls that another call does as well.
        sums: For a sum over positions, by the tensor's identity: its call, what the mean is, and of how many values.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        book: Book,
        *,
        training: bool,
        dtype: torch.dtype,
        masks: Arrays,
        gradients: bool,
        read_function: Callable[[Observer, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any],
        expand: Callable[[nn.Module], Expand | None],
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.book = book
        self.training = training
        self.dtype = dtype
        self.masks = masks
        self.gradients = gradients
        self._read_function = read_function
        self._expand = expand
        self.calls: list[Call] = []
        self.values: dict[int, Array] = {}
        self.shapes: dict[int, Value] = {}
        self.slopes: dict[int, Array] = {}
        self.constants: dict[int, Array] = {}
        self.notes: list[str] = []
        self.paths: list[str] = []
        self._known: dict[int, Known] = {}
        self._deferred: dict[int, Callable[[], Any]] = {}
        self._awaited: dict[int, Callable[[], Any]] = {}
        self._before: dict[int, tuple[Tensor, Array, int]] = {}
        self._alive: list[Tensor] = []
        self._quiet = 0
        self._calls_of: dict[str, int] = {}
        self._names: set[str] = {path for path, _ in model.named_modules()}
        self._weight_names = weights.first_names(model)
        self._part_names = weights.part_names(model)
        self._places = {
            id(weight.tensor(model)): (weight.path, weight.kept.attribute) for weight in weights.by_name.values()
        }
        self.kept_of: dict[int, Callable[[], Tensor]] = {}
        self.derived: dict[int, tuple[str, str]] = {}
        self.absorbed: set[str] = set()
        self.sums: dict[int, tuple[str, Said, int]] = {}

    # ------------------------------------------------------------------ what the tables ask

    def is_value(self, tensor: Tensor) -> bool:
        """Whether a tensor is a value that an input or a call made."""
        known = self._known.get(id(tensor))
        return known is not None and not known.constant

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is a weight, or was made of nothing but weights."""
        return id(tensor) in self._places or id(tensor) in self._deferred

    def weight_name(self, tensor: Tensor) -> str | None:
        """The name of a whole parameter or buffer; ``None`` for others and for those that are several weights."""
        return self._weight_names.get(id(tensor))

    def weight_names(self, tensor: Tensor) -> tuple[str, ...]:
        """The names of all weights that a parameter or buffer holds."""
        return self._part_names.get(id(tensor), ())

    @property
    def places(self) -> Mapping[int, tuple[str, str]]:
        """Module path and attribute of each weight, by the tensor's identity."""
        return self._places

    def mask(self, name: str) -> Tensor | None:
        """What a random call keeps, if that is given."""
        return torch.tensor(self.masks[name], dtype=torch.bool) if name in self.masks else None

    def name_of(self, base: str) -> str:
        """A name for a call, unique in the pass."""
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def name_of_module(self, path: str) -> str:
        """A name for a call of a module: its path, and a number if it was called before."""
        count = self._calls_of[path] = self._calls_of.get(path, 0) + 1
        return path if count == 1 else f"{path}@{count}"

    def name_of_function(self, function: str) -> str:
        """A name for a call of a function: its own below the path of the module that calls it."""
        return self.name_of(f"{self.paths[-1]}.{function}" if self.paths and self.paths[-1] else function)

    # ------------------------------------------------------------------ watching

    def __enter__(self) -> Observer:
        self._wrapped = dict(self._wrap())
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)  # type: ignore[no-untyped-call]
        for module, before in self._wrapped.items():
            if before is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before

    def _wrap(self) -> Iterator[tuple[nn.Module, Any]]:
        for path, module in self.model.named_modules():
            before = module.__dict__.get("forward")
            module.__dict__["forward"] = self._forward(path, module, module.forward, before is None)
            yield module, before

    def _forward(self, path: str, module: nn.Module, forward: Callable[..., Any], stock: bool) -> Callable[..., Any]:
        expand = self._expand(module) if stock else None

        def watched(*args: Any, **kwargs: Any) -> Any:
            if self._quiet:
                return forward(*args, **kwargs)
            self.paths.append(path)
            try:
                found = NotImplemented
                if expand is not None:
                    with self.quiet():
                        found = expand(self, path, module, args, kwargs)
                return forward(*args, **kwargs) if found is NotImplemented else found
            finally:
                self.paths.pop()

        return watched

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Look at nothing meanwhile."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of PyTorch comes by here."""
        kwargs = dict(kwargs or {})
        if self._quiet:
            return func(*args, **kwargs)
        if self.dtype is torch.float64:
            func, args, kwargs = doubled(func, args, kwargs)
        with self.quiet():
            return self._read_function(self, func, args, kwargs)

    # ------------------------------------------------------------------ recording

    def run(self, recipe: Recipe, inputs: Sequence[Tensor], mask: Tensor | None = None) -> Any:
        """Do an operation."""
        return recipe(Pass(self.model, self.training, self.dtype, mask), inputs)

    def defer(self, result: Any, record: Callable[[], Any]) -> None:
        """Record what was made of nothing but weights once a call reads it; ``record`` does it."""
        for tensor in tensors_of(result):
            if id(tensor) not in self._places:
                self._deferred[id(tensor)] = record
                self._alive.append(tensor)

    def await_reader(self, tensor: Tensor, record: Callable[[], Any]) -> None:
        """Record a call that makes a value only if another call reads it; ``record`` does it."""
        self._awaited[id(tensor)] = record
        self._alive.append(tensor)

    def demand(self, tensors: Sequence[Tensor]) -> None:
        """Record what was put off until one of these is read."""
        for tensor in tensors:
            record = self._awaited.pop(id(tensor), None)
            if record is not None:
                record()

    def know_kept(self, tensor: Tensor, kept: Callable[[], Tensor]) -> None:
        """Remember what gives the opposite of a mask: a value that is 1 where something is read, 0 where not."""
        self.kept_of[id(tensor)] = kept
        self._alive.append(tensor)

    def before(self, tensors: Sequence[Tensor]) -> None:
        """Remember what constants hold before a function that may change them runs.

        A value that was changed in place through another view of it is a constant from here on, with a note.
        """
        for tensor in tensors:
            known = self._known.get(id(tensor))
            if known is not None and known.version != tensor._version:
                del self._known[id(tensor)]
                self.notes.append(
                    f"a value of shape {list(tensor.shape)} was changed in place through another view of it at "
                    f"{where() or 'an unknown place'}; what reads it takes it for a constant"
                )
        unknown = [tensor for tensor in tensors if id(tensor) not in self._known and not self.is_weight(tensor)]
        self._before = {id(tensor): (tensor, to_array(tensor), tensor._version) for tensor in unknown}

    def changed(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the function that has run changed one of these in place."""
        return any(not self._unchanged(tensor) for tensor in tensors)

    def keys_of(self, name: str, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The numbers of what a call reads; an unknown tensor is a constant."""
        return tuple(self._key_of(name, place, tensor) for place, tensor in enumerate(inputs))

    def _key_of(self, name: str, place: int, tensor: Tensor) -> int:
        record = self._deferred.pop(id(tensor), None)
        if record is not None:
            record()
        known = self._known.get(id(tensor))
        if known is not None:
            return known.key
        key = self.book.key(name, f"constant {place}")
        before = self._before.get(id(tensor))
        version = tensor._version if before is None else before[2]
        self._known[id(tensor)] = Known(key, tensor, version, constant=True)
        self._keep(key, tensor, None if before is None else before[1])
        self.constants[key] = self.values[key]
        return key

    def call(
        self,
        name: str,
        said: Said,
        keys: tuple[int, ...],
        inputs: Sequence[Tensor],
        result: Any,
        recipe: Recipe,
        native: str,
    ) -> Any:
        """Record a call.

        Args:
            name: Its name.
            said: What it is.
            keys: Of what it read.
            inputs: The tensors it read, as they are now.
            result: What it returned.
            recipe: How it is done again.
            native: PyTorch's name of it.

        Returns:
            The result, in which no tensor is one of the unchanged inputs: where it was, it is a copy, so that both
            can have a number.
        """
        same = {id(tensor) for tensor in inputs if self._unchanged(tensor)}
        result = tree_map(lambda item: item.clone() if isinstance(item, Tensor) and id(item) in same else item, result)
        outputs = tensors_of(result)
        made = {id(tensor) for tensor in outputs}
        outputs += [tensor for tensor in _once(inputs) if id(tensor) not in made and not self._unchanged(tensor)]
        keys_out = tuple(self.book.key(name, place) for place in range(len(outputs)))
        for key, tensor in zip(keys_out, outputs, strict=True):
            self.bind(key, tensor)
        self.book.recipes[name] = recipe
        self.calls.append(
            Call(
                name=name,
                kind=said.kind,
                settings=said.settings,
                inputs=keys,
                outputs=keys_out,
                channels_first=said.channels_first,
                weights=said.weights,
                native=native,
                code=said.code,
                where=where(),
                unsaid=said.unsaid,
                batch_axis=said.batch_axis,
            )
        )
        return result

    def extend(self, name: str, outputs: Sequence[Tensor]) -> None:
        """Give a call that is recorded further outputs, behind those it has."""
        place = next(place for place, call in enumerate(self.calls) if call.name == name)
        call = self.calls[place]
        keys = tuple(self.book.key(name, len(call.outputs) + number) for number in range(len(outputs)))
        for key, tensor in zip(keys, outputs, strict=True):
            self.bind(key, tensor)
        self.calls[place] = replace(call, outputs=call.outputs + keys)

    def needed(self, outputs: Mapping[str, int]) -> tuple[Call, ...]:
        """The calls without those that another call does as well, where nothing else reads what they make."""
        read = {key for call in self.calls for key in call.inputs} | set(outputs.values())
        return tuple(call for call in self.calls if call.name not in self.absorbed or read.intersection(call.outputs))

    def _unchanged(self, tensor: Tensor) -> bool:
        if id(tensor) in self._known:
            return self._known[id(tensor)].version == tensor._version
        return id(tensor) not in self._before or self._before[id(tensor)][2] == tensor._version

    def bind(self, key: int, tensor: Tensor) -> None:
        """Give a tensor the number of a value, and record what it holds now."""
        self._known[id(tensor)] = Known(key, tensor, tensor._version)
        self._keep(key, tensor)
        if self.gradients and tensor.requires_grad:
            tensor.register_hook(lambda slope: self._slope(key, slope))  # type: ignore[no-untyped-call]

    def _keep(self, key: int, tensor: Tensor, array: Array | None = None) -> None:
        self.values[key] = to_array(tensor) if array is None else array
        self.shapes[key] = Value(key, tuple(tensor.shape), not tensor.is_floating_point())

    def _slope(self, key: int, slope: Tensor) -> None:
        self.slopes[key] = to_array(slope)

    def key(self, name: str, tensor: Tensor) -> int:
        """The number of a value that the model returned."""
        self.demand([tensor])
        return self._key_of(name, 0, tensor)


def _once(tensors: Sequence[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
