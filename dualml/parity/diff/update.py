"""Rung 4: both native optimizers apply the same gradients from the same state, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dualml import randomness, reference
from dualml.errors import DualmlError
from dualml.native.protocol import ReadOptimizer
from dualml.parity.diff.claims import Wanted
from dualml.parity.diff.explain_update import UpdateCase, Updated, explained_start, explained_update
from dualml.parity.diff.ledger import gap_of
from dualml.parity.diff.run import Run
from dualml.parity.diff.side import SEED, Side
from dualml.parity.judge import LIMIT
from dualml.parity.records import difference
from dualml.protocol import Array, Arrays, State

SIZES = (1.0, 1e-3, 1e-7, 0.0)
"""Sizes of synthetic gradients: an epsilon shows where they are small, and a decay where they are 0."""

STEPS = 4
"""Updates: a wrong beta2 is invisible in the first one; before the last the rate changes."""

CARRIED = 2.0**10
"""Times the bound of one update, within which rounding of the earlier ones may carry over."""

RATE_FACTOR = 0.5
"""What the rate is multiplied by before the last update: momentum that holds the rate shows then."""

ELEMENTWISE = frozenset({"sgd", "adam", "adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta", "lion"})
"""Optimizers that treat every number by itself, so that a part of a large parameter can be judged alone."""

PATTERN = 65_537
"""Numbers after which synthetic gradients repeat: a prime, so that no axis of a kernel is in step with them."""

MOST_NUMBERS = 2**17
"""Numbers of one parameter that are judged, where they can be judged apart."""


@dataclass
class _Half:
    """One side's optimizer on the way; of large parameters it keeps the judged rows alone.

    Attributes:
        side: The side.
        read: What it says its optimizer is.
        names: Weight in the left graph to that in the side's own.
        rows: Judged rows of each weight, by name in the left graph; ``None``: all.
        before: Weights before the update, by name in the left graph.
        state: Memory before it; ``None`` if it cannot be read.
        after: Weights after it.
        state_after: Memory after it.
    """

    side: Side
    read: ReadOptimizer
    names: Mapping[str, str]
    rows: Mapping[str, slice | None]
    before: dict[str, Array] = field(default_factory=dict)
    state: State | None = None
    after: dict[str, Array] = field(default_factory=dict)
    state_after: State | None = None

    def weights(self) -> dict[str, Array]:
        """The judged rows of its weights."""
        found = self.side.weights()
        return {name: cut(found[own], self.rows[name]) for name, own in self.names.items()}

    def memory(self) -> State | None:
        """The judged rows of its memory."""
        state = self.side.memory()
        if state is None:
            return None
        slots = {
            slot: {name: cut(arrays[own], self.rows[name]) for name, own in self.names.items() if own in arrays}
            for slot, arrays in state.slots.items()
        }
        return State(state.step, slots)

    def advance(self, gradients: Arrays, lr: float | None) -> None:
        """One update."""
        self.before = self.after or self.weights()
        self.state = self.state_after or self.memory()
        self.side.apply({own: gradients[name] for name, own in self.names.items()}, lr)
        self.after, self.state_after = self.weights(), self.memory()
        self.side.forget()

    def rate(self, step: int, lr: float | None) -> float:
        """The rate this side says it uses in an update (counted from 0)."""
        if lr is not None:
            return lr
        schedule = self.read.schedule
        return self.read.lr if schedule is None else schedule[min(step, len(schedule) - 1)]

    def updated(self, step: int, lr: float | None) -> Updated:
        """Everything a hypothesis about its last update needs."""
        return Updated(self.read, self.before, self.state, self.after, self.rate(step, lr))


def cut(array: Array, rows: slice | None) -> Array:
    """The judged rows of an array, as an array of its own."""
    return array if rows is None or np.ndim(array) == 0 else np.array(array[rows])


def update_rung(run: Run, recorded: Arrays) -> None:
    """Judge both optimizers.

    Args:
        run: The comparison, both sides begun anew and with the same weights.
        recorded: The left side's gradients of a real batch, by name in the left graph, for the first update.
    """
    reads = run.left.model.optimizer, run.right.model.optimizer
    if reads[0] is None or reads[1] is None:
        return
    both = [
        name for name, other in run.matching.weights.items() if name in run.left.trained and other in run.right.trained
    ]
    if not both:
        run.ledger.skip("the optimizers' updates", "no weight is trained on both sides")
        return
    shapes = {item.name: item.shape for item in run.left.graph.parameters if item.name in both}
    rows = {name: judged_rows(reads[0], reads[1], shape) for name, shape in shapes.items()}
    left = _Half(run.left, reads[0], {name: name for name in shapes}, rows)
    right = _Half(run.right, reads[1], {name: run.matching.weights[name] for name in shapes}, rows)
    _Updates(run, left, right, shapes).judge({name: recorded[name] for name in shapes if name in recorded})


def judged_rows(left: ReadOptimizer, right: ReadOptimizer, shape: tuple[int, ...]) -> slice | None:
    """Which rows of a parameter are judged; ``None``: all."""
    kinds = {read.optimizer.kind for read in (left, right) if read.optimizer is not None}
    clipped = left.clip is not None or right.clip is not None
    if not kinds <= ELEMENTWISE or clipped or math.prod(shape) <= MOST_NUMBERS or len(shape) == 0:
        return None
    return slice(None, None, -(-math.prod(shape) // MOST_NUMBERS))


class _Updates:
    def __init__(self, run: Run, left: _Half, right: _Half, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.run, self.left, self.right, self.shapes = run, left, right, shapes
        self.scheduled = left.read.schedule is not None or right.read.schedule is not None
        self.same = same_optimizer(left.read, right.read)
        self.meant: tuple[dict[str, Array], State] | None = None
        self.cases: list[UpdateCase] = []
        self.given: list[Arrays] = []
        self.other_starts: set[str] = set()

    def judge(self, recorded: Arrays) -> None:
        run = self.run
        if self.left.read.optimizer is None:
            self.without_formula()
        if any(rows is not None for rows in self.left.rows.values()):
            run.ledger.skip(
                "some numbers of large parameters in the optimizers' updates",
                f"at most {MOST_NUMBERS:,} numbers of each parameter were judged; every number is treated alike",
            )
        self.judge_start()
        for step in range(STEPS):
            finite = all(np.isfinite(array).all() for array in recorded.values())
            complete = step == 0 and set(recorded) == set(self.shapes) and finite
            gradients = dict(recorded) if complete else self.synthetic(step)
            lr = self.rate(step)
            try:
                for half in (self.left, self.right):
                    half.advance(gradients, lr)
            except DualmlError as error:
                run.ledger.skip("the optimizers' updates", f"one could not be applied: {error}")
                return
            self.judge_step(step, gradients, lr)

    def without_formula(self) -> None:
        self.run.ledger.skip(
            "a certified bound for the optimizer's update",
            f"{self.left.read.native or 'it'} has no formula here; both were run from the same state and judged by "
            "precision scaling",
        )

    def rate(self, step: int) -> float | None:
        """The rate that both are told; ``None``: each keeps its own."""
        if self.scheduled or self.left.read.lr != self.right.read.lr:
            return None
        return self.left.read.lr * (RATE_FACTOR if step == STEPS - 1 else 1.0)

    def synthetic(self, step: int) -> dict[str, Array]:
        """Gradients of every size and both signs, in another order at every step."""
        found = {}
        for name, shape in self.shapes.items():
            raw = randomness.words(SEED, f"diff/gradient/{name}", PATTERN, step=step)
            sizes = np.array(SIZES)[(raw % np.uint64(len(SIZES))).astype(np.int64)]
            signs = np.where(raw >> np.uint64(63), 1.0, -1.0)
            found[name] = np.resize((sizes * signs).astype(self.run.precision), shape)
        return found

    # ------------------------------------------------------------------ judged

    def judge_start(self) -> None:
        """What the optimizers remember before the first update."""
        run, left = self.run, self.left
        states = left.memory(), self.right.memory()
        if states[0] is None or states[1] is None or left.read.optimizer is None:
            return
        for slot in states[0].slots:
            if slot not in states[1].slots:
                continue
            for name, array in states[0].slots[slot].items():
                other = states[1].slots[slot].get(name)
                if other is None:
                    continue
                key = run.weight_key("state", name, slot)
                gap = difference(array, other)
                if gap == 0.0 and not self.same:
                    continue
                check = run.ledger.bits_equal(0, key, run.precision, gap, gap == 0.0)
                if check.ok is False:
                    self.other_starts.add(slot)
                if check.ok is False and run.decides:
                    run.ledger.explanations[0, key] = partial(explained_start, run, slot, (array, other))

    def judge_step(self, step: int, gradients: Arrays, lr: float | None) -> None:
        run = self.run
        gradients = {name: cut(array, self.left.rows[name]) for name, array in gradients.items()}
        self.given.append(gradients)
        own = self.wanted(self.left, self.left.read, step, lr)
        meant = self.meant_of(step, lr)
        said = self.wanted(self.right, self.right.read, step, lr)
        after = self.left.after, self.right.after
        case = UpdateCase(step, gradients, self.left.updated(step, lr), self.right.updated(step, lr))
        self.cases.append(case)
        cases = tuple(self.cases)
        for name in after[0]:
            key = run.weight_key("update", name)
            gap = difference(after[0][name], after[1][name])
            rho_left = run.ledger.rho(after[0][name], own[0].get(name), run.precision)
            target = meant.get(name)
            if target is None:
                target = Wanted(after[0][name].astype(np.float64), None)
            rho_right = run.ledger.rho(after[1][name], target, run.precision)
            rho_said = run.ledger.rho(after[1][name], said[0].get(name), run.precision)
            departs = [rho is not None and rho > LIMIT for rho in (rho_left, rho_said)]
            if (
                departs[0]
                and gap_of(after[0][name], own[0][name].value).norm > gap_of(after[1][name], target.value).norm
            ):
                run.ledger.measure(step + 1, key, run.precision, after[0][name], own[0][name].value)
            else:
                run.ledger.measure(step + 1, key, run.precision, after[1][name], target.value)
            case.left.departs |= departs[0]
            case.right.departs |= departs[1]
            pending = target.bound is None
            if pending and run.decides and all(rho is not None and rho <= LIMIT for rho in (rho_left, rho_said)):
                # Both sides do what they say, so that more than rounding can carry between them is what they say.
                carried = CARRIED * np.asarray(said[0][name].bound)
                apart = run.ledger.rho(after[1][name], Wanted(target.value, carried), run.precision)
                if apart is not None and apart > LIMIT:
                    rho_right, pending = apart, False
            if not np.isfinite(after[1][name]).all():
                rho_right = math.inf
            check = run.ledger.judged(step + 1, key, run.precision, gap, rho_left, rho_right, pending=pending)
            if step == STEPS - 1 and lr is not None and not self.same:
                run.ledger.at_changed_rate.add((step + 1, key))
            if run.decides and (check.ok is False or target.bound is None):
                run.ledger.explanations[step + 1, key] = partial(explained_update, run, cases, self.cases)
        if self.same:
            self.judge_slots(step, own[1], said[1])

    def gathered(self, read: ReadOptimizer) -> Arrays | None:
        """What an optimizer applies in the last update: its gradients, or the mean of several; ``None``: nothing yet.

        Added up in the working precision and in order, as whoever gathers gradients does.
        """
        count = read.gathered
        if len(self.given) % count:
            return None
        if count == 1:
            return self.given[-1]
        first, *others = self.given[-count:]
        return {name: sum((item[name] for item in others), start=array) / count for name, array in first.items()}

    def wanted(
        self, half: _Half, read: ReadOptimizer, step: int, lr: float | None
    ) -> tuple[dict[str, Wanted], dict[str, dict[str, Wanted]]]:
        """What a side's own claim says of weights and memory after an update, from what it had before."""
        if read.optimizer is None or half.state is None:
            return {}, {}
        before, state = half.before, half.state
        unit = self.run.left.unit
        gradients = self.gathered(read)
        if gradients is None:
            still = np.zeros(())
            kept = {
                slot: {name: Wanted(array, still) for name, array in held.items()} for slot, held in state.slots.items()
            }
            return {name: Wanted(array, still) for name, array in before.items()}, kept
        try:
            arguments = (read.optimizer, read.clip, before, gradients, state, half.rate(step, lr))
            moved, after = reference.apply(*arguments)
            bounds, slot_bounds = reference.apply_bounds(*arguments, unit=unit)
        except KeyError:
            return {}, {}  # a slot that this side does not have
        slots = {
            slot: {name: Wanted(array, slot_bounds[slot][name]) for name, array in arrays.items()}
            for slot, arrays in after.slots.items()
        }
        return {name: Wanted(array, bounds[name]) for name, array in moved.items()}, slots

    def meant_of(self, step: int, lr: float | None) -> dict[str, Wanted]:
        """What the left side's optimizer means the right side's weights to become.

        Where both say the same, from the right side's own memory, with a bound. Else the left side's formula goes its
        own way from the common start, because memories of two formulas hold different things; precision scaling then
        tells a difference from rounding. Memory that starts from another number is a difference of its own, after
        which the right side's start counts as meant.
        """
        if self.same:
            found, _ = self.wanted(self.right, self.left.read, step, lr)
            if found:
                return found
        optimizer = self.left.read.optimizer
        if optimizer is None:
            return {}
        if self.meant is None:
            start = self.right.before  # equal to the left side's, but where two biases are one there
            state = reference.initial_state(optimizer, start)
            own = self.right.state.slots if self.right.state is not None else {}
            slots = {**state.slots, **{slot: own[slot] for slot in self.other_starts if slot in own}}
            self.meant = start, State(state.step, slots)
        weights, state = self.meant
        rate, gradients = self.left.rate(step, lr), self.gathered(self.left.read)
        if gradients is None:
            self.meant = weights, State(state.step + 1, state.slots)
        else:
            self.meant = reference.apply(optimizer, self.left.read.clip, weights, gradients, state, rate)
        return {name: Wanted(array, None) for name, array in self.meant[0].items()}

    def judge_slots(self, step: int, left: dict[str, dict[str, Wanted]], right: dict[str, dict[str, Wanted]]) -> None:
        run = self.run
        if self.left.state_after is None or self.right.state_after is None:
            return
        after = self.left.state_after, self.right.state_after
        for slot, arrays in left.items():
            for name, meant in arrays.items():
                other = right.get(slot, {}).get(name)
                if other is None:
                    continue
                key = run.weight_key("state", name, slot)
                one, two = after[0].slots[slot][name], after[1].slots[slot][name]
                rho = run.ledger.rho(one, meant, run.precision), run.ledger.rho(two, other, run.precision)
                run.ledger.measure(step + 1, key, run.precision, two, other.value)
                check = run.ledger.judged(step + 1, key, run.precision, difference(one, two), *rho)
                if check.ok is False and run.decides:
                    run.ledger.explanations[step + 1, key] = partial(
                        explained_update, run, tuple(self.cases), self.cases
                    )


def same_optimizer(left: ReadOptimizer, right: ReadOptimizer) -> bool:
    """Whether two optimizers say that they do the same."""
    if left.optimizer is None or right.optimizer is None:
        return False
    one, two = (item.model_copy(update={"lr": None}) for item in (left.optimizer, right.optimizer))
    return (
        one == two
        and not left.optimizer.groups
        and left.clip == right.clip
        and left.lr == right.lr
        and left.schedule == right.schedule
        and left.gathered == right.gathered
    )
