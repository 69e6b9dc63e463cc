"""Causes for what fails in gradients and buffers, asked for while the arrays are at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dualml.parity import hypotheses
from dualml.parity.diff.explain import concluded, unknown
from dualml.parity.diff.ledger import Explanation
from dualml.parity.diff.pairs import Matched
from dualml.parity.diff.penalties import penalties_of, penalties_on
from dualml.parity.diff.run import Run, readable
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.report import Cause
from dualml.protocol import Array, Arrays, Masks
from dualml.reference import gamma


def explained_missing(run: Run, name: str, lacking: Sequence[str], trained: tuple[set[str], set[str]]) -> Explanation:
    """Weights that one side trains and the other does not."""
    other = run.matching.weights[name]
    on_left = name in trained[0]
    said = ["trained" if on_left else "not trained", "trained" if other in trained[1] else "not trained"]
    count = len(lacking)
    others = f", and so are {count - 1} others" if count > 1 else ""
    evidence = f"{name} is {said[0]} on the left side, {other} is {said[1]} on the right side{others}"
    if said[0] == said[1]:
        evidence = f"the right side's backward pass never reaches {other}: its gradient is None{others}"
        said[1] = "no gradient"
    return Explanation(Cause("parameters.frozen", True, said[0], said[1], evidence, _unfreeze(run, other)))


def _unfreeze(run: Run, name: str) -> dict[str, str]:
    native = run.right.reading.weights.get(name, name)
    texts = {
        "torch": f"set requires_grad = True for {native} and give it to the optimizer",
        "tensorflow": f"set trainable = True for the layer of {native}",
    }
    framework = run.right.model.framework
    return {framework: texts[framework]} if framework in texts else {}


def explained_gradient(
    run: Run,
    name: str,
    slopes: Mapping[str, Array],
    values: Mapping[str, Array],
    weights: Arrays,
    masks: Masks,
    recorded: Array,
    everywhere: Callable[[float], bool],
) -> Explanation:
    """Why a gradient of the right side is not what the left side means.

    Args:
        run: The comparison.
        name: The value or the weight, by its name in the left graph.
        slopes: The right side's gradients of values.
        values: Its values.
        weights: Its weights.
        masks: What it used, by the names of the left graph's nodes.
        recorded: The gradient.
        everywhere: Whether all gradients of weights in this pass are what is meant times a number.
    """
    of_value = name not in run.matching.weights
    target = run.matching.counterpart.get(name) if of_value else run.matching.weights.get(name)
    uses = []
    for matched in run.matching.pairs:
        claim = matched.meant
        if claim is not None and len(claim.nodes) > 1 and target in {*claim.sources.values(), *claim.weights.values()}:
            return unknown(f"several layers at once use it, and no hypothesis is about those: the gradient for {name}")
        if claim is None or len(claim.nodes) != 1 or claim.output not in slopes or not readable(claim, values):
            continue
        meant = claim.nodes[0]
        said = matched.own[0].nodes[0] if len(matched.own) == 1 else None
        inputs = [values[claim.sources[source]] for source in meant.inputs]
        held = {**weights, **claim.weight_arrays(weights)}
        places: list[str | int] = (
            [place for place, source in enumerate(meant.inputs) if claim.sources[source] == target]
            if of_value
            else [item.role for item in meant.weights if claim.weights.get(item.name) == target]
        )
        uses += [
            hypotheses.Use(meant, said, held, inputs, slopes[claim.output], place, masks.get(meant.name))
            for place in places
        ]
    if not uses:
        return unknown(f"the gradient for {name} is not that of what the left side means")
    penalised = None if of_value or target is None else _penalised(run, name, weights[target])
    tied = None if of_value or target is None else _tied(run, target, uses, slopes, values, weights, masks, recorded)
    if tied is not None:
        return tied
    tried = hypotheses.explain_backward(
        recorded,
        uses,
        unit=run.right.unit,
        penalised=penalised,
        everywhere=None if of_value else everywhere,
        frameworks=run.frameworks,
    )
    return concluded(tried)


def _tied(
    run: Run,
    target: str,
    uses: Sequence[hypotheses.Use],
    slopes: Mapping[str, Array],
    values: Mapping[str, Array],
    weights: Arrays,
    masks: Masks,
    recorded: Array,
) -> Explanation | None:
    """Whether the right side uses one array where the left one has one for each: the sum over all of its own uses."""
    more = []
    for matched in run.matching.pairs:
        meant, own = matched.meant, matched.own
        if len(own) != 1 or own[0].opaque or target not in own[0].weights.values():
            continue
        if meant is not None and target in meant.weights.values():
            continue
        node = own[0].nodes[0]
        if own[0].output not in slopes or not readable(own[0], values):
            continue
        role = next(item.role for item in node.weights if own[0].weights[item.name] == target)
        inputs = [values[source] for source in node.inputs]
        more.append(hypotheses.Use(node, node, weights, inputs, slopes[own[0].output], role, masks.get(node.name)))
    if not more or not uses:
        return None
    unit = run.right.unit
    before, after = (_rho_of_sum(group, recorded, unit) for group in (uses, [*uses, *more]))
    if after > LIMIT:
        return None
    names = " and ".join(use.meant.name for use in (*uses, *more))
    evidence = (
        f"{target} of the right side is used by {names}, where the left side has an array for each; with all uses: "
        f"rho {before:.3g} -> {after:.2g}"
    )
    return Explanation(Cause("weights.tied_untied", True, "an array for each", "one array", evidence))


def _rho_of_sum(uses: Sequence[hypotheses.Use], recorded: Array, unit: float) -> float:
    """Of a gradient against what some uses pass back."""
    terms = [use.passed(unit) for use in uses]
    sizes = np.sum([np.abs(value) for value, _ in terms], axis=0)
    bound = np.sum([bound for _, bound in terms], axis=0) + gamma(len(terms), unit) * sizes
    rho = judgement(recorded, np.sum([value for value, _ in terms], axis=0), bound).rho
    return math.inf if rho is None else rho


def _penalised(run: Run, name: str, weight: Array) -> hypotheses.Penalised:
    """Penalties on a weight: those that are meant, and the right side's own."""
    elsewhere = bool(penalties_of(run.left.model.loss)), bool(penalties_of(run.right.model.loss))
    return hypotheses.Penalised(name, weight, penalties_on(run, 0, name), penalties_on(run, 1, name), elsewhere)


def explained_buffers(
    run: Run,
    matched: Matched,
    values: Mapping[str, Array],
    weights: Arrays,
    given: Arrays,
) -> Explanation:
    """Why the buffers of a layer of the right side do not become what the left side means.

    Args:
        run: The comparison.
        matched: The pair of layers.
        values: The right side's values.
        weights: Its weights before the pass.
        given: What its buffers became.
    """
    claim = matched.meant
    if claim is None or len(claim.nodes) != 1:
        return unknown("its buffers become something else")
    meant = claim.nodes[0]
    said = matched.own[0].nodes[0] if len(matched.own) == 1 else None
    inputs = [values[claim.sources[source]] for source in meant.inputs]
    became = {name: given[own] for name, own in claim.weights.items() if own in given}
    tried = hypotheses.explain_buffers(
        meant,
        said,
        {**weights, **claim.weight_arrays(weights)},
        inputs,
        {**given, **became},
        unit=run.right.unit,
        frameworks=run.frameworks,
    )
    return concluded(tried)
