"""Plain eager training of one side, without dualml: what its user's own loop would do, and how long it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch

from benchmarks.faults.data import Array
from benchmarks.faults.side import Native, floats

STEPS = 3


@dataclass(frozen=True)
class Recorded:
    """What plain training gave.

    Attributes:
        inference: Outputs in inference mode, before the first update and after each.
        training: Outputs in training mode, for each update.
        losses: Loss of each update.
        seconds: Wall time of the updates.
    """

    inference: tuple[Array, ...]
    training: tuple[Array, ...]
    losses: tuple[float, ...]
    seconds: float

    def gap(self, other: Recorded, *, inference: bool = True) -> float:
        """Largest difference of anything recorded; infinite where shapes differ or one side is not finite alone.

        Args:
            other: The other side's.
            inference: Whether outputs in inference mode count (batch norm's running variance differs by design).
        """
        pairs = [*zip(self.training, other.training, strict=True), (np.array(self.losses), np.array(other.losses))]
        if inference:
            pairs += list(zip(self.inference, other.inference, strict=True))
        return max(_gap(one, two) for one, two in pairs)


def _gap(one: Array, two: Array) -> float:
    if one.shape != two.shape:
        return float("inf")
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(one - two))
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))


def train(native: Native, steps: int = STEPS) -> Recorded:
    """Train on the same batch a few times."""
    return _train_torch(native, steps) if native.framework == "torch" else _train_keras(native, steps)


def _train_torch(native: Native, steps: int) -> Recorded:
    model, inputs, targets = native.model, torch.from_numpy(native.inputs), torch.from_numpy(native.targets)
    optimizer = native.optimizer(list(model.parameters()))

    def infer() -> Array:
        model.eval()
        with torch.no_grad():
            outputs: Array = model(inputs).numpy().copy()
            return outputs

    inference, training, losses, seconds = [infer()], [], [], 0.0
    for _ in range(steps):
        model.train()
        begun = time.perf_counter()
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = native.loss(outputs, targets)
        loss.backward()
        optimizer.step()
        seconds += time.perf_counter() - begun
        training.append(outputs.detach().numpy().copy())
        losses.append(float(loss.detach()))
        inference.append(infer())
    return Recorded(tuple(inference), tuple(training), tuple(losses), seconds)


def _train_keras(native: Native, steps: int) -> Recorded:
    model, precision = native.model, native.model.dtype_policy.compute_dtype
    with floats(precision):
        inputs, targets = tf.constant(native.inputs), tf.constant(native.targets)
        if native.inputs.dtype.kind == "f":
            inputs = tf.cast(inputs, precision)
        inference, training, losses, seconds = [keras.ops.convert_to_numpy(model(inputs, training=False))], [], [], 0.0
        for _ in range(steps):
            begun = time.perf_counter()
            with tf.GradientTape() as tape:
                outputs = model(inputs, training=True)
                loss = _keras_loss(native.loss, targets, outputs, model)
            variables = model.trainable_variables
            native.optimizer.apply(tape.gradient(loss, variables), variables)
            seconds += time.perf_counter() - begun
            training.append(keras.ops.convert_to_numpy(outputs))
            losses.append(float(loss))
            inference.append(keras.ops.convert_to_numpy(model(inputs, training=False)))
    return Recorded(tuple(inference), tuple(training), tuple(losses), seconds)


def _keras_loss(loss: Any, targets: Any, outputs: Any, model: Any) -> Any:
    value = loss(targets, outputs)
    return value + keras.ops.sum(keras.ops.stack(model.losses)) if model.losses else value
