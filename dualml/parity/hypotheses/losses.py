"""Why a loss or its gradient is not what is meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from dualml.conventions import KERAS, fill
from dualml.native.protocol import ReadLoss
from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fitting import written
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.loss_forms import CLIPS, ClipForm, LossForm, Takes
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.hypotheses.nodes import changed
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import UNFIT, Candidate, Tried, number, rho
from dualml.parity.judge import LIMIT
from dualml.parity.reductions import times
from dualml.protocol import Array
from dualml.spec.losses import BinaryCrossEntropy, CrossEntropy, MeanAbsoluteError, MeanSquaredError, SoftCrossEntropy
from dualml.spec.objective import Objective

KINDS: tuple[Takes, ...] = ("logits", "probabilities", "normalised", "logarithms")
"""What a loss may take its outputs for."""

MOST_DIVIDED = 2**24
"""The largest fixed divisor that is told from rounding."""

SMOOTHINGS = (0.1, 0.2, 0.05, 0.0, 0.01, 0.15, 0.3)

BY_SETTING = {
    "label_smoothing": "loss.label_smoothing",
    "class_weights": "loss.class_weights",
    "normalization": "loss.class_weights",
    "weighted_smoothing": "loss.class_weights",
    "pos_weight": "loss.class_weights",
    "alpha": "loss.class_weights",
    "ignore_index": "loss.ignore_index",
}
"""The cause of a setting in which two losses differ."""


@dataclass(frozen=True)
class LossCase:
    """One evaluation of a loss by the deviating side.

    Attributes:
        outputs: The outputs that it was given.
        targets: The targets as the spec's loss takes them.
        value: What it gave, penalties left out; ``None``: not recorded.
        gradient: Its gradient for the outputs; ``None``: not recorded.
        added: Roundings of that many units in the value besides: of penalties that were added and subtracted again.
    """

    outputs: Array
    targets: Array
    value: float | None
    gradient: Array | None
    added: float = 0.0


def explain_loss(
    meant: ReadLoss | LossForm,
    said: ReadLoss | None,
    case: LossCase,
    *,
    unit: float,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why a loss of one output, or its gradient, is not what is meant.

    Args:
        meant: The other side's claim, or the form that its loss was found to have.
        said: The deviating side's own.
        case: What it was given and gave.
        unit: Unit roundoff of the precision.
        deviates: Which side it is.
        frameworks: Of left and right.
    """
    base = meant if isinstance(meant, LossForm) else form_of(meant, case)
    if base is None:
        return ()
    search = Search(deviates, frameworks)
    judge = _Judge(case, unit)
    before = judge.rho(base)
    own = form_of(said, case) if said is not None else None
    candidates = [
        *_claimed(search, base, own, judge),
        *_forms(search, base, judge),
        *_reductions(search, other_reductions(base, case), judge),
        *_settings(search, base, case, judge),
        *_reductions(search, fixed_divisors(base, case), judge),
    ]
    return search.tried(candidates, before)


def identified(case: LossCase, *, unit: float) -> LossForm | None:
    """The form of a loss that is the user's own function, by what it gave; ``None`` if none of those known is it.

    Args:
        case: What it was given and gave.
        unit: Unit roundoff of the precision.
    """
    judge = _Judge(case, unit)
    classes = np.ndim(case.targets) == np.ndim(case.outputs) - 1
    kinds = (CrossEntropy,) if classes else (MeanSquaredError, MeanAbsoluteError, SoftCrossEntropy, BinaryCrossEntropy)
    bases = [LossForm(fill(kind(), KERAS)) for kind in kinds]
    for form in (item for base in bases for item in (base, *(flipped for *_, flipped in other_forms(base)))):
        try:
            reduced = (*other_reductions(form, case), *fixed_divisors(form, case))
            choices = [form, *(item for *_, item in reduced)]
        except UNFIT:
            continue  # the loss has no such form
        found = next((item for item in choices if _passes(judge, item)), None)
        if found is not None:
            return found
    return None


def _passes(judge: _Judge, form: LossForm) -> bool:
    try:
        return judge.rho(form) <= LIMIT
    except UNFIT:
        return False


