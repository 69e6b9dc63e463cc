"""What both sides are given: batches in each framework's own axes, and targets as each loss takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dualml import randomness
from dualml.errors import ParityError
from dualml.native.protocol import NativeModel, ReadLoss
from dualml.parity.diff.side import SEED, SideName
from dualml.protocol import Array
from dualml.spec.losses import Loss
from dualml.spec.objective import Objective

EXAMPLES = 8
"""Examples of a batch that is made up: few enough that N / (N - 1) shows."""

MOST_EXAMPLES = 16
"""Examples of a given batch that are judged."""

LARGEST_IDS = (1000, 100, 10, 2)
"""Whole numbers below these are tried for a model that takes ids and does not say which."""

INPUTS_HELP = (
    "give a batch: dualml.diff(left, right, inputs=numpy.random.rand(8, 1, 28, 28)), on the command line "
    "--inputs batch.npy or --input-shape 1,28,28 (one example, in the left framework's axes)"
)


def as_arrays(given: Any, what: str) -> dict[str, Array] | None:
    """Inputs or targets as arrays by name, ``""`` for the only one.

    Raises:
        ParityError: They are no arrays of numbers, or hold NaN or infinity.
    """
    if given is None:
        return None
    named = given if isinstance(given, Mapping) else {"": given}
    found: dict[str, Array] = {}
    for name, value in named.items():
        label = f"{what} {name!r}" if name else what
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ParityError(f"{label} must be an array of numbers, got {type(value).__name__}: {error}") from None
        if array.dtype == np.bool_:
            found[str(name)] = array
            continue
        if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
            raise ParityError(f"{label} must be an array of numbers, got dtype {array.dtype}")
        if array.ndim == 0 or array.shape[0] == 0:
            raise ParityError(f"{label} must have a batch axis with at least one example, got shape {array.shape}")
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise ParityError(f"{label} must hold finite numbers, but {bad} of {array.size} are NaN or infinite")
        floating = np.issubdtype(array.dtype, np.floating)
        # Every precision is compared on the same numbers, so they are ones that float32 holds.
        found[str(name)] = array.astype(np.float32).astype(np.float64) if floating else array.astype(np.int64)
    if not found:
        raise ParityError(f"{what} must hold at least one array, got none; {INPUTS_HELP}")
    return found


def few(arrays: dict[str, Array], targets: dict[str, Array] | None) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """At most ``MOST_EXAMPLES`` of the examples, where the first axis of everything is that of the examples.

    Raises:
        ParityError: Inputs and targets are not equally many.
    """
    counts = {len(array) for array in arrays.values()}
    targeted = {len(array) for array in (targets or {}).values()}
    if targets and len(counts) == 1 and len(targeted) == 1 and counts != targeted:
        array = next(iter(arrays.values()))
        if array.ndim < 2 or array.shape[1] not in targeted:  # else the batch is the second axis
            raise ParityError(
                f"inputs and targets must hold equally many examples, got {counts.pop()} and {targeted.pop()}"
            )
        return arrays, targets
    if len(counts) != 1 or max(counts) <= MOST_EXAMPLES:
        return arrays, targets
    cut = {name: array[:MOST_EXAMPLES] for name, array in arrays.items()}
    return cut, None if targets is None else {name: array[:MOST_EXAMPLES] for name, array in targets.items()}


def made_up(model: NativeModel, name: SideName) -> list[dict[str, Array]]:
    """Batches for a model that says the shapes of its inputs, the likeliest first.

    Raises:
        ParityError: It does not say them.
    """
    shapes = model.input_shapes
    if not shapes:
        raise ParityError(f"the {name} model does not say the shape of its inputs; {INPUTS_HELP}")
    sizes: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        if any(size is None for size in shape[1:]):
            raise ParityError(f"the {name} model's input {key!r} has an open shape {list(shape)}; {INPUTS_HELP}")
        sizes[key] = (EXAMPLES, *(int(size or 1) for size in shape[1:]))
    numbers = {
        key: randomness.normal(SEED, f"diff/input/{key}", shape).astype(np.float32).astype(np.float64)
        for key, shape in sizes.items()
    }
    ids = [
        {
            key: (randomness.uniform(SEED, f"diff/input/{key}", shape) * largest).astype(np.int64)
            for key, shape in sizes.items()
        }
        for largest in LARGEST_IDS
    ]
    return [numbers, *ids]


def random_inputs(shape: tuple[int, ...]) -> Array:
    """A batch for one input of a given shape of one example."""
    return randomness.normal(SEED, "diff/input/", (EXAMPLES, *shape)).astype(np.float32).astype(np.float64)


def layouts(array: Array) -> list[Array]:
    """A batch as it is, with channels last for channels first, and the other way round."""
    if array.ndim < 3:
        return [array]
    last, first = np.moveaxis(array, 1, -1), np.moveaxis(array, -1, 1)
    return [array, np.ascontiguousarray(last), np.ascontiguousarray(first)]


# ------------------------------------------------------------------ targets


def single_loss(read: ReadLoss | None) -> Loss | None:
    """The loss of a model with one output, if it has a formula."""
    if read is None or read.minimised is None:
        return None
    if isinstance(read.minimised, Objective):
        return read.minimised.terms[0].loss if len(read.minimised.terms) == 1 else None
    return read.minimised


def made_up_targets(loss: Loss, examples: int, shape: tuple[int, ...]) -> Array | None:
    """Targets that a loss can take, for an output of ``shape``; ``None`` if it is not known what it takes."""
    path = "diff/targets"
    if loss.target == "class":
        return (randomness.uniform(SEED, path, (examples, *shape[:-1])) * shape[-1]).astype(np.int64)
    numbers = randomness.uniform(SEED, path, (examples, *shape))
    if loss.kind in ("soft_cross_entropy", "kl_divergence"):
        return np.asarray((numbers / numbers.sum(-1, keepdims=True)).astype(np.float32).astype(np.float64))
    if loss.kind in ("hinge", "squared_hinge"):
        return np.where(numbers < 0.5, -1.0, 1.0)
    if loss.kind in ("binary_cross_entropy", "binary_focal_cross_entropy"):
        return np.where(numbers < 0.5, 0.0, 1.0)
    return numbers.astype(np.float32).astype(np.float64)


def targets_for(loss: Loss | None, targets: Array, classes: int) -> Array:
    """Targets in the form that a side's loss takes: class numbers or values (probabilities of classes).

    Args:
        loss: The side's loss, or ``None`` if it has no formula.
        targets: As given.
        classes: Size of the output's last axis.
    """
    whole = np.issubdtype(targets.dtype, np.integer)
    if loss is None:
        return targets
    if loss.target == "class" and not whole and targets.ndim >= 2 and targets.shape[-1] == classes > 1:
        return np.asarray(targets.argmax(-1).astype(np.int64))
    if loss.target == "class":
        return targets.astype(np.int64)
    if whole and loss.kind in ("soft_cross_entropy", "kl_divergence") and not _hot(targets, classes):
        return np.eye(classes)[targets]
    return targets.astype(np.float64)


def _hot(targets: Array, classes: int) -> bool:
    """Whether whole numbers are one for each class already."""
    return targets.ndim >= 2 and targets.shape[-1] == classes and targets.max(initial=0) <= 1
