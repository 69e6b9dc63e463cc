"""Why running statistics are not what is meant: their rate, the variance they take in, or that they stand still."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.conventions.base import Written
from dualml.parity.hypotheses.fitting import written
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.nodes import by_role, known_operation
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried, number, rho
from dualml.protocol import Array, Arrays
from dualml.reference import ops
from dualml.reference.rounding import Float, underflow_unit
from dualml.reference.trace import Traced
from dualml.spec.graph import Node

MOMENTA = (0.9, 0.99, 0.1, 0.01, 0.999, 0.997, 0.95, 0.5, 0.0)
"""Known weights of the old value."""


def explain_buffers(
    meant: Node,
    said: Node | None,
    weights: Arrays,
    inputs: Sequence[Array],
    recorded: Mapping[str, Array],
    *,
    unit: float,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why running statistics became something else.

    Args:
        meant: The claim that says what is meant, a ``batch_norm``.
        said: The deviating side's own.
        weights: Its weights and buffers before the pass, by the names of either claim or by role.
        inputs: Its inputs of the layer.
        recorded: What its buffers became, by role or by the names of either claim: all that the layer has.
        unit: Unit roundoff of the precision.
        deviates: Which side it is.
        frameworks: Of left and right.
    """
    if meant.operation != "batch_norm":
        return ()
    search = Search(deviates, frameworks, meant)
    own = said if said is not None and known_operation(said) and said.operation == "batch_norm" else None
    new = by_role(recorded, own, meant)
    old = by_role(weights, own, meant)
    roles = tuple(role for role in ("running_mean", "running_variance") if role in new and role in old)
    x = np.asarray(inputs[0])

    def left_over(momentum: float, variance: str, frozen: bool = False) -> float:
        if frozen:
            return max(_still(new[role], old[role], unit) for role in roles)
        return max(_rest(x, old[role], new[role], role, momentum, variance, unit) for role in roles)

    settings = meant.settings
    before = left_over(settings.momentum, settings.variance, settings.frozen)
    if not roles or before <= 1.0:
        return ()
    values = {"momentum": settings.momentum, "variance": settings.variance, "frozen": settings.frozen}
    candidates = [
        *_claimed(search, values, own, left_over),
        *_conventions(search, values, x, old, new, roles, left_over),
    ]
    return search.tried(candidates, before)


NAMES = {"momentum": "norm.momentum", "variance": "norm.unbiased_variance", "frozen": "norm.frozen_mode"}


def _claimed(search: Search, values: Mapping[str, object], said: Node | None, left_over: object) -> Iterator[Candidate]:
    """Settings in which the claims differ: one at a time, then together."""
    if said is None:
        return
    others = {name: getattr(said.settings, name) for name in values}
    differing = [name for name in values if values[name] != others[name]]
    alone = []
    for name in differing:
        outcome = left_over(**{**values, name: others[name]})  # type: ignore[operator]
        alone.append(outcome)
        text = f"{name} {number(others[name])} instead of {number(values[name])}"
        yield search.candidate(
            NAMES[name], text, values[name], others[name], partial(float, outcome), claimed=True, setting=name
        )
    if len(differing) > 1 and min(alone) > 1.0:
        outcome = left_over(**{**values, **{name: others[name] for name in differing}})  # type: ignore[operator]
        for name in differing:
            text = f"{name} {number(others[name])} instead of {number(values[name])}"
            rest = tuple(NAMES[other] for other in differing if other != name)
            yield search.candidate(
                NAMES[name],
                text,
                values[name],
                others[name],
                partial(float, outcome),
                claimed=True,
                setting=name,
                together=rest,
            )


def _conventions(
    search: Search,
    values: Mapping[str, object],
    x: Float,
    old: Mapping[str, Array],
    new: Mapping[str, Array],
    roles: tuple[str, ...],
    left_over: object,
) -> Iterator[Candidate]:
    """Known rates, or a fitted one, with either variance; and statistics that do not move."""

    def trial(**changes: object) -> object:
        return lambda: left_over(**{**values, **changes})  # type: ignore[operator]

    still = trial(frozen=True)
    said = "the running statistics stay as they are"
    yield search.candidate("norm.frozen_mode", said, "updated", "left as they are", still)  # type: ignore[arg-type]
    yield search.candidate("mode.train_eval", said, "training", "inference", still)  # type: ignore[arg-type]
    meant, variance = values["momentum"], str(values["variance"])
    other = "unbiased" if variance == "biased" else "biased"
    text = f"the {other} variance instead of the {variance}"
    yield search.candidate("norm.unbiased_variance", text, variance, other, trial(frozen=False, variance=other))  # type: ignore[arg-type]
    fits = _fitted(x, old, new, roles)
    momenta = [*MOMENTA, 1.0 - float(str(meant)), *([] if fits is None else written(fits, MOMENTA))]
    for item, form in product(dict.fromkeys(momenta), (variance, other)):
        if item == meant or not 0.0 <= item <= 1.0:
            continue
        text = f"momentum {number(item)} instead of {number(meant)}"
        joint = () if form == variance else ("norm.unbiased_variance",)
        yield search.candidate(
            "norm.momentum",
            text + ("" if form == variance else f" and the {form} variance"),
            meant,
            item,
            trial(frozen=False, momentum=item, variance=form),  # type: ignore[arg-type]
            fitted=fits,
            together=joint,
        )
        if joint:
            yield search.candidate(
                "norm.unbiased_variance",
                f"the {form} variance instead of the {variance}",
                variance,
                form,
                trial(frozen=False, momentum=item, variance=form),  # type: ignore[arg-type]
                together=("norm.momentum",),
            )


def _fitted(x: Float, old: Mapping[str, Array], new: Mapping[str, Array], roles: tuple[str, ...]) -> float | None:
    """The weight of the old mean, by least squares: the mean has one definition, the variance two."""
    if "running_mean" not in roles:
        return None
    mean = x.reshape(-1, x.shape[-1]).mean(axis=0)
    way = np.asarray(old["running_mean"], dtype=np.float64) - mean
    size = float(way @ way)
    return float((np.asarray(new["running_mean"], dtype=np.float64) - mean) @ way) / size if size > 0 else None


def _still(new: Array, old: Array, unit: float) -> float:
    evaluation = np.asarray(old, dtype=np.float64), np.full(np.shape(old), underflow_unit(unit))
    return rho(new, evaluation, unit)


def _rest(x: Float, old: Array, new: Array, role: str, momentum: float, variance: str, unit: float) -> float:
    """Rho of a buffer with some rate and variance; the weight of the new value may be written or computed."""
    count = x.size // x.shape[-1]
    axes = tuple(range(x.ndim - 1))

    def formula(x: Traced, running: Traced) -> Traced:
        mean = ops.mean(x, axes)
        value = mean
        if role == "running_variance":
            value = ops.mean(ops.square(x - mean), axes)
            if variance == "unbiased":
                if count < 2:
                    raise ValueError("one value has no unbiased variance")
                value = value * (count / (count - 1))
        found: Traced = running * momentum + value * (1.0 - momentum)
        return found

    given = Written(formula, [x, old], unit)
    return rho(new, (given.value(), given.bound()), unit)
