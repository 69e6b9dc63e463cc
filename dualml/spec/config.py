"""The whole spec: what a config file holds."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from dualml.spec.base import Settings, require_one
from dualml.spec.data import DataSettings
from dualml.spec.graph import Arithmetic, Graph, Precision
from dualml.spec.graph_builder import build_graph
from dualml.spec.losses import AnyLoss, Loss
from dualml.spec.metrics import AnyMetric
from dualml.spec.mixed import MIXED, check_mixed
from dualml.spec.model import Model
from dualml.spec.objective import Objective, Term, WeightedLoss
from dualml.spec.optimizers import AnyOptimizer
from dualml.spec.regularizers import AnyRegularizer
from dualml.spec.schedules import AnySchedule, ConstantSchedule
from dualml.spec.train import Train

Conventions = Literal["torch", "keras"]


class Spec(Settings):
    """One model, its data and its training, for any backend.

    Raises:
        pydantic.ValidationError: A setting is wrong; ``dualml.load`` turns it into a ``ConfigError`` with places.
    """

    backend: str = "torch"
    """Which backend runs it: ``torch``, ``tensorflow`` or a third party's name."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of initial weights, data order, splits and random masks."""
    precision: Arithmetic = "float32"
    """Number format of weights and arithmetic; ``mixed_bfloat16``: layers compute in bfloat16, the rest is float32."""
    conventions: Conventions = "torch"
    """Whose defaults fill what is left unsaid."""
    randomness: Literal["shared", "native"] = "shared"
    """``shared``: dropout masks are the same in every backend; ``native``: each framework draws its own, faster."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where it runs."""
    model: Model
    """The layers."""
    data: DataSettings | None = None
    """Where the examples come from; a spec that is only built needs none."""
    loss: AnyLoss | None = None
    """What a model with one output minimises."""
    losses: dict[str, WeightedLoss] | None = Field(default=None, min_length=1)
    """What a model with several outputs minimises: a loss, or a loss with its weight, for each of ``model.outputs``."""
    regularizers: tuple[AnyRegularizer, ...] = Field(default=(), strict=False)
    """Penalties on parameters that are added to the loss in training; held-back losses are without them."""
    optimizer: AnyOptimizer
    """How it is minimised."""
    schedule: AnySchedule = ConstantSchedule()
    """How the learning rate changes."""
    train: Train = Train()
    """How long and in what steps."""
    metrics: tuple[AnyMetric, ...] | None = Field(default=None, strict=False)
    """What is measured beside the loss; left out, what suits the loss."""

    @model_validator(mode="after")
    def _one_way_of_loss(self) -> Spec:
        require_one(self, "loss", "losses")
        return self

    @property
    def ordered_losses(self) -> tuple[WeightedLoss, ...]:
        """The loss of each output, in the order of ``model.outputs``."""
        if self.loss is not None:
            return (WeightedLoss(loss=self.loss),)
        assert self.losses is not None, "validation requires one of the two"
        return tuple(self.losses[name] for name in self.model.outputs or self.losses)

    @property
    def main_loss(self) -> Loss:
        """The loss of the main (first) output."""
        return self.ordered_losses[0].loss

    @cached_property
    def objective(self) -> Objective:
        """What is minimised, every default filled in."""
        terms = zip(self.graph.outputs, self.resolved.ordered_losses, strict=True)
        found = tuple(Term(output, item.loss, item.weight) for output, item in terms)
        return Objective(found, self.regularizers)

    @cached_property
    def resolved(self) -> Spec:
        """The same spec with every default written out: no framework default is left in play."""
        from dualml.conventions import resolve

        return resolve(self)

    @cached_property
    def graph(self) -> Graph:
        """The model as nodes with shapes and parameters, every default filled in.

        Raises:
            SpecError: The layers do not fit together; the message holds every problem. Or one of them cannot compute in
                mixed precision.
        """
        from dualml.conventions import fill, preset_of

        complete = partial(fill, preset=preset_of(self))
        predictions = [item.loss.prediction for item in self.ordered_losses]
        graph = build_graph(self.resolved.model, self.dtype, predictions, complete)
        if self.precision != MIXED:
            return graph
        check_mixed(graph)
        return replace(graph, mixed=True)

    @property
    def dtype(self) -> Precision:
        """Number format of what is kept: weights, data, losses."""
        return "float64" if self.precision == "float64" else "float32"

    def replace(self, **changes: Any) -> Spec:
        """A copy with some settings changed, validated like a new one.

        Example:
            >>> from dualml import Adam, CrossEntropy, Dense, Model
            >>> spec = Spec(model=Model(input=(4,), layers=[Dense(2)]), loss=CrossEntropy(), optimizer=Adam(0.001))
            >>> spec.replace(backend="tensorflow").backend
            'tensorflow'
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})

    def anchored(self, folder: Path) -> Spec:
        """A copy whose relative data files are absolute, seen from ``folder``."""
        return self if self.data is None else self.replace(data=self.data.anchored(folder))

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain values, in the form a config file has."""
        return self.model_dump(mode="json")
