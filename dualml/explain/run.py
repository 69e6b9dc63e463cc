"""Explaining what a finished run answers for new examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualml.api import build, needs_of
from dualml.errors import DataError, RunError, UnsupportedError
from dualml.explain.methods import METHODS, Method, Windowing, gradient_x_input, integrated_gradients, occlusion
from dualml.explain.scored import Float, Scored, Scoring, Targets
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.data import ImageSource
from dualml.spec.graph import Graph, GraphInput, Precision
from dualml.spelling import nearest
from dualml.training.run_directory import StoredRun, open_run

Baseline = float | str | Any
"""``zeros`` of what the model sees; a number that stands in every raw input of values; or raw examples."""
IMAGE_WINDOWS = 8
"""Along an axis of an image, about so many windows of occlusion stand side by side."""


@dataclass(frozen=True)
class Explanation:
    """What each value of the inputs did for the score of each example.

    Attributes:
        method: How it was computed.
        scoring: What the score is: the output's value or the prediction.
        backend: Where it was computed.
        output: Name of the output.
        steps: Points of the quadrature, of ``integrated_gradients``.
        attributions: By input, shape of the input, float64. Inputs of whole numbers are missing unless the method is
            ``occlusion``.
        inputs: What the model saw, by input.
        targets: Which value of the output each score is, shape ``(examples,)``.
        classes: What the targets are called.
        scores: Of each example, float64.
        baseline_scores: Of its baseline, float64.
        gaps: What the values of each example add up to beyond ``scores - baseline_scores``, in float64: 0 would be
            completeness. ``None`` for methods that do not promise it.
        grids: By input the axes a picture has; one axis for what is none.
    """

    method: Method
    scoring: Scoring
    backend: str
    output: str
    steps: int | None
    attributions: dict[str, Float] = field(repr=False)
    inputs: dict[str, Array] = field(repr=False)
    targets: Targets = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    scores: Float = field(repr=False)
    baseline_scores: Float = field(repr=False)
    gaps: Float | None = field(repr=False)
    grids: dict[str, tuple[int, ...]] = field(repr=False)

    @property
    def relative_gap(self) -> float | None:
        """The largest gap, relative to the largest change of a score; ``None`` without gaps."""
        if self.gaps is None:
            return None
        return _ratio(float(np.abs(self.gaps).max()), float(np.abs(self.scores - self.baseline_scores).max()))

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON, all but the attributions."""
        rows = [
            {
                "target": int(target),
                "class": name,
                "score": float(self.scores[row]),
                "baseline_score": float(self.baseline_scores[row]),
                **({} if self.gaps is None else {"gap": float(self.gaps[row])}),
            }
            for row, (target, name) in enumerate(zip(self.targets, self.classes, strict=True))
        ]
        settings = {"method": self.method, "of": self.scoring, "backend": self.backend, "output": self.output}
        steps = {} if self.steps is None else {"steps": self.steps, "relative_gap": self.relative_gap}
        return {**settings, **steps, "examples": rows}


