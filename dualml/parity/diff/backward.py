"""Rungs 2, 3 and 5: loss, gradients and buffers of one pass in training mode, each from what the side recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dualml import reference
from dualml.native.protocol import Observation
from dualml.parity.diff.claims import Claim, Passed, Wanted, backward, joined
from dualml.parity.diff.explain_loss import LossSeen, explained_loss
from dualml.parity.diff.explain_training import explained_buffers, explained_gradient, explained_missing
from dualml.parity.diff.forms import Seen, judge_slopes, part_of_them
from dualml.parity.diff.objectives import Stated
from dualml.parity.diff.run import Run, fits, readable
from dualml.parity.judge import LIMIT, judgement
from dualml.parity.records import Key, difference
from dualml.protocol import Array, Masks
from dualml.reference.regularizers import penalty_gradient_bounds, penalty_gradients
from dualml.reference.rounding import underflow_unit


@dataclass
class Received:
    """Everything a backward pass of one side should have given, as far as it can be judged.

    Attributes:
        values: By name of a value of the side.
        parameters: By name of a weight of the side.
        blocked: Values that something unjudged passes gradients to.
        blocked_parameters: Weights that something unjudged uses.
        meant: By name of a left weight that the side holds in another form, or not at all.
        blocked_meant: Of those, the ones that something unjudged uses.
    """

    values: dict[str, list[Wanted]]
    parameters: dict[str, list[Wanted]]
    blocked: set[str]
    blocked_parameters: set[str]
    meant: dict[str, list[Wanted]] = field(default_factory=dict)
    blocked_meant: set[str] = field(default_factory=set)


def backward_rung(run: Run, step: int, observed: tuple[Observation, Observation], masks: tuple[Masks, Masks]) -> None:
    """Judge one backward pass of both sides.

    Args:
        run: The comparison.
        step: Number of the update.
        observed: What both sides recorded, in training mode.
        masks: By node of each side's graph.
    """
    _Backward(run, step, observed, masks).judge()


class _Backward:
    def __init__(
        self, run: Run, step: int, observed: tuple[Observation, Observation], masks: tuple[Masks, Masks]
    ) -> None:
        self.run, self.step, self.observed = run, step, observed
        self.values = run.left.values(observed[0]), run.right.values(observed[1])
        self.slopes = run.left.value_gradients(observed[0]), run.right.value_gradients(observed[1])
        self.gradients = run.left.gradients(observed[0]), run.right.gradients(observed[1])
        self.weights = run.left.weights(), run.right.weights()
        self.masks = masks[0], run.meant_masks((dict(masks[0]), dict(masks[1])))
        self.of_weights: list[tuple[Array, Wanted]] = []

    def judge(self) -> None:
        pairs = [item for item in self.run.matching.pairs if item.name not in self.run.objectives.heads]
        left = self.received(0, [claim for item in pairs for claim in item.left])
        claims = [(item.meant, item.own) for item in pairs]
        right = self.received(1, [claim for claim, _ in claims if claim is not None])
        for claim, own in claims:
            if claim is None or claim.opaque:
                for item in own:
                    right.blocked.update(item.sources.values())
                    right.blocked_parameters.update(item.weights.values())
        self.judge_values(left, right)
        self.judge_parameters(left, right)
        seen = Seen(self.slopes[1], self.values[1], self.weights[1], self.masks[1])
        judge_slopes(self.run, self.step, self.gradients, (self.by_left(0, left), self.by_left(1, right)), seen)
        self.judge_buffers()

    def by_left(self, side: int, found: Received) -> dict[str, Wanted]:
        """What each left weight's gradient must be on a side, as far as it is known."""
        unit, pairs = self.run.sides[side].unit, self.run.matching.weights
        known: dict[str, Wanted] = {}
        for item in self.run.left.graph.parameters:
            own = item.name if side == 0 else pairs.get(item.name)
            terms = found.meant.get(item.name, []) if own is None else found.parameters.get(own, [])
            blocked = item.name in found.blocked_meant if own is None else own in found.blocked_parameters
            if not blocked:
                known[item.name] = joined(terms, item.shape, unit)
        return known

    # ------------------------------------------------------------------ what should have come

    def received(self, side: int, claims: list[Claim]) -> Received:
        """What a side's claims pass on, from the gradients it recorded itself."""
        found = Received({}, {}, set(), set())
        values, slopes, weights = self.values[side], self.slopes[side], self.weights[side]
        for claim in claims:
            passed = self.passed(side, claim, values, slopes, weights)
            if passed is None:
                found.blocked.update(claim.sources.values())
                found.blocked_parameters.update(claim.weights.values())
                found.blocked_meant.update(item.name for node in claim.nodes for item in node.weights)
                continue
            self.run.ledger.ties += passed.ties
            for name, terms in passed.sources.items():
                found.values.setdefault(name, []).extend(terms)
            for name, term in passed.parameters.items():
                found.parameters.setdefault(name, []).append(term)
            for name, term in passed.meant.items():
                found.meant.setdefault(name, []).append(term)
        self.add_objective(side, found)
        return found

    def passed(
        self,
        side: int,
        claim: Claim,
        values: Mapping[str, Array],
        slopes: Mapping[str, Array],
        weights: dict[str, Array],
    ) -> Passed | None:
        if not readable(claim, values) or claim.output not in slopes or not fits(claim, values, weights):
            return None
        received = slopes[claim.output]
        if claim.nodes and received.shape[1:] != tuple(claim.nodes[-1].shape):
            return None
        unit = self.run.sides[side].unit
        return backward(claim, values, weights, received, masks=self.masks[side], unit=unit)

    def add_objective(self, side: int, found: Received) -> None:
        """What the loss passes to the outputs, and penalties to the weights."""
        objectives, unit = self.run.objectives, self.run.sides[side].unit
        if objectives.cotangents is not None:
            for name, array in objectives.cotangents[side].items():
                bound = np.full(array.shape, underflow_unit(unit))
                found.values.setdefault(name, []).append(Wanted(array.astype(np.float64), bound))
            return
        stated = objectives.left if side == 0 else objectives.meant
        if stated is None:
            found.blocked.update(self.run.sides[side].graph.outputs)
            self.block_parameters(side, found)
            return
        self.add_slopes(side, stated, found, unit)
        self.add_penalties(side, stated, found, unit)

    def block_parameters(self, side: int, found: Received) -> None:
        """No weight's gradient can be judged."""
        found.blocked_parameters.update(self.weights[side])
        found.blocked_meant.update(item.name for item in self.run.left.graph.weights)

    def add_slopes(self, side: int, stated: Stated, found: Received, unit: float) -> None:
        values = self.values[side]
        if any(term.output not in values for term in stated.objective.terms):
            found.blocked.update(term.output for term in stated.objective.terms)
            return
        bounds = stated.slope_bounds(values, unit)
        for name, slope in stated.slopes(values).items():
            if name in stated.logarithms:
                found.blocked.add(name)
            else:
                found.values.setdefault(name, []).append(Wanted(slope, bounds.get(name)))

    def add_penalties(self, side: int, stated: Stated, found: Received, unit: float) -> None:
        observation = self.observed[side]
        if not stated.objective.penalties:
            if observation.penalties:
                self.block_parameters(side, found)
            return
        natives, pairs = self.run.left.reading.weights, self.run.matching.weights
        translated: dict[str, Array] = {}
        for matched in self.run.matching.pairs if side == 1 else ():
            translated |= matched.meant.weight_arrays(self.weights[1]) if matched.meant is not None else {}
        for name, native in natives.items():
            own = name if side == 0 else pairs.get(name)
            if name not in self.run.left.trained:
                continue
            array = self.weights[side][own] if own is not None else translated.get(name)
            if array is None:
                continue
            given = {native: array}
            for regularizer in stated.objective.penalties:
                if regularizer.applies(native):
                    slope = penalty_gradients(regularizer, given)[native]
                    bound = penalty_gradient_bounds(regularizer, given, unit=unit)[native]
                    terms = (
                        found.parameters.setdefault(own, []) if own is not None else found.meant.setdefault(name, [])
                    )
                    terms.append(Wanted(slope, bound))

    def judge_values(self, left: Received, right: Received) -> None:
        """Gradients of values: of outputs they are the loss's own, on its rung."""
        run = self.run
        outputs = set(run.left.graph.outputs)
        losses = run.objectives.left
        heads = {term.output for term in losses.objective.terms} if losses is not None else outputs
        for name, other in run.matching.counterpart.items():
            whole = name in heads and not run.objectives.bare
            key = Key("loss", name, "gradient") if whole else Key("backward", *run.matching.gradient_at(name))
            if self.integer(name):
                continue
            one, two = self.slopes[0].get(name), self.slopes[1].get(other)
            if one is None or two is None:
                if name not in run.left.graph.input_names:
                    run.ledger.skip(f"the gradient for {name}", "it was not recorded on both sides")
                continue
            wanted = [
                None if own in found.blocked else joined(found.values.get(own, []), array.shape, side.unit)
                for own, found, array, side in ((name, left, one, run.left), (other, right, two, run.right))
            ]
            self.judge_array(key, name, one, two, wanted[0], wanted[1])

    def integer(self, name: str) -> bool:
        return any(item.name == name and item.integer for item in self.run.left.graph.inputs)

    def judge_parameters(self, left: Received, right: Received) -> None:
        run = self.run
        trained = run.left.trained, run.right.trained
        lacking: list[str] = []
        elsewhere = part_of_them(run)
        for name, other in run.matching.weights.items():
            if name in elsewhere:
                continue
            if run.left.graph.by_name.get(name.rsplit(".", 1)[0]) is None or name in self.buffer_names():
                continue
            key = run.weight_key("backward", name)
            has = name in trained[0], other in trained[1]
            there = name in self.gradients[0], other in self.gradients[1]
            if has[0] and (not has[1] or not there[1]) and there[0]:
                lacking.append(name)
                continue
            if (has[1] and not has[0]) or (there[1] and not there[0] and has[1]):
                lacking.append(name)
                continue
            if not all(there):
                if has[0]:
                    run.ledger.skip(f"the gradient of {name}", "neither framework gave one")
                continue
            one, two = self.gradients[0][name], self.gradients[1][other]
            wanted = [
                None
                if own in found.blocked_parameters
                else joined(found.parameters.get(own, []), array.shape, side.unit)
                for own, found, array, side in ((name, left, one, run.left), (other, right, two, run.right))
            ]
            self.of_weights += [(two, wanted[1])] if wanted[1] is not None else []
            self.judge_array(key, name, one, two, wanted[0], wanted[1])
        self.judge_lacking(lacking, trained)

    def buffer_names(self) -> set[str]:
        return {item.name for item in self.run.left.graph.buffers}

    def judge_lacking(self, lacking: list[str], trained: tuple[set[str], set[str]]) -> None:
        """Weights that only one side trains."""
        run = self.run
        for name in lacking:
            key = run.weight_key("backward", name)
            given = self.gradients[0].get(name)
            if given is None:
                given = self.gradients[1].get(run.matching.weights[name])
            size = float(np.abs(given).max(initial=0.0)) if given is not None else 0.0
            run.ledger.bits_equal(self.step, key, run.precision, size, False)
            if run.decides:
                run.ledger.explanations[self.step, key] = partial(explained_missing, run, name, lacking, trained)

    def judge_array(
        self, key: Key, name: str, one: Array, two: Array, left: Wanted | None, right: Wanted | None
    ) -> None:
        run, ledger = self.run, self.run.ledger
        gap = difference(one, two)
        rho = ledger.rho(one, left, run.precision), ledger.rho(two, right, run.precision)
        pending = right is None or right.bound is None
        if right is not None:
            ledger.measure(self.step, key, run.precision, two, right.value if right.free is None else _kept(two, right))
            # What is not finite because what was received is not, was found where it was made.
            if two.shape != right.value.shape or (np.isfinite(right.value) & ~np.isfinite(two)).any():
                rho = (rho[0], float("inf"))
        elif key.phase == "loss" and np.isfinite(one).all() and not np.isfinite(two).all():
            rho, pending = (rho[0], float("inf")), False
        else:
            if left is None:
                rho = (None, None)
            ledger.skip(
                f"a certified bound for {key.node} {key.tensor} ({key.phase})", "a layer without a formula takes part"
            )
            ledger.free(self.step, key, run.precision, gap)
            return
        check = ledger.judged(self.step, key, run.precision, gap, rho[0], rho[1], pending=pending)
        run.note_local(key.node, rho[0], rho[1])
        if right is not None and all((item or 0.0) > LIMIT for item in rho):
            ledger.both_outside(self.step, key, run.precision, one, two, difference(two, _kept(two, right)))
        if check.ok is False and run.decides and key.phase == "loss":
            both = self.loss_seen(0), self.loss_seen(1)
            left_off = (rho[0] or 0.0) > LIMIT and (rho[1] or 0.0) <= LIMIT
            ledger.explanations[self.step, key] = partial(explained_loss, run, both, left_off=left_off)
        elif check.ok is False and run.decides:
            ledger.explanations[self.step, key] = partial(
                explained_gradient,
                run,
                name,
                self.slopes[1],
                self.values[1],
                self.weights[1],
                self.masks[1],
                two,
                self.everywhere,
            )

    def everywhere(self, factor: float) -> bool:
        """Whether all gradients of the right side's weights are what is meant times a number."""
        unit = self.run.right.unit
        return all(
            wanted.bound is None
            or judgement(
                two, factor * wanted.value, abs(factor) * (wanted.bound + 2.0 * unit * np.abs(wanted.value))
            ).rho
            <= LIMIT
            for two, wanted in self.of_weights
        )

    def loss_seen(self, side: int) -> LossSeen:
        """A side's loss, of which the gradient is the question."""
        return LossSeen(self.values[side], self.slopes[side], None)

    # ------------------------------------------------------------------ buffers

    def judge_buffers(self) -> None:
        run, ledger = self.run, self.run.ledger
        given = run.left.buffers(self.observed[0]), run.right.buffers(self.observed[1])
        for matched in run.matching.pairs:
            if matched.meant is None or matched.meant.opaque or not matched.left:
                continue
            wanted = [
                self._buffers(0, list(matched.left)),
                self._buffers(1, [matched.meant] if fits(matched.meant, self.values[1], self.weights[1]) else []),
            ]
            for name, (value, bound) in wanted[0].items():
                other = run.matching.weights.get(name)
                if other is None or name not in given[0] or other not in given[1] or other not in wanted[1]:
                    ledger.skip(f"the buffer {name}", "only one side has it or gave it")
                    continue
                key = run.weight_key("buffers", name)
                meant = Wanted(*wanted[1][other])
                rho = (
                    ledger.rho(given[0][name], Wanted(value, bound), run.precision),
                    ledger.rho(given[1][other], meant, run.precision),
                )
                ledger.measure(self.step, key, run.precision, given[1][other], meant.value)
                gap = difference(given[0][name], given[1][other])
                check = ledger.judged(self.step, key, run.precision, gap, *rho)
                run.note_local(matched.name, *rho)
                if all((item or 0.0) > LIMIT for item in rho):
                    arrays = given[0][name], given[1][other]
                    ledger.both_outside(self.step, key, run.precision, *arrays, difference(arrays[1], meant.value))
                if check.ok is False and run.decides:
                    ledger.explanations[self.step, key] = partial(
                        explained_buffers, run, matched, self.values[1], self.weights[1], given[1]
                    )

    def _buffers(self, side: int, claims: list[Claim]) -> dict[str, tuple[Array, Array]]:
        """What the buffers of a side should have become, by the side's names."""
        values, weights, unit = self.values[side], self.weights[side], self.run.sides[side].unit
        found: dict[str, tuple[Array, Array]] = {}
        for claim in claims:
            if len(claim.nodes) != 1 or not claim.nodes[0].buffers or not readable(claim, values):
                continue
            node = claim.nodes[0]
            arrays = claim.weight_arrays(weights)
            sources = [values[claim.sources[name]] for name in node.inputs]
            wanted = reference.new_buffers(node, arrays, sources)
            bounds = reference.new_buffers_bound(node, arrays, sources, unit=unit)
            for name, array in wanted.items():
                if name in claim.weights:
                    found[claim.weights[name]] = (array, bounds[name])
        return found


def _kept(recorded: Array, wanted: Wanted) -> Array:
    """What is wanted, with the recorded value where a convention decides."""
    return np.where(wanted.free, recorded, wanted.value) if wanted.free is not None else wanted.value
