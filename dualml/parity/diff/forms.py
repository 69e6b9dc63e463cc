"""Weights that both sides hold in another form: their values on rung 0, their gradients on rung 5.

Two biases of a recurrent layer that only ever appear as a sum are compared as that sum. Of the gradients, what counts
is how far a step moves it: each trained bias gets the whole gradient, so that the sum of two learns twice as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dualml.native.forms import Quantity, quantities
from dualml.native.transport import translate
from dualml.parity import hypotheses
from dualml.parity.diff.claims import Wanted
from dualml.parity.diff.explain import concluded, explained_array, unknown
from dualml.parity.diff.ledger import Explanation
from dualml.parity.diff.penalties import penalties_on
from dualml.parity.diff.run import Run, readable
from dualml.parity.hypotheses.claims import differences
from dualml.parity.hypotheses.fixes import fixes
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.records import difference
from dualml.parity.report import Cause
from dualml.protocol import Array, Arrays, Masks
from dualml.reference import gamma


def held_otherwise(run: Run) -> tuple[Quantity, ...]:
    """What both sides hold in different weights."""
    pairs = (*run.alignment.pairs, *run.alignment.shapes_differ)
    return quantities(pairs, run.left.graph, run.right.graph)


def part_of_them(run: Run) -> set[str]:
    """Left weights that are judged here, not as one weight for one."""
    return {part.name for item in held_otherwise(run) for part in item.parts[0]}


# Values


def same_numbers(wanted: Array, array: Array) -> bool:
    """Whether an array holds the numbers wanted; NaN is equal to nothing.

    Numbers that were worked out (a sum of two biases) may have been rounded to float32 when they were stored.
    """
    if wanted.shape != array.shape:
        return False
    if np.array_equal(wanted, array):
        return True
    short = wanted.astype(np.float32)
    return not np.array_equal(short, wanted) and bool(np.array_equal(short, array.astype(np.float32)))


def judge_values(run: Run, wanted: Arrays) -> None:
    """Compare them as they are.

    Args:
        run: The comparison, both sides begun anew.
        wanted: The left side's weights in the right side's form.
    """
    right = run.right.weights()
    for item in held_otherwise(run):
        one, two = item.value(0, run.left.weights()), item.value(1, right)
        key = run.weight_key("init", item.name)
        equal = same_numbers(one, two) and bool(np.isfinite(one).all())
        check = run.ledger.bits_equal(0, key, run.precision, difference(one, two), equal)
        if check.ok is False and run.decides:
            run.ledger.explanations[0, key] = partial(_explained_value, run, item, one, two, (wanted, right))


def _explained_value(
    run: Run, item: Quantity, one: Array, two: Array, everything: tuple[Arrays, Arrays]
) -> Explanation:
    """Why the sides hold another number; asked in the right side's form, which says which weight is off."""
    wanted, right = everything
    names = [part.name for part in item.parts[1]]
    off = [name for name in names if name in wanted and not np.array_equal(wanted[name], right[name])]
    if not off:
        side = "right" if not names else "left"
        stated = [found.cause for found in differences(item.left, item.right) if found.setting in ("bias", item.role)]
        said = f"the {side} layer has no {item.role}, and the other one's is not {item.constant:g}"
        cause = stated[0] if stated else hypotheses.UNKNOWN
        return Explanation(Cause(cause, cause != hypotheses.UNKNOWN, None, None, said))
    if len(names) > len(item.parts[0]) == 1:  # a sum may be shared out in any way: taken as the left side's form has it
        name = item.parts[0][0].name
        own = next(weight.role for weight in item.left.weights if weight.name == name)
        return explained_array(run, item.left, own, one, two, ({own: one}, {own: two}))
    node = item.right
    role = next(weight.role for weight in node.weights if weight.name == off[0])
    held = [
        {weight.role: arrays[weight.name] for weight in node.weights if weight.name in arrays} for arrays in everything
    ]
    return explained_array(run, node, role, wanted[off[0]], right[off[0]], (held[0], held[1]))


# Gradients


@dataclass(frozen=True)
class Seen:
    """What the right side recorded in a backward pass, by the names of its graph; masks by those of the left one."""

    slopes: Mapping[str, Array]
    values: Mapping[str, Array]
    weights: Arrays
    masks: Masks


def judge_slopes(
    run: Run, step: int, gradients: tuple[Arrays, Arrays], meant: tuple[Mapping[str, Wanted], ...], seen: Seen
) -> None:
    """Judge how far a step moves each of them.

    Args:
        run: The comparison.
        step: Number of the update.
        gradients: What both sides recorded, by the names of their graphs.
        meant: By the names of the left graph, what each left weight's gradient must be: on the left side, and on the
            right side from its own arrays.
        seen: What the right side recorded, for causes.
    """
    trained = run.left.trained, run.right.trained
    buffers = {item.name for side in run.sides for item in side.graph.buffers}
    for item in held_otherwise(run):
        if any(part.name in buffers for parts in item.parts for part in parts):
            continue
        if not any(item.trained(side, trained[side]) for side in (0, 1)):
            continue
        wanted = [_moved(item, trained[0], found) for found in meant]
        one, two = (item.moved(side, gradients[side], trained[side]) for side in (0, 1))
        key = run.weight_key("backward", item.name)
        gap = difference(one, two)
        if wanted[1] is None:
            run.ledger.skip(f"the gradient for {item.name}", "a layer without a formula takes part")
            run.ledger.free(step, key, run.precision, gap)
            continue
        bounds = [_widened(found, item, side, gradients, trained, run) for side, found in enumerate(wanted)]
        rho = run.ledger.rho(one, bounds[0], run.precision), run.ledger.rho(two, bounds[1], run.precision)
        run.ledger.measure(step, key, run.precision, two, wanted[1].value)
        pending = wanted[1].bound is None
        check = run.ledger.judged(step, key, run.precision, gap, *rho, pending=pending)
        run.note_local(item.left.name, *rho)
        if run.decides and (check.ok is False or pending):
            run.ledger.explanations[step, key] = partial(
                _explained_slope, run, item, gradients[1], bounds[1], two, seen
            )


