"""How good a smaller model is: the same held-back examples through both models, and what the difference may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from dualml.artefact.session import Session, run_in_batches
from dualml.compress.onnx_graph import OnnxGraph, raw_outputs
from dualml.data import Split
from dualml.evaluation import batches, counted_positions, score
from dualml.metrics import Result
from dualml.metrics.base import Examples
from dualml.protocol import Array, Arrays
from dualml.spec.config import Spec
from dualml.spec.metrics import Accuracy, BinaryAccuracy, Metric, task_of

Interval: TypeAlias = tuple[float, float]
Z = 1.959963984540054
"""Of a 95 % interval."""
GROUPS = 40
"""Of examples that are left out in turn, for intervals of what is no share of examples."""
BATCH = 256
"""Examples in one pass."""


@dataclass(frozen=True)
class Outcome:
    """What a model makes of held-back examples.

    Attributes:
        raw: What the losses take, by output node.
        predictions: By output's name.
        targets: By output node.
        weights: Of each example, or ``None``.
    """

    raw: Arrays
    predictions: Arrays
    targets: Arrays
    weights: Array | None

    def take(self, rows: Array) -> Outcome:
        """Some of the examples."""
        weights = None if self.weights is None else self.weights[rows]
        return Outcome(_part(self.raw, rows), _part(self.predictions, rows), _part(self.targets, rows), weights)

    def __len__(self) -> int:
        return len(next(iter(self.predictions.values())))


def _part(arrays: Arrays, rows: Array) -> Arrays:
    return {name: array[rows] for name, array in arrays.items()}


def outcome(data: bytes, spec: Spec, split: Split) -> Outcome:
    """Run an ONNX model on a split.

    Args:
        data: The model, which predicts.
        spec: What it was made of.
        split: The examples.
    """
    graph, tensors = spec.graph, raw_outputs(data)
    session = Session(OnnxGraph(data).to_bytes(list(tensors.values())))
    wanted = list(dict.fromkeys([*tensors, *tensors.values()]))
    found: dict[str, list[Array]] = {name: [] for name in wanted}
    targets: dict[str, list[Array]] = {name: [] for name in graph.outputs}
    weights: list[Array] = []
    for batch in batches(split, graph.precision):
        for name, array in run_in_batches(session, graph.named_inputs(batch.inputs), wanted, BATCH).items():
            found[name].append(array)
        for name, array in graph.named_targets(batch.targets).items():
            targets[name].append(array)
        weights += [] if batch.weights is None else [batch.weights]
    joined = {name: np.concatenate(pieces) for name, pieces in found.items()}
    nodes = dict(zip(graph.output_names, graph.outputs, strict=True))
    return Outcome(
        {nodes[label]: joined[tensor] for label, tensor in tensors.items()},
        {label: joined[label] for label in tensors},
        {name: np.concatenate(pieces) for name, pieces in targets.items()},
        np.concatenate(weights) if weights else None,
    )


@dataclass(frozen=True)
class Quality:
    """A smaller model beside the one it was made of.

    Attributes:
        metric: What is judged: the first metric of the spec that is one number, else the loss.
        split: Name of the examples' split.
        rows: How many there are.
        before: The metric of the model.
        before_interval: 95 % interval.
        after: Of the smaller one.
        after_interval: 95 % interval.
        loss: How much worse it became: the difference, or (``relative``) the growth as a share of what it was.
        relative: Whether less of the metric is better.
        loss_interval: 95 % interval of it, from the same examples, so much narrower than the other two.
        agreement: Share of the main output's predictions that decide for the same class; ``None`` for values.
        largest_difference: Of any prediction of the main output.
        metrics: All metrics of the smaller model.
    """

    metric: str
    split: str
    rows: int
    before: float
    before_interval: Interval
    after: float
    after_interval: Interval
    loss: float
    relative: bool
    loss_interval: Interval
    agreement: float | None
    largest_difference: float
    metrics: Mapping[str, Result]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)


def judge(before: Outcome, after: Outcome, spec: Spec, split: str) -> Quality:
    """Compare two models on the same examples.

    Args:
        before: Of the model.
        after: Of the smaller one.
        spec: What says which metric counts.
        split: Name of the split.
    """
    results = [_scores(item, spec) for item in (before, after)]
    name, larger_is_better = _judged(spec, results)
    first, second = (float(result[name]) for result in results)  # type: ignore[arg-type]
    right = [_right(item, spec, name) for item in (before, after)]
    if right[0] is not None and right[1] is not None:
        intervals = share_interval(right[0]), share_interval(right[1]), paired_interval(right[0], right[1])
    else:
        intervals = _jackknife(before, after, spec, name, larger_is_better)
    return Quality(
        metric=name,
        split=split,
        rows=len(before),
        before=first,
        before_interval=intervals[0],
        after=second,
        after_interval=intervals[1],
        loss=_worse(first, second, larger_is_better),
        relative=not larger_is_better,
        loss_interval=intervals[2],
        agreement=_agreement(before, after, spec),
        largest_difference=_largest(before, after, spec),
        metrics=results[1],
    )


def share_interval(right: Array) -> Interval:
    """Wilson's interval of a share (Wilson, JASA 22, 1927).

    Example:
        >>> import numpy as np
        >>> tuple(round(end, 3) for end in share_interval(np.array([True] * 90 + [False] * 10)))
        (0.826, 0.945)
    """
    count, share = len(right), float(np.mean(right))
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def paired_interval(before: Array, after: Array) -> Interval:
    """Interval of how much a share fell, of the same examples, half an example added to each of the four cases.

    (Agresti and Min, Statistics in Medicine 24, 2005.)

    Example:
        >>> import numpy as np
        >>> same = np.array([True] * 100)
        >>> tuple(round(end, 3) for end in paired_interval(same, same))
        (-0.019, 0.019)
    """
    count = len(before) + 2.0
    lost = float(np.sum(before & ~after)) + 0.5
    won = float(np.sum(~before & after)) + 0.5
    fall = (lost - won) / count
    half = Z * math.sqrt((lost + won) - (lost - won) ** 2 / count) / count
    return max(fall - half, -1.0), min(fall + half, 1.0)


def _scores(item: Outcome, spec: Spec) -> dict[str, Result]:
    return score(spec.objective, spec.resolved.metrics or (), item.raw, item.targets, item.weights)


def _judged(spec: Spec, results: Sequence[Mapping[str, Result]]) -> tuple[str, bool]:
    """Name of what is judged, and whether more of it is better."""
    for metric in spec.resolved.metrics or ():
        if metric.scalar and all(isinstance(result.get(metric.name), float) for result in results):
            return metric.name, metric.larger_is_better
    return "loss", False


def _worse(before: float, after: float, larger_is_better: bool) -> float:
    if larger_is_better:
        return before - after
    return (after - before) / max(abs(before), 1e-12)


def _right(item: Outcome, spec: Spec, name: str) -> Array | None:
    """Which examples are right, if the judged metric is the share of those; else ``None``."""
    metric: Metric | None = next((one for one in spec.resolved.metrics or () if one.name == name), None)
    term = spec.objective.terms[0]
    task, targets = task_of(term.loss), item.targets[term.output]
    counted = counted_positions(term.loss, targets, item.weights)
    if not isinstance(metric, Accuracy | BinaryAccuracy) or task is None or counted is not None:
        return None
    if targets.size != len(targets):
        return None  # several decisions in an example, which are not independent
    examples = Examples.of(task, item.raw[term.output], targets, None)
    return np.asarray(examples.decided(getattr(metric, "threshold", 0.5)) == examples.targets)


def _jackknife(
    before: Outcome, after: Outcome, spec: Spec, name: str, larger_is_better: bool
) -> tuple[Interval, Interval, Interval]:
    """Intervals by leaving out groups of examples in turn, of any metric."""
    groups = min(GROUPS, len(before))
    group = np.arange(len(before)) % groups
    values = []
    for left_out in range(groups):
        rows = np.flatnonzero(group != left_out)
        one, two = (_scores(item.take(rows), spec).get(name) for item in (before, after))
        if isinstance(one, float) and isinstance(two, float):
            values.append((one, two, _worse(one, two, larger_is_better)))
    if len(values) < 2:
        return ((-math.inf, math.inf),) * 3
    found = np.array(values)
    spread = np.sqrt((len(found) - 1) / len(found) * np.sum((found - found.mean(axis=0)) ** 2, axis=0))
    whole = [_scores(item, spec)[name] for item in (before, after)]
    one, two = (float(value) for value in whole)  # type: ignore[arg-type]
    middles = (one, two, _worse(one, two, larger_is_better))
    ends = [(float(middle - Z * s), float(middle + Z * s)) for middle, s in zip(middles, spread, strict=True)]
    return ends[0], ends[1], ends[2]


def _main(item: Outcome, spec: Spec) -> Array:
    return item.predictions[spec.graph.output_names[0]].astype(np.float64)


def _agreement(before: Outcome, after: Outcome, spec: Spec) -> float | None:
    one, two = _main(before, spec), _main(after, spec)
    if spec.graph.prediction == "softmax":
        return float(np.mean(one.argmax(axis=-1) == two.argmax(axis=-1)))
    if spec.graph.prediction == "sigmoid":
        return float(np.mean((one > 0.5) == (two > 0.5)))
    return None


def _largest(before: Outcome, after: Outcome, spec: Spec) -> float:
    return float(np.max(np.abs(_main(before, spec) - _main(after, spec)), initial=0.0))
