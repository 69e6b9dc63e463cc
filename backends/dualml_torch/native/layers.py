"""Stock layers of ``torch.nn``: which modules are some, and how they are run and recorded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from dualml_torch.native import subclasses
from dualml_torch.native.attention import Attending, attention_kept
from dualml_torch.native.dropping import RANDOM, Thinning, thinned
from dualml_torch.native.layer_readers import KEPT, READ, Read
from dualml_torch.native.recipes import Module, Pass, Recipe, Template, tensors_of
from dualml_torch.native.recurrent import Stack
from dualml_torch.native.settings import NATIVE_NAMES, Said
from dualml_torch.native.trace import Expand, Observer
from dualml_torch.native.weights import Kept, names_by_role


def stock_of(module: nn.Module, among: Mapping[type[nn.Module], Any]) -> type[nn.Module] | None:
    """The stock class whose ``forward`` a module has, with its arrays where the stock class keeps them.

    A subclass that computes something else, a parametrized module and one whose arrays something else computes (weight
    normalisation) are none.
    """
    found: Any = next((kind for kind in type(module).__mro__ if kind in among), None)
    if found is None or "forward" in module.__dict__ or type(module).forward is not found.forward:
        return None
    return found if subclasses.as_stock(module, found) else None


def roles(module: nn.Module) -> tuple[Kept, ...] | None:
    """The arrays of a stock layer; ``None`` for any other module."""
    kind = stock_of(module, KEPT)
    return None if kind is None else KEPT[kind](module)


# ------------------------------------------------------------------ settings


def unsaid(module: nn.Module, said: Said) -> tuple[str, ...]:
    """Settings that are what the constructor takes where nothing is said."""
    parameters = inspect.signature(type(module).__init__).parameters
    found = []
    for setting in said.setting_names:
        name = next((name for name in (*NATIVE_NAMES.get(setting, ()), setting) if name in parameters), None)
        if name is None or parameters[name].default is inspect.Parameter.empty:
            continue
        value = getattr(module, name, None)
        value = value is not None if name == "bias" else value
        default = parameters[name].default
        if value == default or (isinstance(value, tuple) and value == (default,) * len(value)):
            found.append(setting)
    return tuple(found)


@dataclass(frozen=True)
class _Stock:
    """A stock layer that is one operation.

    Attributes:
        read: Says what it is.
        arrays: What it holds.
        base: The stock class, if the layer is of a subclass with a ``forward`` of its own.
    """

    read: Read
    arrays: tuple[Kept, ...]
    base: type[nn.Module] | None = None

    def __call__(
        self, observer: Observer, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run it; ``NotImplemented`` where it is not what the spec has."""
        given = tensors_of((args, kwargs))
        if len(given) != 1 or len(args) + len(kwargs) != 1:
            return NotImplemented
        said = self.read(module, given[0])
        if said is not None and self.base is not None:
            said = subclasses.settled(observer.book, path, module, self.base, said, given[0])
        if said is None:
            return NotImplemented
        if self.base is None:
            weights = names_by_role(observer.weights, path, self.arrays)
        else:
            adopted = observer.weights.adopt(path, self.arrays)
            if adopted is None:
                return NotImplemented
            weights = adopted
        template = Template.of(args, kwargs, given, {})
        recipe = _thinning(path, said, self.base is None) if said.kind in RANDOM else Module(path, template)
        if said.kind == "batch_norm" and path in observer.book.inference_only:
            said = replace(said, settings={**said.settings, "frozen": True})
        table = observer.weight_name(module.weight) if isinstance(module, nn.Linear) else None
        if table is not None and observer.weights.by_name[table].kept.role == "table":
            said = Said("tied_dense", {"layer": "", "bias": module.bias is not None})
            weights["kernel"] = table
        said = replace(
            said,
            weights=weights,
            unsaid=unsaid(module, said),
            code=f"nn.{module!r}" if self.base is None else f"class {type(module).__name__}(nn.{self.base.__name__})",
        )
        observer.demand(given)
        observer.before(given)
        name = observer.name_of_module(path)
        keys = observer.keys_of(name, given)
        result = observer.run(recipe, given, observer.mask(name))
        return observer.call(name, said, keys, given, result, recipe, type(module).__name__)


def _thinning(path: str, said: Said, stock: bool) -> Recipe:
    """How a layer that drops values runs; a subclass does so by its own code."""

    def recipe(of: Pass, inputs: Sequence[Tensor]) -> Tensor:
        layer: Any = of.model.get_submodule(path)
        if layer.training and of.training and stock:
            return thinned(said, inputs[0], of.mask)
        if layer.training and of.training:
            with Thinning(said, of.mask):
                return type(layer).forward(layer, inputs[0])  # type: ignore[no-any-return]
        found: Tensor = type(layer).forward(layer, inputs[0])
        return found

    return recipe


def expand(module: nn.Module) -> Expand | None:
    """What runs a stock layer; ``None`` for any other module, whose own calls are looked at."""
    recurrent = stock_of(module, dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU)))
    if recurrent is not None:
        return Stack(KEPT[recurrent](module))
    if stock_of(module, {nn.MultiheadAttention: None}) is not None:
        return Attending(attention_kept(module))  # type: ignore[arg-type]
    kind = stock_of(module, READ)
    base = subclasses.base_of(module, READ) if kind is None else None
    known = kind or base
    if known is None:
        return None
    return _Stock(READ[known], KEPT[known](module) if known in KEPT else (), base)
