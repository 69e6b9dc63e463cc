"""Every stock layer that the adapter reads: what it says must be what the layer computes, within rounding.

The float64 reference evaluates what was read on what was recorded, in both precisions and in both modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from dualml_tensorflow.native import TensorflowModel  # noqa: E402
from keras import layers as L  # noqa: E402, N812 (a table of them)

from dualml import reference  # noqa: E402
from dualml.native.protocol import OPAQUE  # noqa: E402
from dualml.native.read import read  # noqa: E402
from dualml.parity.diff.side import Side  # noqa: E402
from dualml.parity.judge import judgement  # noqa: E402

IMAGE, ROW, SEQUENCE, VOLUME = (6, 7, 4), (9, 4), (5, 6), (5, 4, 6, 2)
A = keras.activations

LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "dense": (lambda: L.Dense(5, activation="tanh"), (6,), "dense activation"),
    "dense on a sequence": (lambda: L.Dense(5, use_bias=False), SEQUENCE, "dense"),
    "dense, user's activation": (lambda: L.Dense(4, activation=lambda x: A.relu(x) + x), (6,), "dense activation add"),
    "dense, layer as activation": (lambda: L.Dense(4, activation=L.LeakyReLU(0.3)), (6,), "dense activation"),
    "conv1d causal": (lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), ROW, "conv1d"),
    "conv1d same": (lambda: L.Conv1D(3, 3, padding="same", strides=2), ROW, "conv1d"),
    "conv2d": (lambda: L.Conv2D(6, (3, 2), strides=2, groups=2, padding="same"), IMAGE, "conv2d"),
    "conv2d dilated": (lambda: L.Conv2D(3, 3, dilation_rate=2, activation="relu"), IMAGE, "conv2d activation"),
    "conv3d": (lambda: L.Conv3D(3, 2, padding="same", strides=2), VOLUME, "conv3d"),
    "conv2d, channels first": (lambda: L.Conv2D(6, 3, data_format="channels_first"), (4, 6, 7), "conv2d"),
    "max2d, channels first": (lambda: L.MaxPooling2D(2, data_format="channels_first"), (4, 6, 7), "max_pool2d"),
    "norm, channels first": (lambda: L.BatchNormalization(axis=1), (4, 6, 7), "batch_norm"),
    "global, channels first": (
        lambda: L.GlobalAveragePooling2D(data_format="channels_first"),
        (4, 6, 7),
        "global_average_pool",
    ),
    "average3d, same": (lambda: L.AveragePooling3D(2, padding="same"), VOLUME, "average_pool3d"),
    "depthwise1d": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), ROW, "depthwise_conv1d"),
    "depthwise2d": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), IMAGE, "depthwise_conv2d"),
    "separable2d": (lambda: L.SeparableConv2D(3, 3), IMAGE, "depthwise_conv2d conv2d add"),
    "transposed1d": (lambda: L.Conv1DTranspose(3, 3, strides=2, padding="same"), ROW, "conv_transpose1d"),
    "transposed2d": (lambda: L.Conv2DTranspose(3, 3, strides=2), IMAGE, "conv_transpose2d"),
    "transposed2d same": (
        lambda: L.Conv2DTranspose(3, (2, 5), strides=(3, 2), padding="same"),
        IMAGE,
        "conv_transpose2d",
    ),
    "transposed2d output padding": (
        lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1),
        IMAGE,
        "conv_transpose2d",
    ),
    "max1d": (lambda: L.MaxPooling1D(3, 2, padding="same"), ROW, "max_pool1d"),
    "max2d": (lambda: L.MaxPooling2D((2, 3), padding="same"), IMAGE, "max_pool2d"),
    "max3d": (lambda: L.MaxPooling3D(2), VOLUME, "max_pool3d"),
    "average1d": (lambda: L.AveragePooling1D(3, 2, padding="same"), ROW, "average_pool1d"),
    "average2d": (lambda: L.AveragePooling2D(2, padding="same"), IMAGE, "average_pool2d"),
    "average3d": (lambda: L.AveragePooling3D(2), VOLUME, "average_pool3d"),
    "adaptive average": (lambda: L.AdaptiveAveragePooling2D((4, 3)), IMAGE, "adaptive_average_pool2d"),
    "adaptive max": (lambda: L.AdaptiveMaxPooling1D(4), ROW, "adaptive_max_pool1d"),
    "global average 1": (lambda: L.GlobalAveragePooling1D(), ROW, "global_average_pool"),
    "global average 2": (lambda: L.GlobalAveragePooling2D(keepdims=True), IMAGE, "global_average_pool"),
    "global max 2": (lambda: L.GlobalMaxPooling2D(), IMAGE, "global_max_pool"),
    "batch norm": (lambda: L.BatchNormalization(momentum=0.8, epsilon=0.1), IMAGE, "batch_norm"),
    "batch norm, no scale": (lambda: L.BatchNormalization(scale=False, center=False), (6,), "batch_norm"),
    "batch norm, frozen": (lambda: L.BatchNormalization(trainable=False), IMAGE, "batch_norm"),
    "layer norm": (lambda: L.LayerNormalization(epsilon=0.1), SEQUENCE, "layer_norm"),
    "layer norm, two axes": (lambda: L.LayerNormalization(axis=[-2, -1], scale=False), SEQUENCE, "layer_norm"),
    "group norm": (lambda: L.GroupNormalization(2), IMAGE, "group_norm"),
    "instance norm": (lambda: L.GroupNormalization(-1), IMAGE, "instance_norm"),
    "rms norm": (lambda: L.RMSNormalization(), SEQUENCE, "rms_norm"),
    "relu": (lambda: L.ReLU(max_value=1.1, negative_slope=0.3, threshold=0.2), (6,), "activation"),
    "relu6": (lambda: L.ReLU(6), (6,), "activation"),
    "leaky relu": (lambda: L.LeakyReLU(), (6,), "activation"),
    "elu": (lambda: L.ELU(0.7), (6,), "activation"),
    "prelu": (lambda: L.PReLU("uniform"), IMAGE, "prelu"),
    "prelu, channels": (lambda: L.PReLU("uniform", shared_axes=[1, 2]), IMAGE, "prelu"),
    "softmax": (lambda: L.Softmax(), (6,), "activation"),
    "softmax, first axis": (lambda: L.Softmax(axis=1), SEQUENCE, "activation"),
    "dropout": (lambda: L.Dropout(0.4), IMAGE, "dropout"),
    "spatial dropout": (lambda: L.SpatialDropout2D(0.4), IMAGE, "spatial_dropout"),
    "stochastic depth": (lambda: L.Dropout(0.4, noise_shape=(None, 1, 1, 1)), IMAGE, "stochastic_depth"),
    "alpha dropout": (lambda: L.AlphaDropout(0.4), IMAGE, "alpha_dropout"),
    "flatten": (lambda: L.Flatten(), IMAGE, "flatten"),
    "reshape": (lambda: L.Reshape((7, -1)), IMAGE, "reshape"),
    "permute": (lambda: keras.Sequential([L.Permute((3, 1, 2)), L.ReLU()]), IMAGE, "permute activation"),
    "pad 1": (lambda: L.ZeroPadding1D((1, 2)), ROW, "pad"),
    "pad 2": (lambda: L.ZeroPadding2D(((1, 2), (0, 3))), IMAGE, "pad"),
    "crop 1": (lambda: L.Cropping1D((1, 2)), ROW, "crop"),
    "crop 2": (lambda: L.Cropping2D(((1, 2), (0, 3))), IMAGE, "crop"),
    "upsampling 1": (lambda: L.UpSampling1D(2), ROW, "resize"),
    "upsampling 2": (lambda: L.UpSampling2D((2, 3)), IMAGE, "resize"),
    "upsampling 2, linear": (lambda: L.UpSampling2D(2, interpolation="bilinear"), IMAGE, "resize"),
    "resizing": (lambda: L.Resizing(4, 11), IMAGE, "resize"),
    "rescaling": (lambda: L.Rescaling(1 / 255.0, 0.1), IMAGE, "multiply add"),
    "simple rnn": (lambda: L.SimpleRNN(3, return_sequences=True), SEQUENCE, "simple_rnn"),
    "simple rnn, relu": (lambda: L.SimpleRNN(3, activation="relu", use_bias=False), SEQUENCE, "simple_rnn"),
    "lstm": (lambda: L.LSTM(3), SEQUENCE, "lstm"),
    "lstm, dropout inside": (lambda: L.LSTM(3, dropout=0.5, return_sequences=True), SEQUENCE, "lstm"),
    "lstm, backwards": (lambda: L.LSTM(3, go_backwards=True, return_sequences=True), SEQUENCE, "lstm opaque"),
    "lstm, backwards, last": (lambda: L.LSTM(3, go_backwards=True), SEQUENCE, "lstm"),
    "gru": (lambda: L.GRU(3, return_sequences=True, bias_initializer="uniform"), SEQUENCE, "gru"),
    "gru, reset before": (lambda: L.GRU(3, reset_after=False, bias_initializer="uniform"), SEQUENCE, "gru"),
    "bidirectional, sum": (lambda: L.Bidirectional(L.GRU(3), merge_mode="sum"), SEQUENCE, "gru gru add"),
    "lambda": (lambda: L.Lambda(lambda x: tf.nn.relu(x) * x), SEQUENCE, "activation multiply"),
    "time distributed": (lambda: L.TimeDistributed(L.Dense(4)), SEQUENCE, "dense"),
    "unit norm": (lambda: L.UnitNormalization(), SEQUENCE, OPAQUE),
    "noise": (lambda: L.GaussianNoise(0.5), SEQUENCE, OPAQUE),
    "einsum dense": (lambda: L.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), SEQUENCE, OPAQUE),
    **{
        f"activation {name}": ((lambda name=name: L.Activation(name)), (6,), "activation")
        for name in [
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "selu",
            "celu",
            "gelu",
            "silu",
            "sigmoid",
            "hard_sigmoid",
            "hard_silu",
            "log_sigmoid",
            "sparse_sigmoid",
            "tanh",
            "hard_tanh",
            "tanh_shrink",
            "hard_shrink",
            "soft_shrink",
            "softsign",
            "softplus",
            "squareplus",
            "sparse_plus",
            "exponential",
            "mish",
            "softmax",
            "log_softmax",
        ]
    },
}

CALLS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str]] = {
    "gelu": (lambda x: keras.ops.gelu(x), SEQUENCE, "activation"),
    "tf gelu": (lambda x: tf.nn.gelu(x), SEQUENCE, "activation"),
    "tf swish": (lambda x: tf.nn.swish(x, beta=1.5), SEQUENCE, "activation"),
    "celu": (lambda x: keras.ops.celu(x, alpha=1.3), SEQUENCE, "activation"),
    "relu with slope": (lambda x: A.relu(x, negative_slope=0.2, max_value=2.0), SEQUENCE, "activation"),
    "glu": (lambda x: keras.ops.glu(x, axis=-1), SEQUENCE, "glu"),
    "softmax": (lambda x: tf.nn.softmax(x, axis=1), SEQUENCE, "activation"),
    "mean": (lambda x: tf.reduce_mean(x, axis=[1, 2]), IMAGE, "global_average_pool"),
    "mean of the last": (lambda x: keras.ops.mean(x, axis=-1), IMAGE, OPAQUE),
    "max": (lambda x: keras.ops.max(x, axis=(1, 2), keepdims=True), IMAGE, "global_max_pool"),
    "transpose": (lambda x: tf.nn.relu(keras.ops.transpose(x, (0, 3, 1, 2))), IMAGE, "permute activation"),
    "flatten": (lambda x: tf.reshape(x, (tf.shape(x)[0], -1)), IMAGE, "reshape"),
    "last step": (lambda x: x[:, -1], SEQUENCE, "select"),
    "every second": (lambda x: x[:, ::2], SEQUENCE, "slice"),
    "concat": (lambda x: keras.ops.concatenate([x, tf.tanh(x)], axis=1), SEQUENCE, "activation concat"),
    "subtract": (lambda x: x - tf.nn.relu(x), SEQUENCE, "activation subtract"),
    "maximum": (lambda x: keras.ops.maximum(x, tf.tanh(x)), SEQUENCE, "activation maximum"),
    "pool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), IMAGE, "max_pool2d"),
    "average pool": (lambda x: keras.ops.average_pool(x, 2), IMAGE, "average_pool2d"),
    "norm": (lambda x: tf.nn.l2_normalize(x, -1), SEQUENCE, "opaque opaque maximum opaque multiply"),
}


class Called(keras.Model):
    """A model that is one function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


