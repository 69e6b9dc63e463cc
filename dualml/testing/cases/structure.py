"""Models with several inputs and outputs, shared layers, groups, residuals and repetitions."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Add, Concat, Dense, Dropout, Group, Repeat, Residual, Shared
from dualml.spec.losses import CrossEntropy, MeanSquaredError
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case(
        "two-inputs",
        {"left": (3,), "right": (2, 2)},
        [
            Dense(units=4, activation=Tanh(), name="a", inputs="left"),
            Dense(units=2, name="b", inputs="right"),
            Dense(units=2, name="c", inputs="b"),
            Concat(axis=0, inputs=["c", "right"], name="d"),
            Dense(units=1, inputs="d", name="e"),
            Group((Dense(units=3),), name="f", inputs="a"),
            Group((Dense(units=3, inputs="input"),), name="g", inputs="f"),
            Add(inputs=["f", "g"]),
        ],
        outputs=("e", "add_1"),
        loss={"e": MeanSquaredError(), "add_1": {"loss": CrossEntropy(), "weight": 0.3}},
    ),
    Case(
        "two-outputs-weighted",
        (4,),
        [
            Dense(units=5, activation=Tanh(), name="trunk"),
            Dense(units=3, name="label"),
            Dense(units=4, activation=Tanh(), name="copy", inputs="trunk"),
        ],
        outputs=("label", "copy"),
        loss={"label": CrossEntropy(label_smoothing=0.1), "copy": {"loss": MeanSquaredError(), "weight": 0.7}},
        weighted=True,
        examples=4,
    ),
    Case("example-weights", (4,), [Dense(units=3)], weighted=True, examples=5),
    Case(
        "shared",
        {"one": (3,), "two": (3,)},
        [
            Dense(units=4, activation=Tanh(), name="encoder", inputs="one"),
            Shared("encoder", name="again", inputs="two"),
            Concat(inputs=["encoder", "again"]),
            Dense(units=2),
        ],
        **values(),
    ),
    Case(
        "shared-group",
        {"one": (3,), "two": (3,)},
        [
            Group((Dense(units=4, activation=Tanh()), Dropout(rate=0.3), Dense(units=2)), name="tower", inputs="one"),
            Shared("tower", inputs="two"),
            Add(inputs=["tower", "shared_1"]),
        ],
        **values(),
    ),
    Case("shared-in-a-row", (3,), [Dense(units=3, name="step", activation=Tanh()), Shared("step"), Shared("step")]),
    Case(
        "residual-layer",
        (4,),
        [
            Residual((Dense(units=4, activation=Tanh()), Dense(units=4)), activation=Tanh()),
            Residual((Dense(units=3),), shortcut=(Dense(units=3, bias=False),)),
        ],
    ),
    Case("repeat", (3,), [Repeat(times=3, layers=(Residual((Dense(units=3, activation=Tanh()),)),)), Dense(units=2)]),
)
