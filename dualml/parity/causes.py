"""Causes that two configurations explain: two finished runs that follow their own specs and differ.

Each side is judged by its own spec's reference first. If both follow their specs, the specs are what differs,
and a single differing setting is the confirmed cause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dualml.parity.hypotheses.claims import NORMALISING, cause_of
from dualml.parity.hypotheses.losses import BY_SETTING as LOSS_SETTINGS
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.hypotheses.update_claims import BY_SETTING as OPTIMIZER_SETTINGS
from dualml.parity.report import Cause
from dualml.spec.config import Spec
from dualml.training.checkpoint import differences

MEANINGLESS = (
    "backend",
    "device",
    "conventions",
    "precision",
    "train.early_stopping",
    "train.checkpoints",
    "train.tensorboard",
    "metrics",
)
"""Settings that do not change what one update does."""

MOST_SHOWN = 6
"""How many differing settings the evidence names."""

WHOLE: Sequence[tuple[str, str]] = (
    (r"optimizer$", "optimizer.kind"),
    (r"optimizer\.\w+\.lr$", "optimizer.lr"),
    (r"optimizer\.\w+\.groups.*\.lr_factor$", "optimizer.lr"),
    (r"optimizer\.\w+\.groups", "optimizer.decay_scope"),
    (r"train\.clip.*\.(max_norm|max_value|epsilon)$", "clipping.value"),
    (r"train\.clip", "clipping.scope"),
    (r"train\.accumulate$", "gradients.accumulated"),
    (r"train\.drop_last$", "data.last_batch"),
    (r"train\.(shuffle|batch_size)$", "data.order"),
    (r"train\.epochs$", "schedule.offset"),  # left only where the learning rates depend on it
    (r"schedule\.\w+\.warmup(\.length)?$", "schedule.offset"),
    (r"schedule", "optimizer.lr"),
    (r"loss(es)?\.(.*\.)?weight$", "loss.reduction"),
    (r"regularizers.*\.(factor|l1|l2)$", "regulariser.factor"),
    (r"regularizers.*\.scope$", "regulariser.scope"),
    (r"regularizers$", "regulariser.factor"),
    (r"data\.", "input.preprocessing"),
    (r".*\.(activation|function|gate)$", "activation.kind"),
)
"""Which cause a differing setting is, by the pattern of its path; the first that matches."""

TIMES = frozenset(
    {"unit", "every", "length", "milestones", "boundaries", "at_boundary", "patience", "reduces", "cooldown"}
    | {"cooldown_end", "multiplier", "rise", "afterwards"}
)
"""Settings of schedules that say when a rate comes; the others say which."""

PLACE = re.compile(r"model\.(?:blocks\.\w+\.)?layers\[")
"""Where paths of layers begin."""


def setting_cause(path: str, left: Any = None, right: Any = None) -> str:
    """The cause that a setting of a config is, if it differs.

    Args:
        path: Dotted path in a resolved config: ``optimizer.adam.epsilon``, ``model.layers[1].batch_norm.epsilon``.
        left: The left config's value.
        right: The right one's.

    Returns:
        Cause id; ``unknown`` for a setting that no cause stands for.

    Example:
        >>> setting_cause("optimizer.adam.beta2"), setting_cause("schedule.multi_step.at_boundary")
        ('optimizer.betas', 'schedule.offset')
    """
    kind, _, setting = re.sub(r"\[\d+\]$", "", path).rpartition(".")
    kind = kind.rpartition(".")[2]
    if path.startswith("schedule.") and setting in TIMES:
        return "schedule.offset"
    whole = next((cause for pattern, cause in WHOLE if re.match(pattern, path)), None)
    if whole == "activation.kind" and {left, right} == {"relu", "leaky_relu"}:
        return "activation.slope"
    if whole is not None:
        return whole
    if path.startswith("optimizer."):
        return OPTIMIZER_SETTINGS.get(setting, UNKNOWN)
    if path.startswith("loss"):
        return LOSS_SETTINGS.get(setting, UNKNOWN)
    if PLACE.match(path) and not setting.endswith("initializer"):
        if path.endswith("]"):  # another layer stands there
            return "norm.axis" if {left, right} <= NORMALISING else UNKNOWN
        return cause_of(kind, setting)
    return UNKNOWN


def spec_differences(left: Spec, right: Spec) -> list[tuple[str, Any, Any]]:
    """Settings in which two resolved specs mean different things: path, left, right."""
    meaningless = list(MEANINGLESS)
    if not (left.schedule.spans_training or right.schedule.spans_training):
        meaningless.append("train.epochs")  # otherwise the learning rates depend on it
    found = differences(left.resolved.to_dict(), right.resolved.to_dict())
    return [
        item for item in found if not any(item[0] == name or item[0].startswith(f"{name}.") for name in meaningless)
    ]


def configured_cause(left: Spec, right: Spec, followed: bool) -> Cause:
    """The cause of a difference between two specs.

    Args:
        left: The left side's spec.
        right: The right side's.
        followed: Whether each side agrees with the reference of its own spec.
    """
    found = spec_differences(left, right)
    if not found or not followed:
        return Cause(UNKNOWN, False, None, None, "no difference between the configurations explains it")
    names = {setting_cause(*item) for item in found}
    name = names.pop() if len(names) == 1 else UNKNOWN
    single = len(found) == 1 and name != UNKNOWN
    path, one, two = found[0]
    count = "one setting" if len(found) == 1 else f"{len(found)} settings"
    evidence = (
        f"each side follows its own configuration, and the configurations differ in {count} (left | right): "
        + "; ".join(f"{path}: {_shown(one)} | {_shown(two)}" for path, one, two in found[:MOST_SHOWN])
    )
    if len(found) > MOST_SHOWN:
        evidence += f"; and {len(found) - MOST_SHOWN} more"
    fix = {"config": f"set {path} to {_shown(one)} or {_shown(two)} in both"} if single else {}
    return Cause(name, single, one if single else None, two if single else None, evidence, fix)


def _shown(value: Any) -> str:
    """A setting as it is written in a file."""
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
