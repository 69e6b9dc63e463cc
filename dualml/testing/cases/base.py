"""A case: a model with its loss and the numbers to run it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dualml import randomness
from dualml.protocol import Array, Batch
from dualml.spec.config import Conventions, Precision, Spec
from dualml.spec.graph import Graph
from dualml.spec.layers import Dense, Layer
from dualml.spec.losses import CrossEntropy, Loss, MeanSquaredError
from dualml.spec.model import Model
from dualml.spec.optimizers import Clipping, Optimizer, Sgd
from dualml.spec.train import Train

SEED = 2
"""Of every number drawn here; one with which no value of a case lies near a kink of its activation."""


@dataclass(frozen=True)
class Case:
    """A model with its loss, and numbers to run it on.

    Attributes:
        name: Test id.
        input: Shape of one example.
        layers: The model.
        loss: The loss.
        conventions: Whose defaults fill what the layers leave unsaid.
        examples: Examples in a batch.
        scale: Inputs are uniform in ``(-scale, scale)``.
    """

    name: str
    input: tuple[int, ...]
    layers: Sequence[Layer]
    loss: Loss = field(default_factory=CrossEntropy)
    conventions: Conventions = "torch"
    examples: int = 3
    scale: float = 1.5

    def spec(self, precision: Precision = "float64", optimizer: Optimizer | None = None, **settings: Any) -> Spec:
        """The case as a spec."""
        return Spec(
            model=Model(input=self.input, layers=tuple(self.layers)),
            loss=self.loss,
            optimizer=optimizer or Sgd(),
            precision=precision,
            conventions=self.conventions,
            **settings,
        )

    @cached_property
    def _graphs(self) -> dict[Precision, Graph]:
        return {precision: self.spec(precision).graph for precision in ("float32", "float64")}

    def graph(self, precision: Precision = "float64") -> Graph:
        """The model worked out."""
        return self._graphs[precision]

    def weights(self, precision: Precision = "float64", *, variant: int = 0) -> dict[str, Array]:
        """Parameters uniform in (-1, 1), biases too, so that a forgotten one shows."""
        return {
            item.name: self._numbers(f"weights/{item.name}", item.shape, variant).astype(precision)
            for item in self.graph(precision).parameters
        }

    def inputs(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Array:
        """Shape ``(examples, *input)``."""
        shape = (self.examples if examples is None else examples, *self.input)
        return (self.scale * self._numbers("inputs", shape, variant)).astype(precision)

    def batch(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Batch:
        """Inputs, and targets that suit the loss: every class occurs, or values uniform in (-1, 1)."""
        inputs = self.inputs(precision, examples=examples, variant=variant)
        shape = (len(inputs), *self.graph().output_shape)
        if self.loss.target == "class":
            count = int(np.prod(shape[:-1]))
            order = randomness.permutation(SEED + variant, f"{self.name}/targets", count)
            return Batch(inputs, (order % shape[-1]).reshape(shape[:-1]))
        return Batch(inputs, self._numbers("targets", shape, variant).astype(precision))

    def masks(self, examples: int | None = None, *, variant: int = 0) -> dict[str, Array]:
        """A mask for each dropout node."""
        examples = self.examples if examples is None else examples
        return {
            node.name: randomness.keep_mask(
                SEED + variant, f"{self.name}/masks/{node.name}", (examples, *node.shape), node.settings.rate
            )
            for node in self.graph().dropouts
        }

    def _numbers(self, path: str, shape: tuple[int, ...], variant: int) -> Array:
        return 2.0 * randomness.uniform(SEED + variant, f"{self.name}/{path}", shape) - 1.0


def values(**settings: Any) -> dict[str, Any]:
    """Settings of a case whose targets are values, not class numbers."""
    return {"loss": MeanSquaredError(), **settings}


@dataclass(frozen=True)
class Update:
    """An optimizer with every setting filled in, and how its gradients are clipped.

    Attributes:
        name: Test id.
        optimizer: The optimizer, resolved.
        clip: The clipping, resolved.
    """

    name: str
    optimizer: Optimizer
    clip: Clipping | None = None


def update(name: str, optimizer: Optimizer, conventions: Conventions = "torch", clip: Clipping | None = None) -> Update:
    """An update resolved with the defaults of ``conventions``."""
    case = Case(name, (3,), [Dense(units=3)], conventions=conventions)
    resolved = case.spec(optimizer=optimizer, train=Train(clip=clip)).resolved
    return Update(name, resolved.optimizer, resolved.train.clip)


def gradients(case: Case, update: int, precision: Precision = "float64") -> dict[str, Array]:
    """Gradients that tell formulas apart: each of +-1, 1e-3, 1e-7 and 0 occurs, and moves with the update.

    Args:
        case: Whose parameters they are for.
        update: Number of the update, from 0.
        precision: Their number format.
    """
    sizes = np.array([1.0, -1e-3, 1e-7, 0.0, -1.0, 0.3, 1e-3, -1e-7])
    found = {}
    for place, item in enumerate(case.graph(precision).parameters):
        count = int(np.prod(item.shape))
        found[item.name] = sizes[(np.arange(count) + 3 * place + update) % len(sizes)].reshape(item.shape)
    return {name: value.astype(precision) for name, value in found.items()}


RATES = (0.1, 0.1, 0.037, 0.037)
"""Learning rates of successive updates: with one change, for what hides while the rate is constant."""
