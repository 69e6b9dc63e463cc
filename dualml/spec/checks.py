"""What a spec must fulfil beyond the types of its settings: shapes that fit, settings that go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualml.spec.graph import build_graph, graph_problems
from dualml.spec.losses import CrossEntropy
from dualml.spec.model import Model
from dualml.spec.optimizers import Sgd
from dualml.spelling import nearest

if TYPE_CHECKING:
    from dualml.spec.config import Spec

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class SpecProblem:
    """One thing that is wrong: the location of the key at fault, and a sentence."""

    location: Location
    message: str


def model_problems(model: Model) -> list[SpecProblem]:
    """What does not fit together in a model's graph."""
    return [SpecProblem(("model", *item.location), item.message) for item in graph_problems(model)]


def spec_problems(spec: Spec) -> list[SpecProblem]:
    """Everything wrong with a spec whose settings have the right types."""
    problems = model_problems(spec.model)
    resolved = spec.resolved
    if not problems:
        graph = build_graph(resolved.model, spec.precision, spec.loss.prediction)
        output = graph.output_shape
        if not graph.parameters:
            problems.append(SpecProblem(("model", "layers"), "hold no parameters to train; add a dense layer"))
        if isinstance(spec.loss, CrossEntropy) and len(output) > 1 and spec.data is not None:
            problems.append(
                SpecProblem(
                    ("loss",),
                    "cross_entropy needs one row of logits for each example, because data has one label for each, but "
                    f"the last layer's output has shape {list(output)}; add a flatten before the last dense layer",
                )
            )
        if isinstance(spec.loss, CrossEntropy) and output[-1] < 2:
            problems.append(
                SpecProblem(
                    ("loss",),
                    f"cross_entropy needs 2 or more classes, but the last layer's output has shape {list(output)}; "
                    "give the last layer one unit for each class",
                )
            )
    optimizer = resolved.optimizer
    if isinstance(optimizer, Sgd) and optimizer.nesterov and not optimizer.momentum:
        problems.append(SpecProblem(("optimizer", "sgd", "nesterov"), "nesterov needs a momentum above 0; set one"))
    known = ["val_loss", *(f"val_{name}" for name in resolved.metrics or ())]
    stopping = spec.train.early_stopping
    if stopping is not None and stopping.metric not in known:
        problems.append(_unknown_metric(("train", "early_stopping", "metric"), stopping.metric, known))
    best = spec.train.checkpoints.best
    if best not in (*known, "none"):
        problems.append(_unknown_metric(("train", "checkpoints", "best"), best, [*known, "none"]))
    if "accuracy" in (resolved.metrics or ()) and spec.loss.target != "class":
        problems.append(
            SpecProblem(("metrics",), f"accuracy needs class targets, which {spec.loss.kind} does not have")
        )
    return problems


def _unknown_metric(location: Location, name: str, known: list[str]) -> SpecProblem:
    return SpecProblem(location, f"no metric {name!r} is measured{nearest(name, known)}; known: {', '.join(known)}")
