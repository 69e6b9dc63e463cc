"""Rung 0: the weights of both sides, bit for bit after conversion, and what is done to make them equal."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from dualml.native.ports import port
from dualml.native.transport import copied
from dualml.parity.diff.explain import explained_inputs, explained_weight
from dualml.parity.diff.forms import judge_values, part_of_them, same_numbers
from dualml.parity.diff.run import Run
from dualml.parity.records import difference

Policy = Literal["auto", "copy", "compare"]

COPIED = "copied from left"
COMPARED = "as they are"


def settled(policy: Policy, run: Run) -> str:
    """Whether weights are compared or copied: ``as they are`` or ``copied from left``.

    ``auto`` compares them if one side's were made of the other's: some arrays hold the same numbers.
    """
    if policy == "auto":
        left, right = run.left.weights(), run.right.weights()
        found = port(run.alignment, run.left.graph, run.right.graph, left, right)
        policy = "copy" if found.likeness == "independent" else "compare"
    return COPIED if policy == "copy" else COMPARED


def weights_rung(run: Run, how: str) -> None:
    """Compare the weights, or copy the left side's to the right one; afterwards they are equal.

    Args:
        run: The comparison, both sides begun anew.
        how: What ``settled`` said.
    """
    left, right, ledger = run.left.weights(), run.right.weights(), run.ledger
    wanted, _ = copied(run.alignment, run.left.graph, run.right.graph, left)
    if how == COMPARED:
        judge_values(run, wanted)
        elsewhere = part_of_them(run)
        for name, other in run.matching.weights.items():
            if name in elsewhere:
                continue
            key = run.weight_key("init", name)
            one, two = wanted[other], right[other]
            equal = same_numbers(one, two) and bool(np.isfinite(one).all())
            check = ledger.bits_equal(0, key, run.precision, difference(one, two), equal)
            if check.ok is False and run.decides:
                ledger.explanations[0, key] = partial(explained_weight, run, name, one, two, (wanted, right))
    else:
        for name, array in left.items():
            if not np.isfinite(array).all():
                ledger.bits_equal(0, run.weight_key("init", name), run.precision, float("inf"), False)
    copy_weights(run)


def copy_weights(run: Run) -> None:
    """Give the right side the left side's weights, as far as they stand for each other; what differs is mended."""
    for side in run.sides:
        side.forget()
    right = run.right.weights()
    wanted, _ = copied(run.alignment, run.left.graph, run.right.graph, run.left.weights())
    given = {
        other: array.astype(right[other].dtype)
        for other, array in wanted.items()
        if array.shape == right[other].shape and not np.array_equal(array, right[other])
    }
    if given:
        run.right.put_weights(given)


def check_inputs(run: Run) -> None:
    """Both sides read the same batch."""
    for name, other in run.matching.inputs.items():
        one, two = run.left.given(name), run.right.given(other)
        equal = one.shape == two.shape and bool(np.array_equal(one, two))
        key = run.weight_key("input", f"{name}.values")
        check = run.ledger.bits_equal(0, key, run.precision, difference(one, two), equal)
        if check.ok is False and run.decides:
            run.ledger.explanations[0, key] = partial(explained_inputs, run, one, two)
