"""Twelve ways in which published checkers pass wrong models: ours must fail every one of these models.

Both sides are PyTorch's, so that nothing but the trap differs; the sound pair of each network is found equal first.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import dualml
from dualml.parity.judge import LIMIT, judgement

SIZE, CLASSES, ROWS = 6, 4, 9


class Network(nn.Module):
    """A dense layer, an activation, a dense layer; whatever a test changes is one of these."""

    def __init__(self, activation=None, first=None):
        super().__init__()
        self.first = first or nn.Linear(SIZE, SIZE)
        self.activation = activation or nn.ReLU()
        self.head = nn.Linear(SIZE, CLASSES)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)

    def forward(self, x):
        return self.head(self.activation(self.first(x)))


def changed(act, **parts):
    """A network on whose weights something is done."""
    network = Network(**parts)
    with torch.no_grad():
        act(network)
    return network


def batch():
    generator = np.random.default_rng(8)
    return generator.normal(size=(ROWS, SIZE)).astype(np.float32), generator.integers(0, CLASSES, ROWS)


def compare(right, left=None, *, inputs=None, optimizer=None, right_optimizer=None, loss=None, **settings):
    drawn, targets = batch()
    inputs = drawn if inputs is None else inputs

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    sides = [
        dualml.Trainable(model, loss or nn.CrossEntropyLoss(), chosen or optimizer or sgd)
        for model, chosen in ((left or Network(), None), (right, right_optimizer))
    ]
    settings = {"weights": "compare", "steps": 2, **settings}
    return dualml.diff(*sides, inputs, targets, **settings)


def findings(report):
    return [(finding.phase, finding.names[1]) for finding in report.native.findings]


def fails(report, phase, *, step=None):
    """The report says ``different``, and begins in this phase."""
    assert report.verdict == "different", report.reasons
    assert report.first_divergence["phase"] == phase, findings(report)
    if step is not None:
        assert report.first_divergence["step"] == step, findings(report)


def test_the_sound_pair_is_equal():
    report = compare(Network())
    assert report.verdict == "equal", findings(report)


class NotANumber(nn.ReLU):
    """One value of the batch is not a number."""

    def forward(self, x):
        y = super().forward(x).clone()
        y[2, 3] = torch.nan
        return y


class TestNotANumber:
    """1. ``nan > limit`` is false, so NaN passes."""

    def test_judge(self):
        assert judgement(np.array([np.nan, 1.0]), np.ones(2), np.ones(2)).rho > LIMIT

    def test_diff(self):
        fails(compare(Network(NotANumber())), "forward")


class TestNotANumberOnBothSides:
    """2. NaNs are zeroed on both sides, or count as equal."""

    def test_judge(self):
        wanted = np.ones(2)
        for _side in ("left", "right"):
            assert judgement(np.array([np.nan, 1.0]), wanted, np.ones(2)).rho > LIMIT

    def test_diff(self):
        assert compare(Network(NotANumber()), Network(NotANumber())).verdict != "equal"

    def test_a_difference_beside_the_nans_is_seen(self):
        def louder(network):
            network.head.bias[1] += 0.5

        right = changed(louder, activation=NotANumber())
        assert compare(right, Network(NotANumber())).verdict == "different"


class SameMean(nn.ReLU):
    """Another output with the same mean."""

    def forward(self, x):
        y = super().forward(x)
        return y + 0.1 * torch.tensor([1.0, -1.0] * (SIZE // 2), dtype=y.dtype)


def test_3_means_are_compared():
    wrong = SameMean()
    sound = torch.randn(ROWS, SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(wrong(sound).mean(), nn.ReLU()(sound).mean(), atol=1e-6)
    fails(compare(Network(wrong)), "forward")


class SameValues(nn.ReLU):
    """The same values in another order."""

    def forward(self, x):
        return super().forward(x).roll(1, dims=0)


def test_4_sorted_values_are_compared():
    values = torch.randn(ROWS, SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SameValues()(values).flatten().sort().values, values.relu().flatten().sort().values)
    fails(compare(Network(SameValues())), "forward")


class TestAxisPermutations:
    """5. Any permutation of the axes is accepted."""

    def test_a_square_kernel_transposed(self):
        def turn(network):
            network.first.weight.copy_(network.first.weight.T.clone())

        assert compare(changed(turn)).verdict == "different"

    @pytest.mark.parametrize("weights", ["compare", "auto"])
    def test_rows_and_columns_of_an_image_exchanged(self, weights):
        generator = torch.Generator().manual_seed(1)
        kernel = torch.randn(2, 2, 3, 3, generator=generator)

        def convolution(array):
            layer = nn.Conv2d(2, 2, 3, bias=False)
            with torch.no_grad():
                layer.weight.copy_(array)
            return layer

        image = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32)
        sides = convolution(kernel), convolution(kernel.transpose(2, 3))
        assert dualml.diff(*sides, image, weights=weights).verdict == "different"
        assert dualml.diff(sides[0], convolution(kernel), image, weights=weights).verdict == "equal"


class Backwards(nn.Linear):
    """Reads its inputs from the end: no difference for inputs that are all one number."""

    def forward(self, x):
        return super().forward(x.flip(-1))


class TestConstantProbe:
    """6. The probe is all ones."""

    def test_inputs_that_dualml_makes_up_are_not_constant(self):
        sound, wrong = Network(), Network(first=Backwards(SIZE, SIZE))
        ones = torch.ones(2, SIZE)
        assert torch.allclose(sound(ones), wrong(ones), atol=1e-5)
        report = dualml.diff(sound, wrong, inputs=None if knows_its_shape(sound) else batch()[0], weights="compare")
        assert report.verdict == "different"

    def test_weights_are_compared_whatever_the_inputs_are(self):
        def exchange(network):
            network.first.weight.copy_(network.first.weight.flip(1).clone())

        report = compare(changed(exchange), inputs=np.ones((ROWS, SIZE), np.float32))
        assert report.verdict == "different"


def knows_its_shape(model):
    """Whether inputs can be made up for a model: a PyTorch module does not say what it takes."""
    return getattr(model, "input_shape", None) is not None


class TestSign:
    """7. The difference has no absolute value, so what is too small passes."""

    @pytest.mark.parametrize("error", [-1.0, 1.0])
    def test_judge(self, error):
        assert judgement(np.full(3, 2.0) + error, np.full(3, 2.0), np.full(3, 0.1)).rho > LIMIT

    @pytest.mark.parametrize("error", [-0.5, 0.5])
    def test_diff(self, error):
        class Shifted(nn.ReLU):
            def forward(self, x):
                return super().forward(x) + error

        fails(compare(Network(Shifted())), "forward")


class LaterOn(torch.optim.SGD):
    """A right first update, wrong ones after it."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["done"] = group.get("done", 0) + 1
            group["lr"] = 0.1 if group["done"] == 1 else 0.11
        super().step(closure)


