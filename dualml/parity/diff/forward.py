"""Rung 1: every pair of layers, each side on what it read itself, against what the left side means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from dualml.errors import DualmlError
from dualml.native.protocol import OPAQUE, Observation
from dualml.parity.diff.claims import Claim, Wanted, forward
from dualml.parity.diff.explain import explained_forward, explained_written_out
from dualml.parity.diff.explain_opaque import Again, explained_opaque
from dualml.parity.diff.ledger import Explanation, Gap, bits, gap_of
from dualml.parity.diff.pairs import Matched
from dualml.parity.diff.run import Run, Seen, readable, reads_fit, weights_fit
from dualml.parity.diff.side import Side, converted
from dualml.parity.diff.weights import copy_weights
from dualml.parity.judge import LIMIT
from dualml.parity.records import Key, difference
from dualml.parity.verdict import ROUNDING_BITS
from dualml.protocol import Array, Masks


def forward_rung(
    run: Run, step: int, observed: tuple[Observation, Observation], *, training: bool, masks: tuple[Masks, Masks]
) -> None:
    """Judge one forward pass of both sides.

    Args:
        run: The comparison.
        step: Number of the update.
        observed: What both sides recorded.
        training: In which mode.
        masks: By node of each side's graph.
    """
    _Forward(run, step, observed, training, masks).judge()


class _Forward:
    def __init__(
        self, run: Run, step: int, observed: tuple[Observation, Observation], training: bool, masks: tuple[Masks, Masks]
    ) -> None:
        self.run, self.step, self.training, self.masks = run, step, training, masks
        self.values = run.left.values(observed[0]), run.right.values(observed[1])
        self.weights = run.left.weights(), run.right.weights()
        self.meant_masks = run.meant_masks((dict(masks[0]), dict(masks[1])))

    def judge(self) -> None:
        for matched in self.run.matching.pairs:
            if matched.name not in self.run.objectives.heads:
                self.pair(matched)

    def key(self, matched: Matched) -> Key:
        return Key("forward", matched.name, "training" if self.training else "inference")

    def pair(self, matched: Matched) -> None:
        run, ledger, key = self.run, self.run.ledger, self.key(matched)
        gap = self.accumulate(matched)
        left = self.own(0, matched.left)
        claim = matched.meant
        if claim is None:
            ledger.skip(f"{matched.name} ({key.tensor})", matched.why)
            return
        if claim.opaque:
            self.replayed(matched, claim, gap, left)
            return
        values, weights = self.values[1], self.weights[1]
        if not readable(claim, values) or claim.output not in values:
            ledger.skip(f"{matched.name} ({key.tensor})", "the right side's values around it were not recorded")
            return
        recorded = values[claim.output]
        if not reads_fit(claim, values):
            ledger.skip(f"{matched.name} ({key.tensor})", "the right side reads values of another shape there")
            return
        if not weights_fit(claim, weights):
            wanted: Wanted | None = None
            right: float | None = None
        else:
            right, wanted = self.judged(1, claim, self.meant_masks)
        if wanted is None:
            right = float("inf")
        if wanted is not None:
            ledger.measure(self.step, key, run.precision, recorded, wanted.value)
        pending = wanted is not None and wanted.bound is None
        if pending and run.decides:
            self.explain(matched, claim, key, left, right)
        check = ledger.judged(self.step, key, run.precision, gap, left, right, pending=pending)
        run.note_local(matched.name, left, right)
        if (left or 0.0) > LIMIT and (right or 0.0) > LIMIT and matched.same and wanted is not None:
            one = self.values[0].get(matched.pair.left[-1])
            if one is not None and matched.pair.right[-1] == claim.output:
                ledger.both_outside(self.step, key, run.precision, one, recorded, difference(recorded, wanted.value))
        if check.ok is False and run.decides:
            self.explain(matched, claim, key, left, right)

    def own(self, side: int, claims: tuple[Claim, ...]) -> float | None:
        """The largest rho of a side against its own claims; ``None`` if it has none that can be judged."""
        found: list[float] = []
        for claim in claims:
            values = self.values[side]
            if not readable(claim, values) or claim.output not in values:
                continue
            rho, _ = self.judged(side, claim, self.masks[side])
            if rho is not None:
                found.append(rho)
        return max(found, default=None)

    def judged(self, side: int, claim: Claim, masks: Masks) -> tuple[float | None, Wanted]:
        """The rho of a claim, and what it wants; taken over from inference where nothing differs."""
        run, values = self.run, self.values[side]
        whole, recorded = run.sides[side], values[claim.output]
        sources = tuple(values[own] for own in claim.sources.values())
        place = whole.name, claim.output
        either = not any(node.buffers or node.random_mask is not None for node in claim.nodes) and self.step == 1
        before = run.seen.pop(place, None)
        if either and self.training and before is not None and before.same(sources, recorded):
            return before.rho, before.wanted
        wanted = forward(claim, values, self.weights[side], training=self.training, masks=masks, unit=whole.unit)
        rho = run.ledger.rho(recorded, wanted, run.precision)
        if either and not self.training:
            run.seen[place] = Seen(sources, recorded, rho, wanted)
        return rho, wanted

    def accumulate(self, matched: Matched) -> float:
        """How far the outputs are apart with everything that came before."""
        name = matched.pair.left[-1] if matched.pair.left else None
        other = matched.pair.right[-1] if matched.pair.right else self.run.matching.counterpart.get(name or "")
        if name is None and matched.meant is not None:
            return self._gap(self.values[1], next(iter(matched.meant.sources.values()), ""), self.values[1], other)
        gap = self._gap(self.values[0], name, self.values[1], other)
        if not self.training:
            self.run.accumulated[matched.name] = gap
        return gap

    @staticmethod
    def _gap(one: Mapping[str, Array], name: str | None, two: Mapping[str, Array], other: str | None) -> float:
        if name is None or other is None or name not in one or other not in two:
            return 0.0
        return difference(one[name], two[other])

    def replayed(self, matched: Matched, claim: Claim, gap: float, left: float | None) -> None:
        """A pair without a formula: the left side's own calls on the right side's inputs, both precisions."""
        run, ledger, key = self.run, self.run.ledger, self.key(matched)
        values = self.values[1]
        if any(own not in values for own in claim.sources.values()) or claim.output not in values:
            ledger.skip(f"{matched.name} ({key.tensor})", "it has no formula and its values were not recorded")
            return
        try:
            wanted = replay(run.left, claim, values, self.weights[1], training=self.training, masks=self.meant_masks)
        except (DualmlError, ValueError, KeyError) as error:
            ledger.skip(f"{matched.name} ({key.tensor})", f"it has no formula and could not be run again: {error}")
            return
        if not self.repeats(matched):
            ledger.skip(
                f"{matched.name} ({key.tensor})",
                "it has no formula, and run again by itself it does not give what it gave in the model",
            )
            return
        recorded = values[claim.output]
        ledger.measure(self.step, key, run.precision, recorded, wanted)
        right = float("inf") if recorded.shape != wanted.shape or not _finite_alike(recorded, wanted) else None
        ledger.judged(self.step, key, run.precision, gap, left, right, pending=True)
        if run.decides:
            ledger.explanations[self.step, key] = partial(self.explain_replayed, matched, claim, wanted)
        if not self.training:
            kind = matched.left[0].nodes[0].settings if matched.left else None
            said = getattr(kind, "native", "") or matched.name
            ledger.skip(
                f"a certified bound for {matched.name} ({said})",
                "it has no formula here; both sides were run on the same inputs and judged by precision scaling",
            )

    def explain_replayed(self, matched: Matched, claim: Claim, wanted: Array) -> Explanation:
        """Why a pair without a formula gives something else than the left side's calls on the same inputs."""
        run, values, weights = self.run, self.values[1], self.weights[1]
        for side in run.sides:  # causes are asked for at the end, when both sides are in another precision
            side.again()
        copy_weights(run)
        again: list[tuple[Side, str, Again, Array]] = []
        for side, masks, claims, target in (
            (run.right, self.masks[1], list(matched.own), wanted),
            (run.left, self.meant_masks, [claim] if len(claim.nodes) == 1 else [], values[claim.output]),
        ):
            if len(claims) == 1 and claims[0].opaque:
                own = claims[0]

                def run_again(
                    changed: Mapping[int, Array], side: Side = side, own: Claim = own, masks: Masks = masks
                ) -> Array:
                    given = values, weights
                    return replay(side, own, *given, training=self.training, masks=masks, changed=changed)

                again.append((side, own.nodes[0].name, run_again, target))
        found = explained_opaque(matched.name, again)
        if found.cause.confirmed:
            return found
        return explained_written_out(run, matched, self.values, self.weights, training=self.training) or found

    def repeats(self, matched: Matched) -> bool:
        """Whether the left side's calls, run again on the left side's own inputs, give what they gave.

        Code that does something else in training than when it was traced does not. float64 decides for both.
        """
        run, values = self.run, self.values[0]
        place = matched.name, "training" if self.training else "inference"
        if not run.decides:
            return place not in run.ledger.unrepeatable
        chain = matched.whole
        if chain is None or any(own not in values for own in (*chain.sources.values(), chain.output)):
            run.ledger.unrepeatable.add(place)
            return False
        wanted = replay(run.left, chain, values, self.weights[0], training=self.training, masks=self.masks[0])
        measured = bits(
            {
                "float32": Gap(0.0, float(np.abs(wanted).max(initial=0.0))),
                "float64": gap_of(values[chain.output], wanted),
            }
        )
        if measured is None or measured < ROUNDING_BITS[0]:
            run.ledger.unrepeatable.add(place)
        return place not in run.ledger.unrepeatable

    def explain(
        self,
        matched: Matched,
        claim: Claim,
        key: Key,
        left: float | None,
        right: float | None,
    ) -> None:
        """Say why a pair fails, while its arrays are at hand."""
        run, ledger = self.run, self.run.ledger
        ledger.explanations[self.step, key] = partial(
            explained_forward,
            run,
            matched,
            claim,
            self.values,
            self.weights,
            training=self.training,
            masks=(self.masks[0], self.meant_masks),
            left_off=(left or 0.0) > LIMIT and (right or 0.0) <= LIMIT,
        )