def form_of(read: ReadLoss, case: LossCase) -> LossForm | None:
    """A claimed loss of one output as a form; ``None`` for the user's own function or for several outputs."""
    loss: Any = read.minimised
    factor = 1.0
    if isinstance(loss, Objective):
        if len(loss.terms) != 1:
            return None
        factor, loss = loss.terms[0].weight, loss.terms[0].loss
    if loss is None:
        return None
    factor *= times(loss, read.reduction, np.shape(case.outputs), case.targets)
    if not read.from_probabilities:
        return LossForm(loss, factor=factor)
    takes: Takes = "normalised" if loss.kind == "soft_cross_entropy" else "probabilities"
    # Keras clips at 1e-7; of class numbers it then takes a cross-entropy from logarithms, which divides by their sum.
    again = "again" if loss.kind == "cross_entropy" else "clip"
    return LossForm(loss, takes, 1e-7, again, factor)  # type: ignore[arg-type]


class _Judge:
    """rho of value and gradient with a form of the loss."""

    def __init__(self, case: LossCase, unit: float) -> None:
        self.case, self.unit = case, unit

    def rho(self, form: LossForm) -> float:
        """The larger of both."""
        case = self.case
        value, slope = form.evaluate(case.outputs, case.targets, self.unit)
        found = [0.0]
        if case.gradient is not None and slope is not None:
            found.append(rho(case.gradient, slope, self.unit))
        if case.value is not None and value is not None:
            error = value[1] + case.added * self.unit
            found.append(rho(np.array(case.value), (np.array(value[0]), np.array(error)), self.unit))
        return max(found)

    def trial(self, make: Callable[[], LossForm]) -> Callable[[], float]:
        """A trial of a form; one that the loss does not have fails."""
        return lambda: self.rho(make())

    def form(self, form: LossForm) -> Callable[[], float]:
        """A trial of a form that is there already."""
        return partial(self.rho, form)


def _claimed(search: Search, base: LossForm, own: LossForm | None, judge: _Judge) -> Iterator[Candidate]:
    """What the claims differ in: each by itself, then all together."""
    if own is None or own == base:
        return
    found: list[tuple[str, str, Any, Any, LossForm, str]] = []
    if own.takes != base.takes:
        said = f"the loss takes {own.takes} instead of {base.takes}"
        form = replace(base, takes=own.takes, clip=own.clip, clip_form=own.clip_form)
        found.append(("loss.from_logits", said, base.takes, own.takes, form, ""))
    if own.factor != base.factor:
        said = f"{number(own.factor)} times the mean instead of {number(base.factor)}"
        found.append(("loss.reduction", said, base.factor, own.factor, replace(base, factor=own.factor), ""))
    if own.loss.kind == base.loss.kind:
        for name in type(base.loss).model_fields:
            one, two = getattr(base.loss, name), getattr(own.loss, name)
            if one != two:
                form = replace(base, loss=changed(base.loss, **{name: two}))
                said = f"{name} {number(two)} instead of {number(one)}"
                found.append((BY_SETTING.get(name, UNKNOWN), said, one, two, form, name))
    else:
        said = f"{own.loss.kind} instead of {base.loss.kind}"
        found.append((UNKNOWN, said, base.loss.kind, own.loss.kind, replace(own, factor=base.factor), ""))
    alone = []
    for cause, said, one, two, form, name in found:
        candidate = search.candidate(cause, said, one, two, judge.form(form), claimed=True, setting=name)
        outcome = candidate.trial()
        alone.append(outcome)
        yield replace(candidate, trial=partial(float, outcome))
    if len(found) > 1 and min(alone) > 1.0:
        for cause, said, one, two, _, name in found:
            others = tuple(item[0] for item in found if item[1] != said)
            yield search.candidate(cause, said, one, two, judge.form(own), claimed=True, setting=name, together=others)


def other_forms(base: LossForm) -> Iterator[tuple[str, str, Any, Any, LossForm]]:
    """Logits taken for probabilities or for logarithms, the reverse, and probabilities clipped."""
    meant = base.takes
    forms: tuple[ClipForm, ...] = ("clip", "again", "add")
    for takes, clip, form in product(KINDS, (0.0, *CLIPS), forms):
        if (clip == 0.0 and form != "clip") or (takes == "logarithms" and clip):
            continue
        flipped = replace(base, takes=takes, clip=clip, clip_form=form)
        if flipped == base:
            continue
        same = takes == meant or {takes, meant} == {"probabilities", "normalised"}
        cause = "loss.clipping" if same else "loss.from_logits"
        limits = "" if not clip else f", {'plus' if form == 'add' else 'clipped at'} {number(clip)}"
        said = f"{takes}{limits} instead of {meant}{'' if not base.clip else f', clipped at {number(base.clip)}'}"
        values = (base.clip, clip) if same else (meant, takes)
        yield cause, said, values[0], values[1], flipped


