"""Known ways in which optimizers differ without saying so, and numbers fitted to what they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from dualml.conventions import KERAS, TORCH, fill
from dualml.parity.hypotheses.fitting import fitted, written
from dualml.parity.hypotheses.trial import UNFIT, number
from dualml.parity.hypotheses.update_trials import Rule, UpdateStep, left_over, moved, weights_after
from dualml.parity.judge import LIMIT
from dualml.protocol import Array
from dualml.reference.rounding import Float
from dualml.spec.optimizers import OPTIMIZERS, GlobalNorm, ParameterNorm, ValueLimit

EPSILONS = (1e-8, 1e-7, 1e-10, 1e-6, 1e-5, 1e-3, 1e-12, 0.0)
MOMENTA = (0.9, 0.99, 0.95, 0.5, 0.0)
BETAS = {"beta1": (0.9, 0.95, 0.5, 0.0), "beta2": (0.999, 0.99, 0.95, 0.98), "rho": (0.9, 0.99, 0.95)}
DECAYS = (0.01, 0.004, 1e-4, 5e-4, 0.1, 0.05)
ACCUMULATORS = (0.0, 0.1, 1.0)
PIECES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 32)
SINGLE = ("rate", "corrections", "settings", "decay")


@dataclass(frozen=True)
class Convention:
    """One flip of a rule; see ``dualml.parity.hypotheses.conventions.base.Flip``."""

    cause: str
    said: str
    meant: Any
    instead: Any
    rule: Rule
    fitted: float | None = None
    setting: str = ""
    throughout: bool = False
    """Whether it must explain all later updates as well, because one alone looks like something else."""


def conventions(
    base: Rule, steps: Sequence[UpdateStep], unit: float, later: Sequence[UpdateStep] = ()
) -> Iterator[Convention]:
    """Every known one, the more likely ones first.

    Args:
        base: What is meant.
        steps: The updates to explain.
        unit: Unit roundoff.
        later: Those that follow.
    """
    settings: Any = base.optimizer
    yield from _precision(base, unit)
    yield from _toggles(base, settings)
    yield from _numbers(base, settings, steps)
    yield from _decay(base, settings, steps)
    yield from _clipping(base)
    yield from _accumulated(base, len(steps) + len(later))
    yield from _frozen(base, [*steps, *later])
    yield from _rates(base, [*steps, *later], unit)
    yield from _kinds(base, settings, steps)


def _changed(base: Rule, **settings: Any) -> Rule | None:
    try:
        return base.with_settings(**settings)
    except UNFIT:
        return None


def _precision(base: Rule, unit: float) -> Iterator[Convention]:
    """Constants that went through float32, some or all."""
    for chosen in single_sets(unit):
        rule = replace(base, single=chosen)
        yield Convention("optimizer.hyperparameter_precision", rounded(chosen), "float64", "float32", rule)


def single_sets(unit: float) -> list[frozenset[str]]:
    """Which constants may have gone through float32, the most frequent first; none where that is the precision."""
    if unit > 2.0**-40:
        return []
    usual = [("rate", "corrections"), ("corrections",), ("rate", "settings"), ("rate", "settings", "corrections")]
    every = [chosen for count in range(1, len(SINGLE) + 1) for chosen in combinations(SINGLE, count)]
    return list(dict.fromkeys(frozenset(chosen) for chosen in [*usual, *every]))


def rounded(chosen: frozenset[str]) -> str:
    """In words."""
    return f"{', '.join(item for item in SINGLE if item in chosen)} rounded to float32"


def _toggles(base: Rule, settings: Any) -> Iterator[Convention]:
    """Choices of two."""
    pairs: Mapping[str, Mapping[Any, Any]] = {
        "epsilon_placement": {
            "corrected": "uncorrected",
            "uncorrected": "corrected",
            "outside": "inside",
            "inside": "outside",
            "gradient": "norm",
            "norm": "gradient",
        },
        "epsilon1_placement": {"added": "floor", "floor": "added"},
        "nesterov": {True: False, False: True},
        "lr_in_momentum": {True: False, False: True},
        "amsgrad": {True: False, False: True},
        "centered": {True: False, False: True},
    }
    causes = {
        "nesterov": "optimizer.nesterov",
        "lr_in_momentum": "optimizer.lr_inside_momentum",
        "amsgrad": "optimizer.kind",
        "centered": "optimizer.kind",
    }
    for name, choices in pairs.items():
        if not hasattr(settings, name):
            continue
        value = getattr(settings, name)
        rule = _changed(base, **{name: choices[value]})
        if rule is None:
            continue
        if name == "lr_in_momentum":
            rule = replace(rule, state_known=False)
        said = f"{name} {number(choices[value])} instead of {number(value)}"
        cause = causes.get(name, "optimizer.epsilon_placement")
        yield Convention(cause, said, value, choices[value], rule, setting=name)
    if base.optimizer.kind in ("adam", "adamw", "nadam", "adamax"):
        rule = replace(base, corrected=not base.corrected)
        yield Convention("optimizer.bias_correction", "moments not corrected for their start", True, False, rule)


def _numbers(base: Rule, settings: Any, steps: Sequence[UpdateStep]) -> Iterator[Convention]:
    """Rates, betas, momentum, epsilon: fitted, then known ones."""
    found = _fit(lambda factor: replace(base, rate_factor=factor), steps, [1.0, 0.1, 10.0])
    first = steps[0].lr
    for item in [] if found is None or not first else [*written(found * first), found * first]:
        if item != first and item > 0:
            rule = replace(base, rate_factor=item / first)
            yield Convention("optimizer.lr", f"lr {number(item)} instead of {number(first)}", first, item, rule, found)
    named: list[tuple[str, str, tuple[float, ...]]] = [("epsilon", "optimizer.epsilon", EPSILONS)]
    named += [(name, "optimizer.betas", known) for name, known in BETAS.items()]
    named += [("momentum", "optimizer.momentum", MOMENTA)]
    named += [("initial_accumulator", "optimizer.initial_accumulator", ACCUMULATORS)]
    for name, cause, known in named:
        if getattr(settings, name, None) is not None:
            yield from _setting(base, name, cause, known, steps)


def _setting(
    base: Rule, name: str, cause: str, known: tuple[float, ...], steps: Sequence[UpdateStep]
) -> Iterator[Convention]:
    meant = getattr(base.optimizer, name)
    memory = name in ("initial_accumulator", "momentum")

    def make(value: float) -> Rule:
        rule = base.with_settings(**{name: value})
        return replace(rule, state_known=False) if memory else rule

    positive = name == "epsilon"
    found = _fit(make, steps, [meant, *known], positive=positive)
    for item in dict.fromkeys([*([] if found is None else written(found, known)), *known]):
        if item == meant:
            continue
        try:
            rule = make(item)
        except UNFIT:
            continue
        said = f"{name} {number(item)} instead of {number(meant)}"
        yield Convention(cause, said, meant, item, rule, found, name)


def _fit(
    make: Callable[[float], Rule],
    steps: Sequence[UpdateStep],
    starts: Sequence[float],
    *,
    positive: bool = False,
) -> float | None:
    """One number of a rule, by least squares over what every step did."""
    done = np.concatenate([np.ravel(_change(step)) for step in steps])

    def formula(value: float) -> Float:
        try:
            return _changes(make(value), steps)
        except UNFIT as error:
            raise ValueError(str(error)) from None

    return fitted(formula, done, starts, positive=positive)


def _change(step: UpdateStep) -> Array:
    return np.concatenate(
        [np.ravel(np.subtract(step.after[name], before, dtype=np.float64)) for name, before in step.parameters.items()]
    )


def _changes(rule: Rule, steps: Sequence[UpdateStep]) -> Float:
    """What a rule changes in every step."""
    parts: list[Float] = []
    for step, after in zip(steps, weights_after(rule, steps), strict=True):
        parts += [np.ravel(after[name] - np.asarray(before)) for name, before in step.parameters.items()]
    return np.concatenate(parts)


def _decay(base: Rule, settings: Any, steps: Sequence[UpdateStep]) -> Iterator[Convention]:
    """Its amount, how it enters, and which parameters it is on."""
    meant, form = settings.weight_decay or 0.0, settings.decay
    other = "coupled" if form == "decoupled" else "decoupled"
    if meant:
        rule = _as_adam(base, decay=other)
        if rule is not None:
            yield Convention("optimizer.decay_coupling", f"decay {other} instead of {form}", form, other, rule)
        for scope in ("all", "no_bias_no_norm", "kernels"):
            if scope != settings.decay_scope:
                rule = base.with_settings(decay_scope=scope)
                said = f"decay of {scope} instead of {settings.decay_scope}"
                yield Convention("optimizer.decay_scope", said, settings.decay_scope, scope, rule)
        yield from _decaying(base, meant, steps)
    for coupling in (form, other):

        def make(value: float, coupling: str = coupling) -> Rule:
            rule = _as_adam(base, weight_decay=value, decay=coupling)
            if rule is None:
                raise ValueError("no such decay")
            return rule

        found = _fit(make, steps, [meant, *DECAYS])
        for item in dict.fromkeys([*([] if found is None else written(found, DECAYS)), 0.0]):
            if item == meant or item < 0:
                continue
            try:
                rule = make(item)
            except UNFIT:
                continue
            how = "" if coupling == form else f", {coupling}"
            said = f"weight_decay {number(item)}{how} instead of {number(meant)}"
            yield Convention("optimizer.weight_decay", said, meant, item, rule, found, "weight_decay")


def _as_adam(base: Rule, **settings: Any) -> Rule | None:
    """The rule with another decay; of AdamW as Adam, whose decay may be either."""
    from dualml.spec.optimizers import Adam

    optimizer: Any = base.optimizer
    if optimizer.kind == "adamw":
        given = {name: getattr(optimizer, name) for name in Adam.model_fields}
        base = replace(base, optimizer=Adam(**given))
    return _changed(base, **settings)


def _decaying(base: Rule, meant: float, steps: Sequence[UpdateStep]) -> Iterator[Convention]:
    """A decay on some of the parameters that no scope names: of two choices for each, the one that fits."""
    names = list(steps[0].parameters)
    chosen: dict[str, float] = {}
    for name in names:
        usual = base.optimizer.decay_of(name, np.shape(steps[0].parameters[name]))
        chosen[name] = usual
        if _rest(base, name, usual, steps) > 1.0:
            chosen[name] = 0.0 if usual else meant
    off = [name for name in names if chosen[name] != base.optimizer.decay_of(name, np.shape(steps[0].parameters[name]))]
    usually = [name for name in names if base.optimizer.decay_of(name, np.shape(steps[0].parameters[name]))]
    if off and off != usually:  # no decay at all is another amount
        without = [name for name in off if not chosen[name]]
        said = f"no decay of {', '.join(without[:4])}" if without else f"decay of {', '.join(off[:4])} too"
        rule = replace(base, decays=chosen)
        yield Convention("optimizer.decay_scope", said, base.optimizer.decay_scope, said, rule)


def _rest(base: Rule, name: str, decay: float, steps: Sequence[UpdateStep]) -> float:
    """Rho of one parameter with one decay."""
    own = [replace(step, parameters={name: step.parameters[name]}) for step in steps]
    return left_over(replace(base, decays={name: decay}), own, 2.0**-53)


def _clipping(base: Rule) -> Iterator[Convention]:
    """No clipping, another kind, another limit."""
    meant = base.clip
    if meant is not None:
        yield Convention("clipping.scope", "no clipping", number(meant), "none", replace(base, clip=None))
    limit = None if meant is None else (meant.max_value if meant.kind == "value" else meant.max_norm)
    epsilon = getattr(meant, "epsilon", 0.0)
    for value in dict.fromkeys([*([limit] if limit else []), 1.0, 5.0, 0.5, 0.1, 10.0, 0.25, 2.0]):
        for make in (GlobalNorm, ParameterNorm):
            for small in dict.fromkeys([epsilon, 0.0, 1e-6]):
                clip = make(value, epsilon=small)
                if clip != meant:
                    yield _clipped(base, clip)
        if ValueLimit(value) != meant:
            yield _clipped(base, ValueLimit(value))


def _clipped(base: Rule, clip: Any) -> Convention:
    meant = base.clip
    same = getattr(meant, "kind", None) == clip.kind
    cause = "clipping.value" if same else "clipping.scope"
    said = f"clipping {number(clip)} instead of {number(meant)}"
    return Convention(cause, said, number(meant), number(clip), replace(base, clip=clip))


def _accumulated(base: Rule, count: int) -> Iterator[Convention]:
    """Gradients of pieces added up, or divided once more; never set to 0; or gathered over several updates."""
    said = "gradients are never set to 0: each update has the sum of all so far"
    yield Convention("gradients.accumulated", said, "set to 0", "kept", replace(base, kept=True))
    for number_of in range(2, count + 1):
        said = f"an update for every {number_of} gradients, with their mean"
        rule = replace(base, gathered=number_of)
        yield Convention("gradients.accumulated", said, 1, number_of, rule, throughout=True)
    for pieces in PIECES:
        for factor, said in ((float(pieces), f"the sum over {pieces} pieces"), (1.0 / pieces, f"divided by {pieces}")):
            rule = replace(base, gradient_factor=factor)
            yield Convention("gradients.accumulated", f"gradients: {said}", "mean", said, rule)


def _frozen(base: Rule, steps: Sequence[UpdateStep]) -> Iterator[Convention]:
    """Parameters that never move, in later updates neither."""
    still = frozenset(
        name
        for name in steps[0].parameters
        if not any(moved(step.after[name], step.parameters[name]) for step in steps)
    )
    if still:
        said = f"{', '.join(sorted(still)[:4])} never moves"
        yield Convention("parameters.frozen", said, "trained", "frozen", replace(base, frozen=still))


def _rates(base: Rule, steps: Sequence[UpdateStep], unit: float) -> Iterator[Convention]:
    """A rate of its own in every update, as a schedule inside the optimizer has: fitted one after the other."""
    rates: dict[int, float] = {}
    for place, step in enumerate(steps):

        def make(rate: float, number_of: int = step.number) -> Rule:
            return replace(base, rates={**rates, number_of: rate})

        so_far = steps[: place + 1]
        if left_over(make(step.lr), so_far, unit) <= LIMIT:
            rates[step.number] = step.lr
            continue
        found = _fit(make, so_far, [step.lr])
        if found is None or not step.lr:
            return
        near = [*written(found), *(factor * step.lr for factor in written(found / step.lr))]
        fits = (rate for rate in near if rate >= 0 and left_over(make(rate), so_far, unit) <= LIMIT)
        if (rate := next(fits, None)) is None:
            return
        rates[step.number] = rate
    factors = {rates[step.number] / step.lr for step in steps if step.lr}
    if len(factors) < 2:
        return  # the same for all is another rate, not a schedule
    shown = [
        ", ".join(number(float(f"{item:.6g}")) for item in each) for each in ([s.lr for s in steps], rates.values())
    ]
    rule = replace(base, rates=rates)
    said = f"rates of its own, {shown[1]} instead of {shown[0]}"
    yield Convention("optimizer.lr", said, shown[0], shown[1], rule, setting="schedule", throughout=True)


def _kinds(base: Rule, settings: Any, steps: Sequence[UpdateStep]) -> Iterator[Convention]:
    """Other optimizers with either framework's defaults."""
    known = set()
    for kind in OPTIMIZERS:
        for preset in (TORCH, KERAS):
            optimizer: Any = fill(kind(lr=steps[0].lr), preset)
            if kind.kind == settings.kind or repr(optimizer) in known:
                continue
            known.add(repr(optimizer))
            rule = replace(base, optimizer=optimizer, state_known=False)
            said = f"{optimizer.kind} instead of {settings.kind}"
            yield Convention("optimizer.kind", said, settings.kind, optimizer.kind, rule)
