"""Moving, resizing, merging, dropping and gating: each adapter equals its framework's own layers; traps stay shut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from pydantic import ValidationError  # noqa: E402
from single_layer_support import BACKENDS, passed  # noqa: E402
from torch import nn  # noqa: E402

from dualml import randomness  # noqa: E402
from dualml.errors import SpecError  # noqa: E402
from dualml.protocol import Batch  # noqa: E402
from dualml.spec.activations import Tanh  # noqa: E402
from dualml.spec.layers import Dense, Residual  # noqa: E402
from dualml.spec.layers.dropout import AlphaDropout, SpatialDropout, StochasticDepth  # noqa: E402
from dualml.spec.layers.gated import Glu, Prelu, SqueezeExcite  # noqa: E402
from dualml.spec.layers.merge import Average, Maximum, Minimum, Multiply, Subtract  # noqa: E402
from dualml.spec.layers.pooling import (  # noqa: E402
    AdaptiveAveragePool2d,
    AdaptiveMaxPool2d,
    AveragePool2d,
    AveragePool3d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool2d,
    MaxPool3d,
)
from dualml.spec.layers.resize import Resize  # noqa: E402
from dualml.spec.layers.shape import Crop, Flatten, Pad, Permute, Select, Slice  # noqa: E402
from dualml.spec.losses import MeanSquaredError  # noqa: E402
from dualml.spec.optimizers import Adam  # noqa: E402
from dualml.testing.cases import Case  # noqa: E402
from dualml.weights import initial_weights  # noqa: E402

KL: Any = keras.layers
F64 = {"dtype": "float64"}


# ------------------------------------------------------------------ order of a flatten


def test_flatten_has_the_order_it_is_told() -> None:
    inputs = np.arange(12.0).reshape(1, 2, 3, 2)
    for side in BACKENDS:
        last = passed(side, Flatten(), (2, 3, 2), "torch", inputs).output[0]
        assert np.array_equal(last, inputs.reshape(-1))
        first = passed(side, Flatten("channels_first"), (2, 3, 2), "torch", inputs).output[0]
        assert np.array_equal(first, np.moveaxis(inputs, -1, 1).reshape(-1))
    stock = KL.Flatten(data_format="channels_first", **F64)(np.moveaxis(inputs, -1, 1)).numpy()[0]
    assert np.array_equal(stock, inputs.reshape(-1)), "the stock layer has become what torch does"


# ------------------------------------------------------------------ resizing


def test_resizing_is_exact_in_float64() -> None:
    inputs = np.random.default_rng(0).standard_normal((1, 5, 4, 1))
    layer = Resize(scale=2, mode="linear")
    ours = [passed(side, layer, (5, 4, 1), "keras", inputs).output for side in BACKENDS]
    assert np.abs(ours[0] - ours[1]).max() <= 1e-15
    stock = KL.UpSampling2D(2, interpolation="bilinear", **F64)(inputs).numpy()
    assert 1e-10 < np.abs(stock - ours[1]).max() < 1e-6, "the stock layer has become exact: it will do"


def test_nearest_follows_the_convention() -> None:
    inputs = np.arange(8.0).reshape(1, 8, 1)
    for side in BACKENDS:
        for conventions, wanted in (("torch", [0, 2, 5]), ("keras", [1, 4, 6])):
            assert passed(side, Resize(3), (8, 1), conventions, inputs).output[0, :, 0].tolist() == wanted
    assert tf.image.resize(inputs[:, None], (1, 3), "nearest").numpy()[0, 0, :, 0].tolist() == [1, 4, 6]


def test_a_scale_that_does_not_divide_follows_the_convention() -> None:
    inputs = np.random.default_rng(0).standard_normal((1, 7, 1))
    layer = Resize(scale=1.5, mode="linear")
    for side in BACKENDS:
        by_scale, by_sizes = (passed(side, layer, (7, 1), kind, inputs).output for kind in ("torch", "keras"))
        assert by_scale.shape == by_sizes.shape == (1, 10, 1)
        assert np.abs(by_scale - by_sizes).max() > 0.01
        size = passed(side, Resize(10, mode="linear"), (7, 1), "torch", inputs).output
        assert np.array_equal(size, by_sizes)


def test_positions_are_exact_where_stock_float32_is_not() -> None:
    """14 values to 46: the stock float32 position of one output falls below the whole number it is."""
    numbers = np.arange(14.0, dtype=np.float32).reshape(1, 14, 1)
    case = Case("exact positions", (14, 1), [Resize(46), Dense(1)], MeanSquaredError())
    graph = case.graph("float32")
    wanted = graph.nodes[0].settings.sources((14, 1))[0].low
    stock = nn.Upsample(46)(torch.tensor(numbers).movedim(-1, 1))[0, 0].numpy()
    assert not np.array_equal(stock, wanted), "the stock module has become exact: it will do"
    for backend in BACKENDS.values():
        network = backend.build(graph, case.weights("float32"))
        got = network.forward(numbers, taps=[graph.nodes[0].name])[graph.nodes[0].name]
        assert np.array_equal(got[0, :, 0], wanted)


# ------------------------------------------------------------------ padding


def test_replicate_is_not_symmetric() -> None:
    inputs = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    for side in BACKENDS:
        got = {
            mode: passed(side, Pad(2, padding_mode=mode), (3, 1), "torch", inputs).output[0, :, 0].tolist()
            for mode in ("replicate", "reflect", "circular")
        }
        assert got == {
            "replicate": [1, 1, 1, 2, 3, 3, 3],
            "reflect": [3, 2, 1, 2, 3, 2, 1],
            "circular": [2, 3, 1, 2, 3, 1, 2],
        }


# ------------------------------------------------------------------ merging


@pytest.mark.parametrize(("kind", "stock"), [(Maximum, torch.maximum), (Minimum, torch.minimum)])
def test_ties_of_two_inputs_follow_the_convention(kind: Any, stock: Any) -> None:
    numbers = np.array([[1.0, 2.0, 3.0, 3.0]])
    other = np.array([[1.0, 5.0, 3.0, 1.0]])
    for conventions in ("torch", "keras"):
        layers = [kind(inputs=["a", "b"], name="chosen"), Dense(1)]
        case = Case("two inputs", {"a": (4,), "b": (4,)}, layers, MeanSquaredError(), conventions)
        batch = Batch({"a": numbers, "b": other}, np.ones((1, 1)))
        found = []
        for backend in BACKENDS.values():
            network = backend.build(case.graph(), case.weights())
            got = network.gradients(batch, case.objective, taps=["a", "b", "chosen"])
            found.append([got.values_gradients[name] for name in ("a", "b")])
            upstream = got.values_gradients["chosen"]
        for mine, its in zip(*found, strict=True):
            assert np.array_equal(mine, its)
        if conventions == "torch":
            a, b = (torch.tensor(array, requires_grad=True) for array in (numbers, other))
            stock(a, b).backward(torch.tensor(upstream))
            wanted = [a.grad.numpy(), b.grad.numpy()]
        else:
            a, b = tf.constant(numbers), tf.constant(other)
            layer = getattr(KL, kind.__name__)(**F64)
            with tf.GradientTape() as tape:
                tape.watch([a, b])
                y = layer([a, b])
            wanted = [array.numpy() for array in tape.gradient(y, [a, b], upstream)]
        for mine, its in zip(found[0], wanted, strict=True):
            assert np.array_equal(mine, its)


# ------------------------------------------------------------------ gates


def test_prelu_starts_as_each_framework_does() -> None:
    for conventions, shape, value in (("torch", (1,), 0.25), ("keras", (3, 3, 5), 0.0)):
        graph = Case("prelu", (3, 3, 5), [Prelu(), Dense(1)], MeanSquaredError(), conventions).graph()
        slope = initial_weights(graph, 0)["prelu_1.slope"]
        assert slope.shape == shape
        assert (slope == value).all()
    assert nn.PReLU().weight.item() == 0.25
    layer = KL.PReLU()
    layer.build((None, 3, 3, 5))
    assert layer.alpha.shape == (3, 3, 5)
    assert not layer.alpha.numpy().any()


@pytest.mark.parametrize("slopes", ["one", "channels", "values"])
def test_prelu_passes_its_slope_at_zero(slopes: Any) -> None:
    inputs = np.array([0.0, -1.0, 2.0, 0.0]).reshape(1, 2, 2)
    found = [passed(side, Prelu(slopes), (2, 2), "torch", inputs) for side in BACKENDS]
    slope = np.broadcast_to(found[0].case.weights()["prelu_1.slope"], (2, 2))
    for got in found:
        assert np.abs(got.gradient - got.upstream * np.where(inputs > 0, 1.0, slope)).max() <= 1e-16
        assert got.gradient[0, 0, 0] != 0


def test_squeeze_excite_by_hand() -> None:
    case = Case("squeeze", (3, 2, 4), [SqueezeExcite(ratio=2), Dense(1)], MeanSquaredError())
    weights, inputs = case.weights(), case.inputs()
    squeezed = inputs.mean(axis=(1, 2))
    hidden = squeezed @ weights["squeeze_excite_1_reduce.kernel"] + weights["squeeze_excite_1_reduce.bias"]
    gate = np.maximum(hidden, 0) @ weights["squeeze_excite_1_expand.kernel"] + weights["squeeze_excite_1_expand.bias"]
    wanted = inputs / (1 + np.exp(-gate))[:, None, None]
    for backend in BACKENDS.values():
        network = backend.build(case.graph(), weights)
        name = "squeeze_excite_1_scale"
        assert np.abs(network.forward(inputs, taps=[name])[name] - wanted).max() <= 1e-14


# ------------------------------------------------------------------ dropping


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (2, 3, 2, 4)])
def test_layers_that_draw_are_stock_when_randomness_is_native(shape: tuple[int, ...]) -> None:
    layers = [SpatialDropout(0.3), StochasticDepth(0.3), AlphaDropout(0.3), Dense(1)]
    case = Case("native", shape, layers, MeanSquaredError())
    rank = len(shape) - 1
    native = BACKENDS["torch"].build(case.graph(), case.weights(), native_randomness=True).native
    assert type(native.spatial_dropout_1) is getattr(nn, f"Dropout{rank}d")
    assert type(native.alpha_dropout_1) is nn.AlphaDropout
    network = BACKENDS["tensorflow"].build(case.graph(), case.weights(), native_randomness=True)
    layer = network.native.get_layer
    assert type(layer("spatial_dropout_1")) is getattr(KL, f"SpatialDropout{rank}D")
    assert type(layer("stochastic_depth_1")) is KL.Dropout
    assert type(layer("alpha_dropout_1")) is KL.AlphaDropout


@pytest.mark.parametrize("side", BACKENDS)
def test_native_draws_drop_what_they_should(side: str) -> None:
    inputs = np.ones((64, 3, 3, 5))
    for layer, kept_together in ((SpatialDropout(0.5), (1, 2)), (StochasticDepth(0.5), (1, 2, 3))):
        case = Case("native", (3, 3, 5), [layer, Dense(1)], MeanSquaredError())
        network = BACKENDS[side].build(case.graph(), case.weights(), native_randomness=True)
        network.seed(1)
        name = case.graph().nodes[0].name
        got = network.forward(inputs, training=True, taps=[name])[name]
        assert set(np.unique(got)) == {0.0, 2.0}
        assert (got.min(axis=kept_together) == got.max(axis=kept_together)).all()
        assert np.array_equal(network.forward(inputs, taps=[name])[name], inputs)


def test_alpha_dropout_has_the_constants_of_both() -> None:
    layer = AlphaDropout(0.3)
    inputs = np.random.default_rng(0).random((1, 200))  # nothing below what a dropped value becomes
    module = nn.AlphaDropout(0.3).train()
    y = module(torch.tensor(inputs)).numpy()
    dropped = np.isclose(y, y.min())
    assert y[~dropped] == pytest.approx(inputs[~dropped] * layer.factor + layer.offset, rel=1e-12)
    assert y[dropped] == pytest.approx(layer.dropped * layer.factor + layer.offset, rel=1e-12)
    stock = KL.AlphaDropout(0.3, **F64)(inputs, training=True).numpy()
    dropped = np.isclose(stock, stock.min())
    assert stock[~dropped] == pytest.approx(inputs[~dropped] * layer.factor + layer.offset, rel=1e-6)


# ------------------------------------------------------------------ training and saving

MODELS = {
    "pooling": (
        (7, 6, 2),
        [
            Dense(3, activation=Tanh()),
            MaxPool2d(3, stride=2, padding="symmetric"),
            AveragePool2d(2, stride=1, padding="same"),
            AdaptiveAveragePool2d((3, 2)),
            Dense(3, activation=Tanh()),
            AdaptiveMaxPool2d(2),
            GlobalMaxPool(),
        ],
    ),
    "three axes": (
        (3, 4, 4, 1),
        [
            Dense(2, activation=Tanh()),
            MaxPool3d(2, stride=1),
            Resize(scale=1.5, mode="linear"),
            AveragePool3d(2, padding=1),
            GlobalAveragePool(),
        ],
    ),
    "moves": (
        (5, 4, 2),
        [
            Dense(4),
            Prelu("channels"),
            Pad(1, padding_mode="reflect"),
            Crop(((1, 0), 0)),
            Resize((4, 7)),
            Glu(),
            Slice(1, 3, axis=1),
            Permute((1, 0, 2)),
            SqueezeExcite(units=2, activation=Tanh()),
            Flatten("channels_first"),
        ],
    ),
    "merges": (
        (4, 3),
        [
            Dense(3, name="a", activation=Tanh()),
            Dense(3, name="b", inputs="input"),
            Maximum(inputs=["a", "b"], name="c"),
            Minimum(inputs=["a", "input"], name="d"),
            Average(inputs=["c", "d", "b"], name="e"),
            Subtract(inputs=["e", "c"], name="f"),
            Select(-1, inputs="a", name="g"),
            Multiply(inputs=["f", "g"]),
        ],
    ),
    "drops": (
        (4, 3, 2),
        [
            Dense(3, activation=Tanh()),
            SpatialDropout(0.3),
            Residual([Dense(3, activation=Tanh()), StochasticDepth(0.4)]),
            AlphaDropout(0.2),
        ],
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_trained_alike(name: str, conventions: Any) -> None:
    """30 updates in float64."""
    shape, layers = MODELS[name]
    case = Case(name, shape, [*layers, Dense(2)], MeanSquaredError(), conventions, examples=6)
    optimizer = case.spec(optimizer=Adam()).resolved.optimizer
    graph = case.graph()
    trained = []
    for backend in BACKENDS.values():
        network = backend.build(graph, case.weights())
        trainer = network.trainer(case.objective, optimizer, batch_size=6)
        for step in range(30):
            masks = {
                node.name: randomness.keep_mask(0, node.name, (6, *node.random_mask), node.settings.rate, step=step)
                for node in graph.dropouts
            }
            trainer.step(case.batch(variant=step % 3), 0.01, masks=masks or None)
        trained.append(network.get_weights())
    start = case.weights()
    for key, left in trained[0].items():
        size = np.abs(left).max()
        assert np.abs(left - trained[1][key]).max() <= 1e-11 * size, key
        assert np.abs(left - start[key]).max() > 1e-3 * size, key


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("conventions", ["torch", "keras"])
def test_a_keras_model_survives_its_file(name: str, conventions: Any, tmp_path: Any) -> None:
    shape, layers = MODELS[name]
    case = Case(name, shape, [*layers, Dense(2)], MeanSquaredError(), conventions)
    native = BACKENDS["tensorflow"].build(case.graph(), case.weights()).native
    native.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(again(case.inputs()).numpy(), native(case.inputs()).numpy())


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([Permute((0, 2))], (3, 4), r"axes must hold each of \[0, 1\] once .* got \[0, 2\]"),
        ([Pad(1)], (4,), r"1 to 3 spatial axes and channels, got \[4\]"),
        ([Pad(3, padding_mode="reflect")], (3, 1), "reflect can add at most 2 values"),
        ([Pad(1, padding_mode="reflect", value=0.5)], (3, 1), "value has no meaning with padding_mode reflect"),
        ([Pad((1, 2, 3))], (3, 3, 1), "padding must be one number or a list of 2"),
        ([Crop(2)], (4, 1), "leaves nothing of an input of shape"),
        ([Slice(4)], (4, 1), "start 4 and stop None leave nothing of axis 0"),
        ([Slice(0, axis=2)], (4, 1), r"axis must be in \[-2, 1\]"),
        ([Select(4)], (4, 2), r"index must be in \[-4, 3\]"),
        ([Select(0)], (4,), "2 axes or more"),
        ([Resize()], (4, 1), "give either size or scale"),
        ([Resize(3, scale=2)], (4, 1), "give either size or scale"),
        ([Resize(scale=0.1)], (4, 1), "leaves nothing"),
        ([Resize(scale=(2.0, 2.0))], (4, 1), "scale must be one number or 1"),
        ([Resize(3, align_corners=True)], (4, 1), "align_corners has no meaning with mode nearest"),
        ([Glu()], (3,), "even number of values to be cut in halves, got 3"),
        ([SpatialDropout(0.2)], (3,), "1 to 3 spatial axes"),
        ([SqueezeExcite()], (3,), "2 axes or more"),
        (
            [Dense(2, name="a"), Multiply(inputs=["input", "a"])],
            (4, 3),
            r"agree in every axis, counted from the last.*got \[4, 3\], \[4, 2\]",
        ),
        ([Dense(2, name="a"), Subtract(inputs=["input", "a"])], (4,), "all inputs must have one shape"),
        ([Dense(4, name="a"), Subtract(inputs=["input", "a", "a"])], (4,), "takes exactly 2 inputs, got 3"),
    ],
    ids=lambda item: str(item)[:40],
)
def test_mistakes_are_explained(layers: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises((SpecError, ValueError), match=message):
        Case("wrong", shape, [*layers, Dense(2)]).graph()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Pad, {"padding": -1}, "greater than or equal to 0"),
        (Pad, {"padding": 1, "padding_mode": "mirror"}, "'zeros', 'reflect', 'replicate' or 'circular'"),
        (Flatten, {"order": "nchw"}, "'channels_last' or 'channels_first'"),
        (StochasticDepth, {"rate": 1.0}, "less than 1"),
        (Resize, {"scale": 0.0}, "greater than 0"),
        (Prelu, {"slopes": "some"}, "'one', 'channels' or 'values'"),
        (MaxPool2d, {"size": 0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**settings)
