"""Why a gradient is not what is meant: a use that is missing, a factor, a penalty, a setting of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.claims import differences
from dualml.parity.hypotheses.fitting import written
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.nodes import by_role, changed, known_operation, with_settings
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Evaluation, Tried, number, rho
from dualml.parity.judge import LIMIT
from dualml.protocol import Array, Arrays
from dualml.reference import backward_bound, node_backward
from dualml.reference.regularizers import penalty_gradient_bounds, penalty_gradients
from dualml.reference.rounding import Float, gamma, underflow_unit
from dualml.spec.graph import Node
from dualml.spec.regularizers import Regularizer

PIECES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 32)
"""Numbers of pieces whose gradients may have been added up."""


@dataclass(frozen=True)
class Use:
    """One use of a weight or value: what a layer passes back to it, from the gradient that the side itself recorded.

    Attributes:
        meant: The claim that says what is meant.
        said: The deviating side's own claim, if it has one.
        weights: That side's weights, by the names of either claim or by role.
        inputs: Its inputs of the layer.
        received: Its gradient for the layer's output.
        target: Role of the weight, or position of the input.
        mask: Which values the layer keeps, if it draws.
    """

    meant: Node
    said: Node | None
    weights: Arrays
    inputs: Sequence[Array]
    received: Array
    target: str | int
    mask: NDArray[np.bool_] | None = None

    def passed(self, unit: float, node: Node | None = None) -> Evaluation:
        """What the layer passes back, and its bound."""
        node = node or self.meant
        roles = by_role(self.weights, self.said, self.meant)
        weights = {item.name: roles[item.role] for item in node.weights}
        given = (node, weights, self.inputs, self.received)
        inputs, parameters = node_backward(*given, training=True, mask=self.mask)
        input_bounds, bounds = backward_bound(*given, training=True, mask=self.mask, unit=unit)
        if isinstance(self.target, int):
            return inputs[self.target], input_bounds[self.target]
        item = node.weight(self.target)
        if item is None:
            raise KeyError(self.target)
        return parameters[item.name], bounds[item.name]


@dataclass(frozen=True)
class Penalised:
    """Penalties on a weight.

    Attributes:
        name: Name of the weight, by which scopes go.
        weight: Its values on the deviating side.
        meant: Penalties that are meant.
        said: The deviating side's own.
        elsewhere: Whether what is meant, and the deviating side, penalise other weights: then scopes may differ.
    """

    name: str
    weight: Array
    meant: Sequence[Regularizer] = ()
    said: Sequence[Regularizer] = ()
    elsewhere: tuple[bool, bool] = (False, False)

    @property
    def cause(self) -> str:
        """What it is that one side has a penalty on this weight and the other none."""
        scoped = [any(item.applies(self.name) for item in group) for group in (self.meant, self.said)]
        others = [bool(group) or held for group, held in zip((self.meant, self.said), self.elsewhere, strict=True)]
        return "regulariser.scope" if scoped[0] != scoped[1] and all(others) else "regulariser.factor"


def explain_backward(
    recorded: Array | None,
    uses: Sequence[Use],
    *,
    unit: float,
    penalised: Penalised | None = None,
    trained: tuple[bool, bool] = (True, True),
    everywhere: Callable[[float], bool] | None = None,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why the gradient for a weight or a value is not the sum of what its uses pass back.

    Args:
        recorded: The deviating side's gradient; ``None`` if the framework gave none.
        uses: Every use of it.
        unit: Unit roundoff of the precision.
        penalised: Penalties on it, if it is a weight.
        trained: Whether each side, left and right, trains it.
        everywhere: Whether all gradients of the weights are what is meant times a number; ``None``: not known, so that
            gradients of pieces are no explanation.
        deviates: Which side it is.
        frameworks: Of left and right.
    """
    search = Search(deviates, frameworks, uses[0].meant if uses else None)
    if recorded is None or trained[0] != trained[1]:
        meant, instead = ("trained", "frozen") if trained[1 if deviates == "left" else 0] else ("frozen", "trained")
        said = "trained on one side only" if trained[0] != trained[1] else "the framework gave it no gradient"
        claimed = trained[0] != trained[1]
        frozen = search.candidate("parameters.frozen", said, meant, instead, lambda: 0.0, claimed=claimed)
        return search.tried([frozen], float("inf"))
    sum_of = _Sum([item for item in uses if known_operation(item.meant)], penalised, unit)
    before = rho(recorded, sum_of.whole(), unit)
    return search.tried(_candidates(search, recorded, sum_of, everywhere), before)


