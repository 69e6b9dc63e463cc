"""``dualml.diff`` on models: what is equal is found equal, what is not is found, placed and named."""

import diff_pairs as pairs
import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

import dualml


def test_a_port_with_everything_equal_has_no_finding():
    left = pairs.torch_mlp()
    right = pairs.ported(left, pairs.keras_mlp())
    report = dualml.diff(pairs.torch_side(left), pairs.keras_side(right), pairs.BATCH, pairs.CLASSES)
    assert (report.verdict, pairs.causes(report)) == ("equal", [])
    assert report.native.weights == "as they are"
    assert {pair.status for pair in report.native.pairs} == {"equal"}
    phases = {check.phase for check in report.checks if check.ok}
    assert phases == {"init", "input", "forward", "loss", "backward", "update"}
    assert report.coverage["steps"]["float64"]["judged"] == [1, 2, 3]
    assert [trajectory.precision for trajectory in report.native.trajectories] == ["float64", "float32"]
    assert max(report.native.trajectories[0].gap) < 1e-14


def test_independent_weights_are_copied_and_the_report_says_so():
    report = dualml.diff(pairs.torch_mlp(), pairs.keras_mlp(), pairs.BATCH)
    assert (report.verdict, report.native.weights) == ("equal", "copied from left")
    assert any("loss" in item["what"] for item in report.coverage["skipped"])


def test_a_wrong_epsilon_is_placed_and_named_and_hides_nothing_behind_it():
    left = pairs.torch_conv()
    right = pairs.ported(left, pairs.keras_conv(epsilon=1e-2, momentum=0.8))
    report = dualml.diff(left, right, pairs.IMAGES)
    first, *others = report.native.findings
    assert (first.phase, first.node, first.deviates, first.cause.id) == ("forward", "_1", "right", "norm.epsilon")
    assert first.cause.confirmed
    assert first.rho[0] <= 1.0 < first.rho[1]
    assert abs(first.bits) < 1.0
    assert {finding.cause.id for finding in others} == {"norm.momentum", "norm.unbiased_variance"}
    assert report.first_divergence["node"] == "_1"
    statuses = [pair.status for pair in report.native.pairs]
    assert statuses == ["equal", "different", "equal", "equal", "equal", "equal"]


def test_what_the_code_says_and_what_a_fit_finds_is_one_hypothesis():
    left = pairs.torch_conv()
    right = pairs.ported(left, pairs.keras_conv(epsilon=1e-3, momentum=0.9))
    report = dualml.diff(left, right, pairs.IMAGES)
    (found,) = [item for item in report.native.findings if item.cause.id == "norm.epsilon"][:1]
    passing = [item for item in found.hypotheses if item.cause == "norm.epsilon" and item.rho_after <= 1]
    assert len(passing) == 1
    assert passing[0].fitted == pytest.approx(1e-3, rel=1e-6)


def test_the_order_of_flattened_features_is_no_difference_if_the_rows_follow_it():
    left = pairs.torch_conv()
    right = pairs.ported(left, pairs.keras_conv(epsilon=1e-5, momentum=0.9))
    report = dualml.diff(left, right, pairs.IMAGES)
    assert "norm.unbiased_variance" in pairs.causes(report)  # PyTorch and Keras always differ in that
    assert not any(name.startswith(("layout", "weights")) for name in pairs.causes(report))


def test_rows_in_the_order_of_the_other_framework_are_found():
    left = pairs.torch_conv()
    right = pairs.ported(left, pairs.keras_conv(epsilon=1e-5, momentum=0.9), rows=False)
    report = dualml.diff(left, right, pairs.IMAGES)
    first = report.native.findings[0]
    assert (first.phase, first.node, first.cause.id) == ("init", "_5", "layout.flatten_order")


def test_a_weight_that_was_never_copied_is_found_once():
    left = pairs.torch_mlp()
    right = pairs.ported(left, pairs.keras_mlp())
    right.layers[1].kernel.assign(pairs.RANDOM.normal(size=(5, 3)))
    report = dualml.diff(pairs.torch_side(left), pairs.keras_side(right), pairs.BATCH, pairs.CLASSES)
    assert pairs.causes(report) == ["weights.not_copied"]
    assert report.first_divergence == {"step": 0, "phase": "init", "node": "_2", "tensor": "kernel"}


