"""Faults of the optimizer: other settings, other formulas.

Adam and its kin differ between the frameworks by themselves (where epsilon stands): those pairs are of one
framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch

from benchmarks.faults import wrong_keras, wrong_torch
from benchmarks.faults.fault import FAMILIES, UPDATE, Fault
from benchmarks.faults.side import Framework, Side


@dataclass(frozen=True)
class Rule:
    """One optimizer in both frameworks.

    Attributes:
        torch: PyTorch's class.
        keras: Keras' class.
        settings: Settings under PyTorch's names.
    """

    torch: Callable[..., Any]
    keras: Callable[..., Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def sides(self, **changed: Any) -> dict[Framework, Side]:
        """Both sides' optimizers, some settings changed."""
        given = {**self.settings, **changed}

        def make_torch(parameters: Any) -> Any:
            return self.torch(parameters, **given)

        def make_keras() -> Any:
            return self.keras(**as_keras(given))

        return {"torch": Side(optimizer=make_torch), "keras": Side(optimizer=make_keras)}


NAMES = {
    "lr": "learning_rate",
    "eps": "epsilon",
    "alpha": "rho",
    "initial_accumulator_value": "initial_accumulator_value",
}


def as_keras(settings: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's names of settings as Keras has them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "betas":
            found["beta_1"], found["beta_2"] = value
        else:
            found[NAMES.get(name, name)] = value
    return found


SGD = Rule(torch.optim.SGD, keras.optimizers.SGD, {"lr": 0.05})
MOMENTUM = Rule(torch.optim.SGD, keras.optimizers.SGD, {"lr": 0.05, "momentum": 0.9})
ADAM = Rule(torch.optim.Adam, keras.optimizers.Adam, {"lr": 0.01, "eps": 1e-8, "betas": (0.9, 0.999)})
ADAMW = Rule(
    torch.optim.AdamW,
    keras.optimizers.AdamW,
    {"lr": 0.01, "eps": 1e-8, "betas": (0.9, 0.999), "weight_decay": 0.01},
)
RMSPROP = Rule(torch.optim.RMSprop, keras.optimizers.RMSprop, {"lr": 0.01, "eps": 1e-7, "alpha": 0.9})
ADAGRAD = Rule(
    torch.optim.Adagrad, keras.optimizers.Adagrad, {"lr": 0.01, "eps": 1e-7, "initial_accumulator_value": 0.1}
)

CHANGED: tuple[tuple[str, Rule, str, tuple[Any, ...], tuple[str, ...], tuple[int, ...]], ...] = (
    ("optimizer.epsilon", ADAM, "eps", (1e-7, 1e-6, 1e-3), UPDATE, (1,)),
    ("optimizer.epsilon", RMSPROP, "eps", (1e-8, 1e-5), UPDATE, (1,)),
    ("optimizer.epsilon", ADAGRAD, "eps", (1e-10,), UPDATE, (1,)),
    ("optimizer.betas", ADAM, "betas", ((0.9, 0.99), (0.9, 0.9991), (0.5, 0.999), (0.9, 0.99900001)), UPDATE, (1, 2)),
    ("optimizer.betas", RMSPROP, "alpha", (0.99, 0.95), UPDATE, (1,)),
    ("optimizer.weight_decay", ADAMW, "weight_decay", (0.004, 0.0, 0.0101), UPDATE, (1,)),
    ("optimizer.initial_accumulator", ADAGRAD, "initial_accumulator_value", (0.0, 0.11), UPDATE, (0, 1)),
)
RATES = (0.01, 0.055, 0.05005, 0.05000005)
MOMENTA = (0.0, 0.99, 0.91, 0.90001)


def faults() -> list[Fault]:
    """All of them."""
    return [
        *_rates(),
        *_settings(),
        *_kinds(),
        *_formulas(),
        *_decay(),
        *_precision(),
    ]


def _fault(cause: str, family: str, name: str, right: Any, wrong: Any, **more: Any) -> Fault:
    return Fault(
        cause,
        family,
        name,
        more.pop("node", ()),
        more.pop("phases", UPDATE),
        wrong.get("torch"),
        wrong.get("keras"),
        {framework: side for framework, side in right.items() if side is not None},
        **more,
    )


def _rates() -> Iterator[Fault]:
    for family in FAMILIES:
        for rate in RATES if family == "mlp" else RATES[:2]:
            yield _fault(
                "optimizer.lr",
                family,
                f"{rate:.8g}",
                SGD.sides(),
                SGD.sides(lr=rate),
                magnitude=abs(rate / 0.05 - 1),
                curve="optimizer.lr, relative",
            )
        for momentum in MOMENTA if family == "mlp" else MOMENTA[:2]:
            yield _fault(
                "optimizer.momentum",
                family,
                f"{momentum:g}",
                MOMENTUM.sides(),
                MOMENTUM.sides(momentum=momentum),
                steps=(1, 2),
                magnitude=abs(momentum / 0.9 - 1),
                curve="optimizer.momentum, relative",
            )
        yield _fault(
            "optimizer.nesterov", family, "nesterov", MOMENTUM.sides(), MOMENTUM.sides(nesterov=True), steps=(1, 2)
        )


def _settings() -> Iterator[Fault]:
    for number, (cause, rule, name, values, phases, steps) in enumerate(CHANGED):
        for place, value in enumerate(values):
            for family in FAMILIES if place == 0 else (FAMILIES[(number + place) % len(FAMILIES)],):
                written = "_".join(f"{part:.9g}" for part in (value if isinstance(value, tuple) else (value,)))
                yield _fault(
                    cause,
                    family,
                    f"{rule.torch.__name__.lower()}_{written}",
                    rule.sides(),
                    rule.sides(**{name: value}),
                    phases=phases,
                    steps=steps,
                    same=True,
                )


def _kinds() -> Iterator[Fault]:
    adam, rmsprop = ADAM.sides(), RMSPROP.sides()
    for number, family in enumerate(FAMILIES):
        yield _fault("optimizer.kind", family, "adam_for_sgd", SGD.sides(), adam)
        if number % 2:
            yield _fault("optimizer.kind", family, "rmsprop_for_adam", adam, rmsprop, same=True)
        else:
            nadam = {
                "torch": Side(optimizer=lambda parameters: torch.optim.NAdam(parameters, lr=0.01)),
                "keras": Side(optimizer=lambda: keras.optimizers.Nadam(0.01, epsilon=1e-8)),
            }
            yield _fault("optimizer.kind", family, "nadam_for_adam", adam, nadam, same=True)


def _falling() -> Any:
    return keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.05, 0.025])