def _moved(item: Quantity, trained: set[str], found: Mapping[str, Wanted]) -> Wanted | None:
    """What a step must move it by; ``None`` if it is not known."""
    parts = item.trained(0, trained)
    if any(part.name not in found for part in parts):
        return None
    terms = [found[part.name] for part in parts]
    value, bound = np.zeros(item.shape), np.zeros(item.shape)
    for part, term in zip(parts, terms, strict=True):
        value = value + part.of(term.value, item.shape)
        if term.bound is not None:
            bound = bound + part.of(np.broadcast_to(term.bound, term.value.shape), item.shape)
    return Wanted(value, bound if all(term.bound is not None for term in terms) else None)


def _widened(
    wanted: Wanted | None,
    item: Quantity,
    side: int,
    gradients: tuple[Arrays, Arrays],
    trained: tuple[set[str], ...],
    run: Run,
) -> Wanted | None:
    """Where the side's form has more terms than the meant one, each is rounded by itself: its own bound for each."""
    if wanted is None or wanted.bound is None:
        return wanted
    count = max(1, len(item.trained(side, trained[side])))
    sizes = np.abs(item.moved(side, gradients[side], trained[side]))
    return Wanted(wanted.value, count * wanted.bound + gamma(count, run.sides[side].unit) * sizes)


def _explained_slope(
    run: Run, item: Quantity, gradients: Arrays, wanted: Wanted | None, recorded: Array, seen: Seen
) -> Explanation:
    """Why a step does not move it as is meant: how many of its parts are trained, or the gradients themselves."""
    trained = run.left.trained, run.right.trained
    counts = [len(item.trained(side, trained[side])) for side in (0, 1)]
    if 0 in counts or not all(item.parts):
        return _one_sided(item, counts)
    if counts[0] != counts[1] and wanted is not None and wanted.bound is not None:
        fair = item.trained(1, trained[1])[: counts[0]]
        other = sum((part.of(gradients[part.name], item.shape) for part in fair), np.zeros(item.shape))
        factor = counts[0] / len(fair)
        rhos = [judgement(array, wanted.value, wanted.bound).rho for array in (recorded, factor * other)]
        forms = ["one bias trained" if count == 1 else f"{count} biases trained" for count in counts]
        said = [" and ".join(part.name for part in item.trained(side, trained[side])) for side in (0, 1)]
        evidence = (
            f"the left side trains {said[0]}, the right side {said[1]}, and each gets the whole gradient, so that "
            f"their sum moves {counts[1]}:{counts[0]} as fast; with as many trained: rho {rhos[0]:.3g} -> {rhos[1]:.2g}"
        )
        fix = fixes("layout.rnn_bias", item.left, *forms, setting="trained", frameworks=run.frameworks)
        return Explanation(Cause("layout.rnn_bias", rhos[1] <= LIMIT, forms[0], forms[1], evidence, fix))
    return _explained_by_layers(run, item, gradients, seen)


def _explained_by_layers(run: Run, item: Quantity, gradients: Arrays, seen: Seen) -> Explanation:
    """What the layers' own conventions and penalties say, asked in the left side's form."""
    name = item.parts[0][0].name
    role = next(weight.role for weight in item.left.weights if weight.name == name)
    full = {weight.name: gradients.get(weight.name, np.zeros(weight.shape)) for weight in item.right.weights}
    recorded = translate(item.right, item.left, full).get(role)
    uses = []
    for matched in run.matching.pairs:
        claim = matched.meant
        if (
            claim is None
            or len(claim.nodes) != 1
            or claim.output not in seen.slopes
            or not readable(claim, seen.values)
        ):
            continue
        node = claim.nodes[0]
        if name not in [weight.name for weight in node.weights]:
            continue
        said = matched.own[0].nodes[0] if len(matched.own) == 1 else None
        inputs = [seen.values[claim.sources[source]] for source in node.inputs]
        held = claim.weight_arrays(seen.weights)
        uses.append(
            hypotheses.Use(node, said, held, inputs, seen.slopes[claim.output], role, seen.masks.get(node.name))
        )
    if recorded is None or not uses:
        return unknown(f"the gradient for {item.name} is not that of what the left side means")
    meant = penalties_on(run, 0, name, name)
    other = penalties_on(run, 1, name, item.parts[1][0].name)
    penalised = hypotheses.Penalised(name, uses[0].weights[name], meant, other)
    return concluded(
        hypotheses.explain_backward(recorded, uses, unit=run.right.unit, penalised=penalised, frameworks=run.frameworks)
    )


def _one_sided(item: Quantity, counts: list[int]) -> Explanation:
    """One side trains it, the other has it frozen or does not have it."""
    said: list[Any] = [
        "trained" if count else "frozen" if parts else "none" for count, parts in zip(counts, item.parts, strict=True)
    ]
    cause = "parameters.frozen"
    if not all(item.parts):
        stated = [found.cause for found in differences(item.left, item.right) if found.setting in ("bias", item.role)]
        cause = stated[0] if stated else hypotheses.UNKNOWN
    evidence = f"{item.name} is {said[0]} on the left side and {said[1]} on the right side"
    return Explanation(Cause(cause, cause != hypotheses.UNKNOWN, said[0], said[1], evidence))
