"""Graphs with branches, chains and names."""

from __future__ import annotations

from dualml.spec.activations import Relu, Sigmoid, Tanh
from dualml.spec.layers import Activation, Add, Concat, Dense, Dropout, Flatten
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("mlp", (6,), [Dense(units=5, activation=Relu()), Dense(units=4, activation=Relu()), Dense(units=3)]),
    Case(
        "mlp-values",
        (4,),
        [Dense(units=5, activation=Tanh()), Dense(units=2, activation=Sigmoid())],
        **values(conventions="keras"),
    ),
    Case(
        "residual",
        (4,),
        [
            Dense(units=4, activation=Tanh(), name="stem"),
            Dense(units=4, activation=Tanh(), name="inner"),
            Dense(units=4, name="outer"),
            Add(inputs=["stem", "outer"], name="joined"),
            Activation(function=Tanh(), name="bent"),
            Dense(units=3, name="head"),
        ],
    ),
    Case(
        "branches",
        (2, 3),
        [
            Flatten(name="flat"),
            Dense(units=4, activation=Tanh(), name="left"),
            Dense(units=3, activation=Sigmoid(), name="right", inputs="flat"),
            Dropout(rate=0.4, name="thin"),
            Concat(inputs=["left", "thin", "flat"], name="both"),
            Dense(units=3, name="head"),
        ],
    ),
    # Names a framework has uses of its own for, and names that differ in case only.
    Case(
        "awkward-names",
        (3,),
        [
            Dense(units=3, name="training", activation=Tanh()),
            Dense(units=3, name="forward"),
            Dense(units=3, name="weight"),
            Dense(units=3, name="_hidden"),
            Dense(units=3, name="layers"),
            Dense(units=3, name="name"),
            Dense(units=3, name="Name"),
        ],
    ),
)
"""Graphs with branches, chains and names."""
