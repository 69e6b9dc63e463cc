"""What is differentiated: each side's own loss, and the left side's put to the right side's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dualml import randomness, reference
from dualml.native.protocol import ReadLoss
from dualml.native.reading import Reading
from dualml.parity.diff.pairs import Matched, Matching
from dualml.parity.diff.side import SEED, Side
from dualml.parity.reductions import times
from dualml.protocol import Array
from dualml.reference.rounding import Float, double, gamma
from dualml.spec.graph import Graph
from dualml.spec.objective import Objective, Term

NORMALISED = ("softmax", "sigmoid")
"""Activations that make probabilities of logits."""

TAKES_CLASSES = "class"


@dataclass(frozen=True)
class Stated:
    """An objective put to the values of one side.

    Attributes:
        objective: Its terms name values of the side.
        targets: By those names, as each loss takes them.
        certified: Whether the side computes it from these very values, so that bounds on rounding hold.
        logarithms: Names whose values are probabilities; the loss takes their logarithms.
        times: What value and gradients are multiplied by: of a sum, by how much it is more than the mean.
    """

    objective: Objective
    targets: Mapping[str, Array]
    certified: bool
    logarithms: frozenset[str] = frozenset()
    times: float = 1.0

    def outputs(self, values: Mapping[str, Array]) -> dict[str, Float]:
        """What the terms take."""
        found = {}
        for term in self.objective.terms:
            array = double(values[term.output])
            with np.errstate(divide="ignore", invalid="ignore"):
                found[term.output] = np.log(array) if term.output in self.logarithms else array
        return found

    def scored(self, values: Mapping[str, Array]) -> reference.Scored:
        """Value and each example's part."""
        found = reference.objective_value(self.objective, self.outputs(values), self.targets, None, None)
        return replace(found, value=self.times * found.value)

    def bounds(self, values: Mapping[str, Array], unit: float) -> reference.Scored | None:
        """Bounds on the rounding errors of ``scored``; ``None`` where none is certified."""
        if not self.certified:
            return None
        given = self.objective, self.outputs(values), self.targets, None, None
        found = reference.objective_bound(*given, unit=unit)
        if self.times == 1.0:
            return found
        more = gamma(3, unit) * abs(reference.objective_value(*given).value)  # a sum instead of a mean
        return replace(found, value=self.times * (found.value + more))

    def slopes(self, values: Mapping[str, Array]) -> dict[str, Float]:
        """Gradient for what each term takes."""
        found = reference.output_gradients(self.objective, self.outputs(values), self.targets, None, None)
        return {name: self.times * slope for name, slope in found.items()}

    def slope_bounds(self, values: Mapping[str, Array], unit: float) -> dict[str, Float]:
        """Bounds on the rounding errors of ``slopes``; nothing where none is certified."""
        if not self.certified:
            return {}
        given = self.objective, self.outputs(values), self.targets, None, None
        found = reference.output_gradient_bounds(*given, unit=unit)
        if self.times == 1.0:
            return found
        slopes = reference.output_gradients(*given)
        return {name: self.times * (bound + gamma(3, unit) * np.abs(slopes[name])) for name, bound in found.items()}


@dataclass(frozen=True)
class Objectives:
    """What both sides differentiate.

    Attributes:
        left: The left side's loss on its own values; ``None`` if it has none or one without a formula.
        meant: The left side's loss on the right side's values.
        own: The right side's own loss on its own values.
        cotangents: Without losses, what each output is multiplied by: by output node of the left graph, and of the
            right one.
        heads: Names of pairs that only turn logits into probabilities for their own side's loss.
        notes: What was done to make the losses comparable, a sentence each.
    """

    left: Stated | None = None
    meant: Stated | None = None
    own: Stated | None = None
    cotangents: tuple[dict[str, Array], dict[str, Array]] | None = None
    heads: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())

    @property
    def bare(self) -> bool:
        """Whether there is no loss on a side, so that a fixed cotangent is used."""
        return self.cotangents is not None


def objectives(left: Side, right: Side, matching: Matching) -> Objectives:
    """Work out what both sides differentiate.

    Args:
        left: The left side.
        right: The right side.
        matching: Which values stand for which.
    """
    losses = left.model.loss, right.model.loss
    heads = _heads(matching, left.graph, right.graph, losses)
    if losses[0] is None or losses[1] is None or left.targets is None or right.targets is None:
        notes = tuple(
            f"{name} ends in {matched_kind(heads[name])} where the other side ends in its input: compared before it"
            for name in heads
        )
        return Objectives(cotangents=_cotangents(left, right, matching), heads=frozenset(heads), notes=notes)
    one = _stated(losses[0], left.reading, left.targets)
    own = _stated(losses[1], right.reading, right.targets)
    return Objectives(one, put(one, own, matching.counterpart), own, heads=frozenset(heads))


def matched_kind(matched: Matched) -> str:
    """The activation that a head is."""
    claims = matched.own or matched.left
    return str(claims[0].nodes[0].settings.function.kind)


