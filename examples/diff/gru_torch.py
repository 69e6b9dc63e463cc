"""A classifier of measured series with a GRU in PyTorch; ``gru_keras.py`` is the same one in Keras.

Run: dualml diff examples/diff/gru_torch.py:training examples/diff/gru_keras.py:training
"""

import torch
from torch import nn

import dualml


class Classifier(nn.Module):
    """GRU, its last output, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 12, batch_first=True)
        self.fc = nn.Linear(12, 3)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.gru(series)
        return self.fc(outputs[:, -1])


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = Classifier()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.Adagrad(model.parameters()))


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    model = Classifier()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
