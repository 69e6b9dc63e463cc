"""Comparing: equal models are found equal, each injected fault is found where it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

import dualml
from dualml import (
    Adam,
    AdamW,
    Add,
    CrossEntropy,
    Dense,
    DigitsData,
    Dropout,
    Model,
    NpzData,
    Sgd,
    Spec,
    Train,
    registry,
)
from dualml.cli.exit_codes import DIFFERS, DONE, UNDECIDED
from dualml.errors import ParityError
from dualml.protocol import State

SKETCH = {
    "schema", "verdict", "kind", "first_divergence", "deviates", "cause", "checks", "coverage", "precision_scaling",
    "environment", "replay",
}  # fmt: skip


def small(**settings):
    layers = [
        Dense(16, activation="relu", name="hidden"),
        Dropout(0.25),
        Dense(16, activation="tanh", name="side"),
        Add(inputs=["hidden", "side"]),
        Dense(10, name="head"),
    ]
    given = {
        "model": Model(input=(64,), layers=layers),
        "data": DigitsData(limit=200),
        "loss": CrossEntropy(),
        "optimizer": Adam(lr=0.01),
        "train": Train(batch_size=32, epochs=3),
    }
    return Spec(**given | settings)


class Broken:
    """The torch backend with one thing wrong in its networks and trainers."""

    name = "broken"

    def __init__(self, network=None, trainer=None):
        self.inner = registry.load("torch")
        self.capabilities = self.inner.capabilities
        self.network_fault, self.trainer_fault = network or {}, trainer or {}

    def versions(self):
        return self.inner.versions()

    def build(self, *arguments, **settings):
        return Proxy(self.inner.build(*arguments, **settings), self.network_fault, self.trainer_fault)


class Proxy:
    """Passes everything on but what is broken."""

    def __init__(self, inner, faults, trainer_faults=None):
        self._inner, self._faults, self._trainer_faults = inner, faults, trainer_faults

    def __getattr__(self, name):
        fault = self._faults.get(name)
        given = getattr(self._inner, name)
        if fault is not None:
            return lambda *arguments, **settings: fault(given, *arguments, **settings)
        if name == "trainer":
            return lambda *arguments, **settings: Proxy(given(*arguments, **settings), self._trainer_faults)
        return given


@pytest.fixture
def with_fault(monkeypatch):
    """Compares the torch backend with a broken one."""
    load = registry.load

    def run(spec=None, steps=4, network=None, trainer=None):
        broken = Broken(network, trainer)
        monkeypatch.setattr(registry, "load", lambda name: broken if name == "broken" else load(name))
        return dualml.compare(spec or small(), backends=("torch", "broken"), steps=steps)

    return run


def place(report):
    first = report.first_divergence
    return first and (first["step"], first["phase"], first["node"])


def test_an_unbroken_wrapper_is_equal(with_fault):
    report = with_fault()
    assert report.verdict == "equal"
    assert report.kind is None  # the same backend twice: the same bits
    assert report.first_divergence is report.cause is report.deviates is None


@pytest.mark.parametrize(
    "optimizer",
    [Adam(lr=0.01), AdamW(), Sgd(lr=0.1, momentum=0.9), Sgd(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)],
    ids=["adam", "adamw", "momentum", "nesterov"],
)
@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_torch_and_tensorflow_are_equal(optimizer, conventions):
    report = dualml.compare(small(optimizer=optimizer, conventions=conventions), steps=6)
    assert report.verdict == "equal", report.failures[:3]
    assert report.kind == "rounding"
    assert report.largest["float64"]["weights"] < 1e-12
    assert report.precision_scaling["bits"] > 24
    assert report.held_back["float32"]["same_class"] == report.held_back["float32"]["examples"]


def test_the_report_has_what_its_schema_promises():
    report = dualml.compare(small(schedule={"step": {"every": 2, "decay": 0.5}}), steps=5).to_dict()
    assert report["schema"] == "dualml.report/1"
    assert report.keys() >= SKETCH
    json.dumps(report, allow_nan=False)
    phases = {check["phase"] for check in report["checks"]}
    assert phases == {"init", "input", "forward", "loss", "backward", "update", "state", "prediction"}
    keys = {"step", "phase", "node", "tensor", "max_abs", "units", "limit", "ok"}
    assert all(check.keys() >= keys for check in report["checks"])
    free = {(check["step"], check["node"], check["tensor"]) for check in report["checks"] if check["run"] == "free"}
    assert {(step, "head", "kernel") for step in range(1, 6)} <= free  # every step, every tensor
    assert report["coverage"]["steps"]["float64"]["judged"] == [1, 2, 3, 5]
    assert report["coverage"]["skipped"]


def add_to(name, amount):
    def fault(gradients, *arguments, **settings):
        found = gradients(*arguments, **settings)
        found.parameters[name] = found.parameters[name] * (1 + amount)
        return found

    return fault


def forward_off(forward, *arguments, **settings):
    values = forward(*arguments, **settings)
    if "side_tanh" in values:
        values["side_tanh"] = values["side_tanh"] * (1 + 1e-12)
    return values


def no_dropout(gradients, batch, loss, *, masks=None, **settings):
    return gradients(batch, loss, masks={name: np.ones_like(mask) for name, mask in masks.items()}, **settings)


def loss_off(gradients, *arguments, **settings):
    found = gradients(*arguments, **settings)
    return replace(found, loss=found.loss * (1 + 1e-9))


def nan_gradient(gradients, *arguments, **settings):
    found = gradients(*arguments, **settings)
    found.parameters["head.bias"][3] = np.nan
    return found


def rounded_rate(apply, gradients, lr):
    apply(gradients, float(np.float32(lr)))


def stale_slots(get_state):
    state = get_state()
    return State(state.step, {**state.slots, "second_moment": state.slots["first_moment"]})


def softmax_off(predict, inputs, *, output=None):
    exact = predict(inputs, output=output)
    return exact.astype(np.float16).astype(exact.dtype)


def first_weights_off(network_get):
    weights = network_get()
    weights["head.kernel"][0, 0] = np.nextafter(weights["head.kernel"][0, 0], 9)
    return weights


FAULTS = {
    "one bit of one weight": ({"get_weights": first_weights_off}, {}, (0, "init", "head")),
    "forward, 1e-12 relative": ({"forward": forward_off}, {}, (1, "forward", "side_tanh")),
    "masks ignored": ({"gradients": no_dropout}, {}, (1, "forward", "dropout_1")),
    "loss value": ({"gradients": loss_off}, {}, (1, "loss", "head")),
    "gradient, 1e-10 relative": ({"gradients": add_to("hidden.kernel", 1e-10)}, {}, (1, "backward", "hidden")),
    "a NaN in one gradient": ({"gradients": nan_gradient}, {}, (1, "backward", "head")),
    "learning rate in float32": ({}, {"apply": rounded_rate}, (1, "update", "hidden")),
    "slots mixed up": ({}, {"get_state": stale_slots}, (1, "state", "hidden")),
    "softmax in half precision": ({"predict": softmax_off}, {}, (1, "prediction", "head")),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.replace(" ", "_"))
def test_a_fault_is_found_where_it_is(with_fault, fault):
    network, trainer, wanted = FAULTS[fault]
    report = with_fault(network=network, trainer=trainer)
    assert report.verdict == "different"
    assert report.kind == "semantic"
    assert place(report) == wanted
    assert report.deviates == "right"
    assert report.cause.id == "unknown"
    assert not report.cause.confirmed


def tenfold_run(run, placed, order, lrs, *, masks=None):
    return run(placed, order, lrs * 10, masks=masks)


def pieces_forgotten(run, placed, order, lrs, *, masks=None):
    return run(
        placed, order[: len(order) // 2], lrs, masks={name: mask[: len(order) // 2] for name, mask in masks.items()}
    )


@pytest.mark.parametrize("fault", [tenfold_run, pieces_forgotten])
def test_a_fault_in_what_trains_alone_is_found(with_fault, fault):
    """Judged updates apply recorded gradients; training runs ``Trainer.run``, which must do the same."""
    report = with_fault(trainer={"run": fault}, steps=1)
    assert (report.verdict, report.kind, report.deviates) == ("different", "semantic", "right")
    assert report.first_divergence == {"step": 1, "phase": "update", "node": "head", "tensor": "trained weights"}


def test_a_fault_in_float32_alone_is_found(with_fault):
    def apply_off(apply, gradients, lr):
        apply(gradients, lr * (1.5 if gradients["head.bias"].dtype == np.float32 else 1))

    report = with_fault(trainer={"apply": apply_off})
    assert (report.verdict, report.kind, report.deviates) == ("different", "semantic", "right")
    assert report.first_divergence["phase"] == "update"


def test_a_fault_that_shows_only_when_the_rate_changes(with_fault):
    """Momentum that holds steps instead of gradients is the same thing until the learning rate changes."""
    spec = small(
        optimizer=Sgd(lr=0.1, momentum=0.9), schedule={"step": {"every": 3, "decay": 0.1}}, train=Train(batch_size=32)
    )
    load = registry.load("torch")

    def other_momentum(trainer, loss, optimizer, **settings):
        return trainer(loss, optimizer.model_copy(update={"lr_in_momentum": True}), **settings)

    assert "sgd" in load.capabilities.optimizers
    report = with_fault(spec, steps=6, network={"trainer": other_momentum})
    assert report.verdict == "different"
    assert report.first_divergence["phase"] in ("update", "state")


def test_both_sides_wrong_is_said(monkeypatch):
    load = registry.load
    broken = Broken({"predict": softmax_off})
    monkeypatch.setattr(registry, "load", lambda name: broken if name.startswith("broken") else load(name))
    report = dualml.compare(small(), backends=("broken", "broken2"), steps=1)
    assert (report.verdict, report.deviates) == ("different", "both")


def test_weights_that_are_wrong_on_both_sides_in_the_same_way_are_found(monkeypatch):
    """Two sides that agree with each other and not with the spec are not equal to what was asked for."""
    load = registry.load
    broken = Broken({"get_weights": first_weights_off})
    monkeypatch.setattr(registry, "load", lambda name: broken if name.startswith("broken") else load(name))
    report = dualml.compare(small(), backends=("broken", "broken2"), steps=1)
    assert (report.verdict, report.deviates, place(report)) == ("different", "both", (0, "init", "head"))


def test_native_masks_are_replaced_and_said():
    report = dualml.compare(small(randomness="native"), steps=2)
    assert report.verdict == "equal"
    assert any("native" in item["what"] for item in report.coverage["skipped"])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_values_that_overflow_on_both_sides_leave_it_undecided(precision, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.full((90, 64), 1e35), y=np.arange(90) % 10)
    data = NpzData(path=str(tmp_path / "data.npz"))
    report = dualml.compare(small(optimizer=Sgd(lr=1e10), data=data, precision=precision), steps=3)
    assert report.verdict == "undecided"
    assert "not finite" in report.reasons[0]


class TestRuns:
    @pytest.fixture
    def run(self, tmp_path):
        def train(name, spec):
            dualml.train(spec, out=tmp_path / name)
            return tmp_path / name

        return train

    def test_two_backends(self, run):
        spec = small(precision="float64")
        report = dualml.compare(run("a", spec), run("b", spec.replace(backend="tensorflow")))
        assert report.verdict == "equal"
        assert report.runs["predictions"] < 1e-12
        assert report.runs["same_class"] == report.runs["examples"]

    @pytest.mark.parametrize(
        ("change", "cause", "phase"),
        [
            ({"optimizer": Adam(lr=0.01, epsilon=1e-7)}, "optimizer.epsilon", "update"),
            ({"optimizer": Adam(lr=0.01, beta2=0.99)}, "optimizer.betas", "update"),
            ({"optimizer": Adam(lr=0.02)}, "optimizer.lr", "update"),
            ({"loss": CrossEntropy(label_smoothing=0.1)}, "loss.label_smoothing", "loss"),
        ],
    )
    def test_one_differing_setting_is_the_confirmed_cause(self, run, change, cause, phase):
        report = dualml.compare(run("a", small()), run("b", small(**change)))
        assert report.verdict == "different"
        assert (report.cause.id, report.cause.confirmed) == (cause, True)
        assert report.first_divergence["phase"] in (phase, "state")

    @pytest.mark.parametrize(
        ("one", "two", "cause", "phase"),
        [
            ({"optimizer": Sgd(lr=0.1)}, {}, "optimizer.kind", "state"),
            ({"optimizer": Sgd(momentum=0.9)}, {"optimizer": Sgd()}, "optimizer.momentum", "state"),
            ({"train": Train(batch_size=16, epochs=3)}, {}, "data.order", "input"),
            (
                {"schedule": "cosine", "train": Train(batch_size=32, epochs=1)},
                {"schedule": "cosine", "train": Train(batch_size=32, epochs=4)},
                "schedule.offset",
                "update",
            ),
        ],
    )
    def test_what_cannot_be_run_side_by_side_still_has_a_cause(self, run, one, two, cause, phase):
        report = dualml.compare(run("a", small(**one)), run("b", small(**two)))
        assert (report.verdict, report.deviates) == ("different", "unknown")
        assert (report.cause.id, report.first_divergence["phase"]) == (cause, phase)

    def test_runs_of_different_length(self, run):
        longer = small(train=Train(batch_size=32, epochs=4))
        report = dualml.compare(run("a", small()), run("b", longer))
        assert report.verdict == "different"
        assert report.first_divergence["tensor"] == "stored weights"
        assert "21 updates" in report.cause.evidence

    def test_weights_that_something_else_wrote(self, run):
        from dualml.weights import read_tensors, write_tensors

        paths = run("a", small()), run("b", small())
        arrays, metadata = read_tensors(paths[1] / "model.safetensors")
        write_tensors(paths[1] / "model.safetensors", {name: array + 1 for name, array in arrays.items()}, metadata)
        with pytest.raises(dualml.RunError, match="last checkpoint"):
            dualml.compare(*paths)

    def test_another_structure(self, run):
        other = Model(input=(64,), layers=[Dense(16, name="hidden"), Dense(10, name="head")])
        report = dualml.compare(run("a", small()), run("b", small(model=other)))
        assert report.verdict == "different"
        assert place(report) == (0, "init", "hidden_relu")

    def test_a_run_and_a_config_are_not_mixed_up(self, tmp_path):
        with pytest.raises(dualml.RunError, match="run directory"):
            dualml.compare(tmp_path, tmp_path)


def test_the_card_fits_the_terminal():
    from dualml.parity.card import card

    report = dualml.compare(small(), steps=1)
    for width in (60, 80, 120):
        lines = card(report, width).splitlines()
        assert max(map(len, lines)) <= width
    assert "worst rho 1 " not in card(report)


def test_at_least_one_step_is_needed():
    with pytest.raises(ParityError, match="at least 1 step"):
        dualml.compare(small(), steps=0)


def test_two_sides_are_needed():
    with pytest.raises(ParityError, match="two sides"):
        dualml.compare(small(), backends=("torch",))


def test_exit_codes_are_the_published_ones():
    assert (DONE, DIFFERS, UNDECIDED) == (0, 1, 3)


def test_one_process_for_each_side(small_config, tmp_path, dualml_command):
    report_path = tmp_path / "report.json"
    outcome = dualml_command("compare", small_config(), "--steps", "5", "--json", report_path)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("dualml compare: EQUAL    torch 2.")
    report = json.loads(report_path.read_text(encoding="utf-8"))
    assert report["verdict"] == "equal"
    assert {"torch"} <= report["environment"]["left"]["versions"].keys()
    assert {"tensorflow", "keras"} <= report["environment"]["right"]["versions"].keys()


def test_a_worker_that_dies_is_reported(monkeypatch, small_config):
    from dualml.parity import remote

    side = remote.RemoteSide(dualml.load(small_config()))
    side.process.kill()
    side.process.wait()
    with pytest.raises(ParityError, match="ended unexpectedly"):
        side.describe()
    side.close()
