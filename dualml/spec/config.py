"""The whole spec: what a config file holds."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dualml.spec.base import Settings
from dualml.spec.data import DataSettings
from dualml.spec.graph import Graph, build_graph
from dualml.spec.losses import AnyLoss
from dualml.spec.model import Model
from dualml.spec.optimizers import AnyOptimizer
from dualml.spec.schedules import AnySchedule, ConstantSchedule
from dualml.spec.train import Train

Precision = Literal["float32", "float64"]
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
    precision: Precision = "float32"
    """Number format of weights and arithmetic."""
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
    loss: AnyLoss
    """What is minimised."""
    optimizer: AnyOptimizer
    """How it is minimised."""
    schedule: AnySchedule = ConstantSchedule()
    """How the learning rate changes."""
    train: Train = Train()
    """How long and in what steps."""
    metrics: tuple[Literal["accuracy"], ...] | None = Field(default=None, strict=False)
    """What is measured beside the loss; left out, what suits the loss."""

    @cached_property
    def resolved(self) -> Spec:
        """The same spec with every default written out: no framework default is left in play."""
        from dualml.conventions import resolve

        return resolve(self)

    @cached_property
    def graph(self) -> Graph:
        """The model as nodes with shapes and parameters, every default filled in.

        Raises:
            SpecError: The layers do not fit together; the message holds every problem.
        """
        return build_graph(self.resolved.model, self.precision, self.loss.prediction)

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
