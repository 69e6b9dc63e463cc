"""Users' subclasses of stock layers.

A subclass that computes what its base class computes, by whatever code, is one call: the base class says what is meant,
and judging finds where the subclass departs from that, in training, in gradients or in running statistics. A subclass
that computes something else is looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from dualml.native import inherited
from dualml_torch.layout import to_array
from dualml_torch.native.book import Book
from dualml_torch.native.recipes import tensors_of
from dualml_torch.native.settings import Said
from dualml_torch.native.structures import kept_buffers


def as_stock(module: nn.Module, kind: Any) -> bool:
    """Whether a module has its arrays where the stock class keeps them, and what the class's ``forward`` calls."""
    plain = isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
    if plain and getattr(type(module), "_conv_forward", None) is not kind._conv_forward:
        return False
    registered = {*module._parameters, *module._buffers}
    return not hasattr(module, "parametrizations") and ("weight" in registered or not hasattr(module, "weight"))


def base_of(module: nn.Module, known: Mapping[type[nn.Module], Any]) -> type[nn.Module] | None:
    """The stock class that a module of a subclass with a ``forward`` of its own is of; ``None``: there is none."""
    found: Any = next((kind for kind in type(module).__mro__ if kind in known), None)
    if found is None or "forward" in module.__dict__ or type(module).forward is found.forward:
        return None
    return found if as_stock(module, found) else None


def settled(book: Book, path: str, module: nn.Module, base: Any, said: Said, x: Tensor) -> Said | None:
    """What a subclass means as one call; ``None``: it computes something else than its base class, look into it.

    Decided once for all passes.

    Args:
        book: Of the model.
        path: Of the module.
        module: The module.
        base: Its stock class.
        said: What that says.
        x: What it reads.
    """
    if path not in book.decided:
        book.decided[path] = _settings(module, base, said, x)
    found = book.decided[path]
    return None if found is None else replace(said, settings={**said.settings, **found})


def _settings(module: Any, base: Any, said: Said, x: Tensor) -> dict[str, Any] | None:
    """Settings by which a subclass departs from what its base class states; ``None``: it is none of these at all."""
    with _trying(module, training=False):
        one = _arrays(type(module).forward(module, x.clone()))
        try:
            other = _arrays(base.forward(module, x.clone()))
        except (RuntimeError, TypeError, ValueError, AttributeError):  # it does not take what the subclass takes
            return None
    if not inherited.alike(one, other):
        return None
    if said.kind != "batch_norm":
        return {}
    with _trying(module, training=True):
        before = _statistics(module)
        type(module).forward(module, x.clone())
        after = _statistics(module)
    return inherited.batch_norm_settings(said.settings, to_array(x), 1, before, after)


def _arrays(made: Any) -> list[Any]:
    return [to_array(item) for item in tensors_of(made)]


def _statistics(module: Any) -> list[Any]:
    return [to_array(module.running_mean), to_array(module.running_var)]


@contextmanager
def _trying(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Within it, a module is in some mode; afterwards it and everything in it are what they were."""
    modes = [(part, part.training) for part in module.modules()]
    with torch.no_grad(), kept_buffers(module), torch.random.fork_rng(devices=[]):
        try:
            for part, _ in modes:
                part.training = training
            yield
        finally:
            for part, mode in modes:
                part.training = mode
