"""Embeddings: each framework's own layers and defaults, repeated ids, padding, tied tables, positions."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import dualml
from dualml import registry
from dualml.api import load_dataset
from dualml.errors import DataError, DualmlError, SpecError
from dualml.protocol import Batch
from dualml.spec.config import Spec
from dualml.weights import initial_weights

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("tensorflow") is None, reason="both frameworks are needed"
)

BACKENDS = ("torch", "tensorflow")
VOCABULARY, UNITS, LENGTH = 7, 4, 5
IDS = np.array([[1, 1, 3, 1, 0], [0, 2, 2, 2, 6]])
EMBEDDING = {"vocabulary": VOCABULARY, "units": UNITS}


def make_spec(*layers: Any, shape: Any = (LENGTH,), integer: bool = True, **settings: Any) -> Spec:
    model = {"input": {"shape": list(shape), "dtype": "integer" if integer else "float"}, "layers": list(layers)}
    given = {"loss": "mse", "optimizer": {"sgd": {"lr": 0.1}}, "precision": "float64", **settings}
    return Spec(model=model, **given).resolved


def build(spec: Spec, backend: str, weights: Any = None) -> Any:
    return registry.load(backend).build(spec.graph, initial_weights(spec.graph, 1) if weights is None else weights)


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


# ------------------------------------------------------------------ as each framework has it


def test_initial_tables_are_normal_in_torch_and_narrow_in_keras() -> None:
    large = {"embedding": {"vocabulary": 500, "units": 20, "padding_index": 3}}
    spec = make_spec(large, conventions="torch")
    table = initial_weights(spec.graph, 0)["embedding_1.table"]
    assert abs(table.std() - 1.0) < 0.02
    assert (table[3] == 0).all()
    assert (table[2] != 0).all()
    narrow = initial_weights(make_spec(large, conventions="keras").graph, 0)["embedding_1.table"]
    assert np.abs(narrow).max() <= 0.05
    assert abs(narrow.std() - 0.1 / math.sqrt(12)) < 5e-4


# ------------------------------------------------------------------ repeated ids


UPDATES = {
    "adam": ({"adam": {"lr": 0.1}}, None),
    "rmsprop": ({"rmsprop": {"lr": 0.1}}, None),
    "adagrad": ({"adagrad": {"lr": 0.1}}, None),
    "global_norm": ({"sgd": {"lr": 0.1}}, {"global_norm": {"max_norm": 0.1}}),
}


def _stock_keras(name: str) -> Any:
    import keras

    return {
        "adam": lambda: keras.optimizers.Adam(0.1, epsilon=1e-8),
        "rmsprop": lambda: keras.optimizers.RMSprop(0.1, rho=0.99, epsilon=1e-16),
        "adagrad": lambda: keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=1e-20),
        "global_norm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    }[name]()


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("compiled", [False, True])
def test_repeated_ids_are_summed_before_an_update(update: str, compiled: bool) -> None:
    import tensorflow as tf

    optimizer, clip = UPDATES[update]
    spec = make_spec({"embedding": EMBEDDING}, optimizer=optimizer, train={"clip": clip}, conventions="torch")
    batch = Batch(IDS, numbers(2, LENGTH, UNITS))
    networks = {}
    for backend in BACKENDS:
        networks[backend] = build(spec, backend)
        trainer = networks[backend].trainer(
            spec.loss, spec.optimizer, batch_size=2, clip=spec.train.clip, compiled=compiled
        )
        for _ in range(5):
            trainer.step(batch, 0.1)
    ends = [networks[backend].get_weights()["embedding_1.table"] for backend in BACKENDS]
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12, atol=1e-13)

    # The same updates by the stock Keras optimizer, on gradients with an entry for each occurrence of an id.
    layer = build(spec, "tensorflow").native.get_layer("embedding_1")
    stock = _stock_keras(update)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(IDS) - batch.targets) ** 2)
        gradient = tape.gradient(loss, layer.trainable_variables[0])
        assert isinstance(gradient, tf.IndexedSlices)
        stock.apply([gradient], layer.trainable_variables)
    assert np.abs(layer.get_weights()[0] - ends[0]).max() > 1e-3


# ------------------------------------------------------------------ padding


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [False, True])
def test_the_row_of_padding_is_read_and_not_trained(backend: str, scale: bool) -> None:
    layer = {"embedding": {**EMBEDDING, "padding_index": 1, "scale": scale}}
    spec = make_spec(layer, optimizer={"adam": {"lr": 0.1}})
    table = numbers(VOCABULARY, UNITS, seed=5)  # of a trained model: the row of padding holds values
    network = build(spec, backend, {"embedding_1.table": table})
    factor = math.sqrt(UNITS) if scale else 1.0
    np.testing.assert_allclose(network.forward(IDS)["embedding_1"], factor * table[IDS], rtol=1e-15)
    batch = Batch(IDS, numbers(2, LENGTH, UNITS))
    slope = network.gradients(batch, spec.loss).parameters["embedding_1.table"]
    assert (slope[1] == 0).all()
    assert (slope[[0, 2, 3, 6]] != 0).all()
    trainer = network.trainer(spec.loss, spec.optimizer, batch_size=2)
    for _ in range(3):
        trainer.step(batch, 0.1)
    moved = network.get_weights()["embedding_1.table"] != table
    assert not moved[1].any()
    assert moved[[0, 2, 3, 6]].all()


def test_keras_own_mask_zero_would_train_the_row() -> None:
    import keras
    import tensorflow as tf

    layer = keras.layers.Embedding(VOCABULARY, UNITS, mask_zero=True, dtype="float64")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(IDS) ** 2)
    slope = tf.convert_to_tensor(tape.gradient(loss, layer.trainable_variables[0])).numpy()
    assert (slope[0] != 0).all()


def test_no_layer_attaches_a_keras_mask() -> None:
    from keras.src import backend as keras_backend

    spec = make_spec({"embedding": {**EMBEDDING, "padding_index": 0}})
    assert keras_backend.get_keras_mask(build(spec, "tensorflow").native.get_layer("embedding_1")(IDS)) is None


# ------------------------------------------------------------------ tied tables


TIED = (
    {"embedding": {**EMBEDDING, "scale": True, "padding_index": 0}, "name": "words"},
    {"position_embedding": {}},
    {"dense": {"units": UNITS, "activation": "tanh"}},
    {"tied_dense": {"layer": "words", "bias": True}, "name": "logits"},
)


def test_a_tied_table_is_one_parameter() -> None:
    import torch

    spec = make_spec(*TIED, loss="cross_entropy")
    assert [item.name for item in spec.graph.parameters] == [
        "words.table",
        "position_embedding_1.positions",
        "dense_1.kernel",
        "dense_1.bias",
        "logits.bias",
    ]
    torch_model = build(spec, "torch").native
    assert type(torch_model.get_submodule("logits")) is torch.nn.Linear
    assert torch_model.get_submodule("logits").weight is torch_model.get_submodule("words").weight
    keras_model = build(spec, "tensorflow").native
    assert sum(variable.name == "embeddings" for variable in keras_model.trainable_variables) == 1


def test_a_saved_keras_model_keeps_its_tie(tmp_path: Any) -> None:
    import keras

    model = build(make_spec(*TIED, loss="cross_entropy"), "tensorflow").native
    model.save(tmp_path / "tied.keras")
    again = keras.saving.load_model(tmp_path / "tied.keras")
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), model.predict(IDS, verbose=0))
    assert again.get_layer("logits").embedding is again.get_layer("words")
    assert len(again.trainable_variables) == len(model.trainable_variables) == 5


def test_thirty_steps_agree() -> None:
    layers = (*TIED[:2], {"position_encoding": {"placing": "halves"}}, *TIED[2:])
    spec = make_spec(*layers, loss="cross_entropy", optimizer={"adam": {"lr": 0.01}})
    ends = []
    for backend in BACKENDS:
        network = build(spec, backend)
        trainer = network.trainer(spec.loss, spec.optimizer, batch_size=2)
        for step in range(30):
            generator = np.random.default_rng(step)
            shape = (2, LENGTH)
            batch = Batch(generator.integers(0, VOCABULARY, shape), generator.integers(0, VOCABULARY, shape))
            trainer.step(batch, 0.01)
        ends.append(network.get_weights())
    for name, array in ends[0].items():
        gap = np.abs(array - ends[1][name]).max() / np.abs(array).max()
        assert gap < 1e-11, name


# ------------------------------------------------------------------ positions


@pytest.mark.parametrize("placing", ["interleaved", "halves"])
def test_encodings_are_those_of_the_paper(placing: str) -> None:
    length, units = 50, 6
    found = dualml.PositionEncoding(placing=placing).encoding(length, units)
    for t in range(length):
        for i in range(units // 2):
            angle = t / 10000 ** (2 * i / units)
            sine, cosine = (2 * i, 2 * i + 1) if placing == "interleaved" else (i, i + units // 2)
            assert abs(found[t, sine] - math.sin(angle)) < 1e-14
            assert abs(found[t, cosine] - math.cos(angle)) < 1e-14


@pytest.mark.parametrize("backend", BACKENDS)
def test_encodings_reach_the_frameworks_in_full_precision(backend: str) -> None:
    spec = make_spec({"position_encoding": {}}, {"dense": 1}, shape=(40, 6), integer=False)
    x = numbers(2, 40, 6)
    found = build(spec, backend).forward(x, taps=["position_encoding_1"])["position_encoding_1"]
    np.testing.assert_allclose(found, x + dualml.PositionEncoding().encoding(40, 6), rtol=1e-15, atol=1e-15)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"embedding": {**EMBEDDING, "padding_index": 7}}], "padding_index must be below vocabulary, got 7"),
        ([{"embedding": EMBEDDING}, {"position_embedding": 3}], "positions must cover the input, which has 5"),
        ([{"embedding": {"vocabulary": 7, "units": 3}}, {"position_encoding": {}}], "an even last axis, got 3"),
        (
            [{"embedding": EMBEDDING, "name": "a"}, {"dense": 3}, {"tied_dense": "a"}],
            "the input's last axis must have size 4, got 3",
        ),
        ([{"embedding": EMBEDDING, "name": "a"}, {"tied_dense": "b"}], "tied to 'b', but no earlier layer"),
        (
            [{"embedding": EMBEDDING, "name": "a"}, {"position_embedding": {}, "name": "b"}, {"tied_dense": "b"}],
            "no earlier layer of that name has a table",
        ),
        ([{"embedding": EMBEDDING}, {"flatten": {}}, {"position_embedding": {}}], "shape \\[length, units\\], got"),
    ],
)
def test_settings_that_cannot_work_are_refused(layers: list[Any], message: str) -> None:
    with pytest.raises((DualmlError, SpecError, ValueError), match=message):
        make_spec(*layers).graph  # noqa: B018 (the graph is worked out when it is asked for)


@pytest.mark.parametrize("wrong", [VOCABULARY, -1])
def test_ids_out_of_range_are_refused_before_a_framework_sees_them(wrong: int, tmp_path: Any) -> None:
    # torch raises an IndexError for both; TensorFlow reads -1 as the last row, and zeros for 7 on a GPU.
    ids = np.tile(IDS, (10, 1))
    ids[3, 2] = wrong
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "targets.npy", np.zeros((20, 3)))
    data = {"source": "npy", "inputs": str(tmp_path / "ids.npy"), "targets": str(tmp_path / "targets.npy")}
    spec = make_spec({"embedding": EMBEDDING}, {"flatten": {}}, {"dense": 3}, data=data)
    with pytest.raises(DataError, match=str(wrong)):
        load_dataset(spec)