def _forms(search: Search, base: LossForm, judge: _Judge) -> Iterator[Candidate]:
    for cause, said, one, two, form in other_forms(base):
        yield search.candidate(cause, said, one, two, judge.form(form))
    inner: Takes = "sigmoid" if base.loss.kind.startswith("binary") else "softmax"
    twice = replace(base, takes=inner, clip=0.0)
    cause = "softmax.double" if inner == "softmax" else "loss.from_logits"
    said = f"{inner} of the outputs, and the loss takes that for logits"
    yield search.candidate(cause, said, "once", "twice", judge.form(twice))


def other_reductions(base: LossForm, case: LossCase) -> Iterator[tuple[str, str, LossForm]]:
    """Sums over examples, positions or classes where the mean is meant, the reverse, and fixed divisors."""
    shape = np.shape(case.outputs)
    sizes = {"examples": shape[0], "positions": math.prod(shape[1:-1]), "values": shape[-1] if len(shape) > 1 else 1}
    seen: set[float] = {1.0}
    for powers in sorted(product((0, 1, -1), repeat=3), key=lambda item: sum(map(abs, item))):
        factor = math.prod(float(size) ** power for size, power in zip(sizes.values(), powers, strict=True))
        if factor in seen:
            continue
        seen.add(factor)
        over = ", ".join(f"{name} summed" for name, power in zip(sizes, powers, strict=True) if power == 1)
        by = ", ".join(f"divided by {name}" for name, power in zip(sizes, powers, strict=True) if power == -1)
        said = "; ".join(item for item in (over, by) if item)
        yield "loss.reduction", said, replace(base, factor=base.factor * factor)


def fixed_divisors(base: LossForm, case: LossCase) -> Iterator[tuple[str, str, LossForm]]:
    """The sum divided by a number of its own, as the size of a full batch."""
    value, _ = base.evaluate(case.outputs, case.targets, 2.0**-53)
    if case.value is None or value is None or not value[0] or not math.isfinite(value[0] / (case.value or math.nan)):
        return
    summed = times(base.loss, "positions", np.shape(case.outputs), case.targets)
    divisor = round(summed * value[0] / case.value)
    if not 1 <= divisor <= MOST_DIVIDED or divisor == summed:
        return
    form = replace(base, factor=base.factor * summed / divisor)
    yield "loss.reduction", f"the sum divided by {divisor} instead of {number(summed)}", form
    if divisor > len(case.outputs):
        yield "data.last_batch", f"{len(case.outputs)} examples divided by a full batch of {divisor}", form


def _reductions(search: Search, found: Iterator[tuple[str, str, LossForm]], judge: _Judge) -> Iterator[Candidate]:
    try:
        for cause, said, form in found:
            yield search.candidate(cause, said, "mean", said, judge.form(form))
    except UNFIT:
        return  # the loss has no such form


def _settings(search: Search, base: LossForm, case: LossCase, judge: _Judge) -> Iterator[Candidate]:
    """Smoothing fitted, class numbers ignored, classes weighed."""
    loss: Any = base.loss
    if hasattr(loss, "label_smoothing"):
        fits = _smoothing(base, case)
        for item in dict.fromkeys([*SMOOTHINGS, *([] if fits is None else written(fits, SMOOTHINGS))]):
            if item == loss.label_smoothing or not 0.0 <= item < 1.0:
                continue
            form = replace(base, loss=changed(loss, label_smoothing=item))
            said = f"label_smoothing {number(item)} instead of {number(loss.label_smoothing)}"
            trial = judge.form(form)
            yield search.candidate(
                "loss.label_smoothing", said, loss.label_smoothing, item, trial, fitted=fits, setting="label_smoothing"
            )
    if isinstance(loss, CrossEntropy):
        yield from _ignored(search, base, loss, case, judge)
        yield from _weighed(search, base, loss, case, judge)


