"""``precision: mixed_bfloat16`` from training to predictions: as good as float32, resumed in either backend."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dualml
from dualml.cli.exit_codes import UNDECIDED
from dualml.training.run_directory import open_run

BACKENDS = ("torch", "tensorflow")
CONFIG = "configs/mlp.yaml"
MIXED = "precision=mixed_bfloat16"
FEW = ["model.layers=[{dense: {units: 64, activation: relu}}, {dense: {units: 10}}]", "data.image_size=8",
       "model.input=[64]"]  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    """The held-back accuracy of a training in float32."""
    return dualml.train(dualml.load(CONFIG, FEW), "torch").test["accuracy"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_as_good_as_in_float32(backend, plain, tmp_path):
    run = dualml.train(dualml.load(CONFIG, [*FEW, MIXED]), backend, out=tmp_path / "run")
    assert abs(run.test["accuracy"] - plain) <= 0.03
    stored = open_run(tmp_path / "run")
    assert stored.spec.precision == "mixed_bfloat16"
    assert {array.dtype for array in stored.weights().values()} == {np.dtype("float32")}
    inputs = np.random.default_rng(0).uniform(0, 16, (5, 64))
    for other in BACKENDS:
        assert abs(dualml.evaluate(tmp_path / "run", backend=other)["accuracy"] - run.test["accuracy"]) <= 0.01
        found = dualml.predict(tmp_path / "run", inputs, backend=other)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "second"), [("torch", "torch"), ("tensorflow", "tensorflow"), ("torch", "tensorflow")]
)
def test_a_run_goes_on_in_either_backend(small_config, tmp_path, first, second):
    config = small_config("mixed_bfloat16")
    whole = dualml.train(dualml.load(config), second)
    dualml.train(dualml.load(config, ["train.epochs=2"]), first, out=tmp_path / "run")
    rest = dualml.train(dualml.load(config), second, out=tmp_path / "run", resume=True)
    for name, array in whole.weights.items():
        if first == second:
            np.testing.assert_array_equal(rest.weights[name], array)
    assert abs(rest.test["accuracy"] - whole.test["accuracy"]) <= 0.06


def test_compare_judges_what_is_meant_and_says_what_it_does_not(small_config, dualml_command, tmp_path):
    target = tmp_path / "report.json"
    done = dualml_command("compare", small_config("mixed_bfloat16"), "--steps", 4, "--json", target)
    assert done.code == UNDECIDED
    assert "mixed_bfloat16 is not certified" in " ".join(done.out.split())
    report = json.loads(target.read_text(encoding="utf-8"))
    judged = {check["precision"] for check in report["checks"] if check["limit"] == 1.0}
    assert judged == {"float32", "float64"}
    assert all(check["ok"] is not False for check in report["checks"])
    assert report["coverage"]["steps"]["mixed_bfloat16"] == {"free": 4, "judged": []}
    assert 1e-6 < report["largest"]["mixed_bfloat16"]["predictions"] < 0.1
    assert report["largest"]["float64"]["predictions"] < 1e-12


def test_compare_still_finds_a_real_difference(small_config):
    spec = dualml.load(small_config("mixed_bfloat16"))
    other = spec.replace(optimizer=dualml.Adam(lr=0.01, beta2=0.99), backend="tensorflow")
    report = dualml.compare(spec, other, steps=3)
    assert (report.verdict, report.kind, report.first_divergence["phase"]) == ("different", "semantic", "state")


def test_a_layer_without_the_same_meaning_is_refused(small_config, dualml_command):
    config = small_config("mixed_bfloat16")
    text = config.read_text(encoding="utf-8").replace("units: 24, activation: relu", "units: 24, activation: softplus")
    config.write_text(text, encoding="utf-8")
    done = dualml_command("train", config)
    assert done.code == 2
    assert "the activation 'softplus' (model.layers[0]" in done.err
    assert "Traceback" not in done.err
