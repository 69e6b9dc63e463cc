"""FGSM and PGD: points around each example at which a classifier may be wrong.

Both follow the sign of the gradient of the cross-entropy of the true class. Its factor, which underflows where a
network is sure of itself and would then hide the way (gradient masking), is left out: only the direction counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from dualml.attack.surroundings import Surroundings
from dualml.protocol import Array, Network
from dualml.spec.metrics import Task

Method: TypeAlias = Literal["fgsm", "pgd"]
METHODS: tuple[Method, ...] = get_args(Method)
Float: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Attacked:
    """The worst that was found for each example: of the example itself and all points that were tried.

    Attributes:
        points: By input, the point with the largest margin.
        margins: How far the best wrong answer leads there, in logits; below 0 the answer is right.
        wrong: Whether the answer was wrong at any point.
    """

    points: dict[str, Array]
    margins: Float
    wrong: NDArray[np.bool_]

    def and_also(self, points: Mapping[str, Array], margins: Float, wrong: NDArray[np.bool_]) -> Attacked:
        """The worse of these and of further points, example by example."""
        worse = margins > self.margins
        kept = {
            name: np.where(worse.reshape(-1, *(1,) * (array.ndim - 1)), points[name], array)
            for name, array in self.points.items()
        }
        return Attacked(kept, np.where(worse, margins, self.margins), self.wrong | wrong)


@dataclass(frozen=True)
class Victim:
    """Examples with the classifier that is attacked.

    Attributes:
        network: The model, in any backend.
        task: ``classes``, or ``decisions`` of one value.
        inputs: By name.
        targets: The true class of each example, or 0 and 1, shape ``(examples,)``.
    """

    network: Network
    task: Task
    inputs: Mapping[str, Array]
    targets: NDArray[np.int64]

    def outputs(self, points: Mapping[str, Array]) -> Float:
        """The main output at some points, float64."""
        return np.asarray(self.network.forward(points)[self.network.graph.output], dtype=np.float64)

    def judged(self, outputs: Float) -> tuple[Float, NDArray[np.bool_]]:
        """For each example the margin of the best wrong answer, and whether the answer is wrong."""
        if self.task == "decisions":
            z = outputs.reshape(-1)
            return np.where(self.targets == 1, -z, z), (z > 0) != (self.targets == 1)
        rows = np.arange(len(outputs))
        others = outputs.copy()
        others[rows, self.targets] = -np.inf
        return others.max(axis=1) - outputs[rows, self.targets], outputs.argmax(axis=1) != self.targets

    def slopes(self, outputs: Float) -> Array:
        """The derivative of the cross-entropy for each output, divided by that of the best wrong answer's.

        ``exp(z_j - z_best)`` for every other class and minus their sum for the true one; 1 or -1 for a decision.
        """
        if self.task == "decisions":
            found = np.where(self.targets == 1, -1.0, 1.0).reshape(outputs.shape)
        else:
            rows = np.arange(len(outputs))
            others = outputs.copy()
            others[rows, self.targets] = -np.inf
            found = np.exp(others - others.max(axis=1, keepdims=True))
            found[rows, self.targets] = -found.sum(axis=1)
        return found.astype(self.network.graph.precision)

    def moved(
        self, points: Mapping[str, Array], outputs: Float, surroundings: Mapping[str, Surroundings], size: float
    ) -> dict[str, Array]:
        """Points one step further towards a larger loss, within the surroundings; other inputs stay.

        Args:
            points: From where, by input.
            outputs: The main output there.
            surroundings: Where each input of values may move.
            size: Of the step, in every value.
        """
        gradients = self.network.input_gradients(points, {self.network.graph.output: self.slopes(outputs)})
        steps = {
            name: box.nearest(points[name] + size * np.sign(gradients[name].astype(np.float64)))
            for name, box in surroundings.items()
        }
        return {**points, **steps}


def unharmed(victim: Victim) -> Attacked:
    """The examples themselves: what an attack starts from."""
    return Attacked(dict(victim.inputs), *victim.judged(victim.outputs(victim.inputs)))


def fgsm(victim: Victim, surroundings: Mapping[str, Surroundings], found: Attacked, epsilon: float) -> Attacked:
    """The fast gradient sign method: one step of ``epsilon`` (Goodfellow, Shlens, Szegedy: "Explaining and harnessing
    adversarial examples", ICLR 2015).

    Args:
        victim: What is attacked.
        surroundings: Where each input of values may move.
        found: What is known already, of ``unharmed``.
        epsilon: Size of the step.

    Returns:
        The worse of what is known and of the points, so accuracy is never above that without attack.
    """
    points = victim.moved(victim.inputs, victim.outputs(victim.inputs), surroundings, epsilon)
    return found.and_also(points, *victim.judged(victim.outputs(points)))


def pgd(
    victim: Victim,
    surroundings: Mapping[str, Surroundings],
    start: Mapping[str, Array],
    found: Attacked,
    *,
    steps: int,
    step_size: float,
) -> Attacked:
    """Projected gradient descent (Madry et al.: "Towards deep learning models resistant to adversarial attacks", ICLR
    2018): steps along the sign of the gradient, each followed by a projection into the surroundings.

    Args:
        victim: What is attacked.
        surroundings: Where each input of values may move.
        start: Where to start from, by input.
        found: What is known already, of ``fgsm``: the result is nowhere better than that.
        steps: How many.
        step_size: Of one value in one step.

    Returns:
        The worst of what is known and of the start and all points after it.
    """
    points = dict(start)
    outputs = victim.outputs(points)
    found = found.and_also(points, *victim.judged(outputs))
    for _ in range(steps):
        points = victim.moved(points, outputs, surroundings, step_size)
        outputs = victim.outputs(points)
        found = found.and_also(points, *victim.judged(outputs))
    return found