def explain(
    run: str | Path,
    inputs: Any,
    backend: str | None = None,
    *,
    method: Method = "integrated_gradients",
    target: int | str | Sequence[int] | Targets | None = None,
    baseline: Baseline = "zeros",
    of: Scoring = "output",
    steps: int = 64,
    window: int | None = None,
    stride: int | None = None,
    precision: Precision = "float64",
    weights: str = "last",
    output: str | None = None,
) -> Explanation:
    """Explain what a finished run answers.

    Args:
        run: A run directory.
        inputs: Raw examples, as for ``dualml.predict``.
        backend: Where; left out, the backend it was trained in.
        method: ``integrated_gradients``, ``gradient_x_input`` or ``occlusion``.
        target: Which class's score is explained, by number or name, or a number for each example; left out, the class
            that the model gives the example.
        baseline: What "nothing there" is: ``zeros`` as the model sees them; a number that stands in every raw input of
            values; or raw examples, one or as many as ``inputs``.
        of: ``output``, before softmax or sigmoid, or ``prediction``, after it.
        steps: Points of the quadrature of ``integrated_gradients``.
        window: How many places ``occlusion`` covers along each axis; left out, 1, or an eighth of an image.
        stride: How far its windows are apart; left out, half a window.
        precision: Of the arithmetic; weights and inputs are the run's own. In float32 a ReLU whose kink lies next to a
            point of the path can be open in one backend and shut in the other.
        weights: ``last``, or ``best`` for those of the best epoch.
        output: One of ``model.outputs``; left out, the first.

    Returns:
        The attributions with what they explain.

    Raises:
        DataError: The examples, the baseline or the target do not fit the model.
        RunError: The run is not usable or has no such output.
        UnsupportedError: The output has no single value to explain, or the inputs have no gradient.

    Example:
        >>> from dualml.explain import explain
        >>> explain("runs/mlp-torch", images, "tensorflow").attributions["input"]  # doctest: +SKIP
    """
    stored = open_run(run)
    spec = stored.spec.replace(precision=precision)
    graph = spec.graph
    _check(graph, method, steps, window, stride)
    node = _output_node(graph, output)
    label = graph.output_names[graph.outputs.index(node)]
    given = _seen(stored, inputs, graph)
    count = len(next(iter(given.values())))
    blank = _baseline(stored, graph, baseline, count)
    learned = {name: array.astype(precision) for name, array in stored.weights(weights).items()}
    network = build(spec, backend, weights=learned)
    scored = Scored(network, node, of)
    names = _class_names(stored, label, scored.width)
    targets = _targets(target, scored, given, names, count)
    grids = {item.name: grid_of(item, spec) for item in graph.inputs}
    if method == "integrated_gradients":
        found = integrated_gradients(scored, given, blank, targets, steps=steps)
    elif method == "gradient_x_input":
        found = gradient_x_input(scored, given, blank, targets)
    else:
        found = occlusion(scored, given, blank, targets, {n: _windowing(grids[n], window, stride) for n in grids})
    scores = scored.scores(given, targets)
    held = {item.name for item in graph.inputs if item.name not in found}
    start = {name: given[name] if name in held else np.broadcast_to(blank[name], given[name].shape) for name in given}
    baseline_scores = scored.scores(start, targets)
    gaps = None
    if method == "integrated_gradients":
        sums = np.sum([array.reshape(count, -1).sum(axis=1) for array in found.values()], axis=0)
        gaps = sums - (scores - baseline_scores)
    return Explanation(
        method=method,
        scoring=of,
        backend=spec.backend if backend is None else backend,
        output=label,
        steps=steps if method == "integrated_gradients" else None,
        attributions=found,
        inputs=given,
        targets=targets,
        classes=tuple(names[number] for number in targets),
        scores=scores,
        baseline_scores=baseline_scores,
        gaps=gaps,
        grids=grids,
    )


def _seen(stored: StoredRun, examples: Any, graph: Graph) -> dict[str, Array]:
    """What the run's model sees of raw examples, as values of the graph's precision."""
    own = stored.spec.graph
    seen = own.named_inputs(stored.preparation.apply(examples, needs_of(stored.spec).inputs, own.precision))
    return {
        item.name: seen[item.name] if item.integer else seen[item.name].astype(graph.precision) for item in own.inputs
    }


def relative_difference(left: Explanation, right: Explanation) -> tuple[float, float]:
    """The largest difference between the attributions of two backends, and its ratio to the largest attribution."""
    apart = max(float(np.abs(array - right.attributions[name]).max()) for name, array in left.attributions.items())
    largest = max(float(np.abs(array).max()) for array in left.attributions.values())
    return apart, _ratio(apart, largest)


def grid_of(item: GraphInput, spec: Spec) -> tuple[int, ...]:
    """The axes along which the values of an input lie side by side; channels are not among them.

    An input of one axis is a picture if a source of images fills it with as many values as a square has.
    """
    side = math.isqrt(item.shape[0]) if item.shape else 0
    if isinstance(spec.data, ImageSource) and not item.integer:
        if len(item.shape) == 1 and side * side == item.shape[0]:
            return (side, side)
        if len(item.shape) == 2:
            return item.shape
    return item.shape if len(item.shape) < 2 else item.shape[:-1]