def test_8_only_the_first_step_is_compared():
    fails(compare(Network(), right_optimizer=lambda p: LaterOn(p, lr=0.1)), "update", step=2)


class HalfTheGradient(nn.ReLU):
    """The right values, half of the gradient."""

    def forward(self, x):
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: 0.5 * gradient)
        return y


def test_9_the_backward_pass_is_judged_with_forward_data():
    fails(compare(Network(HalfTheGradient())), "backward")


class TestSkippedTensors:
    """10. Missing, one-dimensional or empty tensors are skipped."""

    def test_a_bias_is_missing(self):
        assert compare(Network(first=nn.Linear(SIZE, SIZE, bias=False))).verdict == "different"

    def test_one_number_of_a_bias_differs(self):
        def move(network):
            network.first.bias[3] += 1e-6

        fails(compare(changed(move)), "init")

    def test_a_gradient_is_missing(self):
        right = Network()
        right.head.bias.requires_grad_(False)
        assert compare(right).verdict == "different"

    def test_what_was_compared_is_counted(self):
        coverage = compare(Network()).coverage
        assert coverage["compared"] > 0
        assert "skipped" in coverage


class TestSkippedBranch:
    """11. An inverted condition skips a branch: training or inference is never looked at."""

    @pytest.mark.parametrize("training", [True, False])
    def test_wrong_in_one_mode_only(self, training):
        class InOneMode(nn.ReLU):
            def forward(self, x):
                return super().forward(x) * (1.01 if self.training == training else 1.0)

        fails(compare(Network(InOneMode())), "forward")


class Quiet(nn.Module):
    """Cross entropy times a tiny factor: every gradient is far below any absolute tolerance."""

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets) * 1e-9


def test_12_an_absolute_tolerance_on_tiny_gradients():
    assert compare(Network(), loss=Quiet()).verdict != "different"
    report = compare(Network(HalfTheGradient()), loss=Quiet())
    gaps = [finding.max_abs for finding in report.native.findings]
    assert max(gaps) < 1e-8, "the gradients of this test must be tiny"
    fails(report, "backward")
