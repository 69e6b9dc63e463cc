"""The catalogue trained: each row in two backends for many updates, and how far apart their weights end up.

The conformance checks judge single passes and updates by the float64 reference; this shows that nothing adds up.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualml import registry
from dualml.errors import UnsupportedError
from dualml.protocol import Arrays, Backend, Network
from dualml.spec.optimizers import Optimizer, Sgd
from dualml.testing.cases import CLIPPING_CASES, LOSS_CASES, NETWORK_CASES, OPTIMIZER_CASES, Case, Update

UPDATES = 30
"""Updates of each row."""
LIMIT = 1e-11
"""Largest relative difference of weights after them, in float64."""
RATE = 0.02
"""Learning rate."""

TRAINED_CASES: tuple[Case, ...] = tuple(case for case in (*NETWORK_CASES, *LOSS_CASES) if case.graph().parameters)
"""Every row that has something to train."""

TRAINING_UPDATES: tuple[Update, ...] = (*OPTIMIZER_CASES, *CLIPPING_CASES)
"""Every row that a network is trained by."""

ILL_CONDITIONED: Mapping[str, tuple[float, str]] = {}
"""Rows whose exact training amplifies rounding itself: what they are held to instead, and the reason."""


def optimizer() -> Optimizer:
    """SGD with momentum, resolved.

    Not Adam: it divides by the size of the gradient, so where the exact gradient is 0 (a key's bias in attention, a
    bias before a batch norm) it turns rounding into steps of full length.
    """
    case = TRAINED_CASES[0]
    return case.spec(optimizer=Sgd(lr=RATE, momentum=0.9, lr_in_momentum=True)).resolved.optimizer


def trained(backend: Backend, case: Case, by: Update | None = None, *, compiled: bool = True) -> Network:
    """A network of a case after ``UPDATES`` updates by ``Trainer.run`` in float64.

    Args:
        backend: Who builds and trains it.
        case: What it is.
        by: Optimizer and clipping; ``None``: ``optimizer()`` and none.
        compiled: Whether updates are compiled, where the backend compiles.

    Raises:
        UnsupportedError: The backend does not declare what the case or the optimizer needs.
    """
    chosen, clip = (optimizer(), None) if by is None else (by.optimizer, by.clip)
    registry.check(backend, case.spec(optimizer=chosen))
    network = backend.build(case.graph(), case.weights())
    size = case.examples
    trainer = network.trainer(case.objective, chosen, batch_size=size, clip=clip, compiled=compiled)
    examples = 3 * size
    order = np.arange(UPDATES * size) % examples
    masks = case.masks(len(order)) or None
    trainer.run(trainer.place(case.batch(examples=examples)), order, np.full(UPDATES, RATE), masks=masks)
    return network


def distance(left: Arrays, right: Arrays) -> float:
    """Largest difference of any two weights, relative to the largest number in their array (but at least 1).

    NaN if one of them is not finite.
    """
    if not all(np.isfinite(array).all() for arrays in (left, right) for array in arrays.values()):
        return float("nan")
    worst = 0.0
    for name, array in left.items():
        size = max(1.0, float(np.abs(array).max()))
        worst = max(worst, float(np.abs(array - right[name]).max()) / size)
    return worst


def trained_difference(left: Backend, right: Backend, case: Case, by: Update | None = None) -> float:
    """How far apart two backends' weights are after training a case from the same start; NaN if one has overflowed."""
    first, second = (trained(backend, case, by).get_weights() for backend in (left, right))
    return distance(first, second)


__all__ = [
    "ILL_CONDITIONED",
    "LIMIT",
    "TRAINED_CASES",
    "TRAINING_UPDATES",
    "UPDATES",
    "UnsupportedError",
    "distance",
    "trained",
    "trained_difference",
]
