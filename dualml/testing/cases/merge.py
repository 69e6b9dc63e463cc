"""Layers of several inputs."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.layers import Add, Concat, Dense, Flatten
from dualml.spec.layers.merge import Average, Maximum, Minimum, Multiply, Subtract
from dualml.spec.layers.pooling import MaxPool2d
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("add", (4,), [Dense(units=3, name="a"), Dense(units=3, name="b", inputs="input"), Add(inputs=["a", "b"])]),
    Case(
        "add-three",
        (3,),
        [
            Dense(units=3, name="a"),
            Dense(units=3, name="b"),
            Add(inputs=["a", "input", "b"], name="sum"),
            Dense(units=2),
        ],
    ),
    Case("add-twice", (4,), [Dense(units=3, name="a", activation=Tanh()), Add(inputs=["a", "a"])]),
    Case(
        "multiply",
        (4,),
        [Dense(units=3, name="a"), Dense(units=3, name="b", inputs="input"), Multiply(inputs=["a", "b"])],
    ),
    Case("multiply-three", (3,), [Dense(units=3, name="a"), Multiply(inputs=["a", "input", "a"]), Dense(units=2)]),
    Case(
        "concat", (4,), [Dense(units=3, name="a"), Dense(units=2, name="b", inputs="input"), Concat(inputs=["b", "a"])]
    ),
    Case(
        "concat-first-axis",
        (2, 3),
        [Dense(units=3, name="a"), Concat(axis=0, inputs=["a", "input", "a"]), Flatten(), Dense(units=3)],
    ),
    Case(
        "concat-middle-axis",
        (2, 3, 2),
        [Dense(units=2, name="a"), Concat(axis=-2, inputs=["a", "input"]), Flatten(), Dense(units=2)],
    ),
    Case(
        "subtract",
        (4,),
        [Dense(units=3, name="a"), Dense(units=3, name="b", inputs="input"), Subtract(inputs=["a", "b"])],
    ),
    Case("average", (3,), [Dense(units=3, name="a"), Dense(units=3, name="b"), Average(inputs=["a", "input", "b"])]),
    Case(
        "multiply-sizes",
        (2, 3),
        [Dense(units=1, name="a"), Multiply(inputs=["a", "input"]), Dense(units=2)],
        **values(),
    ),
    Case(
        "multiply-vector",
        {"image": (4, 4, 2), "gate": (2,), "column": (2, 2)},
        [MaxPool2d(2, inputs="image", name="a"), Multiply(inputs=["gate", "a", "column"]), Dense(units=2)],
        **values(),
    ),
    Case("maximum", (3,), [Dense(units=3, name="a"), Dense(units=3, name="b"), Maximum(inputs=["a", "b", "input"])]),
    Case(
        "maximum-first", (3,), [Dense(units=3, name="a"), Maximum(inputs=["a", "input"])], **values(conventions="keras")
    ),
    Case(
        "minimum",
        (3,),
        [Dense(units=3, name="a"), Dense(units=3, name="b"), Minimum(inputs=["a", "b", "input"])],
        scale=3.0,
    ),
    Case(
        "minimum-first", (3,), [Dense(units=3, name="a"), Minimum(inputs=["a", "input"])], **values(conventions="keras")
    ),
)
