"""The PyTorch adapter's optimizers and clipping, by their formulas."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualml_torch import formulas  # noqa: E402
from dualml_torch.formulas.muon import newton_schulz  # noqa: E402
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


OWN = {
    "GeneralSGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "EpsilonHatAdam": {"lr": 0.02, "weight_decay": 1e-3, "amsgrad": True},
    "GeneralAdamax": {"lr": 0.05, "weight_decay": 1e-3},
    "GeneralRMSprop": {"lr": 0.02, "centered": True, "momentum": 0.5, "weight_decay": 1e-3},
    "GeneralAdagrad": {"lr": 0.5, "weight_decay": 1e-3},
    "GeneralAdadelta": {"lr": 0.5, "eps": 1e-2, "weight_decay": 1e-3},
    "Lion": {"lr": 0.05, "weight_decay": 1e-3},
    "GeneralAdafactor": {"lr": 0.3, "weight_decay": 1e-3},
}


def test_every_own_optimizer_is_tried() -> None:
    assert {*OWN, "FullPrecisionMuon", "Formula"} == set(formulas.__all__)  # Muon takes matrices: it has its own test


@pytest.mark.parametrize("name", OWN)
def test_own_optimizers_serve_any_loop(name: str) -> None:
    def make(parameters: Any) -> Any:
        return getattr(formulas, name)(parameters, **OWN[name])

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


def test_muon_is_the_stock_one_but_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full-precision iteration in the place of its own, ``torch.optim.Muon`` does the same."""
    module = importlib.import_module("torch.optim._muon")

    def full_precision(gradient: Any, coefficients: Any, steps: int, eps: float) -> Any:
        return newton_schulz(gradient / gradient.norm().clamp(min=eps), coefficients, steps)

    generator = torch.Generator().manual_seed(1)
    for replaced in (True, False):
        if replaced:
            monkeypatch.setattr(module, "_zeropower_via_newtonschulz", full_precision)
        else:
            monkeypatch.undo()
        for shape in ((4, 7), (7, 4)):
            start = torch.randn(shape, generator=generator, dtype=torch.float64)
            ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
            mine, stock = formulas.FullPrecisionMuon([ours], lr=0.02), torch.optim.Muon([theirs], lr=0.02)
            for _ in range(5):
                ours.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
                theirs.grad = ours.grad.clone()
                mine.step()
                stock.step()
            difference = float((ours - theirs).detach().abs().max())
            assert difference < 1e-14 if replaced else 1e-5 < difference < 1e-2


def test_adafactor_factors_the_axes_it_is_told_to() -> None:
    """A convolution's kernel as PyTorch keeps it, (out, in, height, width), and as the neutral layout does."""
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(3, 5, 4, 6, generator=generator, dtype=torch.float64)  # height, width, in, out
    neutral, native = nn.Parameter(start.clone()), nn.Parameter(start.permute(3, 2, 0, 1).clone())
    windows = nn.Parameter(native.detach().clone())
    optimizers = [
        formulas.GeneralAdafactor([neutral]),
        formulas.GeneralAdafactor([{"params": [native], "factored": (1, 0)}]),
        formulas.GeneralAdafactor([windows]),
    ]
    for _ in range(3):
        neutral.grad = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        windows.grad = native.grad = neutral.grad.permute(3, 2, 0, 1)
        for optimizer in optimizers:
            optimizer.step()
    as_neutral = native.detach().permute(2, 3, 1, 0)
    assert torch.allclose(as_neutral, neutral.detach(), rtol=1e-14, atol=1e-15)
    assert float((windows - native).detach().abs().max()) > 1e-4  # what stock torch.optim.Adafactor would factor


def test_average_is_that_of_torch_bit_for_bit() -> None:
    spec = make_spec(optimizer={"adam": {"lr": 0.01, "ema": {"decay": 0.9}}})
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    averaged = torch.optim.swa_utils.AveragedModel(
        network.native, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    generator = np.random.default_rng(4)
    for _ in range(6):
        trainer.apply({name: generator.standard_normal(a.shape) for name, a in network.get_weights().items()}, 0.01)
        averaged.update_parameters(network.native)
    found = trainer.get_state().slots["average"]
    twin = make_network(spec)
    twin.native.load_state_dict(averaged.module.state_dict())
    assert_same(found, twin.get_weights())
    assert any(np.any(found[name] != array) for name, array in network.get_weights().items())


def test_nadam_keeps_its_product_in_the_parameters_precision() -> None:
    """PyTorch's own is a float32 tensor beside float64 parameters: 3e-8 off from the first update."""
    spec = make_spec(optimizer="nadam", precision="float64")
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    assert type(trainer.optimizer) is torch.optim.NAdam
    trainer.apply({name: np.ones_like(array) for name, array in network.get_weights().items()}, 0.01)
    product = 0.9 * (1 - 0.5 * 0.96**0.004)
    for array in trainer.get_state().slots["momentum_product"].values():
        assert array.dtype == np.float64
        assert abs(float(array) - product) < 1e-16
        assert abs(float(np.float32(product)) - product) > 1e-9


def test_groups_have_rates_of_their_own() -> None:
    groups = [{"match": "dense_1.*", "lr_factor": 0.1}, {"match": "*.bias", "lr_factor": 0.0}]
    spec = make_spec(optimizer={"sgd": {"groups": groups}}, precision="float64")
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4)
    before = network.get_weights()
    trainer.apply({name: np.ones_like(array) for name, array in before.items()}, 0.5)
    wanted = {"dense_1.kernel": 0.05, "dense_1.bias": 0.05, "dense_2.kernel": 0.5, "dense_2.bias": 0.0}
    for name, step in wanted.items():
        np.testing.assert_allclose(before[name] - network.get_weights()[name], step, rtol=1e-13)


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_clipping_is_the_stock_function(kind: str) -> None:
    spec = make_spec(optimizer={"sgd": {"lr": 1.0}}, train={"clip": {kind: 0.3}})
    network = make_network(spec)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=4, clip=spec.train.clip)
    before = network.get_weights()
    generator = np.random.default_rng(5)
    gradients = {name: generator.standard_normal(a.shape).astype(a.dtype) for name, a in before.items()}
    trainer.apply(gradients, 1.0)
    for name, array in before.items():
        parameter = nn.Parameter(torch.tensor(array))
        parameter.grad = torch.tensor(gradients[name])
        if kind == "norm":
            nn.utils.clip_grad_norm_([parameter], 0.3)
        else:
            nn.utils.clip_grad_value_([parameter], 0.3)
        wanted = (parameter - parameter.grad).detach().numpy()
        np.testing.assert_allclose(network.get_weights()[name], wanted, rtol=1e-6, atol=1e-7)
