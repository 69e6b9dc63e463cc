"""Causes that two configurations explain: two finished runs that follow their own specs and differ.

Each side is judged by its own spec's reference first. If both follow their specs, the specs are what differs,
and a single differing setting is the confirmed cause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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

CAUSES: Sequence[tuple[str, str]] = (
    (r"optimizer\.\w+\.lr$", "optimizer.lr"),
    (r"optimizer\.\w+\.epsilon$", "optimizer.epsilon"),
    (r"optimizer\.\w+\.epsilon_placement$", "optimizer.epsilon_placement"),
    (r"optimizer\.\w+\.beta\d$", "optimizer.betas"),
    (r"optimizer\.\w+\.momentum$", "optimizer.momentum"),
    (r"optimizer\.\w+\.nesterov$", "optimizer.nesterov"),
    (r"optimizer\.\w+\.lr_in_momentum$", "optimizer.lr_inside_momentum"),
    (r"optimizer\.\w+\.weight_decay$", "optimizer.weight_decay"),
    (r"optimizer\.\w+\.decay$", "optimizer.decay_coupling"),
    (r"optimizer$", "optimizer.kind"),
    (r"train\.clip.*\.(max_norm|epsilon)$", "clipping.value"),
    (r"train\.clip.*", "clipping.scope"),
    (r"train\.accumulate$", "gradients.accumulated"),
    (r"train\.drop_last$", "data.last_batch"),
    (r"train\.(shuffle|batch_size)$", "data.order"),
    (r"schedule(\.|$)|train\.epochs$", "schedule.offset"),
    (r"loss\.\w+\.label_smoothing$", "loss.label_smoothing"),
    (r".*\.gelu\.approximate$", "activation.gelu_approximation"),
    (r".*\.negative_slope$", "activation.slope"),
    (r".*\.elu\.alpha$", "activation.alpha"),
    (r".*\.(activation|function)$", "activation.kind"),
    (r".*\.dropout\.rate$", "dropout.rate"),
    (r"data\.", "input.preprocessing"),
)
"""Which cause a differing setting is, by the pattern of its path; the first that matches."""


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
        return Cause("unknown", False, None, None, "no difference between the configurations explains it")
    names = {next((cause for pattern, cause in CAUSES if re.match(pattern, path)), "unknown") for path, _, _ in found}
    name = names.pop() if len(names) == 1 else "unknown"
    single = len(found) == 1 and name != "unknown"
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
