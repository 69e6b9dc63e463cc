"""Which metrics a spec can measure, and which of them can steer its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualml.spec.metrics import F1, METRICS, Metric, Perplexity, Precision, Recall, TopK, task_of
from dualml.spec.schedules import ReduceOnPlateau
from dualml.spelling import nearest

if TYPE_CHECKING:
    from dualml.spec.config import Spec

Found = tuple[tuple[str | int, ...], str]
"""Location of the key at fault, and a sentence."""


def metric_problems(spec: Spec, classes: int | None) -> list[Found]:
    """What is wrong with the metrics of a spec, and with the settings that name one.

    Args:
        spec: The spec.
        classes: Size of the last axis of the main output; ``None`` if the model does not fit together.
    """
    metrics = spec.resolved.metrics or ()
    found: list[Found] = [
        (("metrics", place), message)
        for place, metric in enumerate(metrics)
        if (message := _problem(spec, metric, metrics[:place], classes)) is not None
    ]
    watchable = [f"val_{metric.name}" for metric in metrics if metric.scalar]
    train, schedule = spec.train, spec.schedule
    watched: list[tuple[tuple[str, ...], str, list[str]]] = []
    if train.early_stopping is not None:
        name = train.early_stopping.metric
        watched.append((("train", "early_stopping", "metric"), name, ["val_loss", *watchable]))
    watched.append((("train", "checkpoints", "best"), train.checkpoints.best, ["val_loss", *watchable, "none"]))
    if isinstance(schedule, ReduceOnPlateau):
        known = ["val_loss", *watchable, "train_loss"]
        watched.append((("schedule", schedule.kind, "metric"), schedule.metric, known))
    for location, name, known in watched:
        if name not in known:
            message = f"no metric {name!r} is measured{nearest(name, known)}; known: {', '.join(known)}"
            if name in (f"val_{metric.name}" for metric in metrics):
                message = f"{name!r} is no single number to go by; known: {', '.join(known)}"
            found.append((location, message))
    return found


def _problem(spec: Spec, metric: Metric, before: tuple[Metric, ...], classes: int | None) -> str | None:
    task, loss = task_of(spec.main_loss), spec.main_loss
    if metric.name in (other.name for other in before):
        return f"{metric.name} is measured twice; leave one out"
    if task not in metric.suits:
        suitable = [kind.kind for kind in METRICS if task in kind.suits]
        needs = " or ".join(_NEEDS[kind] for kind in sorted(metric.suits))
        remedy = f"choose among {', '.join(suitable)}" if suitable else "leave metrics empty: []"
        return f"{metric.kind} needs {needs}, which {loss.kind} does not have; {remedy}"
    if task != "classes" or classes is None:
        return None
    if isinstance(metric, Perplexity) and loss.prediction != "softmax":
        return f"perplexity needs class probabilities, which {loss.kind} does not have; choose accuracy or top_k"
    if isinstance(metric, TopK) and metric.k > classes:
        return f"top_k's k must be at most the number of classes, {classes}, got {metric.k}"
    if isinstance(metric, Precision | Recall | F1) and metric.average == "binary" and classes != 2:
        return f"{metric.kind} with average binary needs 2 classes, not {classes}; use macro, micro or weighted"
    return None


_NEEDS = {"classes": "class targets", "decisions": "yes-or-no targets", "values": "targets that are values"}
