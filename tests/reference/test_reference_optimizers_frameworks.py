"""Updates and clipping of the frameworks' own optimizers lie within the reference's bounds, and faults outside."""

from __future__ import annotations

import numpy as np
import pytest

from dualml.conventions import KERAS, TORCH, fill
from dualml.conventions.optimizers import FLOAT32_EPSILON
from dualml.protocol import State
from dualml.reference import apply, apply_bounds, initial_state, unit_roundoff, update, update_bounds
from dualml.spec.optimizers import (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ema,
    GlobalNorm,
    Lion,
    Muon,
    NAdam,
    RMSprop,
    Sgd,
)

SHAPES = {"kernel": (3, 4), "bias": (5,)}
RATES = [0.01, 0.01, 0.001, 0.1, 0.1, 0.1]


def draw_gradients(seed, dtype):
    """Gradients of magnitudes from 1e-9 to 1, some exactly 0 (none for odd seeds)."""
    random = np.random.default_rng(seed)
    zeros = 0.1 * (seed % 2 == 0)
    for _ in RATES:
        yield {
            name: (
                random.standard_normal(shape) * 10.0 ** random.uniform(-9, 0, shape) * (random.random(shape) >= zeros)
            ).astype(dtype)
            for name, shape in SHAPES.items()
        }


def draw_parameters(seed, dtype):
    random = np.random.default_rng([seed, 1])
    return {name: random.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


class TorchSide:
    """``torch.optim`` on the same arrays, with its memory as a ``State``."""

    def __init__(self, make, slots, parameters):
        import torch

        self.torch, self.slots = torch, slots
        self.parameters = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in parameters.items()}
        self.optimizer = make(torch.optim, list(self.parameters.values()))
        self.steps = 0

    def step(self, gradients, rate, max_norm=None):
        for name, parameter in self.parameters.items():
            parameter.grad = self.torch.tensor(gradients[name])
        if max_norm is not None:
            self.torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), max_norm)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.steps += 1

    def values(self):
        return {name: parameter.detach().numpy().copy() for name, parameter in self.parameters.items()}

    def state(self, meaning):
        """What ``meaning`` calls its memory; what is not there yet is as it starts."""
        slots = {slot: dict(arrays) for slot, arrays in initial_state(meaning, self.values()).slots.items()}
        for slot, arrays in slots.items():
            for name, start in list(arrays.items()):
                stored = self.optimizer.state.get(self.parameters[name], {}).get(self.slots[slot])
                if stored is not None:
                    arrays[name] = stored.numpy().reshape(start.shape).copy()
        return State(self.steps, slots)


class KerasSide:
    """``keras.optimizers`` on the same arrays, with its memory as a ``State``."""

    def __init__(self, make, slots, parameters):
        import keras

        self.slots = slots
        dtype = next(iter(parameters.values())).dtype.name
        before = keras.config.floatx()
        keras.config.set_floatx(dtype)  # the learning rate is stored in floatx
        try:
            self.parameters = {name: keras.Variable(array, dtype=dtype) for name, array in parameters.items()}
            self.optimizer = make(keras.optimizers)
            self.optimizer.build(list(self.parameters.values()))
        finally:
            keras.config.set_floatx(before)

    def step(self, gradients, rate, max_norm=None):
        import tensorflow as tf

        self.optimizer.learning_rate = rate
        self.optimizer.apply([tf.constant(gradients[name]) for name in self.parameters], list(self.parameters.values()))

    def values(self):
        return {name: variable.numpy() for name, variable in self.parameters.items()}

    def state(self, meaning):
        """What ``meaning`` calls its memory."""
        slots = {slot: dict(arrays) for slot, arrays in initial_state(meaning, self.values()).slots.items()}
        for slot, arrays in slots.items():
            stored = getattr(self.optimizer, self.slots[slot])
            for place, name in enumerate(self.parameters):
                if name in arrays:
                    arrays[name] = (stored[place] if isinstance(stored, list) else stored).numpy()
        return State(int(self.optimizer.iterations.numpy()), slots)