def _formulas() -> Iterator[Fault]:
    def made(torch_kind: Any, keras_kind: Any, rule: Rule, **settings: Any) -> dict[str, Side]:
        given = {**rule.settings, **settings}
        found: dict[str, Side] = {}
        if torch_kind is not None:
            found["torch"] = Side(optimizer=lambda parameters: torch_kind(parameters, **given))
        if keras_kind is not None:
            found["keras"] = Side(optimizer=lambda: keras_kind(**as_keras(given)))
        return found

    for family in FAMILIES:
        corrected = made(wrong_torch.NoBiasCorrection, wrong_keras.NoBiasCorrection, ADAM)
        yield _fault("optimizer.bias_correction", family, "none", ADAM.sides(), corrected, same=True)
        visible = ADAM.sides(eps=1e-3)
        moved = made(wrong_torch.OuterEpsilon, wrong_keras.CorrectedEpsilon, ADAM, eps=1e-3)
        yield _fault("optimizer.epsilon_placement", family, "in_a_subclass", visible, moved, same=True)
        yield Fault(
            "optimizer.epsilon_placement",
            family,
            "stock_optimizers",
            (),
            UPDATE,
            visible["torch"],
            visible["keras"],
            natural=True,
        )
        # The rate must change for this one to show: it falls at the second update.
        yield _fault(
            "optimizer.lr_inside_momentum",
            family,
            "falling_rate",
            {
                **made(wrong_torch.RateOutside, None, MOMENTUM),
                "keras": Side(optimizer=lambda: keras.optimizers.SGD(_falling(), momentum=0.9)),
            },
            {
                **made(wrong_torch.RateInside, None, MOMENTUM),
                "keras": Side(optimizer=lambda: wrong_keras.RateOutside(_falling(), momentum=0.9)),
            },
            steps=(1, 2),  # the velocity itself is another one from the first update on
            same=True,
        )


def _decay() -> Iterator[Fault]:
    def in_the_gradient(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, lr=0.01, weight_decay=0.01)

    def grouped(parameters: Any) -> Any:
        many = [p for p in parameters if p.ndim > 1]
        few = [p for p in parameters if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": many}, {"params": few, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.01)

    def excluding() -> Any:
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.01, epsilon=1e-8)
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        return optimizer

    for family in FAMILIES:
        coupled = {"torch": Side(optimizer=in_the_gradient)}
        yield _fault("optimizer.decay_coupling", family, "adam_for_adamw", ADAMW.sides(), coupled, same=True)
        # With plain SGD, decay in the gradient and decay of the weights are one formula; with momentum they are two.
        natural = {
            "torch": Side(
                optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.1)
            ),
            "keras": Side(optimizer=lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1)),
        }
        yield Fault(
            "optimizer.decay_coupling",
            family,
            "stock_sgd",
            (),
            UPDATE,
            natural["torch"],
            natural["keras"],
            steps=(1, 2),
            natural=True,
        )
        scoped = {"torch": Side(optimizer=grouped), "keras": Side(optimizer=excluding)}
        yield _fault("optimizer.decay_scope", family, "weights_only", ADAMW.sides(), scoped, same=True)


def _precision() -> Iterator[Fault]:
    nine = float(np.float32(0.9))
    for family in FAMILIES:
        yield _fault(
            "optimizer.hyperparameter_precision",
            family,
            "momentum_in_float32",
            MOMENTUM.sides(),
            {"torch": MOMENTUM.sides(momentum=nine)["torch"]},
            steps=(1, 2),
            also=("optimizer.momentum",),
        )