def _smoothing(base: LossForm, case: LossCase) -> float | None:
    """The share, by least squares: the gradient is linear in it."""
    if case.gradient is None:
        return None
    try:
        slopes = []
        for share in (0.0, 0.5):
            form = replace(base, loss=changed(base.loss, label_smoothing=share))
            _, slope = form.evaluate(case.outputs, case.targets, 2.0**-53)
            slopes.append(slope[0] if slope is not None else np.zeros(1))
    except UNFIT:
        return None
    way = (slopes[1] - slopes[0]) / 0.5
    size = float(np.sum(way * way))
    return float(np.sum((np.asarray(case.gradient) - slopes[0]) * way)) / size if size > 0 else None


def _ignored(search: Search, base: LossForm, loss: CrossEntropy, case: LossCase, judge: _Judge) -> Iterator[Candidate]:
    present = [int(item) for item in np.unique(np.asarray(case.targets))]
    for item in ["none", *present[:64]]:
        for normalization in ("positions", "examples"):
            if item == loss.ignore_index and (item == "none" or normalization == loss.normalization):
                continue

            def make(item: Any = item, normalization: str = normalization) -> LossForm:
                given = {"ignore_index": item, "normalization": normalization}
                return replace(base, loss=changed(loss, **given))

            if item == loss.ignore_index:
                said = f"divided by the number of {normalization}"
                yield search.candidate("loss.ignore_index", said, loss.normalization, normalization, judge.trial(make))
                continue
            said = f"the class {item} is ignored, divided by {normalization}"
            if item == "none":
                said = f"no class is ignored instead of {number(loss.ignore_index)}"
            yield search.candidate(
                "loss.ignore_index", said, loss.ignore_index, item, judge.trial(make), setting="ignore_index"
            )


def _weighed(search: Search, base: LossForm, loss: CrossEntropy, case: LossCase, judge: _Judge) -> Iterator[Candidate]:
    """Class weights left out or divided by in another way; or weights fitted, one for each class."""
    if loss.class_weights != "none":
        for normalization in ("weights", "positions", "examples"):
            if normalization != loss.normalization:
                form = replace(base, loss=changed(loss, normalization=normalization))
                said = f"class weights divided by {normalization} instead of {loss.normalization}"
                trial = judge.form(form)
                yield search.candidate("loss.class_weights", said, loss.normalization, normalization, trial)
        bare = replace(base, loss=changed(loss, class_weights="none"))
        trial = judge.form(bare)
        yield search.candidate("loss.class_weights", "no class weights", "weights", "none", trial)
        return
    weights = _class_factors(base, case)
    if weights is None:
        return
    short = tuple(float(f"{item:.6g}") for item in weights)
    for chosen in dict.fromkeys([short, weights]):
        form = replace(base, loss=changed(loss, class_weights=chosen, normalization="examples"))
        shown = ", ".join(number(float(f"{item:.3g}")) for item in chosen[:6])
        said = f"classes weighed as [{shown}{', …' if len(chosen) > 6 else ''}]"
        yield search.candidate("loss.class_weights", said, "none", said, judge.form(form))


def _class_factors(base: LossForm, case: LossCase) -> tuple[float, ...] | None:
    """By which one number for each class the gradient's rows differ, by least squares; ``None`` if by none."""
    if case.gradient is None or np.ndim(case.targets) != np.ndim(case.outputs) - 1:
        return None
    try:
        _, slope = base.evaluate(case.outputs, case.targets, 2.0**-53)
    except UNFIT:
        return None
    if slope is None or slope[0].shape != np.shape(case.gradient):
        return None
    classes = np.shape(case.outputs)[-1]
    targets, rows = np.asarray(case.targets).ravel(), slope[0].reshape(-1, classes)
    given = np.asarray(case.gradient, dtype=np.float64).reshape(-1, classes)
    factors = np.ones(classes)
    for item in range(classes):
        chosen = targets == item
        size = float(np.sum(rows[chosen] ** 2))
        if size > 0:
            factors[item] = float(np.sum(rows[chosen] * given[chosen])) / size
    seen = np.unique(targets)
    seen = seen[(seen >= 0) & (seen < classes)]
    several = seen.size > 1 and np.ptp(factors[seen]) > 1e-9 * np.abs(factors[seen]).max()
    return tuple(float(item) for item in factors) if several and (factors >= 0).all() else None
