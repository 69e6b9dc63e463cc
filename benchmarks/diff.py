"""What ``dualml.diff`` of two models of ten million parameters costs: time, and the most memory of the process.

Two equal pairs, each written by hand in both frameworks and trained with stochastic gradient descent with momentum: a
perceptron, whose cost is its weights, and a convolutional network, whose cost is its activations. The memory is set
against that of a process that makes both models and trains each by itself for as many steps, in float32, and against
that of importing the frameworks.

Run: python -m benchmarks.diff [perceptron] [convolutional]
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.predict import LAUNCHER

MOST_SECONDS = 60
MOST_TIMES = 3
STEPS = 3
RATE, MOMENTUM = 0.01, 0.9
WIDTHS = (1024, 2560, 2048, 1024, 10)
CHANNELS = (3, 64, 128, 256, 512, 1024)


def perceptron() -> tuple[Any, Any, np.ndarray]:
    """The same network as a PyTorch module and as a Keras model, and a batch of 32."""
    import keras
    from torch import nn

    layers: list[nn.Module] = []
    inputs = value = keras.Input((WIDTHS[0],))
    for number, (wide, units) in enumerate(itertools.pairwise(WIDTHS)):
        layers.append(nn.Linear(wide, units))
        value = keras.layers.Dense(units, kernel_initializer="he_uniform", name=f"dense{number}")(value)
        if number < len(WIDTHS) - 2:
            layers.append(nn.ReLU())
            value = keras.layers.ReLU(name=f"relu{number}")(value)
    return nn.Sequential(*layers), keras.Model(inputs, value), batch((32, WIDTHS[0]))


def convolutional() -> tuple[Any, Any, np.ndarray]:
    """The same for images of 32 by 32: convolution, ReLU and pooling, five times."""
    import keras
    from torch import nn

    layers: list[nn.Module] = []
    inputs = value = keras.Input((32, 32, CHANNELS[0]))
    for number, (deep, filters) in enumerate(itertools.pairwise(CHANNELS)):
        layers += [nn.Conv2d(deep, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        value = keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{number}")(value)
        value = keras.layers.MaxPooling2D(2, name=f"pool{number}")(keras.layers.ReLU(name=f"relu{number}")(value))
    layers += [nn.Flatten(), nn.Linear(CHANNELS[-1], 3584), nn.ReLU(), nn.Linear(3584, 10)]
    value = keras.layers.Dense(3584, name="hidden")(keras.layers.Flatten(name="flatten")(value))
    value = keras.layers.Dense(10, name="logits")(keras.layers.ReLU(name="relu")(value))
    return nn.Sequential(*layers), keras.Model(inputs, value), batch((32, CHANNELS[0], 32, 32))


def batch(shape: tuple[int, ...]) -> np.ndarray:
    """Normal values."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


PAIRS: dict[str, Callable[[], tuple[Any, Any, np.ndarray]]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
}


def targets(examples: int) -> np.ndarray:
    """A class for each example."""
    return np.arange(examples) % 10


def imports(_: str) -> None:
    """Both frameworks and nothing else."""
    import keras  # noqa: F401
    import torch  # noqa: F401


def plain(name: str) -> None:
    """Both models, each trained by itself."""
    import keras
    import torch

    module, model, inputs = PAIRS[name]()
    classes = targets(len(inputs))
    optimizer = torch.optim.SGD(module.parameters(), RATE, MOMENTUM)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.from_numpy(inputs)), torch.from_numpy(classes)).backward()
        optimizer.step()
    last = inputs if inputs.ndim == 2 else np.moveaxis(inputs, 1, -1)
    model.compile(keras.optimizers.SGD(RATE, MOMENTUM), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(STEPS):
        model.train_on_batch(last, classes)


def diff(name: str) -> None:
    """The comparison."""
    import keras
    import torch

    import dualml

    module, model, inputs = PAIRS[name]()
    left = dualml.Trainable(module, torch.nn.CrossEntropyLoss(), torch.optim.SGD(module.parameters(), RATE, MOMENTUM))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    right = dualml.Trainable(model, loss, keras.optimizers.SGD(RATE, MOMENTUM))
    report = dualml.diff(left, right, inputs=inputs, targets=targets(len(inputs)), steps=STEPS)
    parameters = sum(item.numel() for item in module.parameters())
    print(f"{name}: {parameters:,} parameters, {report.verdict}", file=sys.stderr)


def measured(work: str, name: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and MiB of one of the above in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.diff", work, name]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    status, wall, processor, memory = map(float, done.stdout.split())
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return wall, processor, memory


def main(names: list[str]) -> int:
    """Measure and print; 1 if a limit is not kept."""
    kept = True
    for name in names or PAIRS:
        (_, _, least), (_, _, both), (wall, processor, most) = (
            measured(work, name) for work in ("imports", "plain", "diff")
        )
        print(
            f"{name}: {wall:.0f} s wall, {processor:.0f} s of processor; {most:.0f} MiB, "
            f"{most / both:.2f} times both models ({both:.0f}), "
            f"{(most - least) / (both - least):.2f} times without the frameworks' own {least:.0f}"
        )
        kept &= wall <= MOST_SECONDS and most <= MOST_TIMES * both
    return 0 if kept else 1


if __name__ == "__main__":
    if sys.argv[1:2] in (["imports"], ["plain"], ["diff"]):
        {"imports": imports, "plain": plain, "diff": diff}[sys.argv[1]](sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
