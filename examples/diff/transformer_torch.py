"""A transformer encoder for patches of an image in PyTorch; ``transformer_keras.py`` is the same one in Keras.

Run: dualml diff examples/diff/transformer_torch.py:training examples/diff/transformer_keras.py:training
"""

import torch
from torch import nn

import dualml

PATCHES, PATCH, WIDTH, HEADS = 9, 12, 16, 4


class Block(nn.Module):
    """Attention and feed-forward, each with its norm before it and a shortcut around it."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), activation, nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(x)
        attended, _ = self.attention(normed, normed, normed, need_weights=False)
        x = x + attended
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Patch and position embeddings, one block, the mean over the patches, a dense layer."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Linear(PATCH, WIDTH)
        self.positions = nn.Embedding(PATCHES, WIDTH)
        self.block = Block(activation)
        self.norm = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, 10)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        x = self.embedding(patches) + self.positions(torch.arange(PATCHES))
        x = self.norm(self.block(x))
        return self.fc(x.mean(dim=1))


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = Encoder(nn.GELU())
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    model = Encoder(nn.ReLU())
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
