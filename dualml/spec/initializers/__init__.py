"""How initial weights are drawn. Every family is a formula on numbers from ``dualml.randomness``."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.initializers.base import InitializerBase
from dualml.spec.initializers.fixed import Constant, Dirac, Identity, Ones, Zeros
from dualml.spec.initializers.matrices import Orthogonal, Sparse
from dualml.spec.initializers.plain import Normal, TruncatedNormal, Uniform
from dualml.spec.initializers.recurrent import GateUniform, UnitForgetBias
from dualml.spec.initializers.scaled import (
    FanInUniform,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

INITIALIZERS: tuple[type[InitializerBase], ...] = (
    Zeros,
    Ones,
    Constant,
    Identity,
    Dirac,
    Uniform,
    Normal,
    TruncatedNormal,
    FanInUniform,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    KaimingUniform,
    KaimingNormal,
    VarianceScaling,
    Orthogonal,
    Sparse,
    GateUniform,
    UnitForgetBias,
)
"""Every initializer, in the order of the documentation."""

Initializer: TypeAlias = Annotated[InitializerBase | str, OneKey(*INITIALIZERS, name="Initializer")]
"""The type of a setting that names an initializer."""

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Dirac",
    "FanInUniform",
    "GateUniform",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "InitializerBase",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "Sparse",
    "TruncatedNormal",
    "Uniform",
    "UnitForgetBias",
    "VarianceScaling",
    "Zeros",
]