def worst_ratio(side, optimizer, dtype, seed, clipping=None):
    """Worst ``|theirs - reference| / bound`` of parameters and slots, each step from the framework's own state."""
    unit, doubled = unit_roundoff(np.dtype(dtype).name), 2.0 if dtype == np.float64 else 1.0
    worst = 0.0
    for gradients, rate in zip(draw_gradients(seed, dtype), RATES, strict=True):
        before, state = side.values(), side.state(optimizer)
        side.step(gradients, rate, None if clipping is None else clipping.max_norm)
        parameters, slots = apply(optimizer, clipping, before, gradients, state, rate)
        of_parameters, of_slots = apply_bounds(optimizer, clipping, before, gradients, state, rate, unit=unit)
        pairs = [(side.values(), parameters, of_parameters)]
        after = side.state(optimizer)
        pairs += [(after.slots[slot], slots.slots[slot], of_slots[slot]) for slot in optimizer.slots]
        for theirs, ours, bounds in pairs:
            for name in ours:
                ratio = np.abs(theirs[name] - ours[name]) / bounds[name]
                worst = max(worst, float(np.max(np.where(np.isnan(ratio), np.inf, ratio))))
        assert after.step == slots.step or not optimizer.slots
    return worst / doubled


MOMENTS = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}
KERAS_MOMENTS = {"first_moment": "_momentums", "second_moment": "_velocities"}
NADAM = {**MOMENTS, "momentum_product": "mu_product"}
ADAMAX = {"first_moment": "exp_avg", "largest_gradient": "exp_inf"}
RMSPROP = {"mean_square": "square_avg", "mean_gradient": "grad_avg", "momentum": "momentum_buffer"}
ADADELTA = {"mean_square": "square_avg", "mean_square_step": "acc_delta"}
ADAFACTOR = {"row_variance": "row_var", "column_variance": "col_var", "variance": "variance"}
KERAS_RMSPROP = {"mean_square": "_velocities", "mean_gradient": "_average_gradients", "momentum": "_momentums"}
KERAS_ADADELTA = {"mean_square": "_accumulated_grads", "mean_square_step": "_accumulated_delta_vars"}
KERAS_ADAFACTOR = {"row_variance": "_r", "column_variance": "_c", "variance": "_v"}
KERAS_MUON = {"momentum": "momentums", "first_moment": "momentums", "second_moment": "adam_velocities"}
F = np.float64  # a plain Python float becomes float32 inside Keras

