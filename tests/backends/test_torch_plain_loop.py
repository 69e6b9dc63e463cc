"""The PyTorch adapter reproduces the numbers of a plain PyTorch loop bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_support import PRECISIONS, make_batch, make_network, make_spec  # noqa: E402

from dualml.spec.optimizers import OPTIMIZERS as KINDS  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402

OPTIMIZERS = {
    "adam": ({"adam": {"lr": 0.01}}, lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam_coupled": (
        {"adam": {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}},
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    ),
    "adam_decoupled": (
        {"adam": {"lr": 0.01, "weight_decay": 0.1, "decay": "decoupled"}},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "adamw": ({"adamw": {"lr": 0.01}}, lambda p: torch.optim.AdamW(p, lr=0.01)),
    "sgd": ({"sgd": {"lr": 0.05}}, lambda p: torch.optim.SGD(p, lr=0.05)),
    "sgd_nesterov": (
        {"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
}
DEFAULTS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adafactor": torch.optim.Adafactor,
}
"""Each kind with the stock class whose defaults ``conventions: torch`` means."""

NOT_STOCK = {
    "lion": "PyTorch has none",
    "muon": "torch.optim.Muon iterates in bfloat16 and takes matrices alone; see test_torch_optimizers.py",
}

OTHERS = {
    "amsgrad": ({"adam": {"amsgrad": True}}, lambda p: torch.optim.Adam(p, amsgrad=True)),
    "nadam_decoupled": (
        {"nadam": {"weight_decay": 0.1, "decay": "decoupled", "momentum_decay": 0.1}},
        lambda p: torch.optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=0.1),
    ),
    "adamax_coupled": ({"adamax": {"weight_decay": 0.1}}, lambda p: torch.optim.Adamax(p, weight_decay=0.1)),
    "rmsprop_centered": (
        {"rmsprop": {"centered": True, "momentum": 0.9, "weight_decay": 0.1, "epsilon": 1e-4}},
        lambda p: torch.optim.RMSprop(p, centered=True, momentum=0.9, weight_decay=0.1, eps=1e-4),
    ),
    "adagrad_falling": (
        {"adagrad": {"lr_decay": 0.1, "initial_accumulator": 0.3, "weight_decay": 0.1}},
        lambda p: torch.optim.Adagrad(p, lr_decay=0.1, initial_accumulator_value=0.3, weight_decay=0.1),
    ),
    "adadelta_coupled": ({"adadelta": {"weight_decay": 0.1}}, lambda p: torch.optim.Adadelta(p, weight_decay=0.1)),
    "adafactor_decoupled": (
        {"adafactor": {"weight_decay": 0.1, "epsilon2": 0.1}},
        lambda p: torch.optim.Adafactor(p, weight_decay=0.1, eps=(None, 0.1)),
    ),
}
LOSSES = {
    "cross_entropy": ("cross_entropy", functional.cross_entropy),
    "smoothed": (
        {"cross_entropy": {"label_smoothing": 0.1}},
        lambda output, target: functional.cross_entropy(output, target, label_smoothing=0.1),
    ),
    "mse": ("mse", functional.mse_loss),
}


def plain_model(precision: str, weights: Any) -> nn.Sequential:
    dtype = getattr(torch, precision)
    model = nn.Sequential(
        nn.Linear(12, 9, dtype=dtype),
        nn.ReLU(),
        nn.Linear(9, 7, dtype=dtype),
        nn.Tanh(),
        nn.Linear(7, 5, dtype=dtype),
    )
    with torch.no_grad():
        for layer, number in ((0, 1), (2, 2), (4, 3)):
            model[layer].weight.copy_(torch.tensor(weights[f"dense_{number}.kernel"]).T)
            model[layer].bias.copy_(torch.tensor(weights[f"dense_{number}.bias"]))
    return model


def assert_same_weights(weights: Any, model: nn.Sequential) -> None:
    for layer, number in ((0, 1), (2, 2), (4, 3)):
        assert np.array_equal(weights[f"dense_{number}.kernel"].T, model[layer].weight.detach().numpy()), number
        assert np.array_equal(weights[f"dense_{number}.bias"], model[layer].bias.detach().numpy()), number


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("clip", [None, 0.3], ids=["free", "clipped"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_plain_loop_is_reproduced_bit_for_bit(optimizer: str, loss: str, clip: float | None, precision: str) -> None:
    settings, make_optimizer = OPTIMIZERS[optimizer]
    loss_settings, loss_function = LOSSES[loss]
    train = {} if clip is None else {"clip": {"global_norm": clip}}
    spec = make_spec(loss=loss_settings, optimizer=settings, precision=precision, train=train)
    network = make_network(spec)
    batch = make_batch(spec, 50)
    order = np.random.default_rng(1).permutation(np.tile(np.arange(50), 3))
    rates = np.linspace(0.05, 0.001, 10)

    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=16, clip=spec.train.clip, compiled=False)
    losses = trainer.run(trainer.place(batch), order, rates)

    model = plain_model(precision, initial_weights(spec.graph, spec.seed))
    native = make_optimizer(model.parameters())
    assert type(trainer.optimizer) is type(native)
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets)
    expected = []
    for start, rate in zip(range(0, 150, 16), rates, strict=True):  # the last batch has 6 examples
        chosen = order[start : start + 16]
        native.param_groups[0]["lr"] = rate
        native.zero_grad()
        value = loss_function(model(inputs[chosen]), targets[chosen])
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        native.step()
        expected.append(value.item())
    assert losses.tolist() == expected
    assert_same_weights(network.get_weights(), model)


def assert_loop_is_reproduced(settings: Any, make_optimizer: Any, precision: str, rates: Any = None) -> None:
    """Ten updates of ours and of a loop that sets nothing but, where given, the rates."""
    spec = make_spec(optimizer=settings, precision=precision)
    network = make_network(spec)
    batch = make_batch(spec, 50)
    order = np.random.default_rng(1).permutation(np.tile(np.arange(50), 3))
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=16, compiled=False)
    given = np.full(10, spec.optimizer.lr) if rates is None else rates
    losses = trainer.run(trainer.place(batch), order, given)

    model = plain_model(precision, initial_weights(spec.graph, spec.seed))
    native = make_optimizer(model.parameters())
    assert type(trainer.optimizer) is type(native)
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets)
    expected = []
    for update, start in enumerate(range(0, 150, 16)):
        chosen = order[start : start + 16]
        if rates is not None:
            native.param_groups[0]["lr"] = rates[update]
        native.zero_grad()
        value = functional.cross_entropy(model(inputs[chosen]), targets[chosen])
        value.backward()
        native.step()
        expected.append(value.item())
    assert losses.tolist() == expected
    assert_same_weights(network.get_weights(), model)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_conventions_are_the_stock_defaults_bit_for_bit(kind: str) -> None:
    """The loop leaves every argument of the stock optimizer at its default, in PyTorch's default precision."""
    assert_loop_is_reproduced(kind, DEFAULTS[kind], "float32")


