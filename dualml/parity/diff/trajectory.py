"""Rungs 6 and 7: both sides training freely, how far rounding alone takes twins apart, and what users see."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualml import reference
from dualml.errors import DualmlError
from dualml.parity.diff.objectives import NORMALISED, paired_outputs
from dualml.parity.diff.run import Run
from dualml.parity.diff.side import Side
from dualml.parity.diff.weights import copy_weights
from dualml.parity.findings import Trajectory
from dualml.parity.records import Key, difference
from dualml.protocol import Array


def trains(run: Run) -> bool:
    """Whether both sides can do a whole update."""
    return all(
        side.model.loss is not None and side.model.optimizer is not None and side.targets is not None
        for side in run.sides
    )


def free_run(run: Run, steps: int) -> Trajectory | None:
    """Train both sides freely from the same weights, and in float32 a twin of the left one.

    Args:
        run: The comparison.
        steps: Number of updates.

    Returns:
        How far the outputs are apart after each update; ``None`` if a side cannot train.
    """
    if not trains(run):
        return None
    try:
        left, left_losses = _trained(run, run.left, steps, nudged=False)
        for side in run.sides:
            side.again()
        copy_weights(run)
        right, right_losses = _trained(run, run.right, steps, nudged=False, begun=True)
        twin = _trained(run, run.left, steps, nudged=True)[0] if run.precision == "float32" else None
    except DualmlError as error:
        run.ledger.skip(f"the free run in {run.precision}", str(error))
        return None
    gaps, envelope = [], []
    for step in range(steps):
        gaps.append(difference(left[step], right[step]))
        if twin is not None:
            envelope.append(difference(left[step], twin[step]))
        run.ledger.free(step + 1, Key("prediction", run.left.graph.output, "free run"), run.precision, gaps[-1])
        gap = abs(left_losses[step] - right_losses[step])
        run.ledger.free(step + 1, Key("loss", run.left.graph.output, "free run"), run.precision, gap)
    return Trajectory(
        run.precision,
        tuple(range(1, steps + 1)),
        tuple(gaps),
        tuple(envelope) if twin is not None else None,
        (tuple(left_losses), tuple(right_losses)),
    )


def _trained(run: Run, side: Side, steps: int, *, nudged: bool, begun: bool = False) -> tuple[list[Array], list[float]]:
    """Outputs after each update of one side, and the losses."""
    if not begun:
        side.again()
    if nudged:
        side.put_weights(
            {
                name: np.nextafter(array, np.array(np.inf, array.dtype))
                for name, array in side.weights().items()
                if name in side.trained
            }
        )
    outputs, losses = [], []
    place = 0 if side is run.left else 1
    for step in range(1, steps + 1):
        losses.append(side.train(run.masks(step)[place]))
        outputs.append(predictions(run, side))
    return outputs, losses


def predictions(run: Run, side: Side) -> Array:
    """The main output in inference, as the other side has it: softmax of logits where only one side takes it."""
    place = 0 if side is run.left else 1
    pairs = paired_outputs(run.left.graph, run.right.graph, run.matching)
    if not pairs:
        return np.zeros(0)
    name = pairs[0][place]
    values = side.values(side.model.forward(side.inputs, training=False))
    array = np.asarray(values[name])
    kind = head_kind(run)
    if kind is not None and not ends_in(side, name, kind):
        return reference.predictions(kind, array)  # type: ignore[arg-type]
    return array


def ends_in(side: Side, name: str, kind: str) -> bool:
    """Whether an output is made by an activation of a kind."""
    return getattr(getattr(side.graph.by_name[name].settings, "function", None), "kind", "") == kind


def head_kind(run: Run) -> str | None:
    """``softmax`` or ``sigmoid`` if only one side has it at its end."""
    for name in run.objectives.heads:
        matched = next(item for item in run.matching.pairs if item.name == name)
        function = (matched.own or matched.left)[0].nodes[0].settings.function.kind
        if function in NORMALISED:
            return str(function)
    return None


def prediction_rung(run: Run) -> dict[str, Any]:
    """What users see, before any training: outputs in inference, and which class has the largest one."""
    one, two = predictions(run, run.left), predictions(run, run.right)
    gap = difference(one, two)
    run.ledger.free(0, Key("prediction", run.left.graph.output, "output"), run.precision, gap)
    facts: dict[str, Any] = {"examples": len(one), "max_abs": gap, "left": {}, "right": {}}
    if one.shape == two.shape and one.ndim >= 2 and one.shape[-1] > 1:
        facts["same_class"] = int(np.sum(np.all((one.argmax(-1) == two.argmax(-1)).reshape(len(one), -1), axis=1)))
    return facts
