"""A small residual network in PyTorch; ``residual_keras.py`` is the same one in Keras.

Run: dualml diff examples/diff/residual_torch.py:training examples/diff/residual_keras.py:training
"""

import torch
from torch import nn
from torch.nn import functional

import dualml


class Block(nn.Module):
    """Two convolutions and a shortcut, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return functional.relu(x + kept)


class Residual(nn.Module):
    """A stem, two blocks, the mean over the image, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.block1 = Block(8, 8, stride=1)
        self.block2 = Block(8, 16, stride=2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn(self.conv(x)))
        x = self.block2(self.block1(x))
        x = functional.adaptive_avg_pool2d(x, 1)
        return self.fc(torch.flatten(x, 1))


def training() -> dualml.Trainable:
    """With PyTorch's defaults."""
    model = Residual()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters()))


def matched() -> dualml.Trainable:
    """With everything said that the two frameworks would choose differently."""
    model = Residual()
    return dualml.Trainable(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