def values(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")


def of_layer(name: str) -> tuple[Any, Any, str]:
    make, shape, kinds = LAYERS[name]
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), make()]), values(shape), kinds


def of_call(name: str) -> tuple[Any, Any, str]:
    function, shape, kinds = CALLS[name]
    model = Called(function)
    model.build((None, *shape))
    return model, values(shape), kinds


def judge(native: TensorflowModel, inputs: Any, precision: Any, training: bool) -> list[str]:
    """Kinds of all nodes; every one that has a formula is within its bound."""
    trace = native.trace({"": inputs})
    side = Side("left", native, trace, read(trace, native.get_weights(), precision), {"": inputs}, None, precision)
    masks = {
        node.name: np.random.default_rng(7).random((3, *node.random_mask)) < 0.6
        for node in side.graph.dropouts
        if node.random_mask is not None
    }
    observed = native.forward({"": inputs}, training=training, masks=side.native_masks(masks) if training else None)
    arrays, weights = side.values(observed), side.weights()
    for node in side.graph.nodes:
        if node.operation == OPAQUE:
            continue
        sources = [np.asarray(arrays[name], "float64") for name in node.inputs]
        settings = {"training": training, "mask": masks.get(node.name) if training else None}
        wanted = reference.node_forward(node, weights, sources, **settings)
        bound = reference.forward_bound(node, weights, sources, unit=side.unit, **settings)
        rho = judgement(arrays[node.name], wanted, 2 * bound).rho
        assert rho <= 1, (node.name, node.operation, precision, training, rho)
        if training:
            became = reference.new_buffers(node, weights, sources)
            for name, array in became.items():
                assert np.allclose(side.buffers(observed)[name], array, rtol=1e-5 if precision == "float32" else 1e-13)
    return [call.kind for call in trace.calls]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_was_read(name: str, precision: Any) -> None:
    model, inputs, kinds = of_layer(name)
    native = TensorflowModel(model)
    native.start(precision)
    for training in (False, True):
        assert judge(native, inputs, precision, training) == kinds.split()


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_what_was_read(name: str, precision: Any) -> None:
    model, inputs, kinds = of_call(name)
    native = TensorflowModel(model)
    native.start(precision)
    assert judge(native, inputs, precision, training=False) == kinds.split()


@pytest.mark.parametrize("name", [name for name, (_, _, kinds) in LAYERS.items() if "opaque" in kinds])
def test_an_opaque_layer_can_be_done_again(name: str) -> None:
    model, inputs, _ = of_layer(name)
    native = TensorflowModel(model)
    trace = native.trace({"": inputs})
    call = next(call for call in trace.calls if call.kind == OPAQUE)
    observed = native.forward({"": inputs}, training=True)
    again = native.call(call.name, [observed.values[key] for key in call.inputs], training=True)
    assert np.array_equal(again[0], observed.values[call.outputs[0]])


@pytest.mark.parametrize("name", ["noise", "lstm, dropout inside"])
def test_what_cannot_be_given_a_mask_is_said_and_left_out(name: str) -> None:
    model, inputs, _ = of_layer(name)
    native = TensorflowModel(model)
    trace = native.trace({"": inputs})
    assert len(trace.notes) == 1
    training, inference = (native.forward({"": inputs}, training=mode).values for mode in (True, False))
    assert all(np.array_equal(training[key], inference[key]) for key in inference)