def _finite_alike(one: Array, two: Array) -> bool:
    return bool(np.isfinite(one).all()) and bool(np.isfinite(two).all())


def replay(
    side: Side,
    claim: Claim,
    values: Mapping[str, Array],
    weights: Mapping[str, Array],
    *,
    training: bool,
    masks: Masks,
    changed: Mapping[int, Array] | None = None,
) -> Array:
    """A claim with nodes that have no formula: those are run natively, the others by the reference.

    Args:
        side: The side whose calls they are.
        claim: What is claimed.
        values: Recorded values of the side it is put to.
        weights: That side's weights.
        training: In which mode.
        masks: By node of the claim's graph.
        changed: Constants to be taken instead of the trace's own, by key.
    """
    known = {name: np.asarray(values[own]) for name, own in claim.sources.items()}
    last = ""
    for node in claim.nodes:
        sources = {name: known[name] for name in node.inputs}
        if node.operation == OPAQUE:
            known[node.name] = _called(side, node.name, sources, training, changed or {})
        else:
            part = Claim((node,), {name: name for name in node.inputs}, node.name, claim.weights, claim.given)
            wanted = forward(part, sources, weights, training=training, masks=masks, unit=side.unit)
            known[node.name] = wanted.value.astype(side.precision)
        last = node.name
    return known[last] if last else next(iter(known.values()))


def _called(side: Side, name: str, sources: Mapping[str, Array], training: bool, changed: Mapping[int, Array]) -> Array:
    """The calls of an opaque node done again with other inputs."""
    place = side.reading.places[name]
    arrays = {
        side.reading.places[source].value: np.ascontiguousarray(side.reading.native(source, array))
        for source, array in sources.items()
    }
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    known = {**side.trace.constants, **changed, **arrays}
    for call in place.calls:
        for key in call.inputs:
            if key not in known:
                known[key] = _held(side, key, sources)
        given = [converted({"": np.asarray(known[key])}, side.precision)[""] for key in call.inputs]
        for key, array in zip(call.outputs, side.model.call(call.name, given, training=training), strict=False):
            known[key] = array
    return side.reading.neutral(name, np.asarray(known[place.value]))


def _held(side: Side, key: int, sources: Mapping[str, Array]) -> Array:
    """A value that is a source's axes in another order."""
    held = side.reading.values.get(key)
    if held is None or held.node not in sources:
        raise KeyError(f"value {key} is not among its inputs")
    return np.ascontiguousarray(np.transpose(sources[held.node], np.argsort(held.axes)))
