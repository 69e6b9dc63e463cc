"""Learning rates: judged by the frameworks' own schedulers, by hand, and by what every schedule promises."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dualml import (
    ConstantSchedule,
    Cosine,
    CosineRestarts,
    ExponentialSchedule,
    InverseSqrt,
    InverseTime,
    LinearSchedule,
    MultiStep,
    OneCycle,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    Step,
    Warmup,
)
from dualml.conventions import PRESETS, fill
from dualml.spec.schedules import SCHEDULES

EPOCH = {"steps_per_epoch": 10, "epochs": 4}
ULPS = 4 * np.finfo(np.float64).eps
"""A few roundings: what two ways to write one formula may differ by."""


def filled(schedule, conventions="torch"):
    return fill(schedule, PRESETS[conventions])


def rates(schedule, count, lr=0.1, conventions="torch", **epoch):
    schedule = filled(schedule, conventions)
    return [schedule.rate(lr, step, **EPOCH | epoch) for step in range(count)]


# By hand


def test_constant():
    assert rates(ConstantSchedule(), 40) == [0.1] * 40


def test_step_drops_exactly_at_its_multiples():
    assert rates(Step(every=3, decay=0.5), 7) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]


def test_a_schedule_counts_epochs_when_told():
    assert rates(Step(every=1, decay=0.5, unit="epoch"), 40) == [0.1] * 10 + [0.05] * 10 + [0.025] * 10 + [0.0125] * 10


@pytest.mark.parametrize(("conventions", "at_milestone"), [("torch", 0.5), ("keras", 1.0)])
def test_frameworks_disagree_on_the_step_at_a_boundary(conventions, at_milestone):
    """The trap: PyTorch's MultiStepLR changes at the milestone, Keras' PiecewiseConstantDecay one step later."""
    wanted = [1.0, 1.0, 1.0, at_milestone, 0.5, 0.5]
    assert rates(MultiStep(milestones=[3], decay=0.5), 6, 1.0, conventions) == wanted
    assert rates(Piecewise(boundaries=[3], values=[1.0, 0.5]), 6, 1.0, conventions) == wanted


def test_cosine_starts_at_the_rate_ends_at_the_final_one_and_stays():
    got = rates(Cosine(length=20, final=0.25, afterwards="stay"), 40)
    assert got[0] == 0.1
    assert math.isclose(got[10], 0.1 * (0.25 + 0.75 * 0.5), rel_tol=1e-15)
    assert got[20:] == [0.025] * 20


@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_cosine_over_the_training_spans_all_updates(conventions):
    got = rates(Cosine(), 41, conventions=conventions)
    assert got[0] == 0.1
    assert got[40] == 0.0
    assert got[39] > 0


def test_warmup_rises_linearly_then_the_schedule_counts_from_its_end():
    got = rates(Step(every=3, decay=0.5, warmup=Warmup(length=4, start=0.2)), 9, lr=1.0)
    assert got == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 0.5, 0.5], rel=1e-15)


def test_inverse_square_root_is_the_transformers():
    """Vaswani et al., eq. 3, with d = 512 and 4 warm-up steps."""
    d, w = 512, 4
    wanted = [d**-0.5 * min(n**-0.5, n * w**-1.5) for n in range(1, 30)]
    assert rates(InverseSqrt(length=w), 29, lr=(d * w) ** -0.5) == pytest.approx(wanted, rel=1e-15)


def test_restarts_come_exactly_after_each_fall():
    got = rates(CosineRestarts(length=3, multiplier=3.0, shrink=0.5), 3 + 9 + 27 + 81 + 1, lr=1.0)
    starts = [0, 3, 12, 39, 120]
    assert [got[start] for start in starts] == [1.0, 0.5, 0.25, 0.125, 0.0625]
    assert all(got[start - 1] < got[start] > got[start + 1] for start in starts[1:-1])


def test_one_cycle_spans_the_training_and_stays_at_its_last_rate():
    got = rates(OneCycle(), 50)
    assert max(got) == got[11] == 0.1  # 0.3 of 40 updates are 12, counted from 0
    assert (got[0], got[39]) == pytest.approx((0.1 / 25, 0.1 / 25e4), rel=1e-14)
    assert got[40:] == [got[39]] * 10


# PyTorch's schedulers

TORCH = [
    (Step(every=7, decay=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
    (MultiStep(milestones=[3, 4, 20], decay=0.3), "MultiStepLR", {"milestones": [3, 4, 20], "gamma": 0.3}),
    (ExponentialSchedule(decay=0.9), "ExponentialLR", {"gamma": 0.9}),
    (Polynomial(length=30, power=2.0), "PolynomialLR", {"total_iters": 30, "power": 2.0}),
    (Polynomial(length=30), "PolynomialLR", {"total_iters": 30}),
    (LinearSchedule(length=5, start=1 / 3, final=1.0), "LinearLR", {}),
    (LinearSchedule(length=30, start=0.9, final=0.2), "LinearLR",
     {"start_factor": 0.9, "end_factor": 0.2, "total_iters": 30}),
    (Cosine(length=30, final=0.1), "CosineAnnealingLR", {"T_max": 30, "eta_min": 0.01}),
    (Cosine(length=7), "CosineAnnealingLR", {"T_max": 7}),
    (CosineRestarts(length=6), "CosineAnnealingWarmRestarts", {"T_0": 6}),
    (CosineRestarts(length=3, multiplier=3.0, final=0.1), "CosineAnnealingWarmRestarts",
     {"T_0": 3, "T_mult": 3, "eta_min": 0.01}),
    *[
        (OneCycle(length=total, rise=rise, anneal=anneal, three_phases=three, start_divisor=10.0, final_divisor=100.0),
         "OneCycleLR",
         {"max_lr": 0.1, "total_steps": total, "pct_start": rise, "three_phase": three, "div_factor": 10.0,
          "anneal_strategy": {"cosine": "cos", "linear": "linear"}[anneal], "final_div_factor": 100.0})
        for total, rise, three, anneal in itertools.product((61, 80), (0.3, 0.5), (False, True), ("cosine", "linear"))
    ],
    (OneCycle(length=61), "OneCycleLR", {"max_lr": 0.1, "total_steps": 61}),
]  # fmt: skip


def torch_rates(name, arguments, count, lr=0.1):
    """What an optimizer gets when ``scheduler.step()`` follows each ``optimizer.step()``."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    extra = {"cycle_momentum": False} if name == "OneCycleLR" else {}
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments, **extra)
    theirs, closed = [], []
    for _ in range(count):
        theirs.append(optimizer.param_groups[0]["lr"])
        if hasattr(scheduler, "_get_closed_form_lr"):
            closed.append(scheduler._get_closed_form_lr()[0])
        optimizer.step()
        scheduler.step()
    return theirs, closed


