"""Causes for what fails, asked for while the arrays are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dualml.native.reading import Reading
from dualml.parity import hypotheses
from dualml.parity.diff import inputs as given
from dualml.parity.diff.claims import Claim, forward
from dualml.parity.diff.ledger import Explanation, view_of
from dualml.parity.diff.pairs import Matched
from dualml.parity.diff.run import Run, fits, readable
from dualml.parity.diff.segments import tried_segment
from dualml.parity.findings import Hypothesis, SideName, View
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.report import Cause
from dualml.protocol import Array, Arrays, Masks
from dualml.reference import unit_roundoff
from dualml.spec.graph import Node

NOTHING_TRIED = "several layers stand for each other here, and no hypothesis is about several at once"


def unknown(evidence: str) -> Explanation:
    """No cause, and what is known."""
    return Explanation(Cause(hypotheses.UNKNOWN, False, None, None, evidence))


def concluded(tried: Sequence[Hypothesis], view: View | None = None) -> Explanation:
    """What a list of tried hypotheses says; several causes where none explains the difference alone."""
    (cause, alternatives), *others = hypotheses.conclusions(tried)
    return Explanation(cause, tuple(tried), alternatives, view, tuple(others))


def explained_weight(run: Run, name: str, left: Array, right: Array, everything: tuple[Arrays, Arrays]) -> Explanation:
    """Why two weights that stand for each other are not the same.

    Args:
        run: The comparison.
        name: The weight, by its name in the left graph.
        left: What it is on the left side, in the right side's form.
        right: What it is on the right side.
        everything: All weights by the names of the right graph: those wanted, and those it has.
    """
    other = run.matching.weights[name]
    node = next(node for node in run.right.graph.nodes if any(item.name == other for item in node.weights))
    role = next(item.role for item in node.weights if item.name == other)
    held = [{item.role: arrays[item.name] for item in node.weights if item.name in arrays} for arrays in everything]
    return explained_array(run, node, role, left, right, (held[0], held[1]))


def explained_array(
    run: Run, node: Node, role: str, left: Array, right: Array, companions: tuple[Arrays, Arrays]
) -> Explanation:
    """Why two arrays that stand for each other are not the same.

    Args:
        run: The comparison.
        node: The layer in whose form they are.
        role: What they are to it.
        left: The left side's.
        right: The right side's.
        companions: All weights of the layer by role, left and right.
    """
    flat = next((run.right.graph.by_name.get(source) for source in node.inputs), None)
    flattened = flat.input_shapes[0] if flat is not None and flat.operation == "flatten" else None
    tried = hypotheses.explain_weights(
        left,
        right,
        role,
        node.operation,
        node,
        unit=unit_roundoff("float32"),  # what weights are kept in, whatever the precision they are compared in
        companions=companions,
        flattened=flattened,
        frameworks=run.frameworks,
    )
    axes = tuple(range(np.ndim(left)))
    return concluded(tried, view_of(left, right, axes, axes))


def explained_inputs(run: Run, left: Array, right: Array) -> Explanation:
    """Why the two batches differ."""
    unit = unit_roundoff("float32")  # what batches are given in
    tried = hypotheses.explain_inputs(left, right, unit=unit, frameworks=run.frameworks)
    axes = tuple(range(np.ndim(left)))
    return concluded(tried, view_of(left, right, axes, axes))


def explained_forward(
    run: Run,
    matched: Matched,
    claim: Claim,
    values: tuple[Mapping[str, Array], Mapping[str, Array]],
    weights: tuple[Arrays, Arrays],
    *,
    training: bool,
    masks: tuple[Masks, Masks],
    left_off: bool,
) -> Explanation:
    """Why a pair of layers does not do what the left side means.

    Args:
        run: The comparison.
        matched: The pair.
        claim: The left side's meaning, put to the right side.
        values: What both sides recorded.
        weights: Both sides' weights.
        training: In which mode.
        masks: Of the left side, and those the right side used by the names of the left nodes.
        left_off: Whether it is the left side that does not do what it says.
    """
    view = _view(run, matched, values)
    if matched.extra:
        return _extra(run, matched, values, view)
    rewired = _rewired(run, matched, claim, values[1], weights[1], training, masks[1])
    if rewired is not None and not left_off:
        return replace(rewired, view=view)
    several = len(claim.nodes) != 1 or len(matched.own) != 1
    segment = tried_segment(run, matched, claim, values[1], weights[1], training=training) if several else ()
    if len(claim.nodes) != 1 or any(item.passes and item.cause != hypotheses.UNKNOWN for item in segment):
        found = concluded(segment, view) if segment and not left_off else unknown(NOTHING_TRIED)
        if not found.cause.confirmed:
            found = explained_written_out(run, matched, values, weights, training=training) or found
        return replace(found, view=view)
    meant, said = claim.nodes[0], None if several else matched.own[0].nodes[0]
    deviates: SideName = "right"
    arrays, held = values[1], claim.weight_arrays(weights[1])
    sources = [arrays[claim.sources[name]] for name in meant.inputs]
    recorded, unit = arrays[claim.output], run.right.unit
    if left_off:
        deviates, said = "left", meant
        sources, held = [values[0][name] for name in meant.inputs], dict(weights[0])
        recorded = values[0][meant.name]
    tried = hypotheses.explain_forward(
        meant,
        said,
        {**weights[1], **held} if deviates == "right" else held,
        sources,
        recorded,
        training=training,
        mask=masks[0 if left_off else 1].get(meant.name),
        unit=unit,
        deviates=deviates,
        frameworks=run.frameworks,
    )
    return concluded(tried, view)


def explained_written_out(
    run: Run,
    matched: Matched,
    values: tuple[Mapping[str, Array], Mapping[str, Array]],
    weights: tuple[Arrays, Arrays],
    *,
    training: bool,
) -> Explanation | None:
    """Why several operations of the left side do not do what the right side's one layer for them does.

    No convention can be flipped in operations that somebody wrote out, but in the layer: it is put to the left side.

    Args:
        run: The comparison.
        matched: The pair.
        values: What both sides recorded.
        weights: Both sides' weights.
        training: In which mode.

    Returns:
        ``None`` if nothing is confirmed.
    """
    if matched.turned is None or matched.turned.nodes[0].random_mask is not None:
        return None
    # Where the left side does what the layer says, it is the layer that does not.
    sides: tuple[SideName, ...] = ("left", "right")
    for place, claim in enumerate((matched.turned, matched.own[0])):
        arrays, held = values[place], weights[place]
        if claim.output not in arrays or not fits(claim, arrays, held):
            return None
        meant = claim.nodes[0]
        tried = hypotheses.explain_forward(
            meant,
            None,
            claim.weight_arrays(held),
            [arrays[claim.sources[name]] for name in meant.inputs],
            arrays[claim.output],
            training=training,
            unit=run.sides[place].unit,
            deviates=sides[place],
            frameworks=run.frameworks,
        )
        if tried:
            found = concluded(tried)
            return found if found.cause.confirmed else None
    return None


def _rewired(
    run: Run, matched: Matched, claim: Claim, values: Mapping[str, Array], weights: Arrays, training: bool, masks: Masks
) -> Explanation | None:
    """Whether the right side does what is meant, but with other values: ``None`` if that is not it."""
    outside = [name for item in matched.own for name in item.sources if name not in matched.pair.right]
    read, meant = list(dict.fromkeys(outside)), list(claim.sources.values())
    if len(read) != len(meant) or sorted(read) == sorted(meant):
        return None
    rest = [name for name in read if name not in meant]
    if not set(rest) <= set(run.matching.counterpart.values()):
        return None  # what it reads is something of its own, not what another layer of the left side makes
    own = {name: value if value in read else rest.pop(0) for name, value in claim.sources.items()}
    other = replace(claim, sources=own)
    if not readable(other, values) or not fits(other, values, weights):
        return None
    unit = run.right.unit
    before, wanted = (
        forward(item, values, weights, training=training, masks=masks, unit=unit) for item in (claim, other)
    )
    recorded = values[claim.output]
    rhos = [judgement(recorded, item.value, item.bound).rho for item in (before, wanted) if item.bound is not None]
    if len(rhos) != 2 or rhos[1] > LIMIT:
        return None
    names = [" and ".join(_called(run.right.reading, name) for name in group) for group in (meant, read)]
    said = (
        f"it reads {names[1]} where the left side reads what stands for {names[0]}: rho {rhos[0]:.3g} -> {rhos[1]:.2g}"
    )
    return Explanation(Cause("graph.residual_order", True, f"reads {names[0]}", f"reads {names[1]}", said))


def _called(reading: Reading, name: str) -> str:
    """What the native model calls the layer that makes a value."""
    calls = reading.places[name].calls
    return calls[-1].name if calls else name


def _extra(
    run: Run, matched: Matched, values: tuple[Mapping[str, Array], Mapping[str, Array]], view: View | None
) -> Explanation:
    """A layer that only one side has."""
    side = 1 if matched.own else 0
    names = ("left", "right")
    claims = matched.own or matched.left
    node = claims[0].nodes[0]
    place = run.sides[side].reading.places[node.name]
    native = place.calls[-1].native if place.calls else node.operation
    kind = getattr(getattr(node.settings, "function", None), "kind", node.operation)
    said = f"only the {names[side]} side has {native} ({kind}) here"
    id_ = hypotheses.UNKNOWN
    if node.operation == "activation":
        twice = kind == "softmax" and (_already(values[side], node.inputs[0]) or _before_logits(run, side, node))
        id_ = "softmax.double" if twice else "activation.kind"
    have, lack = kind, "nothing"
    cause = Cause(
        id_,
        id_ != hypotheses.UNKNOWN,
        lack if side else have,
        have if side else lack,
        said,
        {run.frameworks[side]: f"remove {place.calls[-1].code or native}" if place.calls else f"remove {native}"},
    )
    return Explanation(cause, view=view)


def _before_logits(run: Run, side: int, node: Node) -> bool:
    """Whether a softmax ends a model whose loss takes logits, of which it takes a softmax itself."""
    loss = run.sides[side].model.loss
    single = given.single_loss(loss)
    softmaxes = single is not None and single.kind in ("cross_entropy", "soft_cross_entropy", "focal_cross_entropy")
    at_end = node.name in run.sides[side].graph.outputs
    return at_end and softmaxes and loss is not None and not loss.from_probabilities


def _already(values: Mapping[str, Array], name: str) -> bool:
    """Whether the rows of an array are probabilities already."""
    array = np.asarray(values[name], dtype=np.float64)
    if array.size == 0 or (array < 0).any():
        return False
    rounding = 4.0 * np.finfo(values[name].dtype).eps * array.shape[-1]
    return bool(np.abs(array.sum(-1) - 1.0).max() <= rounding)


def _view(run: Run, matched: Matched, values: tuple[Mapping[str, Array], Mapping[str, Array]]) -> View | None:
    name = matched.pair.left[-1] if matched.pair.left else None
    other = matched.pair.right[-1] if matched.pair.right else run.matching.counterpart.get(name or "")
    if name is None or other is None or name not in values[0] or other not in values[1]:
        return None
    places = run.left.reading.places[name], run.right.reading.places[other]
    return view_of(values[0][name], values[1][other], places[0].axes, places[1].axes)
