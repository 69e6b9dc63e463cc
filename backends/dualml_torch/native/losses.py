"""Stock losses of PyTorch in the terms of a spec."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualml.native.protocol import ReadLoss
from dualml.spec import losses as spec
from dualml.spec.losses import Loss

NO_INDEX = -100
"""``ignore_index`` of PyTorch's cross-entropy where the user gives none: no class number."""


def _cross_entropy(given: Mapping[str, Any], targets: Tensor | None) -> Loss:
    smoothing = float(given["label_smoothing"])
    if targets is not None and targets.is_floating_point():
        return spec.SoftCrossEntropy(label_smoothing=smoothing)
    weight, ignored = given["weight"], given["ignore_index"]
    met = targets is not None and bool((targets == ignored).any())
    return spec.CrossEntropy(
        label_smoothing=smoothing,
        class_weights="none" if weight is None else tuple(float(item) for item in weight),
        ignore_index="none" if ignored == NO_INDEX and not met else int(ignored),
        normalization="weights",
        weighted_smoothing="per_class",
    )


def _weighs_values(given: Mapping[str, Any], targets: Tensor | None) -> bool:  # noqa: ARG001 (one signature for all)
    """Whether a factor of each value is given, which the spec has not."""
    return given.get("weight") is not None


def _binary(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:
    if _weighs_values(given, targets):
        return None
    weight = given.get("pos_weight")
    if weight is None:
        return spec.BinaryCrossEntropy(pos_weight=1.0)
    if weight.numel() == 1:
        return spec.BinaryCrossEntropy(pos_weight=float(weight))
    return spec.BinaryCrossEntropy(pos_weight=tuple(float(item) for item in weight)) if weight.ndim == 1 else None


def _multi_margin(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:
    if _weighs_values(given, targets) or given["p"] not in (1, 2):
        return None
    return spec.MultiMargin(p=int(given["p"]), margin=float(given["margin"]))  # type: ignore[arg-type]


def _poisson(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:  # noqa: ARG001 (one signature for all)
    if given["full"]:
        return None
    return spec.Poisson(log_input=bool(given["log_input"]), epsilon=float(given["eps"]))


def _huber(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:
    return None if _weighs_values(given, targets) else spec.Huber(float(given["delta"]))


def _smooth_l1(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:  # noqa: ARG001 (one signature for all)
    return spec.SmoothL1(beta=float(given["beta"])) if given["beta"] > 0 else spec.MeanAbsoluteError()


def _squared(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:
    return None if _weighs_values(given, targets) else spec.MeanSquaredError()


def _absolute(given: Mapping[str, Any], targets: Tensor | None) -> Loss | None:
    return None if _weighs_values(given, targets) else spec.MeanAbsoluteError()


Reader = Callable[[Mapping[str, Any], Tensor | None], Loss | None]

_READERS: Mapping[Callable[..., Any], Reader] = {
    functional.cross_entropy: _cross_entropy,
    functional.binary_cross_entropy_with_logits: _binary,
    functional.binary_cross_entropy: _binary,
    functional.mse_loss: _squared,
    functional.l1_loss: _absolute,
    functional.huber_loss: _huber,
    functional.smooth_l1_loss: _smooth_l1,
    functional.multi_margin_loss: _multi_margin,
    functional.poisson_nll_loss: _poisson,
}
"""By function; each takes the function's arguments by name and the targets."""

_MODULES: Mapping[type[nn.Module], Callable[..., Any]] = {
    nn.CrossEntropyLoss: functional.cross_entropy,
    nn.BCEWithLogitsLoss: functional.binary_cross_entropy_with_logits,
    nn.BCELoss: functional.binary_cross_entropy,
    nn.MSELoss: functional.mse_loss,
    nn.L1Loss: functional.l1_loss,
    nn.HuberLoss: functional.huber_loss,
    nn.SmoothL1Loss: functional.smooth_l1_loss,
    nn.MultiMarginLoss: functional.multi_margin_loss,
    nn.PoissonNLLLoss: functional.poisson_nll_loss,
}
"""The function each stock loss calls."""

_OF_CLASSES = frozenset({functional.cross_entropy, functional.multi_margin_loss})
"""Those that take one number for each position from the values of all classes."""

_SETTINGS = {"weight": "class_weights", "eps": "epsilon"}
"""What PyTorch's arguments are called in the spec, where the names differ."""


def _given(loss: Any) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """The stock function a loss is, and every argument it is called with besides outputs and targets."""
    if isinstance(loss, nn.Module):
        kind: Any = next((kind for kind in type(loss).__mro__ if kind in _MODULES), None)
        if kind is None or type(loss).forward is not kind.forward or "forward" in vars(loss):
            return None, {}
        names = inspect.signature(_MODULES[kind]).parameters
        return _MODULES[kind], {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    function: Any = loss
    given: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        if function.args:
            return None, {}
        given = {**function.keywords, **given}
        function = function.func
    if function not in _READERS:
        return None, {}
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return function, {**defaults, **given}


def read_loss(loss: Any, targets: Tensor | None = None) -> ReadLoss:
    """A loss in the terms of a spec.

    Args:
        loss: What the user calls with outputs and targets.
        targets: Some targets, if there are any yet: class numbers and probabilities make two losses of
            ``torch.nn.CrossEntropyLoss``.
    """
    function, given = _given(loss)
    minimised = None
    legacy = any(given.get(name) is not None for name in ("size_average", "reduce"))
    reduction = given.get("reduction", "mean")
    if function is not None and reduction in ("mean", "sum") and not legacy:
        minimised = _READERS[function](given, targets)
    inner = loss
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(inner, "__name__", type(inner).__name__)
    return ReadLoss(
        minimised=minimised,
        from_probabilities=function is functional.binary_cross_entropy,
        native=name,
        code=_code(loss, name),
        where=_where(inner) if function is None else "",
        reduction="mean" if reduction != "sum" else "positions" if function in _OF_CLASSES else "values",
        unsaid=_unsaid(loss, function, given),
    )


def _unsaid(loss: Any, function: Callable[..., Any] | None, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings of the spec that have PyTorch's defaults."""
    if function is None:
        return ()
    made = type(loss).__init__ if isinstance(loss, nn.Module) else function
    defaults = inspect.signature(made).parameters
    same = [name for name, value in given.items() if name in defaults and _default(value, defaults[name].default)]
    return tuple(_SETTINGS.get(name, name) for name in same)


def _code(loss: Any, name: str) -> str:
    if isinstance(loss, nn.Module):
        shown = [
            f"{argument}={getattr(loss, argument)!r}"
            for argument, parameter in inspect.signature(type(loss).__init__).parameters.items()
            if hasattr(loss, argument) and not _default(getattr(loss, argument), parameter.default)
        ]
        stock = type(loss).__module__.startswith("torch.")
        return f"{'nn.' if stock else ''}{name}({', '.join(shown)})"
    given: dict[str, Any] = {}
    while isinstance(loss, functools.partial):
        given = {**loss.keywords, **given}
        loss = loss.func
    shown = [f"{argument}={value!r}" for argument, value in given.items()]
    stock = getattr(loss, "__module__", "") in ("torch.nn.functional", "torch._C._nn")
    return f"{'F.' if stock else ''}{name}({', '.join(['outputs', 'targets', *shown])})"


def _default(value: Any, default: Any) -> bool:
    return value is default or (not isinstance(value, Tensor) and bool(value == default))


def _where(function: Any) -> str:
    if isinstance(function, nn.Module) or not callable(function):
        function = type(function)
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        try:
            return f"{Path(inspect.getsourcefile(function) or '').name}:{inspect.getsourcelines(function)[1]}"
        except (OSError, TypeError):
            return ""
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def each_example(loss: Any, outputs: Any, targets: Any) -> Tensor | None:
    """The loss of each example, shape ``(examples,)``; ``None`` where the loss cannot give it."""
    function, given = _given(loss)
    if function is None or not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    with torch.no_grad():
        losses: Tensor = function(outputs, targets, **{**_called(given), "reduction": "none"})
    if len(losses) != len(outputs):
        return None
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def _called(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in ("size_average", "reduce", "reduction")}
