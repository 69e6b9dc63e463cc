"""Optimizers: the stock Keras one where its formula is the spec's, else one of ``formulas``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from dualml.spec.graph import Graph
from dualml.spec.optimizers import Muon, Optimizer
from dualml_tensorflow import formulas

KERAS_NORM_EPSILON = 1e-7
"""What ``keras.optimizers.Muon`` adds to a norm, whatever its ``epsilon`` says: that one is AdamW's."""


@dataclass(frozen=True)
class Plan:
    """An optimizer's settings for the variables of one model, in their order.

    Attributes:
        settings: Every setting by name, filled in; ``ns_coefficients`` and the like as they are.
        precision: Dtype of the variables.
        lr_factors: What each variable's learning rate is multiplied by.
        decays: Each variable's weight decay.
        matrices: For Muon, whether each variable is orthogonalised.
        paths: Each variable's path in Keras.
    """

    settings: Mapping[str, Any]
    precision: str
    lr_factors: Sequence[float]
    decays: Sequence[float]
    matrices: Sequence[bool]
    paths: Sequence[str]

    def __getitem__(self, name: str) -> Any:
        return self.settings[name]

    def numbers(self, **names: str) -> dict[str, Any]:
        """Settings as a stock optimizer takes them in full precision: its argument to our name.

        Keras casts Python floats to float32 on their way to float64 arrays, and leaves ``np.float64`` (which is a
        ``float`` too) as it is. To float32 arrays it must stay a Python float: an ``np.float64`` would promote the
        arithmetic to float64, which a loop written by hand does not do.
        """
        return {argument: self.number(self[name]) for argument, name in names.items()}

    def number(self, value: float) -> float:
        """One such number."""
        return np.float64(value) if self.precision == "float64" else float(value)

    @property
    def decay(self) -> str:
        """How weight decay enters; empty where nothing decays."""
        return self["decay"] if any(self.decays) else ""

    @property
    def stock_can(self) -> bool:
        """Whether a stock optimizer can do what all formulas have: it knows one rate, one decoupled decay, one average.

        ``keras.optimizers.Muon`` alone knows a decay for matrices and one for everything else.
        """
        ema, pairs = self["ema"], list(zip(self.matrices, self.decays, strict=True))
        return (
            set(self.lr_factors) <= {1.0}
            and self.decay != "coupled"
            and all(len({decay for item, decay in pairs if item is matrix and decay}) <= 1 for matrix in (True, False))
            and (ema is None or ema.every == 1)
        )

    def stock(self, native: Any, **arguments: Any) -> Any:
        """A stock optimizer; variables that do not decay are excluded by name when it is built."""
        decay = max(self.decays, default=0.0)
        nothing = 0.0 if native is keras.optimizers.AdamW else None  # what each takes for no decay
        common = {"weight_decay": self.number(decay) if decay else nothing, **self.average(exact=self.number)}
        return native(float(self["lr"]), **{**common, **arguments})

    def formula(self, native: Any, *names: str, **arguments: Any) -> Any:
        """One of ``formulas``, with the settings of these names and those of all formulas."""
        ema = self["ema"]
        return native(
            float(self["lr"]),
            weight_decay=max(self.decays, default=0.0),
            decay=self["decay"],
            lr_factors=None if set(self.lr_factors) <= {1.0} else self.lr_factors,
            weight_decays=None if len(set(self.decays)) <= 1 else self.decays,
            ema_every=1 if ema is None else ema.every,
            **self.average(exact=float),
            **{name: self[name] for name in names},
            **arguments,
        )

    def average(self, exact: Callable[[float], float]) -> dict[str, Any]:
        """Arguments for the moving average of the weights."""
        ema = self["ema"]
        return {} if ema is None else {"use_ema": True, "ema_momentum": exact(ema.decay)}


def _sgd(plan: Plan) -> Any:
    """``keras.optimizers.SGD`` for steps in the momentum."""
    if plan.stock_can and (plan["lr_in_momentum"] or not plan["momentum"]):  # without momentum it holds nothing
        return plan.stock(keras.optimizers.SGD, nesterov=plan["nesterov"], **plan.numbers(momentum="momentum"))
    return plan.formula(formulas.FormulaSgd, "momentum", "nesterov", "lr_in_momentum")


