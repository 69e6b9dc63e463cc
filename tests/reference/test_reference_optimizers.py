"""Updates and clipping: golden values worked out by hand, and what holds without any framework."""

from __future__ import annotations

import numpy as np
import pytest

from dualml.conventions import KERAS, TORCH, fill
from dualml.reference import clip, clip_bound, initial_state, unit_roundoff, update, update_bounds
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
    ParameterGroup,
    ParameterNorm,
    RMSprop,
    Sgd,
    ValueLimit,
)

UNIT = unit_roundoff("float64")


def after(optimizer, gradients, rates, preset=TORCH, start=1.0):
    """The parameter after one update for each gradient and rate."""
    optimizer = fill(optimizer, preset)
    parameters = {"p": np.array([start])}
    state = initial_state(optimizer, parameters)
    for gradient, rate in zip(gradients, rates, strict=True):
        parameters, state = update(optimizer, parameters, {"p": np.array([gradient])}, state, rate)
    return float(parameters["p"][0])


ROOT = 0.001**0.5  # sqrt(1 - b2), b2 = 0.999

GOLDEN = [
    # 1 - 0.1 * 0.5
    ("sgd", Sgd(0.1), TORCH, [0.5], [0.1], 0.95),
    # b = 0.5, then 0.9 * 0.5 + 0.25 = 0.7: 1 - 0.1 * 0.5 - 0.1 * 0.7
    ("sgd momentum", Sgd(0.1, momentum=0.9), TORCH, [0.5, 0.25], [0.1, 0.1], 0.88),
    ("sgd velocity", Sgd(0.1, momentum=0.9), KERAS, [0.5, 0.25], [0.1, 0.1], 0.88),
    # the rate drops to 0.01: 0.95 - 0.01 * 0.7; in the velocity, 0.95 - 0.9 * 0.05 - 0.01 * 0.25
    ("sgd momentum, new rate", Sgd(0.1, momentum=0.9), TORCH, [0.5, 0.25], [0.1, 0.01], 0.943),
    ("sgd velocity, new rate", Sgd(0.1, momentum=0.9), KERAS, [0.5, 0.25], [0.1, 0.01], 0.9025),
    # 1 - 0.1 (0.5 + 0.9 * 0.5) = 0.905, then - 0.1 (0.25 + 0.9 * 0.7) = 0.817
    ("sgd nesterov", Sgd(0.1, momentum=0.9, nesterov=True), TORCH, [0.5, 0.25], [0.1, 0.1], 0.817),
    ("sgd nesterov velocity", Sgd(0.1, momentum=0.9, nesterov=True), KERAS, [0.5, 0.25], [0.1, 0.1], 0.817),
    # coupled: 1 - 0.1 (0.5 + 0.2 * 1); decoupled: (1 - 0.1 * 0.2) - 0.1 * 0.5: without momentum the same
    ("sgd coupled", Sgd(0.1, weight_decay=0.2), TORCH, [0.5], [0.1], 0.93),
    ("sgd decoupled", Sgd(0.1, weight_decay=0.2), KERAS, [0.5], [0.1], 0.93),
    # coupled b: 0.7, then 0.9 * 0.7 + 0.2 * 0.93 = 0.816; decoupled b: 0.5, then 0.45 and p = 0.93 * 0.98
    ("sgd momentum coupled", Sgd(0.1, momentum=0.9, weight_decay=0.2), TORCH, [0.5, 0.0], [0.1, 0.1], 0.8484),
    ("sgd momentum decoupled", Sgd(0.1, momentum=0.9, weight_decay=0.2), KERAS, [0.5, 0.0], [0.1, 0.1], 0.8664),
    # m / c1 = 0.5, sqrt(v / c2) = 0.5 at the first update, whatever the betas: 1 - 0.1 * 0.5 / (0.5 + 0.5)
    ("adam corrected", Adam(0.1, epsilon=0.5), TORCH, [0.5], [0.1], 0.95),
    # sqrt(v) = 0.5 sqrt(c2): 0.1 (sqrt(c2) / c1) (0.5 c1) / (0.5 sqrt(c2) + 0.5) = 0.1 r / (r + 1), r = sqrt(c2)
    ("adam uncorrected", Adam(0.1, epsilon=0.5), KERAS, [0.5], [0.1], 1 - 0.1 * ROOT / (ROOT + 1)),
    # coupled: g = 0.5 + 0.2 = 0.7: 1 - 0.1 * 0.7 / (0.7 + 0.5); decoupled: 0.98 - 0.05
    ("adam coupled", Adam(0.1, epsilon=0.5, weight_decay=0.2), TORCH, [0.5], [0.1], 1 - 0.07 / 1.2),
    ("adamw", AdamW(0.1, epsilon=0.5, weight_decay=0.2), TORCH, [0.5], [0.1], 0.93),
    # betas 0.5 and 0.75: m = 0.25, v = 0.0625; then g = 0: m = 0.125 over c1 = 0.75, v = 0.046875 over c2 = 0.4375
    (
        "adam second",
        Adam(0.1, beta1=0.5, beta2=0.75, epsilon=0.0),
        TORCH,
        [0.5, 0.0],
        [0.1, 0.1],
        0.9 - 0.1 * (0.125 / 0.75) / (0.046875 / 0.4375) ** 0.5,
    ),
]