class _Sum:
    """What the uses and penalties add up to, with one of them changed."""

    def __init__(self, uses: Sequence[Use], penalised: Penalised | None, unit: float) -> None:
        self.uses, self.penalised, self.unit = uses, penalised, unit
        self.terms = [item.passed(unit) for item in uses]
        if penalised is not None and penalised.meant:
            self.terms += [self.penalty(item) for item in penalised.meant]

    def penalty(self, regularizer: Regularizer, factor: float = 1.0) -> Evaluation:
        """A penalty's gradient."""
        assert self.penalised is not None
        given = {self.penalised.name: self.penalised.weight}
        value = penalty_gradients(regularizer, given)[self.penalised.name]
        bound = penalty_gradient_bounds(regularizer, given, unit=self.unit)[self.penalised.name]
        return value * factor, bound * abs(factor)

    def of(self, terms: Sequence[Evaluation], shape: tuple[int, ...] = ()) -> Evaluation:
        """Their sum in any order."""
        if not terms:
            return np.zeros(shape), np.full(shape, underflow_unit(self.unit))
        values, bounds = [value for value, _ in terms], [bound for _, bound in terms]
        size = sum((np.abs(value) for value in values), start=np.zeros_like(values[0]))
        added = gamma(len(terms) + 3, self.unit) * size if len(terms) > 1 else 0.0
        return np.asarray(sum(values)), np.asarray(sum(bounds) + added)

    def whole(self) -> Evaluation:
        """As it is meant."""
        return self.of(self.terms)

    def with_term(self, place: int, term: Evaluation) -> Evaluation:
        """With one term replaced."""
        return self.of([*self.terms[:place], term, *self.terms[place + 1 :]])


def _scaled(evaluation: Evaluation, factor: float, unit: float) -> Evaluation:
    value, bound = evaluation
    return value * factor, (bound + 2.0 * unit * np.abs(value)) * abs(factor)


def _candidates(
    search: Search, recorded: Array, total: _Sum, everywhere: Callable[[float], bool] | None
) -> Iterator[Candidate]:
    def trial(make: Any) -> Any:
        return lambda: rho(recorded, make(), total.unit)

    for place, use in enumerate(total.uses):
        yield from _settings(search, place, use, total, trial)
        yield from _padding(search, recorded, place, use, total, trial)
    zero = np.zeros(np.shape(recorded)), np.full(np.shape(recorded), underflow_unit(total.unit))
    if total.uses and isinstance(total.uses[0].target, str):
        yield search.candidate("parameters.frozen", "its gradient is 0", "trained", "frozen", trial(lambda: zero))
        yield from _lost_uses(search, total, trial)
        yield from _penalties(search, recorded, total, trial)
        if everywhere is not None:
            yield from _accumulated(search, recorded, total, everywhere)


def _accumulated(
    search: Search, recorded: Array, total: _Sum, everywhere: Callable[[float], bool]
) -> Iterator[Candidate]:
    """Gradients of several pieces summed where their mean is meant, and the other way round: of the whole model.

    Pieces are added up where weights keep their gradients, not on the way back through a layer.
    """

    def alike(factor: float) -> float:
        found = rho(recorded, _scaled(total.whole(), factor, total.unit), total.unit)
        return found if found > LIMIT or everywhere(factor) else float("inf")

    for pieces in PIECES:
        for factor, said, kept in (
            (float(pieces), f"the sum over {pieces} pieces", "mean"),
            (1.0 / pieces, f"divided by {pieces}", "sum"),
        ):
            yield search.candidate("gradients.accumulated", said, kept, said, partial(alike, factor))


def _settings(search: Search, place: int, use: Use, total: _Sum, trial: Any) -> Iterator[Candidate]:
    """Settings of the layer in which the claims differ."""
    if use.said is None or not known_operation(use.said):
        return
    inner = replace(search, node=use.meant)
    for item in differences(use.meant, use.said):

        def make(changes: Any = item.changes) -> Evaluation:
            node = with_settings(use.meant, changed(use.meant.settings, **changes))
            return total.with_term(place, use.passed(total.unit, node))

        said = f"{item.setting} {number(item.instead)} instead of {number(item.meant)}"
        yield inner.candidate(
            item.cause, said, item.meant, item.instead, trial(make), claimed=True, setting=item.setting
        )


