"""Weights for both frameworks, written into the models by hand as somebody who ports a model does it.

Independent of dualml's own conversions on purpose. Neutral arrays have Keras' layouts; each is drawn from a generator
of its own, keyed by the seed, the part and the role, so that both frameworks get the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Array = npt.NDArray[Any]
Mistake = Callable[[Array], Array]
"""What a wrong port does to one array, as the target framework holds it."""
Mistakes = Mapping[str, Mistake]
"""By ``<part>.<role>``."""

POSITIVE = ("gamma", "moving_variance")


def draw(seed: int, name: str, shape: tuple[int, ...]) -> Array:
    """One neutral array: float64 holding float32 values.

    Args:
        seed: Of the case.
        name: ``<part>.<role>``; decides the scale as well.
        shape: Its shape.
    """
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.normal(size=shape)
    role = name.rsplit(".", 1)[1]
    if role in POSITIVE:
        values = 1.0 + 0.2 * np.abs(values)
    elif role in ("beta", "moving_mean") or "bias" in role:
        values = 0.1 * values
    elif role == "embeddings":
        values = 0.7 * values
    else:
        values = values / np.sqrt(max(1, int(np.prod(shape[:-1]))))
    return values.astype(np.float32).astype(np.float64)


class Writer:
    """Puts weights into one model.

    Args:
        seed: Of the case.
        mistakes: What a wrong port does.
    """

    def __init__(self, seed: int, mistakes: Mistakes) -> None:
        self.seed, self.mistakes = seed, mistakes
        self.done: set[str] = set()

    def neutral(self, part: str, role: str, *shape: int) -> Array:
        """A drawn array; the copy of a layer used twice gets the original's numbers."""
        return draw(self.seed, f"{part.removesuffix('_copy')}.{role}", shape)

    def ported(self, part: str, role: str, array: Array) -> Array:
        """The array as the port writes it."""
        self.done.add(f"{part}.{role}")
        mistake = self.mistakes.get(f"{part}.{role}")
        return array if mistake is None else np.ascontiguousarray(mistake(array))

    def check(self) -> None:
        """Every mistake must have met its array.

        Raises:
            KeyError: One did not.
        """
        if left_over := set(self.mistakes) - self.done:
            raise KeyError(f"no weights of these names: {sorted(left_over)}; there are {sorted(self.done)}")


def fill_torch(model: nn.Module, seed: int, mistakes: Mistakes) -> None:
    """Write the weights of a case into a PyTorch model."""
    writer = Writer(seed, mistakes)
    flattened: Mapping[str, tuple[int, int, int]] = getattr(model, "flattened", {})
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.endswith(".out_proj"):
                continue  # written with the attention it is part of
            for role, parameter, array in _torch_arrays(name, module, writer, flattened.get(name)):
                values = writer.ported(name, role, array)
                if values.shape != tuple(parameter.shape):
                    raise ValueError(
                        f"{name}.{role}: written as {values.shape}, the model has {tuple(parameter.shape)}"
                    )
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
    writer.check()


