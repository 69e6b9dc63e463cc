"""Numbers of values, places in the user's code, and number formats, while a model is watched."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from dualml_torch.native.recipes import Recipe

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)
_DOUBLED = {torch.float32: torch.float64, torch.float16: torch.float64, torch.bfloat16: torch.float64}


@dataclass
class Book:
    """Numbers of values and ways to do calls again, the same in every pass of one model.

    Attributes:
        keys: By call and place among its outputs.
        recipes: By call.
        decided: By path of a subclass of a stock layer what ``subclasses.settled`` found.
        inference_only: Paths of modules that stay in inference mode when the model is put in training mode.
    """

    keys: dict[tuple[str, str | int], int] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    decided: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    inference_only: frozenset[str] = frozenset()

    def key(self, name: str, place: str | int) -> int:
        """The number of a value, given once."""
        return self.keys.setdefault((name, place), len(self.keys))


@dataclass
class Known:
    """A tensor with the number of the value it holds.

    Attributes:
        key: The number.
        tensor: Kept, so that no other tensor gets its identity.
        version: PyTorch's count of changes in place when the number was given.
        constant: Whether no call made it.
    """

    key: int
    tensor: Tensor
    version: int
    constant: bool = False


def doubled(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """A cast to a shorter number format as one to float64, so that a float64 pass has no rounding of float32 in it."""
    if getattr(func, "__name__", "") in ("float", "half", "bfloat16"):
        func = Tensor.double
    swapped = tree_map(lambda item: _DOUBLED.get(item, item) if isinstance(item, torch.dtype) else item, (args, kwargs))
    return func, *swapped


def where() -> str:
    """File and line of the user's code that is running; empty where there is none before the adapter's own frames."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file.startswith(_HERE) and name == "run_model":
            return ""
        if not file.startswith((_TORCH, _HERE, "<")):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
