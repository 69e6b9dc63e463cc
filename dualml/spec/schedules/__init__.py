"""Learning-rate schedules: settings and the rate of every update, computed once for both backends."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.schedules.base import History, Schedule, Warmup
from dualml.spec.schedules.decays import (
    ConstantSchedule,
    ExponentialSchedule,
    InverseSqrt,
    InverseTime,
    LinearSchedule,
    Polynomial,
)
from dualml.spec.schedules.plateau import ReduceOnPlateau
from dualml.spec.schedules.steps import MultiStep, Piecewise, Step
from dualml.spec.schedules.waves import Cosine, CosineRestarts, OneCycle

SCHEDULES: tuple[type[Schedule], ...] = (
    ConstantSchedule,
    Step,
    MultiStep,
    Piecewise,
    ExponentialSchedule,
    InverseTime,
    Polynomial,
    LinearSchedule,
    InverseSqrt,
    Cosine,
    CosineRestarts,
    OneCycle,
    ReduceOnPlateau,
)
"""Every schedule, in the order of the documentation."""

AnySchedule: TypeAlias = Annotated[Schedule, OneKey(*SCHEDULES)]
"""The type of the spec's ``schedule``."""

__all__ = [
    "SCHEDULES",
    "AnySchedule",
    "ConstantSchedule",
    "Cosine",
    "CosineRestarts",
    "ExponentialSchedule",
    "History",
    "InverseSqrt",
    "InverseTime",
    "LinearSchedule",
    "MultiStep",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
]
