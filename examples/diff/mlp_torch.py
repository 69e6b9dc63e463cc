"""A multilayer perceptron in PyTorch; ``mlp_keras.py`` is the same one in Keras.

Run: dualml diff examples/diff/mlp_torch.py:training examples/diff/mlp_keras.py:training
"""

import torch
from torch import nn

import dualml


class Mlp(nn.Module):
    """Two hidden layers."""

    def __init__(self, slope: float | None = None) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(20, 32)
        self.act1 = nn.LeakyReLU() if slope is None else nn.LeakyReLU(slope)
        self.hidden2 = nn.Linear(32, 16)
        self.act2 = nn.Tanh()
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act1(self.hidden1(x))
        x = self.act2(self.hidden2(x))
        return self.head(x)


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = Mlp()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.RMSprop(model.parameters()))


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    model = Mlp(slope=0.125)
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