def _torch_arrays(
    name: str, module: nn.Module, writer: Writer, flattened: tuple[int, int, int] | None
) -> Iterator[tuple[str, Any, Array]]:
    """Role, native tensor and the array to write, in PyTorch's layout."""
    draw_role = writer.neutral
    if isinstance(module, nn.Linear):
        kernel = draw_role(name, "kernel", module.in_features, module.out_features)
        if name.startswith("attention."):
            name_of = name.removeprefix("attention.")
            kernel = draw_role("attention", f"{name_of}/kernel", module.in_features, module.out_features)
            yield "kernel", module.weight, kernel.T
            yield "bias", module.bias, draw_role("attention", f"{name_of}/bias", module.out_features)
            return
        if flattened is not None:  # PyTorch flattens channels first
            height, width, channels = flattened
            kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        yield "kernel", module.weight, kernel.T
        if module.bias is not None:
            yield "bias", module.bias, draw_role(name, "bias", module.out_features)
    elif isinstance(module, nn.ConvTranspose2d):
        size = (*module.kernel_size, module.out_channels, module.in_channels)
        yield "kernel", module.weight, draw_role(name, "kernel", *size).transpose(3, 2, 0, 1)
        if module.bias is not None:
            yield "bias", module.bias, draw_role(name, "bias", module.out_channels)
    elif isinstance(module, nn.Conv2d):
        if module.groups == module.in_channels > 1:
            multiplier = module.out_channels // module.in_channels
            kernel = draw_role(name, "kernel", *module.kernel_size, module.in_channels, multiplier)
            yield "kernel", module.weight, kernel.transpose(2, 3, 0, 1).reshape(tuple(module.weight.shape))
        else:
            kernel = draw_role(name, "kernel", *module.kernel_size, module.in_channels, module.out_channels)
            yield "kernel", module.weight, kernel.transpose(3, 2, 0, 1)
        if module.bias is not None:
            yield "bias", module.bias, draw_role(name, "bias", module.out_channels)
    elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
        size = tuple(module.weight.shape)
        yield "gamma", module.weight, draw_role(name, "gamma", *size)
        yield "beta", module.bias, draw_role(name, "beta", *size)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            yield "moving_mean", module.running_mean, draw_role(name, "moving_mean", *size)
            yield "moving_variance", module.running_var, draw_role(name, "moving_variance", *size)
    elif isinstance(module, nn.Embedding):
        yield "embeddings", module.weight, draw_role(name, "embeddings", module.num_embeddings, module.embedding_dim)
    elif isinstance(module, nn.LSTM):
        units = module.hidden_size
        yield "kernel", module.weight_ih_l0, draw_role(name, "kernel", module.input_size, 4 * units).T
        yield "recurrent_kernel", module.weight_hh_l0, draw_role(name, "recurrent_kernel", units, 4 * units).T
        yield "bias", module.bias_ih_l0, draw_role(name, "bias", 4 * units)
        yield "second_bias", module.bias_hh_l0, np.zeros(4 * units)
    elif isinstance(module, nn.GRU):
        units = module.hidden_size
        for role, tensor, size in (
            ("kernel", module.weight_ih_l0, (module.input_size, 3 * units)),
            ("recurrent_kernel", module.weight_hh_l0, (units, 3 * units)),
            ("bias", module.bias_ih_l0, (3 * units,)),
            ("recurrent_bias", module.bias_hh_l0, (3 * units,)),
        ):
            yield role, tensor, gates_swapped(draw_role(name, role, *size)).T
    elif isinstance(module, nn.MultiheadAttention):
        width = module.embed_dim
        stacked, biases = [], []
        for role in ("query", "key", "value"):
            stacked.append(draw_role(name, f"{role}/kernel", width, width).T)
            biases.append(draw_role(name, f"{role}/bias", width))
        yield "in_proj", module.in_proj_weight, np.concatenate(stacked)
        yield "in_proj_bias", module.in_proj_bias, np.concatenate(biases)
        yield "output", module.out_proj.weight, draw_role(name, "output/kernel", width, width).T
        yield "output_bias", module.out_proj.bias, draw_role(name, "output/bias", width)


def gates_swapped(array: Array) -> Array:
    """The first two of three blocks of the last axis exchanged: Keras' z, r, h and PyTorch's r, z, n."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def fill_keras(model: Any, seed: int, mistakes: Mistakes) -> None:
    """Write the weights of a case into a Keras model."""
    writer = Writer(seed, mistakes)
    for layer in model.layers:
        part = layer
        if layer.name == "add_positions":
            part = layer.table
        for variable in part.weights:
            role, array = _keras_array(part, variable, writer)
            values = writer.ported(part.name, role, array)
            if values.shape != tuple(variable.shape):
                raise ValueError(
                    f"{part.name}.{role}: written as {values.shape}, the model has {tuple(variable.shape)}"
                )
            variable.assign(values)
    writer.check()


def _keras_array(layer: Any, variable: Any, writer: Writer) -> tuple[str, Array]:
    """Role and the array to write, in Keras' layout."""
    role, shape = variable.path.rsplit("/", 1)[1], tuple(variable.shape)
    kind = next(name for name in (cls.__name__ for cls in type(layer).__mro__) if name in KERAS_KINDS)
    if kind == "GRU" and role == "bias":
        units = shape[-1]
        both = (writer.neutral(layer.name, "bias", units), writer.neutral(layer.name, "recurrent_bias", units))
        return role, np.stack(both) if len(shape) == 2 else both[0] + both[1]
    if kind == "MultiHeadAttention":
        which = variable.path.split("/")[-2].replace("attention_output", "output")
        if role == "kernel":
            width = shape[-1] if which == "output" else shape[0]
            return f"{which}/kernel", writer.neutral(layer.name, f"{which}/kernel", width, width).reshape(shape)
        size = int(np.prod(shape))
        return f"{which}/bias", writer.neutral(layer.name, f"{which}/bias", size).reshape(shape)
    return role, writer.neutral(layer.name, role, *shape)


KERAS_KINDS = (
    "Dense",
    "Conv2D",
    "Conv2DTranspose",
    "DepthwiseConv2D",
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "Embedding",
    "LSTM",
    "GRU",
    "MultiHeadAttention",
    "Layer",
)