@pytest.mark.parametrize(("schedule", "name", "arguments"), TORCH)
def test_torch_schedulers_give_the_same_rates(schedule, name, arguments):
    count = 61
    theirs, closed = torch_rates(name, arguments, count)
    ours = rates(schedule, count)
    # The recursive schedulers gather a rounding at each step; near 0 these are large against the rate itself.
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)
    if closed:  # but for the cosine of a large angle, to whose last bit PyTorch is exact
        np.testing.assert_allclose(ours, closed, rtol=ULPS, atol=0.1 * np.spacing(math.pi * count / 7))
    if name in ("OneCycleLR", "CosineAnnealingWarmRestarts"):  # closed forms themselves
        np.testing.assert_allclose(ours, theirs, rtol=ULPS, atol=0.1 * ULPS)


def test_torch_schedulers_stepped_once_an_epoch_are_the_unit_epoch():
    theirs, _ = torch_rates("StepLR", {"step_size": 2, "gamma": 0.5}, 8)
    ours = rates(Step(every=2, decay=0.5, unit="epoch"), 24, steps_per_epoch=3, epochs=8)
    assert ours == [rate for rate in theirs for _ in range(3)]


def test_torch_warmup_then_cosine_is_the_warmup():
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    parts = torch.optim.lr_scheduler
    warm = parts.LinearLR(optimizer, start_factor=0.25, end_factor=1.0, total_iters=5)
    scheduler = parts.SequentialLR(optimizer, [warm, parts.CosineAnnealingLR(optimizer, T_max=20)], milestones=[5])
    theirs = []
    for _ in range(25):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = rates(Cosine(length=20, warmup=Warmup(length=5, start=0.25)), 25)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


