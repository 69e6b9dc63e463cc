"""Hypotheses on several layers that stand for each other as a whole: what each side's list of layers says."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.parity import hypotheses
from dualml.parity.diff.claims import Claim, forward
from dualml.parity.diff.ledger import gap_of
from dualml.parity.diff.pairs import Matched
from dualml.parity.diff.run import Run, fits, readable
from dualml.parity.findings import Hypothesis
from dualml.parity.judge import judgement
from dualml.protocol import Array, Arrays


def tried_segment(
    run: Run, matched: Matched, claim: Claim, values: Mapping[str, Array], weights: Arrays, *, training: bool
) -> tuple[Hypothesis, ...]:
    """Whether the right side does what its own layers say, and these are others, or in another order, than is meant.

    Args:
        run: The comparison.
        matched: The pair.
        claim: The left side's layers, put to the right side.
        values: What the right side recorded.
        weights: The right side's.
        training: In which mode.

    Returns:
        Empty if the right side's layers cannot be judged, each by itself.
    """
    nodes = [node for own in matched.own for node in own.nodes]
    unit, precision = run.right.unit, run.precision
    known = all(readable(own, values) and own.output in values and not own.opaque for own in matched.own)
    if not known or claim.opaque or any(node.random_mask is not None for node in (*claim.nodes, *nodes)):
        return ()
    if not fits(claim, values, weights):
        return ()
    follows = []
    for own in matched.own:
        wanted = forward(own, values, weights, training=training, masks={}, unit=unit)
        if wanted.bound is None:
            return ()
        follows.append(judgement(values[own.output], wanted.value, wanted.bound).rho)
    meant = forward(claim, values, weights, training=training, masks={}, unit=unit)
    return hypotheses.explain_segment(
        claim.nodes,
        nodes,
        rho_before=gap_of(values[claim.output], meant.value).units(precision),
        rho_own=max(follows, default=None),
        frameworks=run.frameworks,
    )