def _heads(
    matching: Matching, left: Graph, right: Graph, losses: tuple[ReadLoss | None, ReadLoss | None]
) -> dict[str, Matched]:
    """Activations that only one side has, at its end, and that its own loss undoes."""
    found = {}
    for matched in matching.pairs:
        if not matched.extra:
            continue
        node = (matched.own or matched.left)[0].nodes[0]
        graph, loss, other = (right, losses[1], losses[0]) if matched.own else (left, losses[0], losses[1])
        function = getattr(getattr(node.settings, "function", None), "kind", "")
        if function not in NORMALISED or node.name not in graph.outputs:
            continue
        undone = loss is not None and loss.from_probabilities and other is not None and not other.from_probabilities
        if undone or (loss is None and other is None):
            found[matched.name] = matched
    return found


def _stated(loss: ReadLoss, reading: Reading, targets: Mapping[str, Array]) -> Stated | None:
    """A side's own loss on its own values."""
    if loss.minimised is None:
        return None
    graph = reading.graph
    by_native = {native: node for node, native in reading.outputs.items()}
    if isinstance(loss.minimised, Objective):
        terms = tuple(replace(term, output=by_native.get(term.output, term.output)) for term in loss.minimised.terms)
        penalties = loss.minimised.penalties
    else:
        terms, penalties = (Term(graph.output, loss.minimised),), ()
    if any(term.output not in graph.by_name for term in terms):
        return None
    shaped, moved, logarithms, certified = {}, [], set(), True
    for term in terms:
        place = term.output
        if loss.from_probabilities:
            certified = False
            node = graph.by_name[place]
            function = getattr(getattr(node.settings, "function", None), "kind", "")
            if function in NORMALISED and len(node.inputs) == 1 and node.inputs[0] in graph.by_name:
                place = node.inputs[0]
            else:
                logarithms.add(place)
        moved.append(replace(term, output=place))
        given = targets.get(reading.outputs.get(term.output, ""), targets.get(""))
        if given is None:
            given = next(iter(targets.values()))
        shaped[place] = as_taken(term, given, graph.by_name[term.output].shape)
    factor = 1.0
    if len(terms) == 1 and loss.reduction != "mean":
        (target,) = shaped.values()
        shape = (len(target), *graph.by_name[terms[0].output].shape)
        factor = times(terms[0].loss, loss.reduction, shape, target)
    return Stated(Objective(tuple(moved), penalties), shaped, certified, frozenset(logarithms), factor)


def as_taken(term: Term, targets: Array, shape: tuple[int, ...]) -> Array:
    """Targets as the spec's loss takes them: class numbers without a last axis of 1, or values of the output's shape.

    Args:
        term: The loss.
        targets: As the native loss takes them.
        shape: Of one example's output.
    """
    wanted = shape[:-1] if term.loss.target == TAKES_CLASSES else shape
    return np.asarray(targets).reshape(len(targets), *wanted)


def put(one: Stated | None, own: Stated | None, counterpart: Mapping[str, str]) -> Stated | None:
    """One side's objective on the other side's values.

    Args:
        one: The objective.
        own: The other side's own, by which it is known whether that one computes it from these very values.
        counterpart: Names of the one side's values to those of the other's.
    """
    if one is None:
        return None
    names = {term.output: counterpart.get(term.output) for term in one.objective.terms}
    if any(name is None for name in names.values()):
        return None
    terms = tuple(replace(term, output=str(names[term.output])) for term in one.objective.terms)
    targets = {str(names[name]): array for name, array in one.targets.items()}
    certified = one.certified and (own is None or own.certified)
    logarithms = frozenset(str(names[name]) for name in one.logarithms)
    return Stated(Objective(terms, one.objective.penalties), targets, certified, logarithms, one.times)


def _cotangents(left: Side, right: Side, matching: Matching) -> tuple[dict[str, Array], dict[str, Array]]:
    """The same fixed random numbers for the outputs of both sides."""
    examples = left.examples()
    one: dict[str, Array] = {}
    two: dict[str, Array] = {}
    for name, other in paired_outputs(left.graph, right.graph, matching):
        shape = left.graph.by_name[name].shape
        numbers = randomness.normal(SEED, f"diff/cotangent/{name}", (examples, *shape)).astype(left.precision)
        one[name] = numbers
        if right.graph.by_name[other].shape == shape:
            two[other] = numbers
    for name, graph, found in ((left.name, left.graph, one), (right.name, right.graph, two)):
        for output in graph.outputs:
            if output not in found:
                shape = (examples, *graph.by_name[output].shape)
                found[output] = randomness.normal(SEED, f"diff/cotangent/{name}/{output}", shape).astype(left.precision)
    return one, two


def paired_outputs(left: Graph, right: Graph, matching: Matching) -> list[tuple[str, str]]:
    """Output nodes that stand for each other: as the matching says, or in order."""
    if matching.outputs:
        return list(matching.outputs)
    found = []
    for place, name in enumerate(left.outputs):
        other = matching.counterpart.get(name)
        if other not in right.outputs:
            other = right.outputs[place] if place < len(right.outputs) else None
        if other is not None:
            found.append((name, other))
    return found


def native_cotangents(side: Side, cotangents: Mapping[str, Array]) -> dict[str, Array]:
    """Cotangents by the native names of the outputs, with the framework's axes."""
    reading = side.reading
    return {
        reading.outputs.get(name, name): np.ascontiguousarray(reading.native(name, array))
        for name, array in cotangents.items()
    }
