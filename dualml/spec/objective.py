"""What a training minimises: a loss for each output, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dualml.spec.base import Settings
from dualml.spec.graph import Graph
from dualml.spec.losses import AnyLoss, Loss
from dualml.spec.regularizers import Regularizer


class WeightedLoss(Settings):
    """The loss of one output among several; a bare loss has weight 1."""

    loss: AnyLoss
    """The loss."""
    weight: float = Field(default=1.0, gt=0)
    """What it is multiplied by in the sum of all losses."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: object) -> object:
        if isinstance(value, Loss | str) or (isinstance(value, Mapping) and "loss" not in value):
            return {"loss": value}
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [full["properties"]["loss"], full]}


@dataclass(frozen=True)
class Term:
    """One summand.

    Attributes:
        output: Name of the output node.
        loss: The loss, every default filled in.
        weight: What it is multiplied by.
    """

    output: str
    loss: Loss
    weight: float = 1.0


@dataclass(frozen=True)
class Objective:
    """``sum_t weight_t sum_i w_i l_ti / D_t + penalties``.

    ``l_ti`` is loss ``t`` of example ``i``, ``w_i`` the example's weight (1 if there is none) and ``D_t`` the number of
    examples, or what else the loss says it is divided by.

    Attributes:
        terms: One for each output, in their order.
        penalties: Functions of the weights alone, which are added.
    """

    terms: tuple[Term, ...]
    penalties: tuple[Regularizer, ...] = ()


Minimised: TypeAlias = Loss | Objective
"""An objective, or the loss of a model with one output."""


def as_objective(minimised: Minimised, graph: Graph) -> Objective:
    """The objective itself, or a loss as the objective of a model with one output."""
    if isinstance(minimised, Objective):
        return minimised
    return Objective((Term(graph.output, minimised),))