def _windowing(grid: tuple[int, ...], window: int | None, stride: int | None) -> Windowing:
    if window is None:
        window = max(1, max(grid) // IMAGE_WINDOWS) if len(grid) > 1 else 1
    if stride is not None and stride > window:
        raise RunError(
            f"stride must be at most window, got stride {stride} and window {window}: some values would never be "
            "covered; set a larger window"
        )
    return Windowing(grid, window, max(1, window // 2) if stride is None else stride)


def _check(graph: Graph, method: str, steps: int, window: int | None, stride: int | None) -> None:
    if method not in METHODS:
        raise RunError(f"method must be one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    for name, number in (("steps", steps), ("window", window), ("stride", stride)):
        if number is not None and number < 1:
            raise RunError(f"{name} must be at least 1, got {number}")
    if method != "occlusion" and all(item.integer for item in graph.inputs):
        raise UnsupportedError(
            f"{method} needs an input of values, but the model's take whole numbers, which have no gradient; "
            "use method occlusion"
        )


def _output_node(graph: Graph, output: str | None) -> str:
    if output is not None and output not in graph.output_names:
        raise RunError(f"the model has no output {output!r}{nearest(output, graph.output_names)}")
    node = graph.output if output is None else graph.outputs[graph.output_names.index(output)]
    shape = graph.by_name[node].shape
    if len(shape) != 1:
        others = [name for name, at in zip(graph.output_names, graph.outputs, strict=True)
                  if len(graph.by_name[at].shape) == 1]  # fmt: skip
        remedy = f"; choose another output: {', '.join(others)}" if others else ""
        raise UnsupportedError(
            f"one value for each class can be explained, but the output has the shape {list(shape)}{remedy}"
        )
    return node


def _class_names(stored: StoredRun, label: str, width: int) -> list[str]:
    names = stored.class_names(label)
    return list(names) if names and len(names) == width else [str(number) for number in range(width)]


def _targets(
    target: int | str | Sequence[int] | Targets | None,
    scored: Scored,
    inputs: Mapping[str, Array],
    names: list[str],
    count: int,
) -> Targets:
    if target is None:
        return np.asarray(scored.outputs(inputs).argmax(axis=1), dtype=np.int64)
    if isinstance(target, str):
        if target in names:
            target = names.index(target)
        elif target.isascii() and target.isdigit():
            target = int(target)
        else:
            raise DataError(f"target must be a class, but there is none named {target!r}{nearest(target, names)}")
    found = np.asarray(target)
    if found.dtype.kind not in "iu" or found.shape not in ((), (count,)):
        raise DataError(f"target must be one class number or one for each of {count} examples, got {target!r}")
    if (found < 0).any() or (found >= scored.width).any():
        raise DataError(f"target must be from 0 to {scored.width - 1}, got {int(found.flat[0])}")
    return np.broadcast_to(found.astype(np.int64), (count,)).copy()


def _baseline(stored: StoredRun, graph: Graph, baseline: Baseline, count: int) -> dict[str, Array]:
    """By input, shape ``(1, *shape)`` or ``(examples, *shape)``, as the model sees it."""
    if isinstance(baseline, str):
        if baseline != "zeros":
            raise DataError(f"baseline must be zeros, a number or raw examples, got {baseline!r}")
        return {
            item.name: np.zeros((1, *item.shape), dtype="int64" if item.integer else graph.precision)
            for item in graph.inputs
        }
    if isinstance(baseline, (int, float)):
        raw = {item.name: np.full((1, *item.shape), 0 if item.integer else baseline) for item in graph.inputs}
        baseline = raw if len(raw) > 1 else next(iter(raw.values()))
    try:
        found = _seen(stored, baseline, graph)
    except DataError as error:
        raise DataError(f"baseline: {error}") from None
    for array in found.values():
        if len(array) not in (1, count):
            raise DataError(f"baseline must hold one example or {count}, as many as the inputs, got {len(array)}")
    return found


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (0.0 if part == 0.0 else math.inf)
