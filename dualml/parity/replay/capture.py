"""What a replay script needs, recorded from two native models for one finding."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import numpy as np

from dualml.native.protocol import Call
from dualml.parity.diff.run import Run
from dualml.parity.diff.side import Side
from dualml.parity.diff.weights import copy_weights
from dualml.parity.findings import Finding
from dualml.parity.replay import Replay
from dualml.parity.replay.sides import LayerReplay, LossReplay, Operation, UpdateReplay
from dualml.protocol import Array

SIZES = (1.0, 1e-3, 1e-7, 0.0)
"""Of the synthetic gradients of an update: an epsilon shows where they are small, a decay where they are 0."""
UPDATES = 3
"""A wrong beta2 is invisible in the first one."""


def capture(run: Run, finding: Finding) -> Replay | None:
    """Both sides of a finding, recorded anew in the run's precision; ``None`` where no script can show its rung.

    Layers are shown for the rung ``forward``, the losses for ``loss``, the optimizers for ``update`` and ``state``.
    """
    for side in run.sides:
        side.model.start(run.precision)
    copy_weights(run)
    place = " <-> ".join(name or "nothing" for name in finding.names)
    title = f"{finding.cause.id} at {place}, step {finding.step}, {finding.phase} {finding.tensor}"
    if finding.phase == "forward":
        return _layers(run, finding, title)
    if finding.phase == "loss":
        return _losses(run, title)
    if finding.phase in ("update", "state"):
        return _updates(run, title)
    return None


# ------------------------------------------------------------------ layers


def _layers(run: Run, finding: Finding, title: str) -> Replay | None:
    """The offending pair; the right side reads what the left side recorded, so that nothing but the layers differs."""
    matched = next((item for item in run.matching.pairs if finding.node in (*item.pair.left, *item.pair.right)), None)
    if matched is None or not matched.pair.left or not matched.pair.right:
        return None
    training = finding.tensor == "training"
    masks = run.masks(finding.step) if training else ({}, {})
    seen = []
    for side, mask in zip(run.sides, masks, strict=True):
        given = side.native_masks(mask) if training else None
        seen.append(side.with_constants(side.model.forward(side.inputs, training=training, masks=given).values))
    handed: dict[int, Array] = {}
    for name, other in run.matching.counterpart.items():
        left, right = run.left.reading.places.get(name), run.right.reading.places.get(other)
        if left is not None and right is not None and left.value in seen[0] and right.value in seen[1]:
            neutral = run.left.reading.neutral(name, seen[0][left.value])
            array = run.right.reading.native(other, neutral)
            if array.shape == seen[1][right.value].shape:
                handed[right.value] = array
    one = _layer(run.left, matched.pair.left, seen[0], seen[0], finding.names[0], training=training)
    two = _layer(run.right, matched.pair.right, seen[1] | handed, seen[1], finding.names[1], training=training)
    return None if one is None or two is None else Replay(title, one, two, run.precision)


def _layer(
    side: Side,
    nodes: tuple[str, ...],
    given: Mapping[int, Array],
    seen: Mapping[int, Array],
    said: str,
    *,
    training: bool,
) -> LayerReplay | None:
    """The calls that some nodes stand for; ``given`` is what they read, ``seen`` what they gave in the model."""
    calls = list(dict.fromkeys(call.name for node in nodes for call in side.reading.places[node].calls))
    by_name = {call.name: call for call in side.trace.calls}
    chosen = [by_name[name] for name in calls if name in by_name]
    if not chosen or any(len(call.outputs) != 1 or call.outputs[0] not in seen for call in chosen):
        return None
    made = {call.outputs[0] for call in chosen}
    read = [key for call in chosen for key in call.inputs if key not in made]
    if any(key not in given for key in read):
        return None
    place = side.reading.places[nodes[-1]]
    if chosen[-1].outputs[0] != place.value:
        return None
    values = {f"value_{key}": np.ascontiguousarray(given[key]) for key in dict.fromkeys(read)}
    operations = tuple(_operation(side, call, seen, training=training) for call in chosen)
    return LayerReplay(side.model.framework, said, values, operations, tuple(place.axes), training)


def _operation(side: Side, call: Call, seen: Mapping[int, Array], *, training: bool) -> Operation:
    fused = any(other.name.startswith(f"{call.name}.") for other in side.trace.calls)
    arrays = side.model.layer_arrays(call.name)
    if arrays is None and not call.weights:
        arrays = {}
    if training and call.kind == "dropout":
        arrays = None  # its mask was drawn for the comparison
    return Operation(
        without_activation(call.code) if fused else call.code,
        tuple(f"value_{key}" for key in call.inputs),
        f"value_{call.outputs[0]}",
        np.ascontiguousarray(seen[call.outputs[0]]),
        arrays,
    )


def without_activation(code: str) -> str:
    """The code of a layer without the activation that is a call of its own.

    Example:
        >>> without_activation("keras.layers.Dense(4, activation='relu', use_bias=True)")
        'keras.layers.Dense(4, use_bias=True)'
    """
    try:
        tree = ast.parse(code, mode="eval").body
    except SyntaxError:
        return code
    if not isinstance(tree, ast.Call):
        return code
    tree.keywords = [item for item in tree.keywords if item.arg != "activation"]
    return ast.unparse(tree)


# ------------------------------------------------------------------ loss and optimizer


def _losses(run: Run, title: str) -> Replay | None:
    """Both losses, each with its side's targets; the right side's outputs are the left side's."""
    left, right = run.left, run.right
    node = left.graph.output
    other = run.matching.counterpart.get(node)
    if other is None or left.targets is None or right.targets is None or len(left.graph.outputs) != 1:
        return None
    values = left.values(left.model.forward(left.inputs, training=True))
    if node not in values:
        return None
    outputs = values[node]
    sides = []
    for side, name in ((left, node), (right, other)):
        loss = side.model.loss
        if loss is None or not loss.code or not side.targets or not _stock(loss.code):
            return None
        array = np.ascontiguousarray(side.reading.native(name, outputs))
        targets = np.asarray(next(iter(side.targets.values())))
        sides.append(LossReplay(side.model.framework, loss.native, loss.code, array, targets))
    return Replay(title, sides[0], sides[1], run.precision)


def _stock(code: str) -> bool:
    return code.startswith(("nn.", "F.", "keras."))


def _updates(run: Run, title: str) -> Replay | None:
    """Both optimizers over one parameter, with synthetic gradients of very different sizes."""
    random = np.random.default_rng(0)
    parameter = random.normal(size=len(SIZES)).astype(run.precision)
    gradients = tuple((random.normal(size=len(SIZES)) * SIZES).astype(run.precision) for _ in range(UPDATES))
    sides = []
    for side in run.sides:
        optimizer = side.model.optimizer
        if optimizer is None or not optimizer.code or not _made_from(optimizer.code):
            return None
        sides.append(UpdateReplay(side.model.framework, optimizer.native, optimizer.code, parameter, gradients))
    return Replay(title, sides[0], sides[1], run.precision)


def _made_from(code: str) -> bool:
    """Whether code makes an optimizer in a script."""
    return code.startswith(("keras.optimizers.", "torch.optim."))
