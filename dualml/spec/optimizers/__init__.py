"""Optimizers and gradient clipping. ``g`` is the gradient, ``p`` a parameter, ``t`` counts updates from 1.

A setting left at ``None`` is filled by the conventions; each difference between the frameworks' formulas
is a setting of its own, so a resolved spec says which formula it means. One module for each family.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dualml.spec.base import OneKey
from dualml.spec.optimizers.adafactor import Adafactor
from dualml.spec.optimizers.adam import Adam, Adamax, AdamW, Moments, NAdam
from dualml.spec.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from dualml.spec.optimizers.base import AVERAGE, LARGEST, DecayScope, Ema, Optimizer, ParameterGroup, in_scope
from dualml.spec.optimizers.clipping import Clipping, GlobalNorm, ParameterNorm, ValueLimit
from dualml.spec.optimizers.lion import Lion
from dualml.spec.optimizers.muon import Muon
from dualml.spec.optimizers.sgd import Sgd

OPTIMIZERS: tuple[type[Optimizer], ...] = (
    Sgd,
    Adam,
    AdamW,
    NAdam,
    Adamax,
    RMSprop,
    Adagrad,
    Adadelta,
    Lion,
    Adafactor,
    Muon,
)
"""Every optimizer, in the order of the documentation."""

AnyOptimizer: TypeAlias = Annotated[Optimizer, OneKey(*OPTIMIZERS)]
"""The type of the spec's ``optimizer``."""

CLIPPINGS: tuple[type[Clipping], ...] = (GlobalNorm, ParameterNorm, ValueLimit)
"""Every way to clip gradients, in the order of the documentation."""

AnyClipping: TypeAlias = Annotated[Clipping, OneKey(*CLIPPINGS)]
"""The type of ``train.clip``."""

__all__ = [
    "AVERAGE",
    "CLIPPINGS",
    "LARGEST",
    "OPTIMIZERS",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AnyClipping",
    "AnyOptimizer",
    "Clipping",
    "DecayScope",
    "Ema",
    "GlobalNorm",
    "Lion",
    "Moments",
    "Muon",
    "NAdam",
    "Optimizer",
    "ParameterGroup",
    "ParameterNorm",
    "RMSprop",
    "Sgd",
    "ValueLimit",
    "in_scope",
]
