"""An objective in float64: its value, its gradient for each output, and bounds on the rounding errors of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml.protocol import Array, Arrays
from dualml.reference.losses import (
    denominator,
    example_losses,
    example_losses_bound,
    loss_gradient,
    loss_gradient_bound,
    loss_value_bound,
)
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.objective import Objective, Term


@dataclass(frozen=True)
class Scored:
    """An objective for some examples.

    Attributes:
        value: The objective.
        examples: Each example's losses times their weights, shape ``(examples,)``.
    """

    value: float
    examples: Float


def _denominator(term: Term, targets: Array, weights: Array | None, count: int | None) -> float:
    # Where nothing counts the losses are 0 as well.
    return float(count) if count is not None else denominator(term.loss, targets, weights) or 1.0


def _counted(term: Term, targets: Array) -> int:
    """Roundings in a denominator that is a sum itself."""
    return np.size(targets) + 2 if term.loss.counts_positions else 0


def _rows(weights: Array, values: Array) -> Float:
    """Example weights with axes added, so that they multiply values example by example."""
    return double(weights).reshape(-1, *(1,) * (np.ndim(values) - 1))


def objective_value(
    objective: Objective, outputs: Arrays, targets: Arrays, weights: Array | None, count: int | None
) -> Scored:
    """The objective and each example's part in it.

    Args:
        objective: What is minimised, every default filled in.
        outputs: Values of the output nodes.
        targets: Targets by output node.
        weights: Weight of each example, or ``None``.
        count: What the sum of the examples' losses is divided by; ``None``: what the loss says.
    """
    total, examples = 0.0, np.zeros(len(next(iter(targets.values()))))
    for term in objective.terms:
        losses = example_losses(term.loss, outputs[term.output], targets[term.output])
        losses = losses if weights is None else losses * double(weights)
        total += term.weight * float(losses.sum()) / _denominator(term, targets[term.output], weights, count)
        examples += term.weight * losses
    return Scored(total, examples)


def objective_bound(
    objective: Objective, outputs: Arrays, targets: Arrays, weights: Array | None, count: int | None, *, unit: float
) -> Scored:
    """Bounds on the rounding errors of ``objective_value``: weighting and adding terms adds roundings to theirs."""
    total, examples = 0.0, np.zeros(len(next(iter(targets.values()))))
    plain = weights is None and len(objective.terms) == 1 and objective.terms[0].weight == 1.0
    for term in objective.terms:
        output, wanted = outputs[term.output], targets[term.output]
        bound = example_losses_bound(term.loss, output, wanted, unit)
        if plain:
            return Scored(loss_value_bound(term.loss, output, wanted, count, unit=unit), bound)
        factor = np.abs(double(weights)) if weights is not None else np.ones(len(wanted))
        losses = np.abs(example_losses(term.loss, output, wanted)) * factor
        roundings = gamma(len(objective.terms) + 3 + _counted(term, wanted), unit)
        each = term.weight * (bound * factor * (1.0 + roundings) + roundings * losses) + underflow_unit(unit)
        examples += each
        divisor = _denominator(term, wanted, weights, count)
        total += float(each.sum() + gamma(len(losses) + 2, unit) * term.weight * losses.sum()) / divisor
    return Scored(total + underflow_unit(unit), examples)


def output_gradients(
    objective: Objective, outputs: Arrays, targets: Arrays, weights: Array | None, count: int | None
) -> dict[str, Float]:
    """Gradient of the objective for each output node."""
    found: dict[str, Float] = {}
    for term in objective.terms:
        wanted = targets[term.output]
        divisor = _denominator(term, wanted, weights, count)
        gradient = term.weight * loss_gradient(term.loss, outputs[term.output], wanted, divisor)
        found[term.output] = gradient if weights is None else gradient * _rows(weights, gradient)
    return found


def output_gradient_bounds(
    objective: Objective, outputs: Arrays, targets: Arrays, weights: Array | None, count: int | None, *, unit: float
) -> dict[str, Float]:
    """Bounds on the rounding errors of ``output_gradients``."""
    found: dict[str, Float] = {}
    for term in objective.terms:
        output, wanted = outputs[term.output], targets[term.output]
        divisor = _denominator(term, wanted, weights, count)
        bound = loss_gradient_bound(term.loss, output, wanted, divisor, unit=unit)
        if weights is None and term.weight == 1.0:
            found[term.output] = bound
            continue
        gradient = np.abs(loss_gradient(term.loss, output, wanted, divisor))
        factor = term.weight * (1.0 if weights is None else np.abs(_rows(weights, gradient)))
        roundings = gamma(3 + _counted(term, wanted), unit)
        found[term.output] = factor * (bound * (1.0 + roundings) + roundings * gradient) + underflow_unit(unit)
    return found
