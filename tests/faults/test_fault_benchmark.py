"""The fault benchmark itself: what it holds, that its cases are what they say, and how it grades."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("torch")
pytest.importorskip("keras")

from benchmarks.faults.cases import all_cases
from benchmarks.faults.check import problem
from benchmarks.faults.document import document, wrong_with
from benchmarks.faults.fault import FAMILIES, UPDATE, Case, Fault, cases_of
from benchmarks.faults.figures import alarms, figures, power, split, summary
from benchmarks.faults.outcome import Found, failed, graded, outcome_of
from benchmarks.faults.side import Side, build
from benchmarks.faults.tables import all_faults
from dualml.parity.hypotheses.meanings import MEANINGS


@pytest.fixture(scope="module")
def cases():
    return all_cases()


def test_every_cause_has_a_fault(cases):
    found = {case.fault.cause for case in cases if case.fault}
    assert found == {*MEANINGS, "unknown"}


def test_loss_optimizer_and_loop_faults_are_in_every_network():
    wanted = ("loss.reduction", "optimizer.lr", "optimizer.betas", "parameters.frozen", "data.order", "schedule.offset")
    for cause in wanted:
        assert {fault.family for fault in all_faults() if fault.cause == cause} == set(FAMILIES)


def test_there_are_enough_clean_and_unknown_cases(cases):
    assert sum(case.fault is None for case in cases) >= 300
    assert (
        len({(case.fault.family, case.fault.name) for case in cases if case.fault and case.fault.cause == "unknown"})
        >= 10
    )


def test_both_sides_are_made_wrong(cases):
    wrong = [case.wrong for case in cases if case.fault]
    assert min(wrong.count("left"), wrong.count("right")) > 0.4 * (len(wrong) - wrong.count(None))


@pytest.mark.parametrize(
    "name",
    [
        "layout.dense_transposed/mlp/hidden2/torch/0",
        "layout.flatten_order/lenet/fc1/keras/0",
        "layout.gate_order/gru/reset_for_update/torch/0",
        "layout.qkv_packing/transformer/heads_inside/keras/0",
        "norm.momentum/lenet/norm1_0.1001/keras/0",
        "activation.slope/mlp/0.250001/torch/0",
        "optimizer.betas/gru/adam_0.9_0.9991/torch/0",
        "optimizer.lr_inside_momentum/mlp/falling_rate/keras/0",
        "unknown/lenet/half_the_gradient/keras/0",
        "clean/lenet/functional/keras_torch/2",
        "clean/transformer/attention_written_out/keras_torch/0",
        "clean/mlp/decay_without_momentum/torch_keras/1",
    ],
)
def test_cases_are_what_they_say(cases, name):
    found = {case.id: case for case in cases}
    near = [other for other in found if other.split("/")[:2] == name.split("/")[:2]]
    assert name in found, near
    assert problem(found[name]) == ""


def test_the_check_notices_a_fault_that_is_none_and_a_clean_pair_that_is_faulty():
    idle = Fault("norm.epsilon", "mlp", "nothing", torch=Side(options={}))
    assert "last bit" in problem(cases_of(idle, 0, 0)[0])
    loud = Side(optimizer=lambda: __import__("keras").optimizers.SGD(0.06))
    assert "apart" in problem(Case("clean/mlp/loud/torch_keras/0", "mlp", ("torch", Side()), ("keras", loud), 0))


def test_a_change_that_meets_nothing_is_refused():
    with pytest.raises(KeyError, match="no part"):
        build("torch", "mlp", Side(parts={"conv1": lambda *_: None}), 0)
    with pytest.raises(KeyError, match="no weights"):
        build("keras", "mlp", Side(port={"conv1.kernel": lambda array: array}), 0)


def finding(cause, *, step=1, phase="forward", node="norm1", names=("norm1 BatchNorm2d", "norm1 BatchNormalization")):
    return Found(cause, True, step, phase, node, names, "semantic", "right", (), (0.1, 9.0))


FAULT = Fault(
    "norm.epsilon", "lenet", "norm1", ("norm1",), also=("norm.axis",), torch=Side(), magnitude=0.5, curve="epsilon"
)
CASE = Case("norm.epsilon/lenet/norm1/torch/0", "lenet", ("torch", Side()), ("keras", Side()), 0, FAULT, "left")
CLEAN = Case("clean/mlp/as_it_is/torch_keras/1", "mlp", ("torch", Side()), ("keras", Side()), 1)


class TestGrades:
    def grade(self, *found, case=CASE, verdict="different"):
        return graded(case, verdict, found, 2.0, 0.1)

    def test_right(self):
        for cause in ("norm.epsilon", "norm.axis"):
            outcome = self.grade(finding(cause))
            assert (outcome.detected, outcome.placed, outcome.named, outcome.good) == (True, True, "right", True)

    def test_wrong_and_unknown_cause(self):
        assert self.grade(finding("norm.momentum")).named == "wrong"
        assert self.grade(finding("unknown")).named == "unknown"
        assert not self.grade(finding("unknown")).good

    @pytest.mark.parametrize(
        "changed",
        [
            {"step": 2},
            {"phase": "loss"},
            {"node": "norm10", "names": ("norm10 BatchNorm2d", "norm_1 BatchNormalization")},
        ],
    )
    def test_wrong_place(self, changed):
        outcome = self.grade(finding("norm.epsilon", **changed))
        assert not outcome.placed
        assert not outcome.good
        assert "wrong place" in wrong_with(outcome)

    def test_missed(self):
        outcome = self.grade(verdict="equal")
        assert (outcome.detected, outcome.named) == (False, "missed")

    def test_what_stock_layers_do_otherwise_is_neither_the_fault_nor_an_alarm(self):
        case = dataclasses.replace(CASE, present=frozenset({"norm.unbiased_variance"}))
        other = finding("norm.unbiased_variance", phase="buffers")
        assert self.grade(other, case=case).named == "missed"
        assert self.grade(other, finding("norm.epsilon"), case=case).good
        assert self.grade(finding("norm.epsilon"), case=case).missing == ("norm.unbiased_variance",)

    def test_further_findings_are_counted(self):
        outcome = self.grade(finding("norm.epsilon"), finding("unknown", phase="backward"))
        assert outcome.extra == ("unknown",)
        assert not outcome.good

    def test_outside_the_catalogue_unknown_is_right_and_a_name_is_wrong(self):
        fault = Fault("unknown", "gru", "one_sided", (), UPDATE, torch=Side())
        case = dataclasses.replace(CASE, fault=fault)
        assert self.grade(finding("unknown", phase="update"), case=case).good
        assert self.grade(finding("optimizer.lr", phase="update"), case=case).named == "wrong"

    def test_clean(self):
        assert self.grade(case=CLEAN, verdict="equal").good
        assert not self.grade(finding("unknown"), case=CLEAN).good
        assert not self.grade(case=CLEAN, verdict="undecided").good
        assert alarms([self.grade(finding("unknown"), case=CLEAN)]).different == 1

    def test_figures_and_page(self):
        outcomes = [
            self.grade(finding("norm.epsilon")),
            self.grade(finding("norm.momentum")),
            self.grade(verdict="equal"),
            self.grade(case=CLEAN, verdict="equal"),
            failed(CASE, "KeyError at a.py:1: gone"),
        ]
        catalogue, _, clean = split(outcomes)
        counted = figures(catalogue)
        assert (counted.cases, counted.detected, counted.right, counted.wrong, counted.errors) == (4, 2, 1, 1, 1)
        assert alarms(clean).equal == 1
        assert [(point.cases, point.detected) for point in power(catalogue)] == [(3, 2)]
        assert summary(outcomes)["overhead"]["times"] == pytest.approx(20.0)
        page = document(outcomes, {"torch": "2.13.0"})
        assert "| faults of the catalogue | 4 | 2 (50.0%) |" in page
        assert "missed; the verdict is equal" in page
        assert "`python -m benchmarks.faults --case norm.epsilon/lenet/norm1/torch/0`" in page

    def test_outcomes_survive_json(self):
        outcome = self.grade(finding("norm.epsilon"))
        assert outcome_of(outcome.to_dict()) == outcome