def _padding(search: Search, recorded: Array, place: int, use: Use, total: _Sum, trial: Any) -> Iterator[Candidate]:
    """An embedding whose row of padding gets no gradient, or gets one."""
    if use.meant.operation != "embedding" or use.target != "table":
        return
    meant = use.meant.settings.padding_index
    silent = [int(row) for row in np.flatnonzero(~np.asarray(recorded).any(axis=-1))]
    ids = np.unique(np.asarray(use.inputs[0]).astype(np.int64))
    for row in [None, *(int(item) for item in ids if int(item) in silent)][:9]:
        if row == meant:
            continue

        def make(row: int | None = row) -> Evaluation:
            node = with_settings(use.meant, changed(use.meant.settings, padding_index=row))
            return total.with_term(place, use.passed(total.unit, node))

        said = "every row gets its gradient" if row is None else f"the row {row} gets no gradient"
        yield search.candidate("embedding.padding_index", said, meant, row, trial(make))


def _lost_uses(search: Search, total: _Sum, trial: Any) -> Iterator[Candidate]:
    """A shared weight that gets the gradient of one of its uses alone."""
    if len(total.uses) < 2:
        return
    for place, use in enumerate(total.uses):
        single = total.terms[place]
        rest = total.of([term for other, term in enumerate(total.terms) if other != place])
        said = f"only its use by {use.meant.name} counts"
        yield search.candidate("weights.tied_untied", said, "all uses", said, trial(lambda s=single: s))
        said = f"its use by {use.meant.name} does not count"
        yield search.candidate("weights.tied_untied", said, "all uses", said, trial(lambda r=rest: r))


def _penalties(search: Search, recorded: Array, total: _Sum, trial: Any) -> Iterator[Candidate]:
    """Penalties with other factors or on other weights."""
    held = total.penalised
    if held is None:
        return
    plain = total.terms[: len(total.uses)]
    shape = np.shape(recorded)

    def with_penalties(items: Sequence[Regularizer], factor: float = 1.0) -> Any:
        return lambda: total.of([*plain, *(total.penalty(item, factor) for item in items)], shape)

    if tuple(held.meant) != tuple(held.said):
        shown = [", ".join(number(item) for item in group) or "none" for group in (held.meant, held.said)]
        said = f"penalties {shown[1]} instead of {shown[0]}"
        yield search.candidate(held.cause, said, shown[0], shown[1], trial(with_penalties(held.said)), claimed=True)
    if any(item.applies(held.name) for item in held.meant):
        for factor, said in ((0.5, "half the penalty: w^2 / 2"), (2.0, "twice the penalty")):
            make = with_penalties(held.meant, factor)
            yield search.candidate("regulariser.factor", said, "1", f"{factor:g}", trial(make), fitted=None)
        yield search.candidate("regulariser.scope", "no penalty on it", "penalised", "not", trial(with_penalties(())))
    yield from _fitted_penalty(search, recorded, total, trial)


def _fitted_penalty(search: Search, recorded: Array, total: _Sum, trial: Any) -> Iterator[Candidate]:
    """A multiple of the weight itself in its gradient."""
    held = total.penalised
    assert held is not None
    weight = np.asarray(held.weight, dtype=np.float64)
    data, bound = total.of(total.terms[: len(total.uses)], weight.shape)
    rest = np.asarray(recorded, dtype=np.float64) - data
    size = float(np.sum(weight * weight))
    if weight.size < 2 or size == 0.0:
        return
    found = float(np.sum(rest * weight)) / size / 2.0
    for factor in written(found):
        if factor <= 0:
            continue

        def make(factor: float = factor) -> tuple[Float, Float]:
            added = 2.0 * factor * weight
            return data + added, bound + gamma(6, total.unit) * (np.abs(added) + np.abs(data))

        said = f"a penalty of {number(factor)} sum w^2"
        applies = any(item.applies(held.name) for item in held.meant)
        cause = "regulariser.factor" if applies or not held.meant else "regulariser.scope"
        meant = ", ".join(number(item) for item in held.meant) or "none"
        yield search.candidate(cause, said, meant, said, trial(make), fitted=found)