HALF = 0.5**0.5

GOLDEN += [
    # v = 0.0625, then 0.75 * 0.0625: the largest stays, 0.1 (0.125 / 0.75) / (0.25 / sqrt(0.4375))
    (
        "amsgrad second",
        Adam(0.1, beta1=0.5, beta2=0.75, epsilon=0.0, amsgrad=True),
        TORCH,
        [0.5, 0.0],
        [0.1, 0.1],
        0.9 - 0.1 * (0.125 / 0.75) / (0.25 / 0.4375**0.5),
    ),
    # mu_1 = 0.5 (1 - 0.48) = 0.26, mu_2 = 0.5 (1 - 0.4608) = 0.2696; m = 0.25, v / c2 = 0.25:
    # ((1 - 0.26) 0.5 / (1 - 0.26) + 0.2696 * 0.25 / (1 - 0.26 * 0.2696)) / (0.5 + 0.5)
    (
        "nadam",
        NAdam(0.1, beta1=0.5, epsilon=0.5),
        KERAS,
        [0.5],
        [0.1],
        1 - 0.1 * (0.5 + 0.2696 * 0.25 / (1 - 0.26 * 0.2696)),
    ),
    # m / c1 = 0.5; u = 0.5 + 0.5 in both: of the gradient with epsilon, or of the gradient, epsilon added after
    ("adamax gradient", Adamax(0.1, epsilon=0.5), TORCH, [0.5], [0.1], 0.95),
    ("adamax norm", Adamax(0.1, epsilon=0.5), KERAS, [0.5], [0.1], 0.95),
    # then g = 0 and b2 = 0.5: u = max(0.5 * 1, 0 + 0.5) = 0.5, or max(0.5 * 0.5, 0) + 0.5 = 0.75; m / c1 = 1 / 6
    *(
        (f"adamax {name} second", Adamax(0.1, beta1=0.5, beta2=0.5, epsilon=0.5), preset, [0.5, 0.0], [0.1, 0.1], want)
        for name, preset, want in (("gradient", TORCH, 0.95 - 1 / 30), ("norm", KERAS, 0.95 - 1 / 45))
    ),
    # v = 0.25 * 0.25: 0.1 * 0.5 / (0.25 + 0.75), or 0.1 * 0.5 / sqrt(0.0625 + 0.1875)
    ("rmsprop outside", RMSprop(0.1, rho=0.75, epsilon=0.75), TORCH, [0.5], [0.1], 0.95),
    ("rmsprop inside", RMSprop(0.1, rho=0.75, epsilon=0.1875), KERAS, [0.5], [0.1], 0.9),
    # a = 0.125: v - a^2 = 0.0625 - 0.015625 = 0.046875
    (
        "rmsprop centered",
        RMSprop(0.1, rho=0.75, epsilon=0.0, centered=True),
        TORCH,
        [0.5],
        [0.1],
        1 - 0.05 / 0.046875**0.5,
    ),
    # b = 2, then 1 with g = 0; the rate falls to 0.05: outside 0.8 - 0.05, inside 0.8 - 0.5 * 0.2
    ("rmsprop momentum", RMSprop(0.1, rho=0.75, epsilon=0.0, momentum=0.5), TORCH, [0.5, 1e-300], [0.1, 0.05], 0.75),
    (
        "rmsprop momentum, lr inside",
        RMSprop(0.1, rho=0.75, epsilon=0.0, momentum=0.5),
        KERAS,
        [0.5, 1e-300],
        [0.1, 0.05],
        0.7,
    ),
    # s = 0.75 + 0.25: 0.1 * 0.5 / (1 + 1), or / sqrt(1 + 3); then g = 0.5 again, s = 1.25, rate 0.1 / 1.25
    ("adagrad outside", Adagrad(0.1, initial_accumulator=0.75, epsilon=1.0), TORCH, [0.5], [0.1], 0.975),
    ("adagrad inside", Adagrad(0.1, initial_accumulator=0.75, epsilon=3.0), KERAS, [0.5], [0.1], 0.975),
    (
        "adagrad falling",
        Adagrad(0.1, initial_accumulator=0.75, lr_decay=0.25, epsilon=0.0),
        TORCH,
        [0.5, 0.5],
        [0.1, 0.1],
        0.95 - 0.08 * 0.5 / 1.25**0.5,
    ),
    # x = sqrt(1) / sqrt(0.25 * 0.25 * 4 + 1) 0.5 with g = 1: v = 0.25; then y = 0.25 x^2 is used
    ("adadelta", Adadelta(1.0, rho=0.75, epsilon=0.75), TORCH, [1.0], [0.1], 1 - 0.1 * 0.75**0.5),
    # sign(0.9 * 0 + 0.1 * 0.5) = 1, m = 0.005; then 0.9 * 0.005 - 0.1 * 0.05 < 0; then g = 0 keeps the sign of m
    ("lion", Lion(0.1), KERAS, [0.5], [0.1], 0.9),
    ("lion turns", Lion(0.1), TORCH, [0.5, -0.05], [0.1, 0.1], 1.0),
    ("lion still", Lion(0.1), TORCH, [0.0], [0.1], 1.0),
    # k = 1: v = 0.25; u = 1, rms(u) = 1; max(0.001, |1|) min(0.1, 1)
    ("adafactor", Adafactor(0.1, epsilon1=0.0), KERAS, [0.5], [0.1], 0.9),
    ("adafactor large rate", Adafactor(2.0, epsilon1=0.0), TORCH, [0.5], [2.0], 0.0),
    # added: v = 0.25 + 0.75, u = 0.5; floor: v = max(0.25, 0.75^2), u = 2 / 3
    ("adafactor added", Adafactor(0.1, epsilon1=0.75), KERAS, [0.5], [0.1], 0.95),
    ("adafactor floor", Adafactor(0.1, epsilon1=0.75), TORCH, [0.5], [0.1], 1 - 0.1 * 2 / 3),
    # decay 2 takes 0.2: rms 1 before it, 0.8 after it
    ("adafactor before decay", Adafactor(0.1, weight_decay=2.0, epsilon1=0.0), TORCH, [0.5], [0.1], 0.7),
    ("adafactor after decay", Adafactor(0.1, weight_decay=2.0, epsilon1=0.0), KERAS, [0.5], [0.1], 0.72),
    # k = 2^-0.5 at the second update: v = (1 - k) 0.25 + k
    (
        "adafactor second",
        Adafactor(0.1, epsilon1=0.0, beta2_decay=-0.5, epsilon2=1.0, clip_threshold=2.0),
        TORCH,
        [0.5, 1.0],
        [0.1, 0.1],
        0.9 - 0.1 / ((1 - HALF) * 0.25 + HALF) ** 0.5,
    ),
    # no kernel, so AdamW with a rate of its own: 1 - 0.1 * 0.2 (the decay's), then 0.1 * 0.5 * 1
    ("muon's adam", Muon(0.1, adam_lr_factor=0.5, adam_weight_decay=0.2, adam_epsilon=0.0), TORCH, [0.5], [0.1], 0.93),
]


