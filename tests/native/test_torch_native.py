"""A user's own torch model, watched: what is seen is what happens, to the bit, and nothing of the user's changes."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (as its users write it)
from dualml_torch import backend
from dualml_torch.native.model import TorchNativeModel
from native.torch_judged import judged
from native.torch_models import MODELS, LeNet
from torch import nn

from dualml.errors import ParityError
from dualml.native.protocol import OPAQUE
from dualml.reference import apply, apply_bounds, unit_roundoff
from dualml.spec import losses as spec

RNG = np.random.default_rng(0)
LABELS = np.array([1, 0, 3, 9])


def batch(name: str) -> np.ndarray:
    if name in ("lenet", "resnet"):
        return RNG.standard_normal((4, 1, 16, 16))
    tokens = RNG.integers(1, 30, (4, 7))
    tokens[0, 5:] = 0
    return tokens


def place(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(array) if array.dtype.kind == "i" else torch.tensor(array, dtype=dtype)


def plain(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy that drops nothing and does not take PyTorch's fused path of inference."""
    model = copy.deepcopy(model).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0
    return model


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    torch.manual_seed(0)
    return MODELS[name]()


@pytest.mark.parametrize("precision", ["float64", "float32"])
class TestSeenAsItIs:
    def native(self, model: nn.Module, precision: str) -> TorchNativeModel:
        native = TorchNativeModel(model, nn.CrossEntropyLoss())
        native.start(precision)
        return native

    def test_the_output_is_the_models_own(self, name, model, precision):
        native, x = self.native(model, precision), batch(name)
        trace = native.trace({"": x})
        alone = plain(model, getattr(torch, precision)).eval()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad():
                wanted = alone(place(x, getattr(torch, precision))).numpy()
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        observed = native.forward({"": x}, training=False)
        assert np.array_equal(observed.values[trace.outputs["output"]], wanted)
        assert trace.notes == ()

    def test_every_value_is_a_modules_own(self, name, model, precision):
        native, x = self.native(model, precision), batch(name)
        trace = native.trace({"": x})
        seen: dict[str, np.ndarray] = {}
        alone = plain(model, getattr(torch, precision)).eval()

        def keep(path: str, module: nn.Module, given: Any, out: Any) -> None:
            if isinstance(out, torch.Tensor):
                seen.setdefault(path, out.detach().numpy().copy())

        for path, module in alone.named_modules():
            module.register_forward_hook(functools.partial(keep, path))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad():
                alone(place(x, getattr(torch, precision)))
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        observed = native.forward({"": x}, training=False)
        compared = [call for call in trace.calls if call.name in seen]
        assert len(compared) > 1
        for call in compared:
            assert np.array_equal(observed.values[call.outputs[0]], seen[call.name]), call.name

    def test_gradients_are_autograds(self, name, model, precision):
        native, x = self.native(model, precision), batch(name)
        native.trace({"": x})
        back = native.backward({"": x}, {"": LABELS})
        alone = plain(model, getattr(torch, precision)).train()
        loss = nn.CrossEntropyLoss()(alone(place(x, getattr(torch, precision))), torch.tensor(LABELS))
        loss.backward()
        assert back.loss == loss.item()
        assert list(back.gradients) == list(native.parameters)
        for weight in native._weights.by_name.values():
            if weight.trained:
                assert np.array_equal(back.gradients[weight.name], weight.neutral(weight.tensor(alone).grad))

    def test_training_is_a_plain_loop(self, name, model, precision):
        x, dtype = batch(name), getattr(torch, precision)
        native = TorchNativeModel(
            model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 1e-2, weight_decay=0.1)
        )
        native.start(precision)
        native.trace({"": x})
        alone = plain(model, dtype).train()
        optimizer = torch.optim.Adam(alone.parameters(), 1e-2, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(alone(place(x, dtype)), torch.tensor(LABELS))
            loss.backward()
            optimizer.step()
            assert native.train({"": x}, {"": LABELS}) == loss.item()
        for weight in native._weights.by_name.values():
            assert np.array_equal(native.get_weights()[weight.name], weight.neutral(weight.tensor(alone)))

    def test_any_call_can_be_done_again(self, name, model, precision):
        native, x = self.native(model, precision), batch(name)
        trace = native.trace({"": x})
        for training in (False, True):
            observed = native.forward({"": x}, training=training)
            for call in trace.calls:
                inputs = [observed.values[key] for key in call.inputs]
                found = native.call(call.name, inputs, training=training)
                assert len(found) == len(call.outputs)
                for key, array in zip(call.outputs, found, strict=True):
                    assert np.array_equal(array, observed.values[key]), call.name

    def test_every_claim_is_true(self, name, model, precision):
        found = judged(model, {"": batch(name)}, precision)
        assert found.outside == {}


def test_what_the_user_gave_stays_as_it_is(name, model):
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    kept = copy.deepcopy(optimizer.state_dict())
    random = torch.get_rng_state()
    x = batch(name)
    native = TorchNativeModel(model, nn.CrossEntropyLoss(), (optimizer, scheduler))
    native.start("float64")
    native.trace({"": x})
    native.backward({"": x}, {"": LABELS})
    native.train({"": x}, {"": LABELS})
    native.apply(native.backward({"": x}, {"": LABELS}).gradients, lr=0.5)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert optimizer.state_dict() == kept
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all("forward" not in vars(module) for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert torch.get_default_dtype() is torch.float32
    assert torch.backends.mha.get_fastpath_enabled()


def test_weights_come_back_as_they_were_set(name, model):
    native = TorchNativeModel(model)
    weights = native.get_weights()
    other = {key: RNG.standard_normal(array.shape).astype(array.dtype) for key, array in weights.items()}
    native.set_weights(other)
    assert all(np.array_equal(other[key], array) for key, array in native.get_weights().items())
    native.start("float32")
    assert all(np.array_equal(weights[key], array) for key, array in native.get_weights().items())


def test_a_dense_kernel_is_the_transpose():
    linear = nn.Linear(3, 5)
    weights = TorchNativeModel(nn.Sequential(linear)).get_weights()
    assert np.array_equal(weights["0.kernel"], linear.weight.detach().numpy().T)


def test_passes_change_no_weight_and_no_buffer(name, model):
    native, x = TorchNativeModel(model, nn.CrossEntropyLoss()), batch(name)
    before = native.get_weights()
    native.forward({"": x}, training=True)
    back = native.backward({"": x}, {"": LABELS})
    assert all(np.array_equal(before[key], array) for key, array in native.get_weights().items())
    moved = [key for key in back.buffers if not np.array_equal(back.buffers[key], before[key])]
    assert moved == list(back.buffers)


def test_keys_and_names_are_the_same_in_every_pass(name, model):
    native, x = TorchNativeModel(model, nn.CrossEntropyLoss()), batch(name)
    trace = native.trace({"": x})
    assert native.trace({"": x}).calls == trace.calls
    native.start("float64")
    for observed in (native.forward({"": x}, training=True), native.backward({"": x}, {"": LABELS})):
        assert observed.outputs == trace.outputs
        assert set(trace.values) <= set(observed.values)
        for key, value in trace.values.items():
            assert observed.values[key].shape == value.shape


def test_places_in_the_users_code_are_named(model, name):
    trace = TorchNativeModel(model).trace({"": batch(name)})
    assert all(call.where.startswith("torch_models.py:") for call in trace.calls)


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, betas=(0.8, 0.99), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "nadam": lambda p: torch.optim.NAdam(p),
    "adamax": lambda p: torch.optim.Adamax(p),
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, initial_accumulator_value=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
class TestOptimizers:
    def native(self, kind: str) -> TorchNativeModel:
        torch.manual_seed(0)
        model = nn.ModuleList([nn.Linear(3, 4), nn.MultiheadAttention(4, 2), nn.GRU(3, 2), nn.Conv2d(2, 2, 3)])
        native = TorchNativeModel(model, nn.MSELoss(), OPTIMIZERS[kind](model.parameters()))
        native.start("float64")
        return native

    def gradients(self, native: TorchNativeModel, seed: int) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        weights = native.get_weights()
        return {key: generator.standard_normal(weights[key].shape) for key in native.parameters}

    def test_updates_and_memory_are_those_of_the_claim(self, kind):
        native = self.native(kind)
        settings = native.optimizer.optimizer
        weights, state = native.get_weights(), native.get_state()
        assert state.step == 0
        for step in range(3):
            ours, lr = self.gradients(native, step), 0.01 * (step + 1)
            before = {name: array.astype(np.float64) for name, array in weights.items()}
            wanted, memory = apply(settings, None, before, ours, state, lr=lr)
            bounds, memory_bounds = apply_bounds(
                settings, None, before, ours, state, lr=lr, unit=unit_roundoff("float64")
            )
            native.apply(ours, lr)
            weights, state = native.get_weights(), native.get_state()
            assert state.step == memory.step == step + 1
            for name, array in wanted.items():
                assert (np.abs(weights[name] - array) <= bounds[name]).all(), (name, step)
            for slot, arrays in memory.slots.items():
                for name, array in arrays.items():
                    assert (np.abs(state.slots[slot][name] - array) <= memory_bounds[slot][name]).all(), (slot, name)

    def test_the_memory_can_be_carried_over(self, kind):
        first, second = self.native(kind), self.native(kind)
        for step in range(2):
            first.apply(self.gradients(first, step))
        second.set_weights(first.get_weights())
        second.set_state(first.get_state())
        for native in (first, second):
            native.apply(self.gradients(native, 2))
        assert all(np.array_equal(second.get_weights()[key], array) for key, array in first.get_weights().items())
        assert first.get_state().step == second.get_state().step == 3

    def test_a_state_of_no_update_is_a_fresh_one(self, kind):
        used, fresh = self.native(kind), self.native(kind)
        start = used.get_state()
        used.apply(self.gradients(used, 0))
        used.set_weights(fresh.get_weights())
        used.set_state(start)
        for native in (used, fresh):
            native.apply(self.gradients(native, 1))
        assert all(np.array_equal(used.get_weights()[key], array) for key, array in fresh.get_weights().items())


class TestReadings:
    def model(self):
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

    def test_groups_with_other_rates_and_decays(self):
        model = self.model()
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.05, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, 0.1, weight_decay=0.02)
        read = TorchNativeModel(model, optimizer=optimizer).optimizer.optimizer
        assert read.lr_factor("0.kernel") == 1.0
        assert read.lr_factor("2.kernel") == 0.5
        assert read.decay_of("0.kernel", (3, 4)) == 0.02
        assert read.decay_of("2.bias", (2,)) == 0.0

    def test_groups_that_differ_otherwise_have_no_formula(self):
        model = self.model()
        groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "momentum": 0.5}]
        native = TorchNativeModel(model, optimizer=torch.optim.SGD(groups, 0.1))
        assert native.optimizer.optimizer is None
        assert any("momentum" in note for note in native.trace({"": np.ones((2, 3))}).notes)

    def test_forgotten_and_frozen_parameters_are_missing(self):
        model = self.model()
        model[0].weight.requires_grad_(False)
        native = TorchNativeModel(model, optimizer=torch.optim.SGD(model[0].parameters(), 0.1))
        assert native.optimizer.parameters == ("0.bias",)
        assert native.parameters == ("0.bias", "2.kernel", "2.bias")

    def test_a_subclass_claims_to_be_what_it_extends(self):
        class Mine(torch.optim.SGD):
            def step(self, closure=None):
                for group in self.param_groups:
                    group["lr"] *= 2
                return super().step(closure)

        model = self.model()
        native = TorchNativeModel(model, optimizer=Mine(model.parameters(), 0.1))
        assert native.optimizer.optimizer.kind == "sgd"
        assert native.optimizer.native == "Mine (a subclass of SGD)"
        before = native.get_weights()["0.bias"]
        native.apply({"0.bias": np.ones(4, dtype=np.float32)})
        assert np.allclose(native.get_weights()["0.bias"], before - 0.2)

    def test_a_schedule_is_read_by_stepping_a_copy(self):
        model = self.model()
        optimizer = torch.optim.SGD(model.parameters(), 0.4)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        native = TorchNativeModel(model, optimizer=(optimizer, scheduler))
        assert native.optimizer.schedule[:5] == (0.4, 0.4, 0.2, 0.2, 0.1)
        assert len(native.optimizer.schedule) == 100
        assert optimizer.param_groups[0]["lr"] == 0.4
        assert scheduler.last_epoch == 0

    def test_an_update_steps_the_schedule(self):
        model = self.model()
        optimizer = torch.optim.SGD(model.parameters(), 0.4)
        pair = optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        native = TorchNativeModel(model, nn.MSELoss(), pair)
        before = native.get_weights()["2.bias"]
        native.train({"": np.ones((2, 3))}, {"": np.ones((2, 2))})
        assert not np.array_equal(native.get_weights()["2.bias"], before)
        assert native.optimizer.lr == 0.2
        assert optimizer.param_groups[0]["lr"] == 0.4

    def test_an_optimizer_made_by_a_function(self):
        native = TorchNativeModel(self.model, nn.MSELoss(), lambda parameters: torch.optim.SGD(parameters, 0.3))
        assert native.optimizer.lr == 0.3
        assert native.optimizer.parameters == native.parameters

    @pytest.mark.parametrize(
        ("loss", "wanted"),
        [
            (nn.CrossEntropyLoss(label_smoothing=0.1), spec.CrossEntropy),
            (F.cross_entropy, spec.CrossEntropy),
            (functools.partial(F.cross_entropy, ignore_index=2), spec.CrossEntropy),
            (nn.MSELoss(), spec.MeanSquaredError),
            (nn.L1Loss(), spec.MeanAbsoluteError),
            (nn.HuberLoss(delta=0.5), spec.Huber),
            (nn.SmoothL1Loss(), spec.SmoothL1),
            (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)), spec.BinaryCrossEntropy),
            (nn.BCELoss(), spec.BinaryCrossEntropy),
            (nn.PoissonNLLLoss(), spec.Poisson),
            (nn.MultiMarginLoss(p=2), spec.MultiMargin),
            (nn.CrossEntropyLoss(reduction="sum"), spec.CrossEntropy),
            (nn.KLDivLoss(), type(None)),
            (lambda outputs, targets: (outputs - targets).pow(2).sum(), type(None)),
        ],
        ids=lambda item: re.sub(" at 0x[0-9a-f]+", "", str(item)),  # the same in every process
    )
    def test_losses(self, loss, wanted):
        read = TorchNativeModel(self.model(), loss).loss
        assert type(read.minimised) is wanted
        assert read.from_probabilities == isinstance(loss, nn.BCELoss)
        assert read.native

    @pytest.mark.parametrize(
        ("loss", "reduction"),
        [
            (nn.CrossEntropyLoss(), "mean"),
            (nn.CrossEntropyLoss(reduction="sum"), "positions"),
            (nn.MSELoss(reduction="sum"), "values"),
        ],
        ids=str,
    )
    def test_the_reduction_is_read(self, loss, reduction):
        read = TorchNativeModel(self.model(), loss).loss
        assert read.reduction == reduction
        assert ("reduction" in read.unsaid) == (reduction == "mean")

    def test_what_cross_entropy_means_follows_its_targets(self):
        native = TorchNativeModel(self.model(), nn.CrossEntropyLoss())
        native.backward({"": np.ones((2, 3))}, {"": np.array([0, -100])})
        assert native.loss.minimised.ignore_index == -100
        native.backward({"": np.ones((2, 3))}, {"": np.array([[0.5, 0.5], [1.0, 0.0]])})
        assert isinstance(native.loss.minimised, spec.SoftCrossEntropy)

    def test_each_examples_loss(self):
        native = TorchNativeModel(self.model(), nn.CrossEntropyLoss())
        back = native.backward({"": RNG.standard_normal((4, 3))}, {"": np.array([0, 1, 1, 0])})
        assert back.example_losses.shape == (4,)
        assert back.example_losses.mean() == pytest.approx(back.loss, rel=1e-6)

    def test_unsaid_settings_are_those_of_the_constructor(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2, eps=1e-3), nn.LeakyReLU())
        calls = TorchNativeModel(model).trace({"": np.ones((2, 1, 4, 4))}).calls
        assert set(calls[0].unsaid) == {"stride", "dilation", "groups", "bias", "padding_mode"}
        assert set(calls[1].unsaid) == {"momentum", "scale", "offset"}
        assert calls[2].unsaid == ("negative_slope",)
        assert calls[1].code.startswith("nn.BatchNorm2d(2, eps=0.001")


