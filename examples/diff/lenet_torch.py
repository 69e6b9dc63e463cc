"""LeNet with batch norm in PyTorch; ``lenet_keras.py`` is the same network in Keras.

Run: dualml diff examples/diff/lenet_torch.py:training examples/diff/lenet_keras.py:training
"""

import torch
from torch import nn
from torch.nn import functional

import dualml


class LeNet(nn.Module):
    """Two convolutions, three dense layers, for images of 28 x 28."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 2)
        x = functional.max_pool2d(functional.relu(self.bn2(self.conv2(x))), 2)
        x = torch.flatten(x, 1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = LeNet()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()))


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    model = LeNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return dualml.Trainable(model, nn.CrossEntropyLoss(), optimizer)
