"""Config files that are right."""

import json
from pathlib import Path

import jsonschema
import pytest

import dualml
from dualml import Adam, CrossEntropy, Dense, DigitsData, Model, Spec, Train
from dualml.config import parse
from dualml.spec.schema import config_schema
from dualml.training.checkpoint import differences
from dualml.training.run_directory import to_yaml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
MINIMAL = "model: {input: 4, layers: [dense: 2]}\nloss: cross_entropy\noptimizer: adam\n"


def founding_spec():
    layers = [Dense(512, activation="relu"), Dense(256, activation="relu"), Dense(128, activation="relu"), Dense(10)]
    return Spec(
        model=Model(input=(1024,), layers=layers),
        data=DigitsData(image_size=32),
        loss=CrossEntropy(),
        optimizer=Adam(lr=0.001),
        train=Train(epochs=10, batch_size=64),
        metrics=("accuracy",),
    )


def test_yaml_and_python_give_the_same_spec():
    assert dualml.load(CONFIGS[[path.name for path in CONFIGS].index("mlp.yaml")]) == founding_spec()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load_and_fit_the_schema(path):
    spec = dualml.load(path)
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    from ruamel.yaml import YAML

    validator.validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    validator.validate(json.loads(json.dumps(spec.resolved.to_dict())))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_switching_the_backend_changes_one_value(path):
    one, two = (dualml.load(path, [f"backend={name}"]).resolved.to_dict() for name in ("torch", "tensorflow"))
    assert differences(one, two) == [("backend", "torch", "tensorflow")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_resolved_config_loads_as_itself(path):
    resolved = dualml.load(path).resolved
    assert parse(to_yaml(resolved)) == resolved


def test_an_array_of_one_size_may_be_a_number():
    assert parse(MINIMAL).model.input.shape == (4,)


@pytest.mark.parametrize(
    "layer",
    ["dense: 3", "{dense: {units: 3}}", "{dense: {units: 3, name: a}}", "{dense: {units: 3}, name: a}"],
)
def test_a_layer_may_be_written_shorter(layer):
    spec = parse(f"model:\n  input: 4\n  layers:\n    - {layer}\nloss: cross_entropy\noptimizer: adam\n")
    assert spec.model.layers[0].units == 3


def test_numbers_are_those_of_yaml_1_2():
    spec = parse(MINIMAL.replace("adam", "{adam: {lr: 1e-3, epsilon: 1E-9}}"))
    assert (spec.optimizer.lr, spec.optimizer.epsilon) == (1e-3, 1e-9)


def test_anchors_and_merge_keys():
    text = """
    model:
      input: 4
      layers:
        - dense: &hidden {units: 3, activation: relu}
        - dense: {<<: *hidden, units: 5}
    loss: cross_entropy
    optimizer: adam
    """
    layers = parse(text).model.layers
    assert (layers[1].units, layers[1].activation.kind) == (5, "relu")


@pytest.mark.parametrize(
    ("override", "read", "wanted"),
    [
        ("train.epochs=3", lambda spec: spec.train.epochs, 3),
        ("optimizer.adam.lr=0.5", lambda spec: spec.optimizer.lr, 0.5),
        ("optimizer={sgd: {momentum: 0.9}}", lambda spec: spec.optimizer.momentum, 0.9),
        ("model.layers[0].dense=7", lambda spec: spec.model.layers[0].units, 7),
        ("model.layers.0.dense=7", lambda spec: spec.model.layers[0].units, 7),
        ("precision=float64", lambda spec: spec.precision, "float64"),
        ("loss.cross_entropy.label_smoothing=0.1", lambda spec: spec.loss.label_smoothing, 0.1),
        ("metrics=[]", lambda spec: spec.metrics, ()),
    ],
)
def test_overrides(override, read, wanted):
    assert read(parse(MINIMAL, [override])) == wanted


def test_later_overrides_win():
    assert parse(MINIMAL, ["seed=1", "seed=2"]).seed == 2


def test_data_files_are_seen_from_the_configs_folder(write, tmp_path):
    path = write(MINIMAL + "data: {source: npz, path: data/x.npz}\n")
    assert dualml.load(path).data.path == str(tmp_path / "data" / "x.npz")
