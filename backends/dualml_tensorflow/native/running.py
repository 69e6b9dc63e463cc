"""Where the user's model is called from: the frame above which a call stack is no longer the user's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def run(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the model returns."""
    return model(*args, **kwargs)