@pytest.mark.parametrize(
    ("optimizer", "preset", "gradients", "rates", "want"),
    [case[1:] for case in GOLDEN],
    ids=[case[0] for case in GOLDEN],
)
def test_golden(optimizer, preset, gradients, rates, want):
    assert after(optimizer, gradients, rates, preset) == pytest.approx(want, rel=4e-16, abs=0)


def test_adafactor_of_a_matrix_golden():
    """``r = (5, 10)``, ``c = (5, 10)``, mean 7.5: ``v = r c / 7.5``."""
    parameters, gradients = {"p": np.full((2, 2), 3.0)}, {"p": np.array([[1.0, 3.0], [3.0, 11.0**0.5]])}
    optimizer = fill(Adafactor(0.1, epsilon1=0.0, clip_threshold=100.0), KERAS)
    moved, state = update(optimizer, parameters, gradients, initial_state(optimizer, parameters), 0.1)
    assert state.slots["row_variance"]["p"] == pytest.approx([5.0, 10.0])
    assert state.slots["column_variance"]["p"] == pytest.approx([5.0, 10.0])
    assert not state.slots["variance"]
    variance = np.array([[25.0, 50.0], [50.0, 100.0]]) / 7.5
    np.testing.assert_allclose(moved["p"], 3.0 - 0.1 * 3.0 * gradients["p"] / np.sqrt(variance), rtol=1e-15)


