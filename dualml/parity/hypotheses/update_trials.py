"""Updates evaluated again with another rule, in float64 with bounds, over several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dualml.parity.hypotheses.trial import UNFIT, rho
from dualml.protocol import Array, Arrays, State
from dualml.reference.clipping import clip, clip_bound
from dualml.reference.optimizers.arithmetic import SLACK, Bounded, Exact, Number
from dualml.reference.optimizers.rules import RULES, Update
from dualml.reference.rounding import Float, Rounded, double, underflow_unit
from dualml.spec.optimizers import Optimizer


@dataclass(frozen=True)
class UpdateStep:
    """One update of the deviating side.

    Attributes:
        number: Which update it is, from 1.
        parameters: Weights before it, by neutral name; some of the numbers of each will do.
        gradients: What was applied, before any clipping of the optimizer's own.
        after: Weights after it.
        lr: The learning rate that is meant for it.
        said_lr: The learning rate that the deviating side says it used; ``None``: the same.
        state: Its memory before the update in the slots of its own claim; ``None``: not known.
    """

    number: int
    parameters: Arrays
    gradients: Arrays
    after: Arrays
    lr: float
    said_lr: float | None = None
    state: State | None = None


@dataclass(frozen=True)
class Rule:
    """How an optimizer works.

    Attributes:
        optimizer: Every setting filled in.
        clip: Clipping of the gradients.
        rates: Learning rate of each step instead of its own, by its number.
        rate_factor: What every rate is multiplied by.
        gradient_factor: What every gradient is multiplied by.
        corrected: Whether moments are corrected for their start at 0.
        single: What passes through float32: ``rate``, ``decay``, ``corrections``, ``settings``.
        frozen: Parameters that are left as they are.
        decays: Weight decay by parameter, whatever the optimizer says.
        state_known: Whether memory recorded with the steps has the meaning of this rule's slots.
        gathered: Gradients whose mean makes one update; in between nothing moves.
        kept: Whether gradients are never set to 0, so that every update has the sum of all so far.
    """

    optimizer: Optimizer
    clip: Any = None
    rates: Mapping[int, float] | None = None
    rate_factor: float = 1.0
    gradient_factor: float = 1.0
    corrected: bool = True
    single: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    decays: Mapping[str, float] | None = None
    state_known: bool = True
    gathered: int = 1
    kept: bool = False

    def with_settings(self, **settings: Any) -> Rule:
        """With settings of the optimizer changed.

        Raises:
            ValueError: They do not go together.
        """
        from dualml.parity.hypotheses.nodes import changed

        return replace(self, optimizer=changed(self.optimizer, **settings))

    def rate(self, step: UpdateStep) -> float:
        """The learning rate of a step."""
        given = step.lr if self.rates is None else self.rates.get(step.number, step.lr)
        found = given * self.rate_factor
        return _single(found) if "rate" in self.single else found

    def decay(self, name: str, shape: tuple[int, ...]) -> float:
        """Weight decay of a parameter."""
        found = self.optimizer.decay_of(name, shape) if self.decays is None else self.decays.get(name, 0.0)
        return _single(found) if "decay" in self.single else found


def _single(value: float) -> float:
    return float(np.float32(value))


@dataclass(frozen=True)
class Arithmetic(Bounded):
    """Bounds of a rule that passes some of its constants through float32 or leaves corrections out."""

    corrected: bool = True
    single: frozenset[str] = field(default_factory=frozenset)

    def setting(self, value: float) -> Number:
        return super().setting(_single(value) if "settings" in self.single else value)

    def correction(self, beta: float, step: int) -> Number:
        if not self.corrected:
            return Rounded(1.0, 0.0, self.unit)
        return super().correction(_single(beta) if "corrections" in self.single else beta, step)


@dataclass(frozen=True)
class Plain(Exact):
    """The values of such a rule alone."""

    corrected: bool = True
    single: frozenset[str] = field(default_factory=frozenset)

    def setting(self, value: float) -> Number:
        return _single(value) if "settings" in self.single else value

    def correction(self, beta: float, step: int) -> Number:
        if not self.corrected:
            return 1.0
        return super().correction(_single(beta) if "corrections" in self.single else beta, step)


def weights_after(rule: Rule, steps: Sequence[UpdateStep]) -> list[dict[str, Float]]:
    """The weights that a rule gives after each step, from those recorded before it.

    Raises:
        ValueError: The memory before the first step is not known.
    """
    followed: dict[str, dict[str, Any]] = {}
    found: list[dict[str, Float]] = []
    arithmetic = Plain(rule.corrected, rule.single)
    for place, step in enumerate(steps):
        gradients = _gradients(rule, steps, place)
        clipped = clip(rule.clip, gradients)
        after: dict[str, Float] = {}
        for name, before in step.parameters.items():
            after[name] = double(before)
            if name in rule.frozen or name not in gradients:
                continue
            slots = _slots(rule, step, name, np.shape(before), followed, None, first=place == 0)
            update = _update(rule, step, name, np.shape(before), arithmetic)
            result, followed[name] = RULES[rule.optimizer.kind](update, after[name], clipped[name], slots)
            after[name] = double(result)
        found.append(after)
    return found


def _gradients(rule: Rule, steps: Sequence[UpdateStep], place: int) -> dict[str, Float]:
    """What a rule applies in a step; nothing where it only keeps the gradients.

    Raises:
        ValueError: It needs gradients of steps that are not given.
    """
    chosen, factor = steps[place : place + 1], rule.gradient_factor
    if rule.kept or rule.gathered > 1:
        if steps[0].number != 1:
            raise ValueError("the gradients of the first steps are not given")
        chosen = steps[: place + 1]
    if rule.gathered > 1:
        if (place + 1) % rule.gathered:
            return {}
        chosen, factor = steps[place + 1 - rule.gathered : place + 1], factor / rule.gathered
    names = chosen[0].gradients
    return {name: np.sum([double(step.gradients[name]) for step in chosen], axis=0) * factor for name in names}


def _update(rule: Rule, step: UpdateStep, name: str, shape: tuple[int, ...], arithmetic: Exact) -> Update:
    rate = rule.rate(step) * rule.optimizer.lr_factor(name)
    return Update(rule.optimizer, name, shape, step.number, rate, rule.decay(name, shape), arithmetic)


def left_over(rule: Rule, steps: Sequence[UpdateStep], unit: float) -> float:
    """The largest rho of any weight after any step, if the optimizer worked by a rule.

    Memory is taken as recorded before each step where it is known and has the slots of the rule; else it is followed
    from the start with its rounding errors, which needs the first update.
    """
    followed: dict[str, dict[str, Any]] = {}
    worst = 0.0
    with np.errstate(all="ignore"):
        for place, step in enumerate(steps):
            try:
                found = _step(rule, step, _gradients(rule, steps, place), followed, unit, first=place == 0)
            except UNFIT:
                return float("inf")
            worst = max(worst, found)
    return worst


def _step(
    rule: Rule,
    step: UpdateStep,
    gradients: Mapping[str, Float],
    followed: dict[str, dict[str, Any]],
    unit: float,
    *,
    first: bool,
) -> float:
    """One step by a rule: its largest rho."""
    arithmetic = Arithmetic(unit, rule.corrected, rule.single)
    clipped, errors = clip(rule.clip, gradients), clip_bound(rule.clip, gradients, unit)
    worst = 0.0
    for name, before in step.parameters.items():
        if name in rule.frozen or name not in gradients:
            unmoved = double(before), np.full(np.shape(before), underflow_unit(unit))
            worst = max(worst, rho(step.after[name], unmoved, unit))
            continue
        shape = np.shape(before)
        slots = _slots(rule, step, name, shape, followed, unit, first=first)
        update = _update(rule, step, name, shape, arithmetic)
        error = errors[name] if rule.clip is not None else np.zeros(())
        if rule.gradient_factor != 1.0 or rule.kept or rule.gathered > 1:
            count = step.number if rule.kept else rule.gathered
            error = error + (count + 1.0) * unit * np.abs(clipped[name])
        given = Rounded(double(before), 0.0, unit), Rounded(clipped[name], error, unit)
        result, followed[name] = RULES[rule.optimizer.kind](update, *given, slots)
        bound: Float = SLACK * (np.broadcast_to(result.error, result.value.shape) + underflow_unit(unit))
        worst = max(worst, rho(step.after[name], (result.value, bound), unit))
    return worst


def _slots(
    rule: Rule,
    step: UpdateStep,
    name: str,
    shape: tuple[int, ...],
    followed: dict[str, dict[str, Any]],
    unit: float | None,
    *,
    first: bool,
) -> dict[str, Any]:
    """The memory of a parameter before a step; with ``unit``, of numbers that carry bounds.

    Raises:
        ValueError: It is not known, and this is not the first update.
    """
    optimizer = rule.optimizer
    shapes = optimizer.formula_slot_shapes(name, shape)
    recorded = step.state
    if rule.state_known and recorded is not None and all(name in recorded.slots.get(slot, {}) for slot in shapes):
        known = {slot: double(recorded.slots[slot][name]) for slot in shapes}
        return known if unit is None else {slot: Rounded(array, 0.0, unit) for slot, array in known.items()}
    if name in followed:
        return followed[name]
    if not first or step.number != 1:
        raise ValueError("the memory before the first step given is not known")
    start = {slot: np.full(size, optimizer.slot_start(slot)) for slot, size in shapes.items()}
    return start if unit is None else {slot: Rounded(array, 0.0, unit) for slot, array in start.items()}


def moved(array: Array, before: Array) -> bool:
    """Whether anything of a parameter moved."""
    return bool(np.any(np.asarray(array) != np.asarray(before)))
