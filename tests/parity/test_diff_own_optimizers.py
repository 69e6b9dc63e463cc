"""``dualml.diff`` on optimizers that do something else than they say, or say nothing: on either side, and on both."""

import diff_pairs as pairs
import keras
import pytest
import torch
from torch import nn

import dualml


class Updating(torch.optim.Adam):
    """A subclass whose update is its own."""

    correcting, moving = False, True

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] += 1
                count = float(state["step"])
                state["exp_avg"].mul_(beta1).add_(parameter.grad, alpha=1 - beta1)
                state["exp_avg_sq"].mul_(beta2).add_(parameter.grad.square(), alpha=1 - beta2)
                one, two = (1 - beta1**count, 1 - beta2**count) if self.correcting else (1.0, 1.0)
                root, epsilon = (state["exp_avg_sq"] / two).sqrt(), group["eps"]
                if self.moving:
                    epsilon = epsilon / two**0.5
                parameter.sub_(group["lr"] * (state["exp_avg"] / one) / (root + epsilon))


class Uncorrected(Updating):
    moving = False


class OuterEpsilon(Updating):
    correcting = True


class NeverZeroed(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            total = self.state[parameter].setdefault("total", torch.zeros_like(parameter))
            parameter.grad.copy_(total.add_(parameter.grad))
        super().step(closure)


class Halving(torch.optim.SGD):
    """Half the rate from the second update on, which it does not say."""

    inside = False

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["updates"] = group.get("updates", 0) + 1
            rate = group["lr"] * (0.5 if group["updates"] > 1 else 1.0)
            for parameter in group["params"]:
                state = self.state[parameter]
                velocity = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
                velocity.mul_(group["momentum"]).add_(parameter.grad, alpha=rate if self.inside else 1.0)
                parameter.sub_(velocity, alpha=1.0 if self.inside else rate)


class HalvingInside(Halving):
    inside = True


class Nameless(torch.optim.Optimizer):
    """Nobody's subclass: SGD with Nesterov's momentum, without a formula that could be read."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                velocity.mul_(0.9).add_(parameter.grad)
                parameter.sub_(parameter.grad + 0.9 * velocity, alpha=group["lr"])


def compared(*makers):
    """The report of two equal networks with these optimizers."""
    models = [pairs.torch_mlp() for _ in makers]
    made = [
        dualml.Trainable(model, nn.CrossEntropyLoss(), make(model.parameters()))
        for model, make in zip(models, makers, strict=True)
    ]
    return dualml.diff(*made, pairs.BATCH, pairs.CLASSES)


def sgd(kind=torch.optim.SGD, **settings):
    return lambda parameters: kind(parameters, **{"lr": 0.1, **settings})


def adam(kind=torch.optim.Adam, **settings):
    return lambda parameters: kind(parameters, **{"lr": 0.01, "eps": 1e-3, **settings})


DEPARTING = {
    "bias correction": (adam(), adam(Uncorrected), "optimizer.bias_correction", (True, False)),
    "place of epsilon": (adam(), adam(OuterEpsilon), "optimizer.epsilon_placement", ("corrected", "uncorrected")),
    "gradients kept": (sgd(), sgd(NeverZeroed), "gradients.accumulated", ("set to 0", "kept")),
    "a schedule inside": (
        sgd(momentum=0.9),
        sgd(Halving, momentum=0.9),
        "optimizer.lr",
        ("0.1, 0.1, 0.1, 0.05", "0.1, 0.05, 0.05, 0.025"),
    ),
    "no formula": (sgd(momentum=0.9), sgd(Nameless), "optimizer.nesterov", (False, True)),
}


@pytest.mark.parametrize("left_first", [True, False])
@pytest.mark.parametrize("name", DEPARTING)
def test_what_departs_from_a_formula_is_explained_on_either_side(name, left_first):
    stock, own, cause, values = DEPARTING[name]
    report = compared(*((stock, own) if left_first else (own, stock)))
    assert pairs.causes(report) == [cause]
    assert (report.cause.left, report.cause.right) == (values if left_first else values[::-1])
    readable = name != "no formula"  # what is meant then is what the left side does
    assert report.deviates == ("right" if left_first or not readable else "left")


def test_the_gap_of_the_left_side_is_no_rounding():
    report = compared(adam(Uncorrected), adam())
    assert report.precision_scaling["bits"] == pytest.approx(0, abs=1)
    assert not any("rounding" in item["why"] for item in report.coverage["skipped"])


@pytest.mark.parametrize("left_first", [True, False])
def test_what_neither_side_says_and_both_do_is_not_the_cause(left_first):
    both = sgd(Halving, momentum=0.9), sgd(HalvingInside, momentum=0.9)
    report = compared(*(both if left_first else both[::-1]))
    assert pairs.causes(report) == ["optimizer.lr_inside_momentum"]
    assert (report.cause.left, report.cause.right) == ((False, True) if left_first else (True, False))
    assert report.deviates == "both"


def test_two_sides_that_depart_each_in_their_own_way_are_two_findings():
    report = compared(adam(Uncorrected), adam(OuterEpsilon))
    assert sorted(pairs.causes(report)) == ["optimizer.bias_correction", "optimizer.epsilon_placement"]


def test_memory_of_another_meaning_is_no_second_difference():
    left = pairs.torch_mlp()
    right = pairs.ported(left, pairs.keras_mlp())
    report = dualml.diff(
        dualml.Trainable(
            left,
            nn.CrossEntropyLoss(),
            torch.optim.SGD(left.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
        ),
        pairs.keras_side(right, optimizer=keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1)),
        pairs.BATCH,
        pairs.CLASSES,
    )
    assert pairs.causes(report) == ["optimizer.decay_coupling"]


def test_a_function_may_go_through_its_parameters_twice():
    def grouped(parameters):
        many = [item for item in parameters if item.ndim > 1]
        few = [item for item in parameters if item.ndim <= 1]
        groups = [{"params": many}, {"params": few, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.01)

    models = [pairs.torch_mlp() for _ in range(2)]
    made = [
        dualml.Trainable(model, nn.CrossEntropyLoss(), make)
        for model, make in zip(models, (lambda given: torch.optim.AdamW(given, lr=0.01), grouped), strict=True)
    ]
    assert pairs.causes(dualml.diff(*made, pairs.BATCH, pairs.CLASSES)) == ["optimizer.decay_scope"]
