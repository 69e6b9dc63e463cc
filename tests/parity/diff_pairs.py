"""Pairs of native models for the tests of ``dualml diff``."""

import keras
import numpy as np
import torch
from keras import layers
from torch import nn

import dualml

RANDOM = np.random.default_rng(7)
BATCH = RANDOM.normal(size=(8, 6))
CLASSES = RANDOM.integers(0, 3, 8)
IMAGES = RANDOM.normal(size=(8, 2, 6, 6))
FLATTENED = 36
"""Features of the image that the convolution networks flatten."""


def torch_mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def keras_mlp():
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(3)])


def ported(source, target, *, rows=True):
    """Give a Keras model a PyTorch model's weights, as a user would: dense and convolution kernels turned.

    ``rows``: those of a dense kernel behind an image are put into the order in which Keras flattens it.
    """
    arrays = []
    for module in source.modules():
        if isinstance(module, nn.Linear):
            kernel = module.weight.detach().numpy().T
            if len(kernel) == FLATTENED and rows:
                kernel = kernel.reshape(4, 3, 3, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
            arrays += [kernel, module.bias.detach().numpy()]
        elif isinstance(module, nn.Conv2d):
            arrays += [module.weight.detach().numpy().transpose(2, 3, 1, 0), module.bias.detach().numpy()]
        elif isinstance(module, nn.BatchNorm2d):
            held = (module.weight, module.bias, module.running_mean, module.running_var)
            arrays += [item.detach().numpy() for item in held]
    target.set_weights(arrays)
    return target


def torch_conv(**norm):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4, **norm),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 9, 3),
    )


def keras_conv(**norm):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(**norm),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def torch_side(model, loss=None, lr=0.1, **settings):
    return dualml.Trainable(
        model, loss or nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=lr, **settings)
    )


def keras_side(model, loss=None, optimizer=None):
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return dualml.Trainable(model, loss, optimizer or keras.optimizers.SGD(0.1))


def causes(report):
    return [finding.cause.id for finding in report.native.findings]
