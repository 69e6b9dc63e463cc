"""What the conformance checks run on: one row for each layer, graph, activation, loss and optimizer with its settings.

A new layer, activation, loss or optimizer needs rows here and nothing else. Numbers are drawn from
``dualml.randomness``, so every backend sees the same ones; hyper-parameters are numbers that float32 does not
hold, so that one that passed through float32 shows in float64.
"""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Dense, Dropout
from dualml.testing.cases import (
    activations,
    attention,
    convolution,
    dense,
    dropout,
    embedding,
    gated,
    graphs,
    losses,
    masks,
    merge,
    normalization,
    pooling,
    recurrent,
    shape,
    structure,
    transformer,
)
from dualml.testing.cases.activations import EDGE_INPUTS
from dualml.testing.cases.base import RATES, SEED, Case, Update, gradients
from dualml.testing.cases.optimizers import CLIPPING_CASES, OPTIMIZER_CASES

LAYER_CASES: tuple[Case, ...] = (
    *dense.CASES,
    *shape.CASES,
    *dropout.CASES,
    *merge.CASES,
    *masks.CASES,
    *embedding.CASES,
    *attention.CASES,
    *transformer.CASES,
    *convolution.CASES,
    *normalization.CASES,
    *recurrent.CASES,
    *pooling.CASES,
    *gated.CASES,
)
"""Each layer with its settings."""


GRAPH_CASES = (*graphs.CASES, *structure.CASES)
"""Graphs with branches, chains and names."""


ACTIVATION_CASES = activations.CASES
"""Each activation with its settings, and with what each convention fills in."""


LOSS_CASES = (*losses.CASES, *losses.COUNTING_CASES, *losses.REGULARIZER_CASES)
"""Each loss with its settings."""


NETWORK_CASES = (*LAYER_CASES, *GRAPH_CASES, *ACTIVATION_CASES)
"""Everything a value or a gradient is checked on."""


PLAIN = Case("plain", (3,), [Dense(units=4, activation=Tanh()), Dense(units=3)], examples=4)
"""A small smooth network for the checks of the protocol."""


THIN = Case("thin", (3,), [Dense(units=5, activation=Tanh()), Dropout(rate=0.4), Dense(units=3)], examples=4)
"""The same with dropout."""


__all__ = [
    "ACTIVATION_CASES",
    "CLIPPING_CASES",
    "EDGE_INPUTS",
    "GRAPH_CASES",
    "LAYER_CASES",
    "LOSS_CASES",
    "NETWORK_CASES",
    "OPTIMIZER_CASES",
    "PLAIN",
    "RATES",
    "SEED",
    "THIN",
    "Case",
    "Update",
    "gradients",
]
