"""The same networks written otherwise in PyTorch: refactored code that must be found equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.faults.parts import Parts
from benchmarks.faults.torch_networks import Lenet, Mlp, Recurrent, Residual, Transformer


class FunctionalMlp(Mlp):
    """Functions in place of layers."""

    def forward(self, inputs: Tensor) -> Any:
        x = functional.relu(functional.linear(inputs, self.hidden1.weight, self.hidden1.bias))
        x = torch.tanh(functional.linear(x, self.hidden2.weight, self.hidden2.bias))
        return functional.linear(x, self.head.weight, self.head.bias)


class MatrixMlp(Mlp):
    """Products of matrices and additions in place of layers."""

    def forward(self, inputs: Tensor) -> Any:
        x = torch.relu(inputs @ self.hidden1.weight.T + self.hidden1.bias)
        x = (x @ self.hidden2.weight.T + self.hidden2.bias).tanh()
        return x @ self.head.weight.T + self.head.bias


class FunctionalLenet(Lenet):
    """Layers for what holds weights, functions for the rest."""

    def forward(self, inputs: Tensor) -> Any:
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(inputs))), 2)
        x = functional.avg_pool2d(functional.relu(self.norm2(self.conv2(x))), 2)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


class InPlaceResidual(Residual):
    """Additions and ReLUs in place, the mean over the image as a reduction."""

    def forward(self, inputs: Tensor) -> Any:
        x = functional.relu(self.stem_norm(self.stem(inputs)), inplace=True)
        kept = self.shortcut_norm(self.shortcut(x))
        x = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        x = self.norm2(self.conv2(x))
        x += kept
        return self.fc(functional.relu(x).mean(dim=(2, 3)))


class StateRecurrent(Recurrent):
    """The last state in place of the last output."""

    def forward(self, tokens: Tensor) -> Any:
        _, state = self.rnn(self.embedding(tokens))
        last = state[0] if isinstance(state, tuple) else state
        return self.head(last[-1])


class OwnParameters(Transformer):
    """Feed-forward written with functions, the mean as a sum divided by the length."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.tokens(tokens) + self.positions.weight
        x = self.norm1(x + self.attend(x))
        wide = functional.relu(functional.linear(x, self.wide.weight, self.wide.bias))
        x = self.norm2(x + self.narrow(wide))
        return self.head(x.sum(dim=1) / x.shape[1])


class SplitSum(nn.Linear):
    """Sums its inputs in two halves, the second one first."""

    def forward(self, x: Tensor) -> Tensor:
        half = self.in_features // 2
        second = x[..., half:] @ self.weight[:, half:].T
        return second + x[..., :half] @ self.weight[:, :half].T + self.bias


class ReversedSum(nn.Linear):
    """Sums its inputs in reverse order."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.flip(-1), self.weight.flip(-1), self.bias)


def state_lstm(part: Parts) -> nn.Module:
    """The LSTM network, read from its state; its second bias as in the network itself."""
    model = StateRecurrent(part, nn.LSTM)
    nn.init.zeros_(model.rnn.bias_hh_l0)
    model.rnn.bias_hh_l0.requires_grad_(False)
    return model


def state_gru(part: Parts) -> nn.Module:
    """The GRU network, read from its state."""
    return StateRecurrent(part, nn.GRU)


REFACTORED: dict[str, dict[str, Any]] = {
    "mlp": {"functional": FunctionalMlp, "matrices": MatrixMlp},
    "lenet": {"functional": FunctionalLenet},
    "residual": {"in_place": InPlaceResidual},
    "lstm": {"state": state_lstm},
    "gru": {"state": state_gru},
    "transformer": {"functional": OwnParameters},
}
