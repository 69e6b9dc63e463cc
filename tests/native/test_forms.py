"""Weights that two models hold in other forms; every weight of both sides is matched, or a sentence says why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from made_traces import Recorder

from dualml.native.align import align
from dualml.native.forms import absent, quantities, rows

PAIRS = Path(__file__).parents[2] / "examples" / "diff"


def forms_of(found, left, right):
    return quantities((*found.pairs, *found.shapes_differ), left.graph, right.graph)


def untold(found, left, right, natives=((), ())):
    """Weights of both sides that are in no pair, in no form, in no sentence; ``natives``: all that the models have."""
    forms = [row for item in forms_of(found, left, right) for row in rows(item)]
    matched = (
        {name for name, _ in found.weights} | {name for name, _, _ in forms},
        {name for _, name in found.weights} | {name for _, name, _ in forms},
    )
    missing = []
    for side, reading, names, own in zip(("left", "right"), (left, right), matched, natives, strict=True):
        said = [item for item in found.unmatched if item.startswith(f"the {side} weight")]
        missing += [
            (side, item.name)
            for item in reading.graph.weights
            if item.name not in names and not any(f" {item.name} " in sentence for sentence in said)
        ]
        read = set(reading.weights.values())
        noted = " ".join(reading.notes)
        missing += [(side, name) for name in own if name not in read and name not in noted]
    return missing


# One layer


def recurrent(kind, form, seed=0, **more):
    recorder = Recorder(seed)
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind]
    columns = gates * 5
    biases = {
        "none": {},
        "single": {"bias": (columns,)},
        "double": {"bias": (columns,), "recurrent_bias": (columns,)},
        "stacked": {"bias": (2, columns)},
    }[form]
    weights = {"kernel": (3, columns), "recurrent_kernel": (5, columns), **biases}
    settings = {"units": 5, "return_sequences": False, "reverse": False, "bias": form, **more}
    if kind == "simple_rnn":
        settings["nonlinearity"] = "tanh"
    x = recorder.call(kind, recorder.input(2, 7, 3), (2, 5), weights=weights, settings=settings, name="rnn")
    return recorder, x


def pair(kind, forms, **more):
    models = [recurrent(kind, form, seed, **more) for seed, form in enumerate(forms)]
    left, right = (recorder.read(x) for recorder, x in models)
    arrays = [recorder.weights for recorder, _ in models]
    found = align(left, right, *arrays)
    return left, right, found, [side.neutral_weights(own) for side, own in zip((left, right), arrays, strict=True)]


@pytest.mark.parametrize("forms", [("double", "single"), ("single", "double")])
@pytest.mark.parametrize("kind", ["lstm", "simple_rnn"])
def test_two_biases_and_one_are_compared_as_their_sum(kind, forms):
    left, right, found, weights = pair(kind, forms)
    assert untold(found, left, right) == []
    (item,) = forms_of(found, left, right)
    two = forms.index("double")
    one = 1 - two
    half = dict.fromkeys(("rnn.bias", "rnn.recurrent_bias"), weights[one]["rnn.bias"] / 2)
    np.testing.assert_array_equal(item.value(two, half), weights[one]["rnn.bias"])
    assert not np.array_equal(item.value(two, weights[two]), weights[one]["rnn.bias"])


def test_the_sum_of_two_trained_biases_moves_twice_as_fast():
    left, right, found, _ = pair("lstm", ("single", "double"))
    (item,) = forms_of(found, left, right)
    slope = np.arange(20.0)
    slopes = {"rnn.bias": slope, "rnn.recurrent_bias": slope}
    np.testing.assert_array_equal(item.moved(0, slopes, {"rnn.bias"}), slope)
    np.testing.assert_array_equal(item.moved(1, slopes, {"rnn.bias"}), slope)
    np.testing.assert_array_equal(item.moved(1, slopes, set(slopes)), 2 * slope)
    np.testing.assert_array_equal(item.moved(1, slopes, set()), np.zeros(20))


@pytest.mark.parametrize("forms", [("double", "stacked"), ("stacked", "double")])
def test_the_biases_of_a_gru_are_compared_apart(forms):
    left, right, found, weights = pair("gru", forms, reset_after=True)
    assert untold(found, left, right) == []
    items = forms_of(found, left, right)
    assert [item.name for item in items] == ["rnn.bias", "rnn.recurrent_bias"]
    stacked = forms.index("stacked")
    for place, item in enumerate(items):
        np.testing.assert_array_equal(item.value(stacked, weights[stacked]), weights[stacked]["rnn.bias"][place])
        np.testing.assert_array_equal(item.value(1 - stacked, weights[1 - stacked]), weights[1 - stacked][item.name])


def test_the_second_bias_of_a_candidate_is_never_part_of_a_sum():
    left, right, found, weights = pair("gru", ("double", "single"), reset_after=True)
    items = {item.role: item for item in forms_of(found, left, right)}
    assert set(items) == {"bias", "candidate_bias", "candidate_recurrent_bias"}
    both = weights[0]["rnn.bias"] + weights[0]["rnn.recurrent_bias"]
    np.testing.assert_array_equal(items["bias"].value(0, weights[0]), both[:10])
    np.testing.assert_array_equal(items["candidate_bias"].value(0, weights[0]), weights[0]["rnn.bias"][10:])
    last = items["candidate_recurrent_bias"]
    np.testing.assert_array_equal(last.value(0, weights[0]), weights[0]["rnn.recurrent_bias"][10:])
    np.testing.assert_array_equal(last.value(1, weights[1]), np.zeros(5))


def test_without_a_reset_gate_behind_the_product_all_of_it_is_a_sum():
    left, right, found, weights = pair("gru", ("double", "single"), reset_after=False)
    (item,) = forms_of(found, left, right)
    both = weights[0]["rnn.bias"] + weights[0]["rnn.recurrent_bias"]
    np.testing.assert_array_equal(item.value(0, weights[0]), both)


def test_a_bias_that_one_side_does_not_have_is_zero_there_and_said():
    models = []
    for seed, bias in enumerate((True, False)):
        recorder = Recorder(seed)
        held = {"kernel": (4, 8), **({"bias": (8,)} if bias else {})}
        x = recorder.call(
            "dense", recorder.input(2, 4), (2, 8), weights=held, settings={"units": 8, "bias": bias}, name="fc"
        )
        models.append((recorder, x))
    left, right = (recorder.read(x) for recorder, x in models)
    found = align(left, right, models[0][0].weights, models[1][0].weights)
    assert found.unmatched == ("the left weight fc.bias of shape [8] has no counterpart: the right layer has no bias",)
    (item,) = forms_of(found, left, right)
    assert absent(item) == (["fc.bias"], [])
    np.testing.assert_array_equal(item.value(1, {}), np.zeros(8))


# Whole models


def native(module, backend):
    """A model of an example, adopted and traced in float64."""
    model = backend.adopt(module.model, module.loss, None)
    model.start("float64")
    return model


def load(name, function):
    spec = importlib.util.spec_from_file_location(f"forms_{name}", PAIRS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)()


def read_both(models, inputs):
    from dualml.native.read_pair import read_pair

    traces = [model.trace({"": array}) for model, array in zip(models, inputs, strict=True)]
    weights = [model.get_weights() for model in models]
    sides = [(trace, own, model.parameters) for trace, own, model in zip(traces, weights, models, strict=True)]
    left, right = read_pair(*sides, "float64")
    return left, right, align(left, right, *weights), (tuple(weights[0]), tuple(weights[1]))


@pytest.mark.parametrize("family", sorted({path.stem.rsplit("_", 1)[0] for path in PAIRS.glob("*.py")}))
def test_every_weight_of_an_example_is_told(family):
    pytest.importorskip("keras")
    dualml_torch, dualml_tensorflow = pytest.importorskip("dualml_torch"), pytest.importorskip("dualml_tensorflow")
    from native.test_example_pairs import batch

    given = [load(f"{family}_{framework}", "training") for framework in ("torch", "keras")]
    backends = dualml_torch.backend, dualml_tensorflow.backend
    models = [native(item, backend) for item, backend in zip(given, backends, strict=True)]
    x, _ = batch(family)
    x = x.astype("float64") if x.dtype.kind == "f" else x
    other = np.moveaxis(x, 1, -1) if x.ndim == 4 else x
    left, right, found, natives = read_both(models, (x, other))
    assert untold(found, left, right, natives) == []
    assert found.weights
    turned = align(right, left, *[model.get_weights() for model in models[::-1]])
    assert untold(turned, right, left, natives[::-1]) == []


def test_every_weight_of_the_torch_models_is_told():
    torch = pytest.importorskip("torch")
    from dualml_torch import backend
    from native.test_torch_native import batch
    from native.torch_models import MODELS

    for name, make in MODELS.items():
        models = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            models.append(backend.adopt(make()))
            models[-1].start("float64")
        x = batch(name)
        left, right, found, natives = read_both(models, (x, x))
        assert untold(found, left, right, natives) == [], name


def test_every_weight_of_the_tensorflow_models_is_told():
    pytest.importorskip("keras")
    from dualml_tensorflow import backend
    from native.tensorflow_models import MODELS

    for name, make in MODELS.items():
        models = []
        for seed in (0, 1):
            model, x, _ = make(seed)
            models.append(backend.adopt(model))
            models[-1].start("float64")
        x = np.asarray(x)
        x = x.astype("float64") if x.dtype.kind == "f" else x
        left, right, found, natives = read_both(models, (x, x))
        assert untold(found, left, right, natives) == [], name
