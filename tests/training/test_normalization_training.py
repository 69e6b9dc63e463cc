"""A model with batch norm from end to end: trained, stored, taken up again in either backend, compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dualml
from dualml import Activation, Adam, BatchNorm, CrossEntropy, Dense, DigitsData, Model, Spec, Train
from dualml.errors import TrainingError
from dualml.training.plan import Plan
from dualml.training.run_directory import open_run

BACKENDS = ("torch", "tensorflow")


def normed(**train: Any) -> Spec:
    layers = [
        Dense(12, bias=False),
        BatchNorm(),
        Activation(function="relu"),
        Dense(12, bias=False),
        BatchNorm(variance="biased", momentum=0.8),
        Activation(function="tanh"),
        Dense(10),
    ]
    return Spec(
        model=Model(input=(64,), layers=layers),
        data=DigitsData(limit=200),
        loss=CrossEntropy(),
        optimizer=Adam(lr=0.01),
        precision="float64",
        train=Train(**{"epochs": 4, "batch_size": 32, **train}),
    )


def gap(one: Any, two: Any) -> float:
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


@pytest.mark.parametrize(
    ("first", "second", "accumulate"),
    [("torch", "torch", 2), ("tensorflow", "tensorflow", 2), ("torch", "tensorflow", 1), ("tensorflow", "torch", 2)],
)
def test_a_run_goes_on_with_its_buffers(first: str, second: str, accumulate: int, tmp_path: Any) -> None:
    settings = {"accumulate": accumulate, "batch_size": 32 // accumulate}
    whole = dualml.train(normed(**settings), second)
    dualml.train(normed(epochs=2, **settings), first, out=tmp_path / "run")
    stored = open_run(tmp_path / "run").weights()
    assert {name for name in stored if "running" in name} == {
        f"batch_norm_{number}.running_{what}" for number in (1, 2) for what in ("mean", "variance")
    }
    assert np.abs(stored["batch_norm_1.running_mean"]).max() > 0.01
    rest = dualml.train(normed(**settings), second, out=tmp_path / "run", resume=True)
    assert gap(whole.weights, rest.weights) <= (0 if first == second else 1e-11)
    assert whole.test["accuracy"] > 0.5
    for backend in BACKENDS:  # inference by the stored running values, wherever they were made
        assert dualml.evaluate(tmp_path / "run", backend=backend)["accuracy"] == rest.test["accuracy"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_backends_are_found_equal(accumulate: int) -> None:
    spec = normed(batch_size=32 // accumulate, accumulate=accumulate)
    report = dualml.compare(spec, steps=8)
    assert report.verdict == "equal"
    judged = [item for item in report.checks if item.phase == "buffers" and item.run == "resynchronised"]
    assert {(item.node, item.tensor) for item in judged} == {
        (f"batch_norm_{number}", f"running_{what}") for number in (1, 2) for what in ("mean", "variance")
    }
    assert all(item.ok for item in judged)
    free = [item for item in report.checks if item.run == "free" and item.precision == "float64"]
    assert {item.phase for item in free} >= {"buffers", "update", "prediction"}
    assert max(item.max_abs for item in free) < 1e-11  # both sides did the whole update, not its first piece
    said = [item["what"] for item in report.coverage["skipped"]]
    assert any("pieces of an update" in what for what in said) == (accumulate == 2)


def test_another_running_variance_is_found() -> None:
    def one(variance: str) -> Spec:
        layers = [Dense(12), BatchNorm(variance=variance), Dense(10)]
        return normed().replace(model=Model(input=(64,), layers=layers))

    report = dualml.compare(one("unbiased"), one("biased"), steps=4)
    assert report.verdict == "different"
    found = report.first_divergence
    assert (found["phase"], found["node"], found["tensor"]) == ("buffers", "batch_norm_1", "running_variance")


def test_a_last_batch_of_one_is_refused_before_training() -> None:
    with pytest.raises(TrainingError, match=r"'batch_norm_1' .* at least 2 examples .* leave a batch of 1; choose"):
        Plan(normed().resolved, 33)
    with pytest.raises(TrainingError, match="batches of 16 leave a batch of 1"):
        Plan(normed(batch_size=16, accumulate=3).resolved, 65)
    assert Plan(normed(drop_last=True).resolved, 33).smallest_batch == 32
    assert Plan(normed(batch_size=16, accumulate=2).resolved, 50).smallest_batch == 2
    examples = len(dualml.api.load_dataset(normed()).train)
    with pytest.raises(TrainingError, match="leave a batch of 1"):
        dualml.train(normed(batch_size=examples - 1), "torch")