def _betas(plan: Plan) -> dict[str, Any]:
    return {"beta_1": plan["beta1"], "beta_2": plan["beta2"]}


_MOMENTS = {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon"}


def _adam(plan: Plan) -> Any:
    """``keras.optimizers.Adam`` for an uncorrected epsilon."""
    return _adam_or(keras.optimizers.Adam, plan)


def _adamw(plan: Plan) -> Any:
    """``keras.optimizers.AdamW`` for an uncorrected epsilon."""
    return _adam_or(keras.optimizers.AdamW, plan)


def _adam_or(native: Any, plan: Plan) -> Any:
    if plan.stock_can and plan["epsilon_placement"] == "uncorrected":
        return plan.stock(native, amsgrad=plan["amsgrad"], **plan.numbers(**_MOMENTS))
    return plan.formula(formulas.FormulaAdam, "epsilon", "epsilon_placement", "amsgrad", **_betas(plan))


def _nadam(plan: Plan) -> Any:
    """``keras.optimizers.Nadam`` in float32: its 0.96 is a float32 number in float64 too."""
    if plan.stock_can and plan["momentum_decay"] == 1.0 and plan.precision == "float32":
        return plan.stock(keras.optimizers.Nadam, **plan.numbers(**_MOMENTS))
    return plan.formula(formulas.FormulaNadam, "epsilon", "momentum_decay", **_betas(plan))


def _adamax(plan: Plan) -> Any:
    """``keras.optimizers.Adamax`` for epsilon beside the norm."""
    if plan.stock_can and plan["epsilon_placement"] == "norm":
        return plan.stock(keras.optimizers.Adamax, **plan.numbers(**_MOMENTS))
    return plan.formula(formulas.FormulaAdamax, "epsilon", "epsilon_placement", **_betas(plan))


def _rmsprop(plan: Plan) -> Any:
    """``keras.optimizers.RMSprop`` for epsilon under the root and steps in the momentum."""
    if plan.stock_can and plan["epsilon_placement"] == "inside" and (plan["lr_in_momentum"] or not plan["momentum"]):
        numbers = plan.numbers(rho="rho", momentum="momentum", epsilon="epsilon")
        return plan.stock(keras.optimizers.RMSprop, centered=plan["centered"], **numbers)
    names = ("rho", "momentum", "centered", "epsilon", "epsilon_placement", "lr_in_momentum")
    return plan.formula(formulas.FormulaRmsprop, *names)


def _adagrad(plan: Plan) -> Any:
    """``keras.optimizers.Adagrad`` for epsilon under the root and a rate that does not fall by itself."""
    if plan.stock_can and plan["epsilon_placement"] == "inside" and not plan["lr_decay"]:
        numbers = plan.numbers(initial_accumulator_value="initial_accumulator", epsilon="epsilon")
        return plan.stock(keras.optimizers.Adagrad, **numbers)
    names = ("initial_accumulator", "lr_decay", "epsilon", "epsilon_placement")
    return plan.formula(formulas.FormulaAdagrad, *names)


def _adadelta(plan: Plan) -> Any:
    """``keras.optimizers.Adadelta`` in float32.

    In float64 it fails while it is traced: ``rho * variable`` in its ``update_step`` with the ``np.float64`` that full
    precision needs makes NumPy ask for the variable's value.
    """
    if plan.stock_can and plan.precision == "float32":
        return plan.stock(keras.optimizers.Adadelta, **plan.numbers(rho="rho", epsilon="epsilon"))
    return plan.formula(formulas.FormulaAdadelta, "rho", "epsilon")


def _lion(plan: Plan) -> Any:
    """``keras.optimizers.Lion``."""
    if plan.stock_can:
        return plan.stock(keras.optimizers.Lion, **plan.numbers(beta_1="beta1", beta_2="beta2"))
    return plan.formula(formulas.FormulaLion, **_betas(plan))


def _adafactor(plan: Plan) -> Any:
    """``keras.optimizers.Adafactor`` for an added epsilon and the size after decay."""
    if plan.stock_can and plan["epsilon1_placement"] == "added" and (not plan.decay or plan["rms_of"] == "after_decay"):
        numbers = plan.numbers(
            beta_2_decay="beta2_decay",
            epsilon_1="epsilon1",
            epsilon_2="epsilon2",
            clip_threshold="clip_threshold",
        )
        # The learning rate is at most 1 / sqrt(t) without relative_step too: rho_t in its update_step.
        return plan.stock(keras.optimizers.Adafactor, relative_step=True, **numbers)
    return plan.formula(
        formulas.FormulaAdafactor,
        "clip_threshold",
        "rms_of",
        beta_2_decay=plan["beta2_decay"],
        epsilon_1=plan["epsilon1"],
        epsilon_1_placement=plan["epsilon1_placement"],
        epsilon_2=plan["epsilon2"],
    )


def _muon(plan: Plan) -> Any:
    """``keras.optimizers.Muon`` for its own formula, in float32: in float64 it fails on the root of a shape."""
    own = {"momentum_average": False, "norm_epsilon": "added", "scale": "rms", "adam_epsilon_placement": "uncorrected"}
    formula_fits = all(plan[name] == value for name, value in own.items()) and plan["epsilon"] == KERAS_NORM_EPSILON
    if plan.stock_can and formula_fits and plan.precision == "float32":
        pairs = list(zip(plan.matrices, plan.decays, plan.paths, strict=True))
        a, b, c = plan["ns_coefficients"]
        return plan.stock(
            keras.optimizers.Muon,
            weight_decay=max((decay for matrix, decay, _ in pairs if matrix), default=0.0),
            adam_weight_decay=max((decay for matrix, decay, _ in pairs if not matrix), default=0.0),
            adam_beta_1=float(plan["adam_beta1"]),
            adam_beta_2=float(plan["adam_beta2"]),
            adam_lr_ratio=float(plan["adam_lr_factor"]),
            epsilon=float(plan["adam_epsilon"]),
            momentum=float(plan["momentum"]),
            nesterov=plan["nesterov"],
            ns_steps=plan["ns_steps"],
            muon_a=a,
            muon_b=b,
            muon_c=c,
            rms_rate=float(plan["rms_rate"]),
            exclude_embeddings=False,  # it would go by the word in the path
            exclude_layers=[f"^{re.escape(path)}$" for matrix, _, path in pairs if not matrix],
        )
    of_matrices = ("momentum", "momentum_average", "nesterov", "ns_steps", "ns_coefficients", "epsilon", "norm_epsilon")
    return plan.formula(
        formulas.FormulaMuon,
        *of_matrices,
        "scale",
        "rms_rate",
        "adam_lr_factor",
        "adam_epsilon",
        "adam_epsilon_placement",
        adam_beta_1=plan["adam_beta1"],
        adam_beta_2=plan["adam_beta2"],
        matrices=plan.matrices,
    )


OPTIMIZERS: Mapping[str, Callable[[Plan], Any]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "nadam": _nadam,
    "adamax": _adamax,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "lion": _lion,
    "adafactor": _adafactor,
    "muon": _muon,
}
"""For each kind of optimizer, a function that makes the native one."""


def build_optimizer(settings: Optimizer, graph: Graph, variables: Mapping[str, Any]) -> Any:
    """A native optimizer with its slots made for a model's variables, in their order.

    Args:
        settings: Every setting filled in.
        graph: The model.
        variables: The Keras variable of each parameter, by neutral name.

    Raises:
        ValueError: A setting is not filled in; no default is ours or the framework's to choose.
    """
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    missing = [name for name, value in values.items() if value is None and name != "ema"]
    if missing:
        raise ValueError(f"{settings.kind}: every setting must be filled in (Spec.resolved), got no {missing}")
    shapes = {item.name: item.shape for item in graph.parameters}
    plan = Plan(
        values,
        graph.precision,
        [settings.lr_factor(name) for name in variables],
        [settings.decay_of(name, shapes[name]) for name in variables],
        [isinstance(settings, Muon) and settings.orthogonalises(name, shapes[name]) for name in variables],
        [variable.path for variable in variables.values()],
    )
    with formulas.floatx(graph.precision):
        optimizer = OPTIMIZERS[settings.kind](plan)
        if not isinstance(optimizer, formulas.Formula):
            still = [variable for variable, decay in zip(variables.values(), plan.decays, strict=True) if not decay]
            optimizer.exclude_from_weight_decay(var_list=still)
        optimizer.build(list(variables.values()))
    return optimizer
