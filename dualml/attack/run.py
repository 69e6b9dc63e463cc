"""Attacking a finished run on the examples it was not trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualml.api import build, splits_of
from dualml.attack.methods import METHODS, Attacked, Method, Victim, fgsm, pgd, unharmed
from dualml.attack.surroundings import Bounds, Surroundings
from dualml.data import Split
from dualml.errors import DataError, RunError, UnsupportedError
from dualml.evaluation import batches, counted_positions, take
from dualml.protocol import Array, Network
from dualml.spec.graph import Graph
from dualml.spec.losses import Loss
from dualml.spec.metrics import Task, task_of
from dualml.spelling import nearest
from dualml.training.run_directory import open_run

STEP = 2.5
"""Left out, the step size of PGD is so many times ``epsilon / steps``, as in Madry et al.: it can cross the box."""
ROWS = 512
"""Examples in one pass."""


@dataclass(frozen=True)
class Robustness:
    """Accuracy where no value of an input moves by more than ``epsilon``.

    Attributes:
        epsilon: In the units that the model sees.
        fgsm: Share of the examples that are right unmoved and at FGSM's point.
        pgd: Share of those that are right at all of PGD's points as well; ``None`` if it was not asked for.
        step_size: Of PGD; ``None`` without it.
        largest: The largest change of a value in the worst points.
        wrong: Which examples the method got wrong, shape ``(examples,)``.
        points: The worst point of each example, by input.
    """

    epsilon: float
    fgsm: float
    pgd: float | None
    step_size: float | None
    largest: float
    wrong: NDArray[np.bool_] = field(repr=False)
    points: dict[str, Array] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("epsilon", "fgsm", "pgd", "step_size", "largest")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Attack:
    """What an attack on a run found.

    Attributes:
        method: ``fgsm`` or ``pgd``.
        backend: Where.
        split: Of which examples.
        examples: How many.
        clean: Share that is right unmoved.
        bounds: By input, within which values it stayed; ``None``: any.
        steps: Of PGD; ``None`` without it.
        random_start: Whether PGD started at a random point; ``None`` without it.
        seed: Of that point.
        results: One for each ``epsilon``.
    """

    method: Method
    backend: str
    split: str
    examples: int
    clean: float
    bounds: dict[str, Bounds | None]
    steps: int | None
    random_start: bool | None
    seed: int
    results: tuple[Robustness, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("method", "backend", "split", "examples", "clean", "steps", "random_start", "seed")
        return {
            **{name: getattr(self, name) for name in names},
            "bounds": {name: None if item is None else list(item) for name, item in self.bounds.items()},
            "results": [item.to_dict() for item in self.results],
        }


def attack(
    run: str | Path,
    backend: str | None = None,
    *,
    epsilon: float | Sequence[float],
    method: Method = "pgd",
    steps: int = 40,
    step_size: float | None = None,
    random_start: bool = True,
    seed: int = 0,
    split: str = "test",
    limit: int | None = None,
    bounds: Bounds | Literal["data", "none"] = "data",
    weights: str = "last",
) -> Attack:
    """Accuracy of a finished run where every value of its inputs may be moved by up to ``epsilon``.

    The white-box attack on the main output: of a classifier with one label for each example, or a single decision.

    Args:
        run: A run directory.
        backend: Where; left out, the backend it was trained in.
        epsilon: One bound, or several, in the units that the model sees (after scaling).
        method: ``fgsm``, or ``pgd``, which includes it.
        steps: Of PGD.
        step_size: Of PGD, in the same units; left out, ``2.5 * epsilon / steps``.
        random_start: Whether PGD starts at a random point of the box; otherwise at the example.
        seed: Of that point; the same for every backend.
        split: ``test``, ``validation`` or ``train``.
        limit: Only so many examples, the first ones.
        bounds: Smallest and largest value that inputs may have; ``data``: those of the training examples, for each
            input; ``none``: any.
        weights: ``last``, or ``best`` for those of the best epoch.

    Returns:
        The accuracies. They are upper bounds of the worst case: another attack may find more.

    Raises:
        DualmlError: The run is not usable, or is no such classifier, or has only inputs of whole numbers.

    Example:
        >>> from dualml.attack import attack
        >>> [(item.epsilon, item.pgd) for item in attack("runs/mlp", epsilon=[0.02, 0.05]).results]  # doctest: +SKIP
    """
    epsilons = _epsilons(epsilon)
    _check(method, steps, step_size, limit)
    stored = open_run(run)
    graph, main = stored.spec.graph, stored.spec.objective.terms[0].loss
    task = _task(graph, main)
    splits = splits_of(stored, split)
    within = _bounds(bounds, graph, splits["train"])
    inputs, targets, counts = _examples(splits[split], graph, main, limit)
    network = build(stored.spec, backend, weights=stored.weights(weights))
    victims = _victims(network, task, inputs, targets)
    before = [unharmed(victim) for victim in victims]
    results = []
    for size in epsilons:
        boxes = {name: Surroundings.of(inputs[name], size, item) for name, item in within.items()}
        pieces = [{name: box.take(rows) for name, box in boxes.items()} for rows in _pieces(len(targets))]
        quick = [fgsm(victim, own, known, size) for victim, own, known in zip(victims, pieces, before, strict=True)]
        worst, step = quick, None
        if method == "pgd":
            step = STEP * size / steps if step_size is None else step_size
            start = {name: box.random(seed, f"attack/{name}") for name, box in boxes.items()} if random_start else {}
            worst = [
                pgd(victim, own, {**victim.inputs, **_rows(start, rows)}, known, steps=steps, step_size=step)
                for victim, own, known, rows in zip(victims, pieces, quick, _pieces(len(targets)), strict=True)
            ]
        strongest = _joined(worst)
        results.append(
            Robustness(
                epsilon=size,
                fgsm=_share(_joined(quick), counts),
                pgd=None if step is None else _share(strongest, counts),
                step_size=step,
                largest=max(_distance(strongest.points[name], inputs[name]) for name in within),
                wrong=strongest.wrong,
                points=strongest.points,
            )
        )
    return Attack(
        method=method,
        backend=stored.spec.backend if backend is None else backend,
        split=split,
        examples=len(targets),
        clean=_share(_joined(before), counts),
        bounds=within,
        steps=steps if method == "pgd" else None,
        random_start=random_start if method == "pgd" else None,
        seed=seed,
        results=tuple(results),
    )


def _victims(network: Network, task: Task, inputs: Mapping[str, Array], targets: NDArray[np.int64]) -> list[Victim]:
    return [Victim(network, task, _rows(inputs, rows), targets[rows]) for rows in _pieces(len(targets))]


def _pieces(count: int) -> list[slice]:
    return [slice(at, at + ROWS) for at in range(0, count, ROWS)]


def _rows(arrays: Mapping[str, Array], rows: slice) -> dict[str, Array]:
    return {name: array[rows] for name, array in arrays.items()}


def _joined(pieces: Sequence[Attacked]) -> Attacked:
    return Attacked(
        {name: np.concatenate([piece.points[name] for piece in pieces]) for name in pieces[0].points},
        np.concatenate([piece.margins for piece in pieces]),
        np.concatenate([piece.wrong for piece in pieces]),
    )


def _share(found: Attacked, counts: NDArray[np.float64]) -> float:
    """Share of the examples that are right, each as often as it counts."""
    return float(counts[~found.wrong].sum() / counts.sum())


def _distance(points: Array, inputs: Array) -> float:
    return float(np.abs(points.astype(np.float64) - inputs.astype(np.float64)).max())


def _epsilons(epsilon: float | Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(size) for size in np.atleast_1d(np.asarray(epsilon, dtype=np.float64)))
    if not found or not all(math.isfinite(size) and size >= 0 for size in found):
        raise RunError(f"epsilon must be one or more numbers of at least 0, got {epsilon}")
    return found


def _check(method: str, steps: int, step_size: float | None, limit: int | None) -> None:
    if method not in METHODS:
        raise RunError(f"method must be one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    for name, number in (("steps", steps), ("limit", limit)):
        if number is not None and number < 1:
            raise RunError(f"{name} must be at least 1, got {number}")
    if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
        raise RunError(f"step size must be above 0, got {step_size}")


def _task(graph: Graph, loss: Loss) -> Task:
    """What the main output predicts.

    Raises:
        UnsupportedError: It is no label for each example, or nothing can be moved.
    """
    task, shape = task_of(loss), graph.output_shape
    if not (task == "classes" and len(shape) == 1) and not (task == "decisions" and math.prod(shape) == 1):
        raise UnsupportedError(
            "an attack needs a classifier: one label for each example, or one decision; the main output has the shape "
            f"{list(shape)} and the loss {loss.kind}"
        )
    if all(item.integer for item in graph.inputs):
        raise UnsupportedError(
            "an attack needs an input of values, but the model's take whole numbers, which cannot be moved a little"
        )
    return task


def _bounds(bounds: Bounds | Literal["data", "none"], graph: Graph, train: Split) -> dict[str, Bounds | None]:
    """For each input of values the smallest and largest value it may have."""
    names = [item.name for item in graph.inputs if not item.integer]
    if bounds == "none":
        return dict.fromkeys(names)
    if bounds != "data":
        low, high = (float(limit) for limit in bounds)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise RunError(f"bounds must be two finite numbers, the smaller one first, got {low:g} and {high:g}")
        return dict.fromkeys(names, (low, high))
    found = dict.fromkeys(names, (math.inf, -math.inf))
    for batch in batches(train, graph.precision):
        given = graph.named_inputs(batch.inputs)
        for name, (low, high) in found.items():
            found[name] = (min(low, float(given[name].min())), max(high, float(given[name].max())))
    return dict(found)


def _examples(
    split: Split, graph: Graph, loss: Loss, limit: int | None
) -> tuple[dict[str, Array], NDArray[np.int64], NDArray[np.float64]]:
    """Inputs, labels and how often each example counts; those that do not count are left out."""
    rows = np.arange(len(split) if limit is None else min(limit, len(split)))
    batch = take(split, rows, graph.precision)
    targets = graph.named_targets(batch.targets)[graph.output]
    counted = counted_positions(loss, targets, batch.weights)
    counts = np.ones(len(rows)) if counted is None else counted.astype(np.float64)
    labels = targets if task_of(loss) == "classes" else (targets.reshape(len(rows)) > 0.5)
    keep = counts > 0
    if not keep.any():
        raise DataError("an attack needs examples that count, but none of the split has a weight above 0")
    inputs = {name: array[keep] for name, array in graph.named_inputs(batch.inputs).items()}
    return inputs, labels[keep].astype(np.int64), counts[keep]