# Keras' schedules, in float64


@pytest.fixture
def keras64():
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield keras
    keras.config.set_floatx(before)


KERAS = [
    (ExponentialSchedule(decay=0.9, every=7), "ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9}),
    (ExponentialSchedule(decay=0.9, every=7, staircase=True), "ExponentialDecay",
     {"decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
    (Step(every=7, decay=0.9), "ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
    (InverseTime(decay=0.5, every=4), "InverseTimeDecay", {"decay_steps": 4, "decay_rate": 0.5}),
    (InverseTime(decay=0.5, every=4, staircase=True), "InverseTimeDecay",
     {"decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
    (Polynomial(length=30), "PolynomialDecay", {"decay_steps": 30}),
    (Polynomial(length=30, power=0.5, final_lr=0.02), "PolynomialDecay",
     {"decay_steps": 30, "power": 0.5, "end_learning_rate": 0.02}),
    (Polynomial(length=9, power=2.0, cycle=True), "PolynomialDecay", {"decay_steps": 9, "power": 2.0, "cycle": True}),
    (Piecewise(boundaries=[5, 6, 30], values=[1.0, 0.5, 0.1, 0.7]), "PiecewiseConstantDecay",
     {"boundaries": [5, 6, 30], "values": [0.1 * value for value in (1.0, 0.5, 0.1, 0.7)]}),
    (Cosine(length=30, final=0.1), "CosineDecay", {"decay_steps": 30, "alpha": 0.1}),
    (CosineRestarts(length=5, shrink=0.8, final=0.1), "CosineDecayRestarts",
     {"first_decay_steps": 5, "m_mul": 0.8, "alpha": 0.1}),
    (CosineRestarts(length=5, multiplier=1.0), "CosineDecayRestarts", {"first_decay_steps": 5, "t_mul": 1.0}),
    (Cosine(length=20, final=0.1, warmup=Warmup(length=8, start=0.25)), "CosineDecay",
     {"decay_steps": 20, "alpha": 0.1, "warmup_target": 0.1, "warmup_steps": 8, "initial_learning_rate": 0.025}),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "name", "arguments"), KERAS)
def test_keras_schedules_give_the_same_rates(schedule, name, arguments, keras64):
    # NumPy numbers, because Keras makes float32 constants of Python's.
    exact = {"initial_learning_rate": 0.1} | arguments
    if name == "PolynomialDecay":
        exact.setdefault("end_learning_rate", 1e-4)  # its default
    exact = {key: np.float64(value) if isinstance(value, float) else value for key, value in exact.items()}
    if name == "PiecewiseConstantDecay":
        del exact["initial_learning_rate"]
        exact["values"] = [np.float64(value) for value in exact["values"]]
    theirs = getattr(keras64.optimizers.schedules, name)(**exact)
    wanted = np.array([np.asarray(theirs(step)) for step in range(61)])
    assert wanted.dtype == np.float64
    np.testing.assert_allclose(rates(schedule, 61, conventions="keras"), wanted, rtol=ULPS, atol=0.1 * ULPS)


WITHOUT = {
    "torch": {
        "constant": "no scheduler at all",
        "piecewise": "only as factors of `MultiStepLR`, which multi_step is",
        "inverse_time": "Keras alone has it",
        "inverse_sqrt": "only as a user's own `LambdaLR`",
        "reduce_on_plateau": "compared below",
    },
    "keras": {
        "constant": "no schedule at all",
        "multi_step": "PyTorch alone has it; piecewise is Keras' way to say it",
        "linear": "PyTorch alone has it; polynomial is Keras' way to say it",
        "inverse_sqrt": "the framework has none",
        "one_cycle": "the framework has none",
        "reduce_on_plateau": "compared below",
    },
}
"""Schedules that the tables above do not compare with a stock one, with the reason."""


@pytest.mark.parametrize(("side", "table"), [("torch", TORCH), ("keras", KERAS)])
def test_every_schedule_is_compared_with_stock_or_says_why_not(side, table):
    compared = {row[0].kind for row in table}
    assert compared | set(WITHOUT[side]) == {kind.kind for kind in SCHEDULES}
    assert not compared & set(WITHOUT[side])


# Reduction on a plateau


def plateau_rates(schedule, values, conventions, lr=0.1):
    """The rate after each epoch."""
    schedule = filled(schedule, conventions)
    history = [{schedule.metric: value} for value in values]
    return [schedule.reduced(lr, history[: epoch + 1]) for epoch in range(len(values))]


def torch_plateau(arguments, values):
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **arguments)
    got = []
    for value in values:
        scheduler.step(value)
        got.append(optimizer.param_groups[0]["lr"])
    return got


def keras_plateau(keras, arguments, values):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", **arguments)
    callback.set_model(model)
    callback.on_train_begin()
    got = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        got.append(float(model.optimizer.learning_rate))
    return got


metric_values = st.lists(st.sampled_from([1.0, 0.99995, 0.9998, 0.99, 0.5, 0.49996, 0.4, 2.0]), min_size=1, max_size=25)
plateaus = st.fixed_dictionaries(
    {"patience": st.integers(0, 3), "cooldown": st.integers(0, 3), "min_lr": st.sampled_from([0.0, 0.004])}
)


@given(metric_values, plateaus, st.sampled_from(["min", "max"]), st.sampled_from(["rel", "abs"]))
def test_plateau_is_torchs(values, settings, mode, threshold_mode):
    schedule = ReduceOnPlateau(
        decay=0.3,
        direction={"min": "down", "max": "up"}[mode],
        threshold_mode={"rel": "relative", "abs": "absolute"}[threshold_mode],
        **settings,
    )
    theirs = torch_plateau({"factor": 0.3, "mode": mode, "threshold_mode": threshold_mode, **settings}, values)
    assert plateau_rates(schedule, values, "torch") == theirs


def test_plateau_is_keras(keras64):
    """Over random histories, with one model: Keras' callback is slow to set up."""
    random = np.random.default_rng(0)
    choices = [1.0, 0.9999, 0.9998, 0.99, 0.5, 0.4999, 0.4, 2.0]
    for _ in range(25):
        values = random.choice(choices, size=20).tolist()
        settings = {"patience": int(random.integers(0, 4)), "cooldown": int(random.integers(0, 4))}
        settings |= {"min_lr": float(random.choice([0.0, 0.004]))}
        theirs = keras_plateau(keras64, {"factor": 0.3, **settings}, values)
        ours = plateau_rates(ReduceOnPlateau(decay=0.3, direction="down", **settings), values, "keras")
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # Keras rounds the rate to float32


def test_plateau_waits_one_epoch_longer_in_torch():
    values = [1.0] * 6
    schedule = ReduceOnPlateau(patience=2, direction="down")
    assert [rate < 0.1 for rate in plateau_rates(schedule, values, "torch")] == [False] * 3 + [True] * 3
    assert [rate < 0.1 for rate in plateau_rates(schedule, values, "keras")] == [False] * 2 + [True] * 4


def test_a_metric_that_is_undefined_is_no_improvement():
    schedule = ReduceOnPlateau(patience=1, direction="down")
    assert plateau_rates(schedule, [None, None, 0.5, None], "torch") == torch_plateau(
        {"patience": 1}, [math.nan, math.nan, 0.5, math.nan]
    )


def test_plateau_direction_follows_the_metric():
    from dualml import Adam, CrossEntropy, Dense, Model, Spec

    def direction(metric):
        schedule = ReduceOnPlateau(metric=metric)
        model = Model(input=(4,), layers=[Dense(2)])
        metrics = ["accuracy", "perplexity"]
        spec = Spec(model=model, loss=CrossEntropy(), optimizer=Adam(), schedule=schedule, metrics=metrics)
        return spec.resolved.schedule.direction

    wanted = {"val_loss": "down", "val_accuracy": "up", "val_perplexity": "down", "train_loss": "down"}
    assert {metric: direction(metric) for metric in wanted} == wanted


# What every schedule promises

SETTINGS = {
    "step": {"every": 3},
    "multi_step": {"milestones": [2, 5]},
    "piecewise": {"boundaries": [2, 5], "values": [1.0, 0.5, 0.1]},
    "exponential": {"decay": 0.9},
    "inverse_time": {"decay": 0.5},
    "inverse_sqrt": {"length": 6},
    "cosine_restarts": {"length": 5},
    "reduce_on_plateau": {"direction": "down"},
}


@pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: kind.kind)
@given(
    lr=st.floats(1e-6, 10),
    steps_per_epoch=st.integers(1, 7),
    epochs=st.integers(1, 7),
    conventions=st.sampled_from(["torch", "keras"]),
)
def test_every_rate_is_finite_and_not_negative_and_epochs_have_one(kind, lr, steps_per_epoch, epochs, conventions):
    epoch = {"steps_per_epoch": steps_per_epoch, "epochs": epochs}
    count = steps_per_epoch * epochs
    by_step = filled(kind(**SETTINGS.get(kind.kind, {})), conventions)
    by_epoch = by_step.model_copy(update={"unit": "epoch"})
    for schedule in (by_step, by_epoch):
        got = [schedule.rate(lr, step, **epoch) for step in range(count + 3)]
        assert all(math.isfinite(rate) and 0 <= rate <= max(lr, 1e-4) * (1 + 1e-12) for rate in got)
    ours = [by_epoch.rate(lr, step, **epoch) for step in range(count)]
    assert all(ours[step] == ours[step - step % steps_per_epoch] for step in range(count))
    single = [by_step.rate(lr, step, steps_per_epoch=1, epochs=epochs) for step in range(epochs)]
    assert ours[::steps_per_epoch] == single  # an epoch is to the unit epoch what an update is to the unit step


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1))
def test_rates_stay_between_final_and_full(warm, length, final):
    schedule = Cosine(length=length, final=final, warmup=Warmup(length=warm, start=final))
    for rate in rates(schedule, 120, lr=1.0):
        assert final - 1e-15 <= rate <= 1.0


def test_only_schedules_of_the_trainings_length_depend_on_it():
    for kind in SCHEDULES:
        schedule = filled(kind(**SETTINGS.get(kind.kind, {})))
        short, long = (
            [schedule.rate(1.0, step, steps_per_epoch=5, epochs=epochs) for step in range(10)] for epochs in (2, 9)
        )
        assert (short != long) == schedule.spans_training


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (MultiStep, {"milestones": [3, 3]}, "must rise"),
        (MultiStep, {"milestones": []}, "at least 1"),
        (Piecewise, {"boundaries": [3], "values": [1.0]}, "one more than boundaries"),
        (InverseSqrt, {"length": 3, "warmup": Warmup(length=2)}, "leave warmup out"),
        (OneCycle, {"warmup": Warmup(length=2)}, "leave warmup out"),
        (OneCycle, {"three_phases": True, "rise": 0.6}, "at most 0.5"),
        (CosineRestarts, {"length": 3, "multiplier": 0.5}, "greater than or equal to 1"),
        (ReduceOnPlateau, {"decay": 1.0}, "less than 1"),
        (ExponentialSchedule, {"decay": 1.1}, "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)
