"""A case: a model with its loss and the numbers to run it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dualml import randomness
from dualml.protocol import Array, Batch
from dualml.spec.config import Conventions, Spec
from dualml.spec.graph import INPUT, Graph, Precision
from dualml.spec.layers import Dense, Layer
from dualml.spec.losses import CrossEntropy, Loss, MeanSquaredError
from dualml.spec.model import Input, Model
from dualml.spec.objective import Objective, Term
from dualml.spec.optimizers import Clipping, Optimizer, Sgd
from dualml.spec.regularizers import Regularizer
from dualml.spec.train import Train

SEED = 2
"""Of every number drawn here; one with which no value of a case lies near a kink of its activation."""


@dataclass(frozen=True)
class Case:
    """A model with its loss, and numbers to run it on.

    Attributes:
        name: Test id.
        input: Shape of one example, an ``Input``, or one of them for each of several inputs' names.
        layers: The model.
        loss: The loss; for several outputs, one for each.
        conventions: Whose defaults fill what the layers leave unsaid.
        examples: Examples in a batch.
        scale: Inputs are uniform in ``(-scale, scale)``.
        integers: Inputs of whole numbers are below it.
        outputs: Names of the output layers; ``None``: the last one.
        weighted: Whether the examples have weights.
        regularizers: Penalties that are added.
    """

    name: str
    input: Any
    layers: Sequence[Layer]
    loss: Loss | Mapping[str, Any] = field(default_factory=CrossEntropy)
    conventions: Conventions = "torch"
    examples: int = 3
    scale: float = 1.5
    integers: int = 5
    outputs: tuple[str, ...] | None = None
    weighted: bool = False
    regularizers: tuple[Regularizer, ...] = ()

    def spec(self, precision: Precision = "float64", optimizer: Optimizer | None = None, **settings: Any) -> Spec:
        """The case as a spec."""
        several = isinstance(self.input, Mapping)
        inputs = (
            {"inputs": {name: _input(item) for name, item in self.input.items()}}
            if several
            else {"input": _input(self.input)}
        )
        losses = {"loss": self.loss} if isinstance(self.loss, Loss) else {"losses": dict(self.loss)}
        return Spec(
            model=Model(layers=tuple(self.layers), outputs=self.outputs, **inputs),
            optimizer=optimizer or Sgd(),
            precision=precision,
            conventions=self.conventions,
            regularizers=self.regularizers,
            **losses,
            **settings,
        )

    @cached_property
    def objective(self) -> Objective:
        """What is minimised."""
        return self.spec().objective

    @cached_property
    def _graphs(self) -> dict[Precision, Graph]:
        return {precision: self.spec(precision).graph for precision in ("float32", "float64")}

    def graph(self, precision: Precision = "float64") -> Graph:
        """The model worked out."""
        return self._graphs[precision]

    def weights(self, precision: Precision = "float64", *, variant: int = 0) -> dict[str, Array]:
        """Parameters uniform in (-1, 1), biases too, so that a forgotten one shows; buffers a bit above their start."""
        graph = self.graph(precision)
        drawn = {item.name: self._numbers(f"weights/{item.name}", item.shape, variant) for item in graph.weights}
        for item in graph.buffers:
            drawn[item.name] = item.value + 0.25 * (1.0 + drawn[item.name])
        return {name: array.astype(precision) for name, array in drawn.items()}

    def inputs(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Any:
        """Shape ``(examples, *input)``; for several inputs, one array for each by name."""
        count = self.examples if examples is None else examples
        found: dict[str, Array] = {}
        for item in self.graph(precision).inputs:
            path = "inputs" if item.name == INPUT else f"inputs/{item.name}"
            numbers = self._numbers(path, (count, *item.shape), variant)
            found[item.name] = (
                np.floor((numbers + 1.0) / 2.0 * self.integers).astype(np.int64)
                if item.integer
                else (self.scale * numbers).astype(precision)
            )
        return found if isinstance(self.input, Mapping) else found[INPUT]

    def batch(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Batch:
        """Inputs, and targets that suit each loss."""
        inputs = self.inputs(precision, examples=examples, variant=variant)
        count = self.examples if examples is None else examples
        targets = {
            label: self._targets(term, label, precision, count, variant)
            for label, term in zip(self.graph().output_names, self.objective.terms, strict=True)
        }
        weights = (1.5 + self._numbers("example weights", (count,), variant)).astype(precision)
        return Batch(
            inputs, targets if len(targets) > 1 else next(iter(targets.values())), weights if self.weighted else None
        )

    def _targets(self, term: Term, label: str, precision: Precision, examples: int, variant: int) -> Array:
        """Class numbers among which every class occurs, or values uniform in (-1, 1)."""
        shape = (examples, *self.graph().by_name[term.output].shape)
        path = "targets" if len(self.graph().outputs) == 1 else f"targets/{label}"
        if term.loss.target == "class":
            order = randomness.permutation(SEED + variant, f"{self.name}/{path}", int(np.prod(shape[:-1])))
            return (order % shape[-1]).reshape(shape[:-1])
        return self._numbers(path, shape, variant).astype(precision)

    def masks(self, examples: int | None = None, *, variant: int = 0) -> dict[str, Array]:
        """A mask for each node that draws."""
        examples = self.examples if examples is None else examples
        return {
            node.name: randomness.keep_mask(
                SEED + variant,
                f"{self.name}/masks/{node.name}",
                (examples, *(node.random_mask or ())),
                node.settings.rate,
            )
            for node in self.graph().dropouts
        }

    def _numbers(self, path: str, shape: tuple[int, ...], variant: int) -> Array:
        return 2.0 * randomness.uniform(SEED + variant, f"{self.name}/{path}", shape) - 1.0


def _input(item: Any) -> Input:
    return item if isinstance(item, Input) else Input(shape=item)


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