class Odd(nn.Module):
    """Things that no spec has, in place and out of it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))
        self.register_buffer("offset", torch.randn(5))
        self.table = torch.randn(5, 5)  # no buffer

    def forward(self, x):
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        y *= 2.0
        z = torch.fft.rfft(y, dim=1).abs()
        w = torch.einsum("bi,ij->bj", x, self.table) * self.scale + self.offset
        return torch.cat([z, w], dim=1)


class TestOpaque:
    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_what_has_no_formula_is_done_again_to_the_bit(self, precision):
        torch.manual_seed(0)
        native = TorchNativeModel(Odd(), nn.MSELoss())
        native.start(precision)
        x = RNG.standard_normal((3, 5))
        trace = native.trace({"": x})
        assert OPAQUE in [call.kind for call in trace.calls]
        observed = native.forward({"": x}, training=False)
        for call in trace.calls:
            found = native.call(call.name, [observed.values[key] for key in call.inputs], training=False)
            for key, array in zip(call.outputs, found, strict=True):
                assert np.array_equal(array, observed.values[key]), call.name
        back = native.backward({"": x}, {"": np.zeros((3, 8))})
        assert set(back.gradients) == {"scale"}

    def test_a_value_is_what_it_was_before_it_was_changed_in_place(self):
        native = TorchNativeModel(Odd())
        trace = native.trace({"": RNG.standard_normal((3, 5))})
        observed = native.forward({"": RNG.standard_normal((3, 5))}, training=False)
        filled = next(call for call in trace.calls if call.native.endswith("__setitem__"))
        doubled = next(call for call in trace.calls if call.native.endswith("mul_"))
        assert doubled.inputs == filled.outputs
        assert np.array_equal(observed.values[doubled.outputs[0]], 2 * observed.values[filled.outputs[0]])

    def test_plain_tensors_of_a_module_follow_the_precision(self):
        native = TorchNativeModel(Odd())
        native.start("float64")
        observed = native.forward({"": RNG.standard_normal((3, 5))}, training=False)
        assert {str(array.dtype) for array in observed.values.values()} == {"float64", "complex128"}

    def test_casts_lose_nothing_in_float64(self):
        class Cast(nn.Module):
            def forward(self, x):
                return x.float() * torch.ones(3) + torch.arange(3, dtype=torch.float32).to(x.dtype)

        native = TorchNativeModel(Cast())
        native.start("float64")
        x = RNG.standard_normal((2, 3))
        trace = native.trace({"": x})
        observed = native.forward({"": x}, training=False)
        assert np.array_equal(observed.values[trace.outputs["output"]], x + np.arange(3))

    def test_a_view_changed_in_place_is_noted(self):
        class Aliased(nn.Module):
            def forward(self, x):
                y = torch.tanh(x)
                y.view(-1).relu_()
                return y + 1

        notes = TorchNativeModel(Aliased()).trace({"": RNG.standard_normal((2, 3))}).notes
        assert any("changed in place through another view" in note for note in notes)

    def test_a_residual_around_a_dropout_keeps_both_apart(self):
        class Around(nn.Module):
            def __init__(self):
                super().__init__()
                self.dropout = nn.Dropout(0.5)

            def forward(self, x):
                y = torch.tanh(x)
                return y + self.dropout(y)

        calls = TorchNativeModel(Around()).trace({"": RNG.standard_normal((2, 3))}).calls
        assert calls[-1].inputs == (calls[0].outputs[0], calls[1].outputs[0])

    def test_a_dropout_that_is_active_in_inference_is_seen(self):
        class Careless(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.5)

        native = TorchNativeModel(Careless())
        x = RNG.standard_normal((8, 16)).astype(np.float32)
        trace = native.trace({"": x})
        observed = native.forward({"": x}, training=False)
        assert trace.calls[0].kind == "dropout"
        assert not np.array_equal(observed.values[trace.outputs["output"]], x)
        assert np.array_equal(native.forward({"": x}, training=True).values[trace.outputs["output"]], x)

    def test_a_module_called_twice(self):
        layer = nn.Linear(3, 3)

        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = layer

            def forward(self, x):
                return self.layer(torch.relu(self.layer(x)))

        calls = TorchNativeModel(Twice()).trace({"": RNG.standard_normal((2, 3))}).calls
        assert [call.name for call in calls] == ["layer", "relu", "layer@2"]
        assert calls[0].weights == calls[2].weights

    def test_weight_normalisation_is_looked_into(self):
        torch.manual_seed(0)
        native = TorchNativeModel(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))))
        trace = native.trace({"": RNG.standard_normal((2, 3))})
        assert OPAQUE in [call.kind for call in trace.calls]
        assert all(call.kind != "dense" for call in trace.calls)

    def test_several_inputs_and_outputs(self):
        class Two(nn.Module):
            def forward(self, left, right):
                return {"sum": left + right, "product": left * right}

        native = TorchNativeModel(Two(), lambda out, t: ((out["sum"] - t["sum"]) * out["product"]).sum())
        inputs = {"left": np.ones((2, 3)), "right": np.full((2, 3), 2.0)}
        trace = native.trace(inputs)
        assert list(trace.inputs) == ["left", "right"]
        assert list(trace.outputs) == ["sum", "product"]
        back = native.backward(inputs, {"sum": np.zeros((2, 3)), "product": np.zeros((2, 3))})
        assert back.loss == 36.0
        loss, slopes = native.loss_of(
            {name: back.values[key] for name, key in back.outputs.items()},
            {"sum": np.zeros((2, 3)), "product": np.zeros((2, 3))},
        )
        assert loss == 36.0
        assert np.array_equal(slopes["product"], np.full((2, 3), 3.0))

    def test_cotangents_take_the_place_of_a_loss(self):
        native = TorchNativeModel(nn.Sequential(nn.Linear(3, 2)))
        back = native.backward({"": np.ones((1, 3))}, None, cotangents={"": np.array([[1.0, -2.0]])})
        assert np.array_equal(back.gradients["0.bias"], [1.0, -2.0])


class TestMistakes:
    def test_inputs_that_do_not_fit(self):
        with pytest.raises(ParityError, match=r"refuses the inputs \(input \[2, 4\]"):
            TorchNativeModel(nn.Sequential(nn.Linear(3, 2))).trace({"": np.ones((2, 4))})

    def test_an_optimizer_of_another_model(self):
        optimizer = torch.optim.SGD(nn.Linear(3, 2).parameters(), 0.1)
        with pytest.raises(ParityError, match="2 of its are not the model's"):
            TorchNativeModel(nn.Linear(3, 2), optimizer=optimizer)

    def test_no_model(self):
        with pytest.raises(ParityError, match=r"must be a torch.nn.Module"):
            TorchNativeModel(lambda: 3)

    def test_a_lazy_layer(self):
        with pytest.raises(ParityError, match="call the model once"):
            TorchNativeModel(nn.Sequential(nn.LazyLinear(3)))

    def test_no_loss(self):
        with pytest.raises(ParityError, match="needs a loss"):
            TorchNativeModel(nn.Linear(3, 2)).backward({"": np.ones((1, 3))}, {"": np.ones((1, 2))})

    def test_a_loss_of_several_numbers(self):
        native = TorchNativeModel(nn.Linear(3, 2), nn.MSELoss(reduction="none"))
        with pytest.raises(ParityError, match=r"must give one number, got shape \[1, 2\]"):
            native.backward({"": np.ones((1, 3))}, {"": np.ones((1, 2))})


def test_the_backend_adopts_modules():
    assert backend.owns(LeNet())
    assert not backend.owns(3)
    assert backend.adopt(LeNet(), nn.CrossEntropyLoss()).framework == "torch"


def test_a_compiled_model_is_the_model_itself():
    model = nn.Sequential(nn.Linear(3, 2))
    assert list(TorchNativeModel(torch.compile(model)).get_weights()) == ["0.kernel", "0.bias"]
