"""The six networks as PyTorch modules, as PyTorch's own tutorials write them.

Each takes ``Parts``, which makes the layers, and options that change the order of operations. The optional
parts ``extra`` and ``late`` are for operations that only some faults need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.faults.parts import Parts

CLASSES = 5
VOCABULARY, EMBEDDED, UNITS, HEADS, LENGTH = 20, 8, 8, 2, 8


class Mlp(nn.Module):
    """Three dense layers; ``twice`` uses the middle one twice."""

    def __init__(self, part: Parts, *, twice: bool = False, copies: bool = False, softmax: bool = False) -> None:
        super().__init__()
        self.hidden1 = part("hidden1", nn.Linear, 12, 10)
        self.act1 = part("act1", nn.ReLU)
        self.extra = part.optional("extra")
        self.hidden2 = part("hidden2", nn.Linear, 10, 10)
        self.act2 = part("act2", nn.Tanh)
        if copies:
            self.hidden2_copy = part("hidden2_copy", nn.Linear, 10, 10)
            self.act2_copy = part("act2_copy", nn.Tanh)
        self.head = part("head", nn.Linear, 10, CLASSES)
        self.twice, self.copies = twice, copies
        self.softmax = part("softmax", nn.Softmax, dim=-1) if softmax else None

    def forward(self, inputs: Tensor) -> Any:
        x = self.act1(self.hidden1(inputs))
        if self.extra is not None:
            x = self.extra(x)
        x = self.act2(self.hidden2(x))
        if self.copies:
            x = self.act2_copy(self.hidden2_copy(x))
        elif self.twice:
            x = self.act2(self.hidden2(x))
        x = self.head(x)
        return x if self.softmax is None else self.softmax(x)


class Lenet(nn.Module):
    """Two convolutions with batch norm and pooling, two dense layers; ``relu_first``: norm behind the ReLU."""

    def __init__(self, part: Parts, *, relu_first: bool = False) -> None:
        super().__init__()
        self.conv1 = part("conv1", nn.Conv2d, 4, 4, 3, padding=1)
        self.norm1 = part("norm1", nn.BatchNorm2d, 4)
        self.relu1 = part("relu1", nn.ReLU)
        self.pool1 = part("pool1", nn.MaxPool2d, 2)
        self.extra = part.optional("extra")
        self.conv2 = part("conv2", nn.Conv2d, 4, 6, 3)
        self.norm2 = part("norm2", nn.BatchNorm2d, 6)
        self.relu2 = part("relu2", nn.ReLU)
        self.pool2 = part("pool2", nn.AvgPool2d, 2)
        self.flatten = part("flatten", nn.Flatten)
        self.fc1 = part("fc1", nn.Linear, 24, 10)
        self.relu3 = part("relu3", nn.ReLU)
        self.late = part.optional("late")
        self.fc2 = part("fc2", nn.Linear, 10, CLASSES)
        self.relu_first = relu_first
        self.flattened = {"fc1": (2, 2, 6)}

    def forward(self, inputs: Tensor) -> Any:
        x = self.conv1(inputs)
        x = self.norm1(self.relu1(x)) if self.relu_first else self.relu1(self.norm1(x))
        x = self.pool1(x)
        if self.extra is not None:
            x = self.extra(x)
        x = self.pool2(self.relu2(self.norm2(self.conv2(x))))
        x = self.relu3(self.fc1(self.flatten(x)))
        if self.late is not None:
            x = self.late(x)
        return self.fc2(x)


class Residual(nn.Module):
    """A stem, one residual block of stride 2 with a projected shortcut, and global average pooling.

    ``add_after_relu`` adds the shortcut behind the block's last activation.
    """

    def __init__(self, part: Parts, *, add_after_relu: bool = False) -> None:
        super().__init__()
        self.stem = part("stem", nn.Conv2d, 4, 4, 3, padding=1, bias=False)
        self.stem_norm = part("stem_norm", nn.BatchNorm2d, 4)
        self.stem_relu = part("stem_relu", nn.ReLU)
        self.extra = part.optional("extra")
        self.conv1 = part("conv1", nn.Conv2d, 4, 6, 3, stride=2, padding=1, bias=False)
        self.norm1 = part("norm1", nn.BatchNorm2d, 6)
        self.relu1 = part("relu1", nn.ReLU)
        self.conv2 = part("conv2", nn.Conv2d, 6, 6, 3, padding=1, bias=False)
        self.norm2 = part("norm2", nn.BatchNorm2d, 6)
        self.shortcut = part("shortcut", nn.Conv2d, 4, 6, 1, stride=2, bias=False)
        self.shortcut_norm = part("shortcut_norm", nn.BatchNorm2d, 6)
        self.relu2 = part("relu2", nn.ReLU)
        self.pool = part("pool", nn.AdaptiveAvgPool2d, 1)
        self.flatten = part("flatten", nn.Flatten)
        self.late = part.optional("late")
        self.fc = part("fc", nn.Linear, 6, CLASSES)
        self.add_after_relu = add_after_relu

    def forward(self, inputs: Tensor) -> Any:
        x = self.stem_relu(self.stem_norm(self.stem(inputs)))
        if self.extra is not None:
            x = self.extra(x)
        kept = self.shortcut_norm(self.shortcut(x))
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.norm2(self.conv2(x))
        x = self.relu2(x) + kept if self.add_after_relu else self.relu2(x + kept)
        x = self.flatten(self.pool(x))
        if self.late is not None:
            x = self.late(x)
        return self.fc(x)


class Recurrent(nn.Module):
    """Embedding, one recurrent layer, its last output, a dense layer."""

    def __init__(self, part: Parts, kind: type[nn.Module]) -> None:
        super().__init__()
        self.embedding = part("embedding", nn.Embedding, VOCABULARY, EMBEDDED)
        self.extra = part.optional("extra")
        self.rnn = part("rnn", kind, EMBEDDED, UNITS, batch_first=True)
        self.act = part.optional("act")
        self.head = part("head", nn.Linear, UNITS, CLASSES)

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        if self.extra is not None:
            x = self.extra(x)
        x, _ = self.rnn(x)
        x = x[:, -1]
        if self.act is not None:
            x = self.act(x)
        return self.head(x)


class Transformer(nn.Module):
    """Token and position embeddings, one encoder block, mean over positions, a dense layer.

    ``pre_norm`` normalises before attention and feed-forward. ``windowed``: positions see their neighbours only;
    ``inverted``: all but those.
    """

    def __init__(self, part: Parts, *, pre_norm: bool = False, windowed: bool = False, inverted: bool = False) -> None:
        super().__init__()
        self.tokens = part("tokens", nn.Embedding, VOCABULARY, EMBEDDED)
        self.positions = part("positions", nn.Embedding, LENGTH, EMBEDDED)
        self.extra = part.optional("extra")
        self.attention = part("attention", nn.MultiheadAttention, EMBEDDED, HEADS, batch_first=True)
        self.norm1 = part("norm1", nn.LayerNorm, EMBEDDED)
        self.wide = part("wide", nn.Linear, EMBEDDED, 16)
        self.act = part("act", nn.ReLU)
        self.narrow = part("narrow", nn.Linear, 16, EMBEDDED)
        self.norm2 = part("norm2", nn.LayerNorm, EMBEDDED)
        self.head = part("head", nn.Linear, EMBEDDED, CLASSES)
        self.pre_norm, self.windowed, self.inverted = pre_norm, windowed, inverted

    def attend(self, x: Tensor) -> Any:
        blocked = None
        if self.windowed:
            distance = (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs()
            blocked = distance <= 1 if self.inverted else distance > 1
        return self.attention(x, x, x, attn_mask=blocked, need_weights=False)[0]

    def forward(self, tokens: Tensor) -> Any:
        x = self.tokens(tokens) + self.positions(torch.arange(LENGTH))
        if self.extra is not None:
            x = self.extra(x)
        if self.pre_norm:
            x = x + self.attend(self.norm1(x))
            x = x + self.narrow(self.act(self.wide(self.norm2(x))))
        else:
            x = self.norm1(x + self.attend(x))
            x = self.norm2(x + self.narrow(self.act(self.wide(x))))
        return self.head(x.mean(dim=1))


class SplitAttention(nn.Module):
    """Self-attention written out with ``scaled_dot_product_attention``; ``scale`` as the user claims to need it."""

    def __init__(self, scale: float | None = None, swap: bool = False) -> None:
        super().__init__()
        self.query = nn.Linear(EMBEDDED, EMBEDDED)
        self.key = nn.Linear(EMBEDDED, EMBEDDED)
        self.value = nn.Linear(EMBEDDED, EMBEDDED)
        self.output = nn.Linear(EMBEDDED, EMBEDDED)
        self.scale, self.swap = scale, swap

    def split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], HEADS, EMBEDDED // HEADS).transpose(1, 2)

    def forward(
        self, x: Tensor, *_: Tensor, attn_mask: Tensor | None = None, need_weights: bool = False
    ) -> tuple[Tensor]:
        allowed = None if attn_mask is None else ~attn_mask
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=self.scale)
        joined = mixed.reshape(x.shape) if self.swap else mixed.transpose(1, 2).reshape(x.shape)
        return (self.output(joined),)


def lstm(part: Parts) -> nn.Module:
    """``Recurrent`` with an LSTM whose second bias is zero and not trained, as Keras has only one."""
    model = Recurrent(part, nn.LSTM)
    if isinstance(model.rnn, nn.LSTM):
        second: Any = model.rnn.bias_hh_l0
        nn.init.zeros_(second)
        second.requires_grad_(False)
    return model


def gru(part: Parts) -> nn.Module:
    """``Recurrent`` with a GRU; Keras' has two biases as well."""
    return Recurrent(part, nn.GRU)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": Mlp,
    "lenet": Lenet,
    "residual": Residual,
    "lstm": lstm,
    "gru": gru,
    "transformer": Transformer,
}