@pytest.mark.parametrize(
    ("settings", "preset", "factor"),
    [
        ({}, TORCH, (4 / 3) ** 0.5),
        ({}, KERAS, 0.2 * 4**0.5),
        ({"momentum_average": False}, TORCH, (4 / 3) ** 0.5),
        ({"nesterov": False}, KERAS, 0.2 * 4**0.5),
    ],
)
def test_muon_of_a_diagonal_golden(settings, preset, factor):
    """Of a diagonal gradient each number goes its own way: ``s <- a s + b s^3 + c s^5`` from ``s / norm``."""
    gradient = np.zeros((3, 4))
    gradient[[0, 1, 2], [0, 1, 2]] = 3.0, 4.0, 12.0  # norm 13
    optimizer = fill(Muon(0.1, weight_decay=0.0, epsilon=1e-300, **settings), preset)
    parameters = {"layer.kernel": np.zeros((3, 4))}
    state = initial_state(optimizer, parameters)
    moved, state = update(optimizer, parameters, {"layer.kernel": gradient}, state, 0.1)
    s = gradient / 13
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    np.testing.assert_allclose(moved["layer.kernel"], -0.1 * factor * s, rtol=1e-13, atol=1e-16)
    assert set(state.slots["momentum"]) == {"layer.kernel"}
    assert not state.slots["first_moment"]


def test_average_golden():
    """The first is a copy; every second update counts."""
    optimizer = fill(Sgd(1.0, ema=Ema(decay=0.75, every=2)), TORCH)
    parameters = {"p": np.array([0.0])}
    state = initial_state(optimizer, parameters)
    averages = []
    for _ in range(5):
        parameters, state = update(optimizer, parameters, {"p": np.array([-1.0])}, state, 1.0)
        averages.append(float(state.slots["average"]["p"][0]))
    assert averages == [0.0, 2.0, 2.0, 0.75 * 2 + 0.25 * 4, 0.75 * 2 + 0.25 * 4]


def test_parameters_may_have_rates_and_decays_of_their_own():
    groups = [ParameterGroup(match="a.*", lr_factor=0.5), ParameterGroup(match="*.kernel", weight_decay=0.4)]
    optimizer = fill(Sgd(1.0, weight_decay=0.2, decay_scope="kernels", groups=groups), KERAS)
    names = ("a.kernel", "a.bias", "b.kernel", "b.bias")
    ones = {name: np.ones(1) for name in names}
    moved, _ = update(optimizer, ones, ones, initial_state(optimizer, ones), 0.1)
    steps = {name: 1.0 - float(value[0]) for name, value in moved.items()}
    wanted = {"a.kernel": 0.05 * 1.2, "a.bias": 0.05, "b.kernel": 0.1 * 1.4, "b.bias": 0.1}
    assert steps == pytest.approx(wanted, rel=1e-14)


