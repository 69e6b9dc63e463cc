"""A text classifier with an LSTM in PyTorch; ``lstm_keras.py`` is the same one in Keras.

Run: dualml diff examples/diff/lstm_torch.py:training examples/diff/lstm_keras.py:training
"""

import torch
from torch import nn

import dualml


class Classifier(nn.Module):
    """Embedding, LSTM, its last state, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 16, batch_first=True)
        self.fc = nn.Linear(16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (state, _) = self.lstm(self.embedding(tokens))
        return self.fc(state[-1])


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = Classifier()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()))


def matched() -> dualml.Trainable:
    """With one bias, as in Keras: of PyTorch's two both get the gradient, so that their sum learns twice as fast."""
    model = Classifier()
    nn.init.zeros_(model.lstm.bias_hh_l0)
    model.lstm.bias_hh_l0.requires_grad_(False)
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
