"""The PyTorch adapter's optimizers and clipping, by their formulas."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualml_torch.formulas import EpsilonHatAdam, GeneralSGD  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_support import assert_same, make_network, make_spec  # noqa: E402

FORMULAS = [
    *(
        {"sgd": {"momentum": momentum, "nesterov": nesterov, "decay": decay, "lr_in_momentum": inside}}
        for momentum in (0.0, 0.8)
        for nesterov in (False, True)
        for decay in ("coupled", "decoupled")
        for inside in (False, True)
    ),
    *(
        {"adam": {"decay": decay, "epsilon_placement": placement, "epsilon": 1e-3, "beta2": 0.9}}
        for decay in ("coupled", "decoupled")
        for placement in ("corrected", "uncorrected")
    ),
    *({"adamw": {"epsilon_placement": placement, "epsilon": 1e-3}} for placement in ("corrected", "uncorrected")),
]


def update_by_formula(settings: Any, p: Any, g: Any, slots: dict[str, Any], t: int, lr: float) -> Any:
    """One update of one array, written from the docstrings of dualml/spec/optimizers.py."""
    w = settings.weight_decay
    if settings.decay == "coupled":
        g = g + w * p
    else:
        p = p - lr * w * p
    if settings.kind == "sgd":
        m = settings.momentum
        if settings.lr_in_momentum:
            v = slots["momentum"] = m * slots.get("momentum", 0.0) - lr * g
            return p + m * v - lr * g if settings.nesterov else p + v
        b = slots["momentum"] = m * slots.get("momentum", 0.0) + g
        return p - lr * (g + m * b if settings.nesterov else b)
    b1, b2 = settings.beta1, settings.beta2
    m = slots["first_moment"] = b1 * slots.get("first_moment", 0.0) + (1 - b1) * g
    v = slots["second_moment"] = b2 * slots.get("second_moment", 0.0) + (1 - b2) * g**2
    c1, c2 = 1 - b1**t, 1 - b2**t
    if settings.epsilon_placement == "corrected":
        return p - lr * (m / c1) / (np.sqrt(v / c2) + settings.epsilon)
    return p - lr * (np.sqrt(c2) / c1) * m / (np.sqrt(v) + settings.epsilon)


@pytest.mark.parametrize("settings", FORMULAS, ids=str)
def test_updates_follow_the_formula_in_float64(settings: Any) -> None:
    ((kind, chosen),) = settings.items()
    spec = make_spec(optimizer={kind: {**chosen, "lr": 0.1, "weight_decay": 0.07}}, precision="float64")
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    expected = network.get_weights()
    slots: dict[str, dict[str, Any]] = {name: {} for name in expected}
    generator = np.random.default_rng(2)
    for t, lr in enumerate((0.1, 0.1, 0.02, 0.3, 0.05), start=1):  # a change of rate tells lr_in_momentum apart
        gradients = {name: generator.standard_normal(array.shape) for name, array in expected.items()}
        trainer.apply(gradients, lr)
        expected = {
            name: update_by_formula(spec.optimizer, array, gradients[name], slots[name], t, lr)
            for name, array in expected.items()
        }
    for name, array in network.get_weights().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-13, atol=1e-14, err_msg=name)
    state = trainer.get_state()
    assert state.step == 5
    assert set(state.slots) == set(spec.optimizer.slots)
    for slot, arrays in state.slots.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(array, slots[name][slot], rtol=1e-13, atol=1e-14, err_msg=f"{slot} {name}")


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_follows_the_formula(max_norm: float, epsilon: float) -> None:
    clip = {"clip": {"global_norm": {"max_norm": max_norm, "epsilon": epsilon}}}
    spec = make_spec(optimizer={"sgd": {"lr": 1.0}}, precision="float64", train=clip)
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4, clip=spec.train.clip)
    before = network.get_weights()
    generator = np.random.default_rng(3)
    gradients = {name: generator.standard_normal(array.shape) for name, array in before.items()}
    norm = np.sqrt(sum((array**2).sum() for array in gradients.values()))
    factor = min(1.0, max_norm / (norm + epsilon))
    trainer.apply(gradients, 1.0)
    for name, array in network.get_weights().items():
        np.testing.assert_allclose(array, before[name] - factor * gradients[name], rtol=1e-13, atol=1e-14)
    after = network.get_weights()
    trainer.apply({name: np.zeros_like(array) for name, array in before.items()}, 1.0)
    assert_same(after, network.get_weights())  # a norm of 0 is not divided by


@pytest.mark.parametrize(
    "make",
    [
        lambda p: GeneralSGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: EpsilonHatAdam(p, lr=0.02, weight_decay=1e-3),
    ],
    ids=["GeneralSGD", "EpsilonHatAdam"],
)
def test_own_optimizers_serve_any_loop(make: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])

    def train(steps: int, model: nn.Module, optimizer: Any) -> float:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        for _ in range(steps):
            loss = optimizer.step(closure)
        return float(loss.detach())

    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    frozen = nn.Parameter(torch.ones(2))  # has no gradient and is passed over
    optimizer = make([*model.parameters(), frozen])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    first = train(1, model, optimizer)
    scheduler.step()
    twin = copy.deepcopy(model)
    again = make([*twin.parameters(), nn.Parameter(torch.ones(2))])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(150, model, optimizer) < 0.05 * first
    train(150, twin, again)
    assert torch.equal(model.weight, twin.weight)
    assert torch.equal(frozen.detach(), torch.ones(2))
    with pytest.raises(ValueError, match="lr"):
        type(optimizer)([frozen], lr=-1.0)