def test_clip_golden():
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    by_norm = clip(GlobalNorm(1.0, epsilon=0.0), gradients)
    assert by_norm["a"] == pytest.approx([0.6, 0.0])
    assert by_norm["b"] == pytest.approx(np.array([[0.8]]))
    assert clip(GlobalNorm(1.0, epsilon=5.0), gradients)["b"] == pytest.approx(np.array([[0.4]]))  # 4 / (5 + 5)
    for untouched in (GlobalNorm(5.0, epsilon=0.0), GlobalNorm(9.0, epsilon=1e-6), None):
        assert clip(untouched, gradients)["a"] == pytest.approx([3.0, 0.0], rel=0, abs=0)


def test_clip_each_golden():
    gradients = {"a": np.array([3.0, -4.0]), "b": np.array([[0.5]]), "c": np.zeros(2)}
    by_norm = clip(ParameterNorm(1.0, epsilon=0.0), gradients)
    assert by_norm["a"] == pytest.approx([0.6, -0.8])
    assert by_norm["b"] == pytest.approx(np.array([[0.5]]))
    assert not by_norm["c"].any()
    assert clip(ParameterNorm(1.0, epsilon=5.0), gradients)["a"] == pytest.approx([0.3, -0.4])
    by_value = clip(ValueLimit(3.5), gradients)
    assert by_value["a"] == pytest.approx([3.0, -3.5])
    assert by_value["b"] == pytest.approx(np.array([[0.5]]))


def test_clip_neither_overflows_nor_underflows():
    for scale in (1e-200, 1e200):
        clipped = clip(GlobalNorm(scale, epsilon=0.0), {"a": scale * np.array([3.0, 4.0])})
        assert clipped["a"] / scale == pytest.approx([0.6, 0.8], rel=1e-15)


def test_clip_bound_is_only_underflow_where_the_norm_is_surely_small():
    gradients = {"a": np.full(1000, 1e-3, dtype=np.float32)}
    assert clip_bound(GlobalNorm(1.0, epsilon=1e-6), gradients, 2.0**-24)["a"].max() < 1e-37
    assert clip_bound(GlobalNorm(0.01, epsilon=1e-6), gradients, 2.0**-24)["a"].min() > 1e-10


def test_lr_in_momentum_shows_when_the_rate_changes():
    wrong = fill(Sgd(momentum=0.9, lr_in_momentum=True), TORCH)
    right = fill(Sgd(momentum=0.9), TORCH)
    parameters = {"p": np.array([1.0])}
    for rates, same in (([0.1, 0.1], True), ([0.1, 0.01], False)):
        ends = []
        for meaning in (right, wrong):
            values, state = parameters, initial_state(meaning, parameters)
            for rate in rates:
                values, state = update(meaning, values, {"p": np.array([0.5])}, state, rate)
            ends.append(values["p"][0])
        assert (abs(ends[0] - ends[1]) < 1e-15) == same


def test_bounds_are_finite_and_positive_for_nasty_gradients():
    """Zeros, denormals and huge values; the direction of a step without epsilon may be undetermined, but is bounded."""
    gradients = {"p": np.array([1e-45, 1e-40, 1e-30, 1e-22, 1e-3, 1.0, 1e15], dtype=np.float32)}
    parameters = {"p": np.ones(7, dtype=np.float32)}
    for optimizer in (Adam(), Adam(epsilon=0.0), Adam(epsilon=0.0, epsilon_placement="uncorrected"), Sgd(momentum=0.9)):
        optimizer = fill(optimizer, TORCH)
        state = initial_state(optimizer, parameters)
        bounds, slots = update_bounds(optimizer, parameters, gradients, state, 1e-3, unit=2.0**-24)
        for array in (bounds["p"], *(slot["p"] for slot in slots.values())):
            assert np.isfinite(array).all()
            assert (array > 0).all()
        if isinstance(optimizer, Adam):
            assert bounds["p"].max() < 5e-3  # a few times the rate


def test_update_leaves_its_arguments_alone():
    optimizer = fill(Adam(weight_decay=0.1), TORCH)
    parameters, gradients = {"p": np.ones(3)}, {"p": np.full(3, 0.5)}
    state = initial_state(optimizer, parameters)
    update(optimizer, parameters, gradients, state, 0.1)
    clip(GlobalNorm(0.1, epsilon=0.0), gradients)
    assert (parameters["p"] == 1).all()
    assert (gradients["p"] == 0.5).all()
    assert state.step == 0
    assert not state.slots["first_moment"]["p"].any()
