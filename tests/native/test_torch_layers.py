"""Every stock layer and function that a spec can say: what the adapter claims is what the model computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (as its users write it)
from native.torch_judged import judged
from torch import Tensor, nn

RNG = np.random.default_rng(0)
IMAGE = (4, 6, 9, 8)
SEQUENCE = (4, 7, 6)
VECTOR = (4, 6)
TOKENS = RNG.integers(0, 11, (4, 7))


class Calls(nn.Module):
    """A model that is one function of its input and of parameters of its own."""

    def __init__(self, function: Callable[..., Tensor], **parameters: Any) -> None:
        super().__init__()
        self.function = function
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(RNG.standard_normal(shape), dtype=torch.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "linear": (lambda: nn.Linear(6, 5), VECTOR, ["dense"]),
    "linear of positions": (lambda: nn.Linear(6, 5, bias=False), SEQUENCE, ["dense"]),
    "conv1d": (lambda: nn.Conv1d(7, 5, 3, stride=2, padding=1), SEQUENCE, ["conv1d"]),
    "conv1d same": (lambda: nn.Conv1d(7, 5, 4, padding="same", dilation=1), SEQUENCE, ["conv1d"]),
    "conv2d": (lambda: nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), IMAGE, ["conv2d"]),
    "conv2d reflect": (lambda: nn.Conv2d(6, 4, 3, padding=2, padding_mode="reflect"), IMAGE, ["conv2d"]),
    "conv2d circular": (lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"), IMAGE, ["conv2d"]),
    "conv2d groups": (lambda: nn.Conv2d(6, 4, 3, groups=2), IMAGE, ["conv2d"]),
    "conv2d depthwise": (lambda: nn.Conv2d(6, 12, 3, groups=6), IMAGE, ["depthwise_conv2d"]),
    "conv1d depthwise": (lambda: nn.Conv1d(7, 14, 3, groups=7, bias=False), SEQUENCE, ["depthwise_conv1d"]),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (4, 2, 3, 4, 3), ["conv3d"]),
    "conv transpose 1d": (lambda: nn.ConvTranspose1d(7, 5, 3, stride=2), SEQUENCE, ["conv_transpose1d"]),
    "conv transpose 2d": (
        lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
        IMAGE,
        ["conv_transpose2d"],
    ),
    "max pool 1d": (lambda: nn.MaxPool1d(2), SEQUENCE, ["max_pool1d"]),
    "max pool 2d": (lambda: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), IMAGE, ["max_pool2d"]),
    "max pool 3d": (lambda: nn.MaxPool3d(2), (4, 2, 3, 4, 3), ["max_pool3d"]),
    "average pool 1d": (lambda: nn.AvgPool1d(2, stride=1), SEQUENCE, ["average_pool1d"]),
    "average pool 2d": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), IMAGE, ["average_pool2d"]),
    "average pool 3d": (lambda: nn.AvgPool3d(2, padding=1), (4, 2, 3, 4, 3), ["average_pool3d"]),
    "adaptive average": (lambda: nn.AdaptiveAvgPool2d((4, None)), IMAGE, ["adaptive_average_pool2d"]),
    "adaptive average 1": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE, ["global_average_pool"]),
    "adaptive max": (lambda: nn.AdaptiveMaxPool2d(3), IMAGE, ["adaptive_max_pool2d"]),
    "adaptive max 1": (lambda: nn.AdaptiveMaxPool1d(1), SEQUENCE, ["global_max_pool"]),
    "batch norm 1d": (lambda: nn.BatchNorm1d(6, eps=1e-3, momentum=0.2), VECTOR, ["batch_norm"]),
    "batch norm 2d": (lambda: nn.BatchNorm2d(6), IMAGE, ["batch_norm"]),
    "batch norm without weights": (lambda: nn.BatchNorm2d(6, affine=False), IMAGE, ["batch_norm"]),
    "layer norm": (lambda: nn.LayerNorm(6), SEQUENCE, ["layer_norm"]),
    "layer norm of two axes": (lambda: nn.LayerNorm((7, 6), bias=False), SEQUENCE, ["layer_norm"]),
    "group norm": (lambda: nn.GroupNorm(3, 6), IMAGE, ["group_norm"]),
    "instance norm": (lambda: nn.InstanceNorm2d(6, affine=True), IMAGE, ["instance_norm"]),
    "rms norm": (lambda: nn.RMSNorm(6), SEQUENCE, ["rms_norm"]),
    "relu": (nn.ReLU, VECTOR, ["activation"]),
    "relu in place": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True)), VECTOR, ["dense", "activation"]),
    "relu6": (nn.ReLU6, VECTOR, ["activation"]),
    "leaky relu": (lambda: nn.LeakyReLU(0.3), VECTOR, ["activation"]),
    "elu": (lambda: nn.ELU(0.5), VECTOR, ["activation"]),
    "selu": (nn.SELU, VECTOR, ["activation"]),
    "gelu": (nn.GELU, VECTOR, ["activation"]),
    "gelu tanh": (lambda: nn.GELU("tanh"), VECTOR, ["activation"]),
    "silu": (nn.SiLU, VECTOR, ["activation"]),
    "mish": (nn.Mish, VECTOR, ["activation"]),
    "hardswish": (nn.Hardswish, VECTOR, ["activation"]),
    "sigmoid": (nn.Sigmoid, VECTOR, ["activation"]),
    "log sigmoid": (nn.LogSigmoid, VECTOR, ["activation"]),
    "tanh": (nn.Tanh, VECTOR, ["activation"]),
    "hardtanh": (lambda: nn.Hardtanh(-0.5, 2.0), VECTOR, ["activation"]),
    "tanhshrink": (nn.Tanhshrink, VECTOR, ["activation"]),
    "hardshrink": (lambda: nn.Hardshrink(0.3), VECTOR, ["activation"]),
    "softshrink": (lambda: nn.Softshrink(0.3), VECTOR, ["activation"]),
    "softsign": (nn.Softsign, VECTOR, ["activation"]),
    "softplus": (lambda: nn.Softplus(2.0, 10.0), VECTOR, ["activation"]),
    "threshold": (lambda: nn.Threshold(0.1, -2.0), VECTOR, ["activation"]),
    "softmax": (lambda: nn.Softmax(dim=1), VECTOR, ["activation"]),
    "softmax of positions": (lambda: nn.Softmax(dim=1), SEQUENCE, ["activation"]),
    "log softmax": (lambda: nn.LogSoftmax(dim=-1), SEQUENCE, ["activation"]),
    "glu": (lambda: nn.GLU(dim=1), IMAGE, ["glu"]),
    "prelu": (nn.PReLU, IMAGE, ["prelu"]),
    "prelu of channels": (lambda: nn.PReLU(6), IMAGE, ["prelu"]),
    "upsample": (lambda: nn.Upsample(scale_factor=(1, 2)), IMAGE, ["resize"]),
    "upsample bilinear": (lambda: nn.Upsample(size=(5, 4), mode="bilinear"), IMAGE, ["resize"]),
    "upsample corners": (
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        IMAGE,
        ["resize"],
    ),
    "zero pad": (lambda: nn.ZeroPad2d((1, 2, 0, 3)), IMAGE, ["pad"]),
    "negative pad": (lambda: nn.ZeroPad2d((-1, -2, 0, -3)), IMAGE, ["crop"]),
    "constant pad": (lambda: nn.ConstantPad1d(2, 1.5), SEQUENCE, ["pad"]),
    "reflection pad": (lambda: nn.ReflectionPad2d(2), IMAGE, ["pad"]),
    "replication pad": (lambda: nn.ReplicationPad1d((1, 2)), SEQUENCE, ["pad"]),
    "circular pad": (lambda: nn.CircularPad2d(1), IMAGE, ["pad"]),
    "flatten": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), IMAGE, ["max_pool2d", "flatten"]),
    "unflatten": (lambda: nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (3, 4))), VECTOR, ["dense", "reshape"]),
    "dropout": (lambda: nn.Dropout(0.3), VECTOR, ["dropout"]),
    "dropout 2d": (lambda: nn.Dropout2d(0.3), IMAGE, ["spatial_dropout"]),
    "alpha dropout": (lambda: nn.AlphaDropout(0.3), VECTOR, ["alpha_dropout"]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_it_is_said_to_be(name):
    make, shape, kinds = LAYERS[name]
    torch.manual_seed(0)
    found = judged(make(), {"": RNG.standard_normal(shape)})
    assert found.kinds == kinds
    assert found.outside == {}


FUNCTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "F.linear": (lambda: Calls(lambda m, x: F.linear(x, m.w, m.b), w=(5, 6), b=(5,)), VECTOR, ["dense"]),
    "x @ W": (lambda: Calls(lambda m, x: x @ m.w, w=(6, 5)), SEQUENCE, ["dense"]),
    "x @ W.T": (lambda: Calls(lambda m, x: x @ m.w.T, w=(5, 6)), VECTOR, ["dense"]),
    "x @ W.t() + b": (lambda: Calls(lambda m, x: x @ m.w.t() + m.b, w=(5, 6), b=(5,)), VECTOR, ["dense"]),
    "F.conv2d": (lambda: Calls(lambda m, x: F.conv2d(x, m.w, stride=2), w=(3, 6, 2, 2)), IMAGE, ["conv2d"]),
    "F.conv_transpose2d": (
        lambda: Calls(lambda m, x: F.conv_transpose2d(x, m.w, m.b, stride=2), w=(6, 3, 2, 2), b=(3,)),
        IMAGE,
        ["conv_transpose2d"],
    ),
    "F.layer_norm": (
        lambda: Calls(lambda m, x: F.layer_norm(x, (6,), m.w, m.b, 1e-4), w=(6,), b=(6,)),
        SEQUENCE,
        ["layer_norm"],
    ),
    "F.rms_norm": (lambda: Calls(lambda m, x: F.rms_norm(x, (6,), m.w), w=(6,)), SEQUENCE, ["rms_norm"]),
    "F.group_norm": (lambda: Calls(lambda m, x: F.group_norm(x, 2, m.w, m.b), w=(6,), b=(6,)), IMAGE, ["group_norm"]),
    "F.instance_norm": (lambda: Calls(lambda _, x: F.instance_norm(x)), IMAGE, ["instance_norm"]),
    "F.normalize": (lambda: Calls(lambda _, x: F.normalize(x, dim=-1)), VECTOR, ["unit_norm"]),
    "F.prelu": (lambda: Calls(lambda m, x: F.prelu(x, m.w), w=(6,)), IMAGE, ["prelu"]),
    "F.relu": (lambda: Calls(lambda _, x: F.relu(x)), VECTOR, ["activation"]),
    "F.leaky_relu": (lambda: Calls(lambda _, x: F.leaky_relu(x, 0.2)), VECTOR, ["activation"]),
    "F.elu": (lambda: Calls(lambda _, x: F.elu(x, alpha=0.7)), VECTOR, ["activation"]),
    "F.gelu": (lambda: Calls(lambda _, x: F.gelu(x, approximate="tanh")), VECTOR, ["activation"]),
    "F.softplus": (lambda: Calls(lambda _, x: F.softplus(x, 2.0)), VECTOR, ["activation"]),
    "F.hardtanh": (lambda: Calls(lambda _, x: F.hardtanh(x, -0.5, 0.7)), VECTOR, ["activation"]),
    "torch.tanh": (lambda: Calls(lambda _, x: torch.tanh(x).sigmoid().exp()), VECTOR, ["activation"] * 3),
    "clamp": (lambda: Calls(lambda _, x: x.clamp(min=0)), VECTOR, ["activation"]),
    "F.softmax": (lambda: Calls(lambda _, x: F.softmax(x, dim=1)), IMAGE, ["activation"]),
    "x.log_softmax": (lambda: Calls(lambda _, x: x.log_softmax(-1)), VECTOR, ["activation"]),
    "F.glu": (lambda: Calls(lambda _, x: F.glu(x)), VECTOR, ["glu"]),
    "F.max_pool2d": (lambda: Calls(lambda _, x: F.max_pool2d(x, 2, padding=1)), IMAGE, ["max_pool2d"]),
    "F.avg_pool2d": (lambda: Calls(lambda _, x: F.avg_pool2d(x, 2)), IMAGE, ["average_pool2d"]),
    "F.adaptive_avg_pool2d": (
        lambda: Calls(lambda _, x: F.adaptive_avg_pool2d(x, (2, 3))),
        IMAGE,
        ["adaptive_average_pool2d"],
    ),
    "mean of positions": (lambda: Calls(lambda _, x: x.mean(dim=(2, 3))), IMAGE, ["global_average_pool"]),
    "mean of steps": (lambda: Calls(lambda _, x: torch.mean(x, 1)), SEQUENCE, ["global_average_pool"]),
    "amax": (lambda: Calls(lambda _, x: x.amax((2, 3), keepdim=True)), IMAGE, ["global_max_pool"]),
    "max of steps": (lambda: Calls(lambda _, x: x.max(dim=1)[0]), SEQUENCE, ["global_max_pool"]),
    "F.interpolate": (
        lambda: Calls(lambda _, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
        IMAGE,
        ["resize"],
    ),
    "F.pad": (lambda: Calls(lambda _, x: F.pad(x, (1, 2, 0, 1))), IMAGE, ["pad"]),
    "F.pad of steps": (lambda: Calls(lambda _, x: F.pad(x, (0, 0, 1, 0))), SEQUENCE, ["pad"]),
    "view": (lambda: Calls(lambda m, x: x.view(x.size(0), -1) @ m.w, w=(42, 3)), SEQUENCE, ["flatten", "dense"]),
    "reshape": (lambda: Calls(lambda _, x: torch.relu(x.reshape(-1, 2, 3))), VECTOR, ["reshape", "activation"]),
    "squeeze": (
        lambda: Calls(lambda _, x: x.unsqueeze(1).relu().squeeze(1)),
        VECTOR,
        ["reshape", "activation", "flatten"],
    ),
    "permute": (
        lambda: Calls(lambda _, x: x.permute(0, 2, 1).softmax(-1)),
        SEQUENCE,
        ["activation"],
    ),
    "select": (lambda: Calls(lambda _, x: x[:, -1]), SEQUENCE, ["select"]),
    "slice": (lambda: Calls(lambda _, x: x[:, 1:5:2]), SEQUENCE, ["slice"]),
    "ellipsis": (lambda: Calls(lambda _, x: x[..., 2:]), SEQUENCE, ["slice"]),
    "chunk": (lambda: Calls(lambda _, x: sum_of(x.chunk(2, dim=-1))), SEQUENCE, ["slice", "slice", "add"]),
    "split": (lambda: Calls(lambda _, x: product_of(x.split([3, 3], 1))), VECTOR, ["slice", "slice", "multiply"]),
    "unbind": (lambda: Calls(lambda _, x: sum_of(x[:, :2].unbind(1))), SEQUENCE, ["slice", "select", "select", "add"]),
    "+": (lambda: Calls(lambda _, x: x.tanh() + x), VECTOR, ["activation", "add"]),
    "+= of a value": (lambda: Calls(in_place), VECTOR, ["activation", "activation", "add", "activation"]),
    "-": (lambda: Calls(lambda _, x: x.tanh() - x), VECTOR, ["activation", "subtract"]),
    "*": (lambda: Calls(lambda _, x: x * x.sigmoid()), VECTOR, ["activation", "multiply"]),
    "maximum": (
        lambda: Calls(lambda _, x: torch.maximum(x.tanh(), x.sigmoid())),
        VECTOR,
        ["activation"] * 2 + ["maximum"],
    ),
    "cat": (lambda: Calls(lambda _, x: torch.cat([x, x.tanh()], dim=1)), IMAGE, ["activation", "concat"]),
    "F.dropout": (lambda: Calls(lambda m, x: F.dropout(x, 0.3, m.training)), VECTOR, ["dropout"]),
    "F.dropout2d": (lambda: Calls(lambda m, x: F.dropout2d(x, 0.3, training=m.training)), IMAGE, ["spatial_dropout"]),
    "positions": (lambda: Calls(lambda m, x: x + m.p[:, : x.size(1)], p=(1, 9, 6)), SEQUENCE, ["position_embedding"]),
}


def sum_of(parts: Any) -> Tensor:
    first, second = parts
    return first + second


def product_of(parts: Any) -> Tensor:
    first, second = parts
    return first * second


def in_place(model: nn.Module, x: Tensor) -> Tensor:
    first, second = F.softsign(x), x.sigmoid()
    first += second
    torch.relu_(first)
    return first


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_what_it_is_said_to_be(name):
    make, shape, kinds = FUNCTIONS[name]
    found = judged(make(), {"": RNG.standard_normal(shape)})
    assert found.kinds == kinds
    assert found.outside == {}


class Recurrent(nn.Module):
    def __init__(self, kind: Any, *, use: str, **settings: Any) -> None:
        super().__init__()
        self.cell = kind(6, 5, **settings)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        steps, last = self.cell(x)
        last = last[0] if isinstance(last, tuple) else last
        if self.use == "steps":
            return steps
        if self.use == "both":
            return steps[:, 0] + last[-1]
        return torch.cat((last[-2], last[-1]), dim=1) if self.use == "two" else last[-1]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("use", ["steps", "last", "both"])
def test_a_recurrent_layer(kind, use):
    torch.manual_seed(0)
    found = judged(Recurrent(kind, use=use, batch_first=True), {"": RNG.standard_normal(SEQUENCE)})
    assert found.kinds[0] in ("simple_rnn", "lstm", "gru")
    assert found.outside == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"num_layers": 2, "dropout": 0.3, "use": "last"},
        {"bidirectional": True, "use": "two"},
        {"bidirectional": True, "num_layers": 2, "use": "steps"},
        {"bias": False, "use": "steps"},
    ],
)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_stack_of_recurrent_layers(kind, settings):
    torch.manual_seed(0)
    found = judged(Recurrent(kind, batch_first=True, **settings), {"": RNG.standard_normal(SEQUENCE)})
    assert found.outside == {}


def test_a_recurrent_layer_with_time_first():
    torch.manual_seed(0)
    model = Recurrent(nn.LSTM, use="steps")
    found = judged(model, {"": RNG.standard_normal(SEQUENCE)})
    assert found.kinds == ["lstm"]
    assert found.reading.places["x"].axes == (1, 0, 2)
    assert found.outside == {}


class Attends(nn.Module):
    def __init__(self, *, cross: bool = False, causal: bool = False, padded: bool = False, **settings: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **settings)
        self.cross, self.causal, self.padded = cross, causal, padded

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        memory = torch.tanh(x) if self.cross else x
        ahead = torch.ones(tokens.size(1), tokens.size(1), dtype=torch.bool).triu(1) if self.causal else None
        padding = (tokens == 0) if self.padded else None
        return self.attention(x, memory, memory, key_padding_mask=padding, attn_mask=ahead)[0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cross": True},
        {"causal": True},
        {"padded": True},
        {"dropout": 0.3, "bias": False},
        {"dropout": 0.2, "padded": True},
    ],
    ids=str,
)
def test_attention(settings):
    torch.manual_seed(0)
    tokens = TOKENS.copy()
    tokens[:, 0] = 3  # a key to read for every query
    found = judged(Attends(**settings), {"": tokens})
    assert "attention" in found.kinds
    assert found.outside == {}


def test_a_dense_layer_tied_to_an_embedding():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(11, 6)
            self.out = nn.Linear(6, 11)
            self.out.weight = self.table.weight

        def forward(self, x):
            return self.out(torch.tanh(self.table(x)))

    found = judged(Tied(), {"": TOKENS})
    assert found.kinds == ["embedding", "activation", "tied_dense"]
    assert found.outside == {}
