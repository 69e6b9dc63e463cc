"""What a user's model takes and returns, and what it is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from dualml.errors import ParityError
from dualml_torch.native.recipes import tensors_of

INPUT = "input"
OUTPUT = "output"


def module_of(model: Any) -> nn.Module:
    """The module a user means: itself, what a function makes, what ``torch.compile`` or ``DataParallel`` wraps.

    Raises:
        ParityError: There is none, or it cannot be looked into yet.
    """
    found = model if isinstance(model, nn.Module) or not callable(model) else model()
    while isinstance(found, nn.Module) and isinstance(getattr(found, "_orig_mod", None), nn.Module):
        found = found._orig_mod
    if isinstance(found, nn.DataParallel | nn.parallel.DistributedDataParallel):
        found = found.module
    if not isinstance(found, nn.Module):
        raise ParityError(
            "a PyTorch model must be a torch.nn.Module or a function without arguments that returns one, "
            f"got {type(found).__name__}"
        )
    if isinstance(found, torch.jit.ScriptModule):
        raise ParityError("a TorchScript model cannot be looked into; give the torch.nn.Module it was made from")
    lazy = [name for name, item in found.named_parameters() if isinstance(item, UninitializedParameter)]
    if lazy:
        raise ParityError(
            f"every parameter must have its shape, but {', '.join(lazy)} is lazy; call the model once before"
        )
    return found


def argument_names(model: nn.Module) -> list[str]:
    """Names of the arguments of ``forward`` that can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(model.forward).parameters.values()
    return [parameter.name for parameter in found if parameter.kind in kinds]


def arguments(
    model: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Inputs as ``forward`` takes them.

    Args:
        model: The model.
        inputs: By argument, or in the order of the arguments under other names; ``""`` for the only one.

    Returns:
        Those given by place, those given by name, and all of them by the names that they have.
    """
    names = argument_names(model)
    if all(name in names for name in inputs):
        return [], dict(inputs), dict(inputs)
    shown = {
        name or (names[place] if place < len(names) else INPUT): tensor
        for place, (name, tensor) in enumerate(inputs.items())
    }
    return list(inputs.values()), {}, shown


def named_outputs(found: Any) -> dict[str, Tensor]:
    """Tensors a model returned, by key or number; one alone is ``output``."""
    if isinstance(found, Tensor):
        return {OUTPUT: found}
    if isinstance(found, Mapping):
        return {str(name): item for name, item in found.items() if isinstance(item, Tensor)}
    tensors = tensors_of(found)
    return {f"{OUTPUT}_{place}": tensor for place, tensor in enumerate(tensors)}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Tensors of which nobody says the number format have this one."""
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        yield
    finally:
        torch.set_default_dtype(default)


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Afterwards the buffers are what they were before."""
    before = [(tensor, tensor.clone()) for tensor in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Floating parameters, buffers and plain attributes in another number format."""
    module.to(dtype)
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                part.__dict__[name] = value.to(dtype)


def line(error: BaseException) -> str:
    """The reason an exception gives, in a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def structured(tensors: Mapping[str, Tensor]) -> Any:
    """Several tensors as the model returns its outputs: a tuple, or a mapping where they have names."""
    numbered = all(name.startswith(f"{OUTPUT}_") for name in tensors)
    return tuple(tensors.values()) if numbered else dict(tensors)


def called_loss(loss: Any, outputs: Any, targets: Any) -> Tensor:
    """What a user's loss gives.

    Raises:
        ParityError: It refuses what it is given, or gives no single number.
    """
    try:
        total = loss(outputs, targets)
    except Exception as error:
        raise ParityError(f"the PyTorch loss refuses the outputs and targets: {line(error)}") from error
    if not isinstance(total, Tensor) or total.numel() != 1:
        found = f"shape {list(total.shape)}" if isinstance(total, Tensor) else type(total).__name__
        raise ParityError(f"the loss must give one number, got {found}; reduce it to one")
    return total.reshape(())


def differentiate(total: Tensor) -> None:
    """Give every parameter its gradient.

    Raises:
        ParityError: PyTorch cannot.
    """
    if not total.requires_grad:
        return
    try:
        total.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ParityError(f"PyTorch cannot differentiate the model: {line(error)}") from error


def products(outputs: Any, cotangents: Mapping[str, Tensor]) -> Tensor:
    """The sum of every output's products with its cotangent; ``""`` is the only output."""
    named = named_outputs(outputs)
    sums = [
        ((named[name] if name else next(iter(named.values()))) * cotangent).sum()
        for name, cotangent in cotangents.items()
    ]
    return torch.stack(sums).sum()