def test_an_activation_that_only_one_side_has_is_found_where_it_is():
    left = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    report = dualml.diff(left, pairs.keras_mlp(), pairs.BATCH)
    first = report.native.findings[0]
    assert (first.phase, first.cause.id) == ("forward", "activation.kind")
    assert first.names[0] == "nothing"
    assert len(report.native.findings) == 1


def test_several_independent_faults_are_told_apart():
    left = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 3))
    right = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5),
            layers.Activation(lambda x: keras.activations.gelu(x, approximate=True)),
            layers.LayerNormalization(epsilon=1e-3),
            layers.Dense(3),
        ]
    )
    report = dualml.diff(left, right, pairs.BATCH)
    assert pairs.causes(report) == ["activation.gelu_approximation", "norm.epsilon"]


def test_both_sides_may_be_of_one_framework():
    left = pairs.torch_mlp()
    right = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.01), nn.Linear(5, 3))
    right.load_state_dict(left.state_dict())
    report = dualml.diff(left, right, pairs.BATCH)
    assert pairs.causes(report) in (["activation.slope"], ["activation.kind"])
    assert dualml.diff(left, pairs.torch_mlp(), pairs.BATCH).verdict == "equal"


def test_dropout_masks_are_shared():
    left = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.4), nn.Linear(5, 3))
    right = keras.Sequential([keras.Input((6,)), layers.Dense(5), layers.Dropout(0.4), layers.Dense(3)])
    assert dualml.diff(left, right, pairs.BATCH).verdict == "equal"
    other = keras.Sequential([keras.Input((6,)), layers.Dense(5), layers.Dropout(0.2), layers.Dense(3)])
    report = dualml.diff(left, other, pairs.BATCH)
    assert (report.native.findings[0].node, pairs.causes(report)) == ("_1", ["dropout.rate"])


def test_the_models_are_left_as_they_were():
    left, right = pairs.torch_mlp(), pairs.keras_mlp()
    before = [array.detach().clone() for array in left.parameters()], [array.copy() for array in right.get_weights()]
    dualml.diff(pairs.torch_side(left), pairs.keras_side(right), pairs.BATCH, pairs.CLASSES)
    assert all(torch.equal(one, two) for one, two in zip(before[0], left.parameters(), strict=True))
    assert all(np.array_equal(one, two) for one, two in zip(before[1], right.get_weights(), strict=True))
    assert left.training


def test_nan_never_passes():
    left = pairs.torch_mlp()
    right = pairs.ported(left, pairs.keras_mlp())
    with torch.no_grad():
        left[0].weight[0, 0] = float("nan")
    right.layers[0].kernel.assign(left[0].weight.detach().numpy().T)
    for policy in ("copy", "compare"):
        report = dualml.diff(left, right, pairs.BATCH, weights=policy)
        assert report.verdict != "equal", policy


@pytest.mark.parametrize("steps", [1, 2])
def test_a_difference_that_the_batch_does_not_show_forward_is_found_backward(steps):
    """A gradient that is cut: the outputs are equal, bit for bit."""
    left = pairs.torch_mlp()

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = pairs.torch_mlp()

        def forward(self, x):
            return self.layers[2](self.layers[1](self.layers[0](x)).detach())

    right = Cut()
    report = dualml.diff(pairs.torch_side(left), pairs.torch_side(right), pairs.BATCH, pairs.CLASSES, steps=steps)
    assert report.verdict == "different"
    assert report.first_divergence["phase"] == "backward"


class Residual(nn.Module):
    """A block whose activation stands before or behind its sum."""

    def __init__(self, behind):
        super().__init__()
        self.first, self.second, self.behind = nn.Linear(12, 12), nn.Linear(12, 12), behind

    def forward(self, x):
        y = self.second(torch.tanh(self.first(x)))
        return torch.relu(y + x) if self.behind else torch.relu(y) + x


def test_the_order_of_an_activation_and_a_sum_is_named():
    torch.manual_seed(0)
    left = Residual(behind=True)
    right = Residual(behind=False)
    right.load_state_dict(left.state_dict())
    report = dualml.diff(left, right, np.random.default_rng(0).normal(size=(9, 12)).astype(np.float32))
    (finding,) = report.native.findings
    assert (finding.phase, finding.cause.id, finding.cause.confirmed) == ("forward", "graph.residual_order", True)
    assert (finding.cause.left, finding.cause.right) == ("add -> relu", "relu -> add")
    assert finding.cause.fix == {"torch": "apply add -> relu, in this order"}
