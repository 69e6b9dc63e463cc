"""Learning rates: judged by the frameworks' own schedulers and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualml import ConstantSchedule, Cosine, Step, Warmup

EPOCH = {"steps_per_epoch": 10, "epochs": 4}


def rates(schedule, count, lr=0.1):
    return [schedule.rate(lr, step, **EPOCH) for step in range(count)]


def test_constant():
    assert rates(ConstantSchedule(), 40) == [0.1] * 40


def test_step_drops_exactly_at_its_multiples():
    assert rates(Step(every=3, decay=0.5), 7) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]


def test_step_counts_epochs_when_told():
    assert rates(Step(every=1, decay=0.5, unit="epoch"), 40) == [0.1] * 10 + [0.05] * 10 + [0.025] * 10 + [0.0125] * 10


def test_cosine_starts_at_the_rate_ends_at_the_final_one_and_stays():
    got = rates(Cosine(length=20, final=0.25), 40)
    assert got[0] == 0.1
    assert math.isclose(got[10], 0.1 * (0.25 + 0.75 * 0.5), rel_tol=1e-15)
    assert got[20:] == [0.025] * 20


def test_cosine_over_the_training_spans_all_updates():
    got = rates(Cosine(), 41)
    assert got[0] == 0.1
    assert got[40] == 0.0
    assert got[39] > 0


def test_warmup_rises_linearly_then_the_schedule_counts_from_its_end():
    got = rates(Step(every=3, decay=0.5, warmup=Warmup(length=4, start=0.2)), 9, lr=1.0)
    assert got == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 0.5, 0.5], rel=1e-15)


@pytest.mark.parametrize(("schedule", "torch_name", "arguments"), [
    (Step(every=7, decay=0.3), "StepLR", {"step_size": 7, "gamma": 0.3}),
    (Cosine(length=30, final=0.1), "CosineAnnealingLR", {"T_max": 30, "eta_min": 0.01}),
])  # fmt: skip
def test_torch_schedulers_give_the_same_rates(schedule, torch_name, arguments):
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, torch_name)(optimizer, **arguments)
    theirs = []
    for _ in range(30):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(schedule, 30) == pytest.approx(theirs, rel=1e-13)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1))
def test_rates_stay_between_final_and_full(warm, length, final):
    schedule = Cosine(length=length, final=final, warmup=Warmup(length=warm, start=final))
    for rate in rates(schedule, 120, lr=1.0):
        assert final - 1e-15 <= rate <= 1.0
