"""In what two claims about an optimizer differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dualml.native.protocol import ReadOptimizer
from dualml.parity.hypotheses.trial import number
from dualml.parity.hypotheses.update_trials import Rule, UpdateStep

BY_SETTING: Mapping[str, str] = {
    "epsilon": "optimizer.epsilon",
    "epsilon1": "optimizer.epsilon",
    "epsilon2": "optimizer.epsilon",
    "adam_epsilon": "optimizer.epsilon",
    "epsilon_placement": "optimizer.epsilon_placement",
    "epsilon1_placement": "optimizer.epsilon_placement",
    "adam_epsilon_placement": "optimizer.epsilon_placement",
    "norm_epsilon": "optimizer.epsilon_placement",
    "beta1": "optimizer.betas",
    "beta2": "optimizer.betas",
    "adam_beta1": "optimizer.betas",
    "adam_beta2": "optimizer.betas",
    "beta2_decay": "optimizer.betas",
    "rho": "optimizer.betas",
    "momentum": "optimizer.momentum",
    "momentum_decay": "optimizer.momentum",
    "momentum_average": "optimizer.momentum",
    "nesterov": "optimizer.nesterov",
    "lr_in_momentum": "optimizer.lr_inside_momentum",
    "weight_decay": "optimizer.weight_decay",
    "adam_weight_decay": "optimizer.weight_decay",
    "decay": "optimizer.decay_coupling",
    "rms_of": "optimizer.decay_coupling",
    "decay_scope": "optimizer.decay_scope",
    "initial_accumulator": "optimizer.initial_accumulator",
    "lr_decay": "optimizer.lr",
    "adam_lr_factor": "optimizer.lr",
    "clip_threshold": "clipping.value",
    "amsgrad": "optimizer.kind",
    "centered": "optimizer.kind",
    "ns_steps": "optimizer.kind",
    "ns_coefficients": "optimizer.kind",
    "scale": "optimizer.kind",
    "rms_rate": "optimizer.kind",
}
"""The cause that a differing setting is; ``groups`` and ``lr`` have rules of their own."""

STATED = frozenset(BY_SETTING.values()) | {"optimizer.lr"} - {"optimizer.bias_correction"}
"""Causes that a claim about an optimizer states in full."""

MEMORY = frozenset({"lr_in_momentum", "momentum_average", "initial_accumulator", "momentum"})
"""Settings with which a slot of the same name holds something else."""

HELD = frozenset({"lr_in_momentum", "momentum_average"})
"""Settings that decide what the numbers in a slot are."""


def same_memory(meant: ReadOptimizer, said: ReadOptimizer | None) -> bool:
    """Whether memory recorded with one claim's optimizer holds what the other's does."""
    if said is None or said.optimizer is None or meant.optimizer is None:
        return True
    one, two = meant.optimizer, said.optimizer
    alike = one.kind == two.kind or {one.kind, two.kind} == {"adam", "adamw"}
    return alike and all(getattr(one, name, None) == getattr(two, name, None) for name in HELD)


def _same(rule: Rule) -> Rule:
    return rule


@dataclass(frozen=True)
class Changed:
    """One difference between two claims.

    Attributes:
        cause: Cause id.
        setting: The setting.
        meant: Its value in what is meant.
        instead: In the deviating side's claim.
        settings: What to change in the optimizer.
        change: What else to change in the rule.
        said: In words, where the setting does not say it.
    """

    cause: str
    setting: str
    meant: Any
    instead: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Rule], Rule] = _same
    said: str = ""


def differences(meant: ReadOptimizer, said: ReadOptimizer | None, steps: Sequence[UpdateStep]) -> Iterator[Changed]:
    """Everything in which the claims differ, one at a time."""
    if said is None or said.optimizer is None or meant.optimizer is None:
        return
    rates = list(_rates(meant, said, steps))
    settings = list(_settings(meant.optimizer, said.optimizer))
    if settings and settings[0].setting == "kind" and rates and rates[0].cause == "optimizer.lr":
        settings[0] = _with_rates(settings[0], rates.pop(0))
    yield from rates
    yield from settings
    if meant.gathered != said.gathered:
        yield Changed(
            "gradients.accumulated",
            "gathered",
            meant.gathered,
            said.gathered,
            change=lambda rule: replace(rule, gathered=said.gathered),
            said=f"an update for every {said.gathered} gradients, with their mean, instead of every {meant.gathered}",
        )
    yield from _clipping(meant.clip, said.clip)
    missing = frozenset(meant.parameters) - frozenset(said.parameters)
    known = frozenset(name for step in steps for name in step.parameters)
    if missing & known:
        listed = ", ".join(sorted(missing & known)[:4])
        yield Changed(
            "parameters.frozen",
            "parameters",
            "trained",
            "not trained",
            change=lambda rule: replace(rule, frozen=rule.frozen | missing),
            said=f"{listed} not given to the optimizer",
        )


def _with_rates(kind: Changed, rate: Changed) -> Changed:
    """Another optimizer with a rate of its own is one difference: rates of two formulas do not compare."""
    said = f"{kind.instead} with lr {number(rate.instead)} instead of {kind.meant} with lr {number(rate.meant)}"
    return replace(kind, change=lambda rule: rate.change(kind.change(rule)), said=said)


def _rates(meant: ReadOptimizer, said: ReadOptimizer, steps: Sequence[UpdateStep]) -> Iterator[Changed]:
    rates = {step.number: step.said_lr for step in steps if step.said_lr is not None}
    if not any(rates.get(step.number, step.lr) != step.lr for step in steps):
        return
    factor = said.lr / meant.lr if meant.lr else 0.0
    scheduled = meant.schedule is not None or said.schedule is not None
    proportional = factor != 1.0 and all(
        abs(rates.get(step.number, step.lr) - factor * step.lr) <= 1e-12 * abs(step.lr) for step in steps
    )
    use = lambda rule: replace(rule, rates=rates)  # noqa: E731
    if not scheduled or proportional:
        one, two = meant.lr, said.lr
        if one == two:
            first = next(step for step in steps if rates.get(step.number, step.lr) != step.lr)
            one, two = first.lr, float(rates[first.number] or 0.0)
        yield Changed("optimizer.lr", "lr", one, two, change=use)
        return
    offset = shift(meant.schedule or (meant.lr,), said.schedule or (said.lr,))
    shown = [", ".join(number(float(f"{item:.6g}")) for item in rates_of) for rates_of in _shown(meant, said)]
    if offset is not None:
        many, way = "s" if abs(offset) > 1 else "", "later" if offset > 0 else "earlier"
        text = f"the rates come {abs(offset)} update{many} {way}"
        yield Changed("schedule.offset", "schedule", shown[0], shown[1], change=use, said=text)
    else:
        yield Changed("optimizer.lr", "schedule", shown[0], shown[1], change=use, said="another schedule of rates")


def _shown(meant: ReadOptimizer, said: ReadOptimizer) -> tuple[Sequence[float], Sequence[float]]:
    return (meant.schedule or (meant.lr,))[:5], (said.schedule or (said.lr,))[:5]


def shift(meant: Sequence[float], said: Sequence[float]) -> int | None:
    """By how many updates one list of rates comes after the other: the least shift with which they are the same.

    Rates are compared to float32's precision, in which Keras keeps its own. Before a list's start and after its end
    its first and last rates stand. ``None``: no shift makes them the same, or each is one rate alone.
    """
    length = max(len(meant), len(said))
    if length < 2 or (len(set(meant)) < 2 and len(set(said)) < 2):
        return None

    def at(rates: Sequence[float], place: int) -> float:
        return rates[min(max(place, 0), len(rates) - 1)]

    for size in range(1, length):
        for offset in (size, -size):
            places = range(max(offset, 0), min(length, length + offset))
            seen = {at(said, place) for place in places}
            if len(seen) > 1 and all(
                abs(at(said, place) - at(meant, place - offset)) <= 2.0**-22 * abs(at(said, place)) for place in places
            ):
                return offset
    return None


def _settings(one: Any, two: Any) -> Iterator[Changed]:
    family = {one.kind, two.kind}
    if one.kind != two.kind and family != {"adam", "adamw"}:
        yield Changed(
            "optimizer.kind",
            "kind",
            one.kind,
            two.kind,
            change=lambda rule: replace(rule, optimizer=two, state_known=True),
            said=f"{two.kind} instead of {one.kind}",
        )
        return
    if one.kind == "adamw" and two.kind == "adam":
        yield from _adam_from_adamw(one, two)
        return
    names = [name for name in type(two).model_fields if name in type(one).model_fields]
    for name in names:
        left, right = getattr(one, name), getattr(two, name)
        if left == right or name in ("lr", "ema"):
            continue
        if name in ("decay", "decay_scope") and not (one.weight_decay and two.weight_decay):
            continue  # how a decay of nothing enters changes nothing
        if name == "groups":
            yield from _groups(one, two)
            continue
        change = (lambda rule: replace(rule, state_known=False)) if name in MEMORY else _same
        yield Changed(BY_SETTING.get(name, "optimizer.kind"), name, left, right, {name: right}, change)


def _adam_from_adamw(one: Any, two: Any) -> Iterator[Changed]:
    """Decoupled decay in what is meant, coupled on the deviating side: the same class but for that."""
    from dualml.spec.optimizers import Adam

    as_adam = Adam(**{name: getattr(one, name) for name in Adam.model_fields if name != "decay"}, decay="decoupled")
    for item in _settings(as_adam, two):
        inner = item.change

        def change(rule: Rule, inner: Callable[[Rule], Rule] = inner) -> Rule:
            return inner(replace(rule, optimizer=as_adam if rule.optimizer.kind == "adamw" else rule.optimizer))

        yield replace(item, change=change)


def _groups(one: Any, two: Any) -> Iterator[Changed]:
    """Groups with other rates, or with other decays."""
    rates = [[(item.match, item.lr_factor) for item in each.groups if item.lr_factor != 1.0] for each in (one, two)]
    cause = "optimizer.lr" if rates[0] != rates[1] else "optimizer.decay_scope"
    shown = [", ".join(item.match for item in each.groups) or "none" for each in (one, two)]
    said = f"groups {shown[1]} instead of {shown[0]}"
    yield Changed(cause, "groups", shown[0], shown[1], {"groups": two.groups}, said=said)


def _clipping(one: Any, two: Any) -> Iterator[Changed]:
    if one == two:
        return

    def use(rule: Rule) -> Rule:
        return replace(rule, clip=two)

    kinds = [getattr(item, "kind", "none") for item in (one, two)]
    if kinds[0] != kinds[1]:
        said = f"clipping {number(two)} instead of {number(one)}"
        yield Changed("clipping.scope", "clip", number(one), number(two), change=use, said=said)
        return
    name = "max_value" if one.kind == "value" else "max_norm"
    if getattr(one, name) == getattr(two, name):
        name = "epsilon"
    yield Changed("clipping.value", name, getattr(one, name), getattr(two, name), change=use)
