"""What turns an output into a prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

PREDICTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda output: torch.softmax(output, -1),
    "sigmoid": torch.sigmoid,
    "identity": lambda output: output,
}
"""By ``Graph.predictions``."""