TORCH_CASES = {
    "sgd": (Sgd(), lambda o, p: o.SGD(p), {}),
    "sgd decay": (Sgd(weight_decay=0.1), lambda o, p: o.SGD(p, weight_decay=0.1), {}),
    "sgd momentum": (Sgd(momentum=0.9), lambda o, p: o.SGD(p, momentum=0.9), {"momentum": "momentum_buffer"}),
    "sgd nesterov decay": (
        Sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda o, p: o.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.1),
        {"momentum": "momentum_buffer"},
    ),
    "adam": (Adam(), lambda o, p: o.Adam(p), MOMENTS),
    "adam no epsilon": (Adam(epsilon=0.0), lambda o, p: o.Adam(p, eps=0.0), MOMENTS),
    "adam betas": (
        Adam(beta1=0.8, beta2=0.95, epsilon=1e-3),
        lambda o, p: o.Adam(p, betas=(0.8, 0.95), eps=1e-3),
        MOMENTS,
    ),
    "adam coupled": (Adam(weight_decay=0.1), lambda o, p: o.Adam(p, weight_decay=0.1), MOMENTS),
    "adam decoupled": (
        Adam(weight_decay=0.1, decay="decoupled"),
        lambda o, p: o.Adam(p, weight_decay=0.1, decoupled_weight_decay=True),
        MOMENTS,
    ),
    "adamw": (AdamW(), lambda o, p: o.AdamW(p), MOMENTS),
    "amsgrad": (
        Adam(amsgrad=True),
        lambda o, p: o.Adam(p, amsgrad=True),
        {**MOMENTS, "largest_second_moment": "max_exp_avg_sq"},
    ),
    "adamax": (Adamax(), lambda o, p: o.Adamax(p), ADAMAX),
    "adamax decay": (
        Adamax(weight_decay=0.1, epsilon=1e-3, beta2=0.8),
        lambda o, p: o.Adamax(p, weight_decay=0.1, eps=1e-3, betas=(0.9, 0.8)),
        ADAMAX,
    ),
    "rmsprop": (RMSprop(), lambda o, p: o.RMSprop(p), RMSPROP),
    "rmsprop centered": (
        RMSprop(centered=True, momentum=0.9, weight_decay=0.1, epsilon=1e-4, rho=0.9),
        lambda o, p: o.RMSprop(p, centered=True, momentum=0.9, weight_decay=0.1, eps=1e-4, alpha=0.9),
        RMSPROP,
    ),
    "adagrad": (Adagrad(), lambda o, p: o.Adagrad(p), {"sum_of_squares": "sum"}),
    "adagrad falling": (
        Adagrad(initial_accumulator=0.3, lr_decay=0.1, weight_decay=0.1, epsilon=1e-3),
        lambda o, p: o.Adagrad(p, initial_accumulator_value=0.3, lr_decay=0.1, weight_decay=0.1, eps=1e-3),
        {"sum_of_squares": "sum"},
    ),
    "adadelta": (Adadelta(), lambda o, p: o.Adadelta(p), ADADELTA),
    "adadelta decay": (
        Adadelta(weight_decay=0.1, rho=0.8, epsilon=1e-3),
        lambda o, p: o.Adadelta(p, weight_decay=0.1, rho=0.8, eps=1e-3),
        ADADELTA,
    ),
    "adafactor": (
        Adafactor(),
        lambda o, p: o.Adafactor(p, eps=(FLOAT32_EPSILON, 1e-3)),
        ADAFACTOR,
    ),
    "adafactor decay": (
        Adafactor(weight_decay=0.1, epsilon1=1e-3, epsilon2=0.3, clip_threshold=1.01, beta2_decay=-0.5),
        lambda o, p: o.Adafactor(p, weight_decay=0.1, eps=(1e-3, 0.3), d=1.01, beta2_decay=-0.5),
        ADAFACTOR,
    ),
}
KERAS_CASES = {
    "sgd": (Sgd(), lambda o: o.SGD(), {}),
    "sgd decay": (Sgd(weight_decay=0.1), lambda o: o.SGD(weight_decay=F(0.1)), {}),
    "sgd momentum": (Sgd(momentum=0.9), lambda o: o.SGD(momentum=F(0.9)), {"momentum": "momentums"}),
    "sgd nesterov decay": (
        Sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda o: o.SGD(momentum=F(0.9), nesterov=True, weight_decay=F(0.1)),
        {"momentum": "momentums"},
    ),
    "adam": (Adam(), lambda o: o.Adam(beta_1=F(0.9), beta_2=F(0.999)), KERAS_MOMENTS),
    "adam betas": (
        Adam(beta1=0.8, beta2=0.95, epsilon=1e-3),
        lambda o: o.Adam(beta_1=F(0.8), beta_2=F(0.95), epsilon=F(1e-3)),
        KERAS_MOMENTS,
    ),
    "adamw": (AdamW(), lambda o: o.AdamW(beta_1=F(0.9), beta_2=F(0.999), weight_decay=F(4e-3)), KERAS_MOMENTS),
    "amsgrad": (
        Adam(amsgrad=True),
        lambda o: o.Adam(beta_1=F(0.9), beta_2=F(0.999), amsgrad=True),
        {**KERAS_MOMENTS, "largest_second_moment": "_velocity_hats"},
    ),
    "adamax": (
        Adamax(epsilon=1e-3, weight_decay=0.1),
        lambda o: o.Adamax(beta_1=F(0.9), beta_2=F(0.999), epsilon=F(1e-3), weight_decay=F(0.1)),
        {"first_moment": "_m", "largest_gradient": "_u"},
    ),
    "rmsprop": (RMSprop(), lambda o: o.RMSprop(rho=F(0.9), epsilon=F(1e-7)), KERAS_RMSPROP),
    "rmsprop centered": (
        RMSprop(centered=True, momentum=0.9, weight_decay=0.1, epsilon=1e-4),
        lambda o: o.RMSprop(rho=F(0.9), epsilon=F(1e-4), momentum=F(0.9), centered=True, weight_decay=F(0.1)),
        KERAS_RMSPROP,
    ),
    "adagrad": (
        Adagrad(weight_decay=0.1, epsilon=1e-3),
        lambda o: o.Adagrad(initial_accumulator_value=F(0.1), weight_decay=F(0.1), epsilon=F(1e-3)),
        {"sum_of_squares": "_accumulators"},
    ),
    "adadelta": (
        Adadelta(weight_decay=0.1),
        lambda o: o.Adadelta(rho=F(0.95), epsilon=F(1e-7), weight_decay=F(0.1)),
        KERAS_ADADELTA,
    ),
    "lion": (
        Lion(weight_decay=0.1),
        lambda o: o.Lion(beta_1=F(0.9), beta_2=F(0.99), weight_decay=F(0.1)),
        {"momentum": "_momentums"},
    ),
    "adafactor": (
        Adafactor(weight_decay=0.1),
        lambda o: o.Adafactor(
            beta_2_decay=F(-0.8), epsilon_1=F(1e-30), epsilon_2=F(1e-3), clip_threshold=F(1.0), weight_decay=F(0.1)
        ),
        KERAS_ADAFACTOR,
    ),
    "ema": (
        Sgd(momentum=0.9, ema=Ema(decay=0.8)),
        lambda o: o.SGD(momentum=F(0.9), use_ema=True, ema_momentum=F(0.8)),
        {"momentum": "momentums", "average": "_model_variables_moving_average"},
    ),
}
TORCH_FLOAT32_CASES = {  # the product of momenta has PyTorch's default dtype, whatever the parameters' is
    "nadam": (NAdam(), lambda o, p: o.NAdam(p), NADAM),
    "nadam decay": (
        NAdam(weight_decay=0.1, decay="decoupled", momentum_decay=0.5),
        lambda o, p: o.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=0.5),
        NADAM,
    ),
}
KERAS_FLOAT32_CASES = {  # these have constants of their own that pass through float32
    "nadam": (
        NAdam(weight_decay=0.1),
        lambda o: o.Nadam(weight_decay=0.1),
        {"first_moment": "_momentums", "second_moment": "_velocities", "momentum_product": "_u_product"},
    ),
    "muon": (Muon(), lambda o: o.Muon(), KERAS_MUON),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", TORCH_CASES)
def test_torch_within_bounds(name, dtype):
    optimizer, make, slots = TORCH_CASES[name]
    seed = 7 if name == "adam no epsilon" else 8  # without epsilon a gradient of 0 gives 0 / 0
    ratio = worst_ratio(TorchSide(make, slots, draw_parameters(seed, dtype)), fill(optimizer, TORCH), dtype, seed)
    assert ratio <= 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", KERAS_CASES)
def test_keras_within_bounds(name, dtype):
    optimizer, make, slots = KERAS_CASES[name]
    parameters = draw_parameters(8, dtype)
    ratio = worst_ratio(KerasSide(make, slots, parameters), fill(optimizer, KERAS), dtype, 8)
    assert ratio <= 1


@pytest.mark.parametrize("name", KERAS_FLOAT32_CASES)
def test_keras_within_bounds_in_float32_alone(name):
    optimizer, make, slots = KERAS_FLOAT32_CASES[name]
    filled = fill(optimizer, KERAS)
    assert worst_ratio(KerasSide(make, slots, draw_parameters(8, np.float32)), filled, np.float32, 8) <= 1
    double = KerasSide(make, slots, draw_parameters(8, np.float64))
    if name == "muon":  # the square root of a shape is a float32 tensor
        with pytest.raises(Exception, match="double"):
            worst_ratio(double, filled, np.float64, 8)
    else:
        assert worst_ratio(double, filled, np.float64, 8) > 1e4


@pytest.mark.parametrize("name", TORCH_FLOAT32_CASES)
def test_torch_within_bounds_in_float32_or_with_a_double_product(name):
    import torch

    optimizer, make, slots = TORCH_FLOAT32_CASES[name]
    filled = fill(optimizer, TORCH)
    assert worst_ratio(TorchSide(make, slots, draw_parameters(8, np.float32)), filled, np.float32, 8) <= 1
    assert worst_ratio(TorchSide(make, slots, draw_parameters(8, np.float64)), filled, np.float64, 8) > 1e4
    torch.set_default_dtype(torch.float64)
    try:
        assert worst_ratio(TorchSide(make, slots, draw_parameters(8, np.float64)), filled, np.float64, 8) <= 1
    finally:
        torch.set_default_dtype(torch.float32)


def test_keras_float32_adam_with_its_own_float32_constants_is_correct_rounding():
    side = KerasSide(lambda o: o.Adam(), KERAS_MOMENTS, draw_parameters(9, np.float32))
    assert worst_ratio(side, fill(Adam(), KERAS), np.float32, 9) <= 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_norm", [0.05, 1e3])
def test_torch_with_clipping_within_bounds(dtype, max_norm):
    clipping = GlobalNorm(max_norm, epsilon=1e-6)
    for name in ("sgd momentum", "adam"):
        optimizer, make, slots = TORCH_CASES[name]
        side = TorchSide(make, slots, draw_parameters(10, dtype))
        assert worst_ratio(side, fill(optimizer, TORCH), dtype, 10, clipping) <= 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_keras_with_clipping_within_bounds(dtype):
    clipping = GlobalNorm(0.05, epsilon=0.0)
    make = lambda o: o.SGD(momentum=F(0.9), global_clipnorm=dtype(0.05))  # noqa: E731
    side = KerasSide(make, {"momentum": "momentums"}, draw_parameters(11, dtype))
    assert worst_ratio(side, fill(Sgd(momentum=0.9), KERAS), dtype, 11, clipping) <= 1


def test_zero_gradient_without_epsilon_is_zero_by_zero_as_in_both_frameworks():
    optimizer, ones = fill(Adam(0.1, epsilon=0.0), TORCH), {"p": np.ones(1)}
    assert np.isnan(update(optimizer, ones, {"p": np.zeros(1)}, initial_state(optimizer, ones), 0.1)[0]["p"]).all()
    for side in (
        TorchSide(lambda o, p: o.Adam(p, eps=0.0), MOMENTS, {"p": np.ones(1)}),
        KerasSide(lambda o: o.Adam(epsilon=0.0), KERAS_MOMENTS, {"p": np.ones(1)}),
    ):
        side.step({"p": np.zeros(1)}, 0.1)
        assert np.isnan(side.values()["p"]).all()


def test_every_hyper_parameter_may_be_rounded_to_float32():
    """Adam in float32 throughout: ``1 - b2`` of a float32 ``b2`` is off by 1.3e-5 of itself, and so is ``v``."""
    one, b1, b2, epsilon, lr, decay = (np.float32(value) for value in (1.0, 0.9, 0.999, 1e-8, 0.01, 0.1))
    optimizer = fill(Adam(weight_decay=0.1), TORCH)
    parameters = draw_parameters(15, np.float32)
    state = initial_state(optimizer, parameters)
    worst = 0.0
    for t, gradients in enumerate(draw_gradients(15, np.float32), start=1):
        after, after_state = update(optimizer, parameters, gradients, state, 0.01)
        bounds, slot_bounds = update_bounds(optimizer, parameters, gradients, state, 0.01, unit=2.0**-24)
        moved, first, second = {}, {}, {}
        for name, p in parameters.items():
            g = gradients[name] + decay * p
            m = b1 * state.slots["first_moment"][name].astype(np.float32) + (one - b1) * g
            v = b2 * state.slots["second_moment"][name].astype(np.float32) + (one - b2) * g * g
            corrected = np.sqrt(v / (one - b2**t)) + epsilon
            moved[name], first[name], second[name] = p - lr * (m / (one - b1**t)) / corrected, m, v
            assert moved[name].dtype == np.float32
            worst = max(
                worst,
                float(np.max(np.abs(moved[name] - after[name]) / bounds[name])),
                float(np.max(np.abs(m - after_state.slots["first_moment"][name]) / slot_bounds["first_moment"][name])),
                float(
                    np.max(np.abs(v - after_state.slots["second_moment"][name]) / slot_bounds["second_moment"][name])
                ),
            )
        parameters, state = moved, State(t, {"first_moment": first, "second_moment": second})
    assert worst <= 1


# Real faults: what torch.optim does, judged against a spec that means something else.
FAULTS = {
    "epsilon 1e-7 for 1e-8": ("adam", Adam(epsilon=1e-7), 100.0),
    "epsilon placement": ("adam", Adam(epsilon_placement="uncorrected"), 100.0),
    "beta2 0.99 for 0.999": ("adam", Adam(beta2=0.99), 3.0),
    "beta1 0.99 for 0.9": ("adam", Adam(beta1=0.99), 100.0),
    "decay forgotten": ("adam", Adam(weight_decay=1e-3), 100.0),
    "decay coupled": ("adam decoupled", Adam(weight_decay=0.1, decay="coupled"), 100.0),
    "decay decoupled": ("adam coupled", Adam(weight_decay=0.1, decay="decoupled"), 100.0),
    "nesterov": ("sgd momentum", Sgd(momentum=0.9, nesterov=True), 100.0),
    "momentum 0.89 for 0.9": ("sgd momentum", Sgd(momentum=0.89), 100.0),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_exceed_the_bounds(fault, dtype):
    name, wrong, least = FAULTS[fault]
    _, make, slots = TORCH_CASES[name]
    side = TorchSide(make, slots, draw_parameters(12, dtype))
    assert worst_ratio(side, fill(wrong, TORCH), dtype, 12) > least


def test_betas_through_float32_are_caught_in_float64():
    """``1 - 0.999`` from a float32 beta is off by 1.3e-5 of itself: no rounding of float64."""
    side = KerasSide(lambda o: o.Adam(), KERAS_MOMENTS, draw_parameters(13, np.float64))
    assert worst_ratio(side, fill(Adam(), KERAS), np.float64, 13) > 1e5


def test_momentum_and_rate_through_float32_are_caught_in_float64():
    side = KerasSide(lambda o: o.SGD(momentum=0.9), {"momentum": "momentums"}, draw_parameters(14, np.float64))
    assert worst_ratio(side, fill(Sgd(momentum=0.9), KERAS), np.float64, 14) > 1e5
    side = TorchSide(TORCH_CASES["adam"][1], MOMENTS, draw_parameters(14, np.float64))
    original = side.step
    side.step = lambda gradients, rate, _max_norm: original(gradients, float(np.float32(rate)))
    assert worst_ratio(side, fill(Adam(), TORCH), np.float64, 14) > 1e4