def test_every_optimizer_has_a_stock_loop_or_a_reason() -> None:
    assert {kind.kind for kind in KINDS} == {*DEFAULTS, *NOT_STOCK}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", OTHERS)
def test_stock_loop_with_settings_and_rates_is_reproduced_bit_for_bit(name: str, precision: str) -> None:
    settings, make_optimizer = OTHERS[name]
    # PyTorch keeps NAdam's product of momenta in its default dtype, and takes Adafactor's epsilon from the parameter's.
    torch.set_default_dtype(getattr(torch, precision))
    if precision == "float64" and "adafactor" in settings:
        settings = {"adafactor": {**settings["adafactor"], "epsilon1": 2.0**-52}}
    try:
        assert_loop_is_reproduced(settings, make_optimizer, precision, np.linspace(0.05, 0.001, 10))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_plain_accumulation_is_reproduced_bit_for_bit(precision: str) -> None:
    spec = make_spec(precision=precision)
    network = make_network(spec)
    batch = make_batch(spec, 42)
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=8, update_size=20, compiled=False)
    losses = trainer.run(trainer.place(batch), np.arange(42), np.full(3, 0.01))

    model = plain_model(precision, initial_weights(spec.graph, spec.seed))
    native = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs, targets = torch.tensor(batch.inputs), torch.tensor(batch.targets)
    expected = []
    for first, last in ((0, 20), (20, 40), (40, 42)):
        native.zero_grad()
        total = 0.0
        for start in range(first, last, 8):
            piece = slice(start, min(start + 8, last))
            output = model(inputs[piece])
            value = functional.cross_entropy(output, targets[piece], reduction="sum") / (last - first)
            if last - first <= 8:  # one piece is the plain mean
                value = functional.cross_entropy(output, targets[piece])
            value.backward()
            total += value.item()
        native.step()
        expected.append(total)
    assert losses.tolist() == expected
    assert_same_weights(network.get_weights(), model)


def test_losses_over_inner_positions_are_the_plain_mean() -> None:
    model = {"input": [4, 6], "layers": [{"dense": {"units": 5}}]}
    for loss in ("cross_entropy", {"cross_entropy": {"label_smoothing": 0.1}}, "mse"):
        spec = make_spec(model, loss=loss)
        network = make_network(spec)
        batch = make_batch(spec, 7)
        found = network.gradients(batch, spec.loss, count=7)
        output = network.native(torch.tensor(batch.inputs))
        if loss == "mse":
            expected = functional.mse_loss(output, torch.tensor(batch.targets))
        else:
            smoothing = spec.loss.label_smoothing
            classes = output.permute(0, 2, 1)
            expected = functional.cross_entropy(classes, torch.tensor(batch.targets), label_smoothing=smoothing)
        assert found.loss == expected.item()
        assert found.example_losses.shape == (7,)
        assert found.example_losses.mean() == pytest.approx(expected.item(), rel=1e-6)
        halved = network.gradients(batch, spec.loss, count=14)
        assert halved.loss == pytest.approx(expected.item() / 2, rel=1e-6)
