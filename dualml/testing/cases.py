"""What the conformance checks run on: one row for each layer, graph, activation, loss and optimizer with its settings.

A new layer, activation, loss or optimizer needs rows here and nothing else. Numbers are drawn from
``dualml.randomness``, so every backend sees the same ones; hyper-parameters are numbers that float32 does not
hold, so that one that passed through float32 shows in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from dualml import randomness
from dualml.protocol import Array, Batch
from dualml.spec.activations import Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh
from dualml.spec.base import Keyed
from dualml.spec.config import Conventions, Precision, Spec
from dualml.spec.graph import Graph
from dualml.spec.layers import Activation, Add, Concat, Dense, Dropout, Flatten, Layer, Reshape
from dualml.spec.losses import CrossEntropy, Loss, MeanSquaredError
from dualml.spec.model import Model
from dualml.spec.optimizers import Adam, AdamW, Clipping, GlobalNorm, Optimizer, Sgd
from dualml.spec.train import Train

SEED = 2
"""Of every number drawn here; one with which no value of a case lies near a kink of its activation."""


@dataclass(frozen=True)
class Case:
    """A model with its loss, and numbers to run it on.

    Attributes:
        name: Test id.
        input: Shape of one example.
        layers: The model.
        loss: The loss.
        conventions: Whose defaults fill what the layers leave unsaid.
        examples: Examples in a batch.
        scale: Inputs are uniform in ``(-scale, scale)``.
    """

    name: str
    input: tuple[int, ...]
    layers: Sequence[Layer]
    loss: Loss = field(default_factory=CrossEntropy)
    conventions: Conventions = "torch"
    examples: int = 3
    scale: float = 1.5

    def spec(self, precision: Precision = "float64", optimizer: Optimizer | None = None, **settings: Any) -> Spec:
        """The case as a spec."""
        return Spec(
            model=Model(input=self.input, layers=tuple(self.layers)),
            loss=self.loss,
            optimizer=optimizer or Sgd(),
            precision=precision,
            conventions=self.conventions,
            **settings,
        )

    @cached_property
    def _graphs(self) -> dict[Precision, Graph]:
        return {precision: self.spec(precision).graph for precision in ("float32", "float64")}

    def graph(self, precision: Precision = "float64") -> Graph:
        """The model worked out."""
        return self._graphs[precision]

    def weights(self, precision: Precision = "float64", *, variant: int = 0) -> dict[str, Array]:
        """Parameters uniform in (-1, 1), biases too, so that a forgotten one shows."""
        return {
            item.name: self._numbers(f"weights/{item.name}", item.shape, variant).astype(precision)
            for item in self.graph(precision).parameters
        }

    def inputs(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Array:
        """Shape ``(examples, *input)``."""
        shape = (self.examples if examples is None else examples, *self.input)
        return (self.scale * self._numbers("inputs", shape, variant)).astype(precision)

    def batch(self, precision: Precision = "float64", *, examples: int | None = None, variant: int = 0) -> Batch:
        """Inputs, and targets that suit the loss: every class occurs, or values uniform in (-1, 1)."""
        inputs = self.inputs(precision, examples=examples, variant=variant)
        shape = (len(inputs), *self.graph().output_shape)
        if self.loss.target == "class":
            count = int(np.prod(shape[:-1]))
            order = randomness.permutation(SEED + variant, f"{self.name}/targets", count)
            return Batch(inputs, (order % shape[-1]).reshape(shape[:-1]))
        return Batch(inputs, self._numbers("targets", shape, variant).astype(precision))

    def masks(self, examples: int | None = None, *, variant: int = 0) -> dict[str, Array]:
        """A mask for each dropout node."""
        examples = self.examples if examples is None else examples
        return {
            node.name: randomness.keep_mask(
                SEED + variant, f"{self.name}/masks/{node.name}", (examples, *node.shape), node.settings.rate
            )
            for node in self.graph().dropouts
        }

    def _numbers(self, path: str, shape: tuple[int, ...], variant: int) -> Array:
        return 2.0 * randomness.uniform(SEED + variant, f"{self.name}/{path}", shape) - 1.0


def _value(**settings: Any) -> dict[str, Any]:
    return {"loss": MeanSquaredError(), **settings}


LAYER_CASES: tuple[Case, ...] = (
    Case("dense", (4,), [Dense(units=3)]),
    Case("dense-square", (3,), [Dense(units=3)]),
    Case("dense-no-bias", (4,), [Dense(units=3, bias=False)]),
    Case("dense-one-unit", (1,), [Dense(units=1)], **_value()),
    Case("dense-over-last-axis", (2, 4), [Dense(units=3)], **_value()),
    Case("flatten", (2, 3), [Flatten(), Dense(units=3)]),
    Case("flatten-three-axes", (2, 3, 2), [Flatten(), Dense(units=2)], **_value()),
    Case("flatten-flat", (4,), [Flatten(), Dense(units=3)]),
    Case("reshape", (2, 6), [Reshape(target=(3, 4)), Dense(units=2), Flatten(), Dense(units=3)]),
    Case("reshape-inferred", (12,), [Reshape(target=(2, -1, 3)), Flatten(), Dense(units=3)]),
    Case("dropout", (6,), [Dense(units=5), Dropout(rate=0.3), Dense(units=3)], examples=4),
    Case("dropout-input", (2, 6), [Dropout(rate=0.7), Dense(units=2)], **_value()),
    Case("dropout-none", (5,), [Dense(units=4), Dropout(rate=0.0), Dense(units=3)]),
    Case(
        "dropout-twice",
        (5,),
        [Dense(units=6, activation=Tanh()), Dropout(rate=0.1), Dense(units=6), Dropout(rate=0.6), Dense(units=3)],
    ),
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
)
"""Each layer with its settings."""

GRAPH_CASES: tuple[Case, ...] = (
    Case("mlp", (6,), [Dense(units=5, activation=Relu()), Dense(units=4, activation=Relu()), Dense(units=3)]),
    Case(
        "mlp-values",
        (4,),
        [Dense(units=5, activation=Tanh()), Dense(units=2, activation=Sigmoid())],
        **_value(conventions="keras"),
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


def _activation(name: str, function: Keyed, conventions: Conventions = "torch") -> Case:
    return Case(name, (4,), [Dense(units=4, activation=function), Dense(units=3)], conventions=conventions)


ACTIVATION_CASES: tuple[Case, ...] = (
    _activation("relu", Relu()),
    _activation("tanh", Tanh()),
    _activation("sigmoid", Sigmoid()),
    _activation("gelu-exact", Gelu(approximate="none")),
    _activation("gelu-tanh", Gelu(approximate="tanh")),
    _activation("leaky-relu", LeakyRelu(negative_slope=0.1)),
    _activation("leaky-relu-negative", LeakyRelu(negative_slope=-0.3)),
    _activation("leaky-relu-torch", LeakyRelu()),
    _activation("leaky-relu-keras", LeakyRelu(), "keras"),
    _activation("elu", Elu(alpha=0.7)),
    _activation("elu-torch", Elu()),
    _activation("elu-keras", Elu(), "keras"),
    _activation("silu", Silu()),
    _activation("softplus", Softplus(beta=1.7, threshold="none")),
    _activation("softplus-threshold", Softplus(beta=1.7, threshold=0.6)),
    _activation("softplus-torch", Softplus()),
    _activation("softplus-keras", Softplus(), "keras"),
    _activation("gelu-torch", Gelu()),
    _activation("gelu-keras", Gelu(), "keras"),
    _activation("softmax", Softmax()),
    Case("softmax-over-last-axis", (2, 3), [Activation(function=Softmax()), Dense(units=2)], **_value()),
)
"""Each activation with its settings, and with what each convention fills in."""

LOSS_CASES: tuple[Case, ...] = (
    Case("cross-entropy", (4,), [Dense(units=3)], CrossEntropy(), examples=5),
    Case("cross-entropy-smoothed", (4,), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=5),
    Case("cross-entropy-two-classes", (4,), [Dense(units=2)], CrossEntropy(label_smoothing=0.3), examples=4),
    Case("cross-entropy-large-logits", (4,), [Dense(units=3)], CrossEntropy(), examples=5, scale=300.0),
    Case("cross-entropy-positions", (2, 4), [Dense(units=3)], CrossEntropy(label_smoothing=0.1), examples=3),
    Case("mse", (4,), [Dense(units=3)], MeanSquaredError(), examples=5),
    Case("mse-one-value", (4,), [Dense(units=1)], MeanSquaredError(), examples=3),
    Case("mse-two-axes", (2, 4), [Dense(units=3)], MeanSquaredError(), examples=3),
)
"""Each loss with its settings."""

NETWORK_CASES = (*LAYER_CASES, *GRAPH_CASES, *ACTIVATION_CASES)
"""Everything a value or a gradient is checked on."""

PLAIN = Case("plain", (3,), [Dense(units=4, activation=Tanh()), Dense(units=3)], examples=4)
"""A small smooth network for the checks of the protocol."""

THIN = Case("thin", (3,), [Dense(units=5, activation=Tanh()), Dropout(rate=0.4), Dense(units=3)], examples=4)
"""The same with dropout."""


@dataclass(frozen=True)
class Update:
    """An optimizer with every setting filled in, and how its gradients are clipped.

    Attributes:
        name: Test id.
        optimizer: The optimizer, resolved.
        clip: The clipping, resolved.
    """

    name: str
    optimizer: Optimizer
    clip: Clipping | None = None


def _update(
    name: str, optimizer: Optimizer, conventions: Conventions = "torch", clip: Clipping | None = None
) -> Update:
    case = Case(name, PLAIN.input, PLAIN.layers, conventions=conventions)
    resolved = case.spec(optimizer=optimizer, train=Train(clip=clip)).resolved
    return Update(name, resolved.optimizer, resolved.train.clip)


def _optimizers() -> list[Update]:
    rows = []
    presets: tuple[Conventions, ...] = ("torch", "keras")
    for conventions in presets:
        rows += [
            _update(f"sgd-{conventions}", Sgd(), conventions),
            _update(f"adam-{conventions}", Adam(), conventions),
            _update(f"adamw-{conventions}", AdamW(), conventions),
        ]
    decays: tuple[tuple[str, dict[str, Any]], ...] = (
        ("", {}),
        ("-coupled", {"weight_decay": 0.03, "decay": "coupled"}),
        ("-decoupled", {"weight_decay": 0.03, "decay": "decoupled"}),
    )
    for suffix, decay in decays:
        if decay:
            rows.append(_update(f"sgd{suffix}", Sgd(**decay)))
        for nesterov in (False, True):
            for inside in (False, True):
                kind = "nesterov" if nesterov else "momentum"
                rows.append(
                    _update(
                        f"sgd-{kind}{'-lr-inside' if inside else ''}{suffix}",
                        Sgd(momentum=0.9, nesterov=nesterov, lr_in_momentum=inside, **decay),
                    )
                )
        placements: tuple[Literal["corrected", "uncorrected"], ...] = ("corrected", "uncorrected")
        for placement in placements:
            # A large epsilon and fast betas: each of them matters from the first update.
            settings: dict[str, Any] = {"beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3, "epsilon_placement": placement}
            rows.append(_update(f"adam-{placement}{suffix}", Adam(**settings, **decay)))
            if suffix == "-decoupled":
                rows.append(_update(f"adamw-{placement}", AdamW(**settings, weight_decay=0.03)))
    rows.append(_update("adam-no-memory", Adam(beta1=0.0, beta2=0.0, epsilon=1e-3)))
    return rows


OPTIMIZER_CASES: tuple[Update, ...] = tuple(_optimizers())
"""Each optimizer: what each convention fills in, and every combination of settings."""

CLIPPING_CASES: tuple[Update, ...] = (
    _update("clip-active", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.0)),
    _update("clip-active-epsilon", Sgd(), clip=GlobalNorm(max_norm=0.7, epsilon=0.1)),
    _update("clip-torch", Sgd(), "torch", clip=GlobalNorm(max_norm=0.7)),
    _update("clip-keras", Sgd(), "keras", clip=GlobalNorm(max_norm=0.7)),
    _update("clip-inactive", Sgd(), clip=GlobalNorm(max_norm=700.3, epsilon=0.0)),
    _update("clip-adam", Adam(epsilon=0.1), clip=GlobalNorm(max_norm=0.7)),
    _update("clip-decay", Sgd(weight_decay=0.3, decay="coupled"), clip=GlobalNorm(max_norm=0.7)),
)
"""Clipping that acts and clipping that does not, under each convention."""


def gradients(case: Case, update: int, precision: Precision = "float64") -> dict[str, Array]:
    """Gradients that tell formulas apart: each of +-1, 1e-3, 1e-7 and 0 occurs, and moves with the update.

    Args:
        case: Whose parameters they are for.
        update: Number of the update, from 0.
        precision: Their number format.
    """
    sizes = np.array([1.0, -1e-3, 1e-7, 0.0, -1.0, 0.3, 1e-3, -1e-7])
    found = {}
    for place, item in enumerate(case.graph(precision).parameters):
        count = int(np.prod(item.shape))
        found[item.name] = sizes[(np.arange(count) + 3 * place + update) % len(sizes)].reshape(item.shape)
    return {name: value.astype(precision) for name, value in found.items()}


RATES = (0.1, 0.1, 0.037, 0.037)
"""Learning rates of successive updates: with one change, for what hides while the rate is constant."""

EDGE_INPUTS = np.array(
    [[-100.0, -20.5, -5.0, -1.0], [-0.3, -1e-3, 0.0, 1e-3], [0.3, 1.0, 5.0, 11.0], [12.5, 19.5, 20.5, 100.0]]
)
"""Inputs of an activation where it saturates, changes its formula or would overflow; shape ``(4, 4)``."""
