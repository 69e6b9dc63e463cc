"""What PyTorch reads: an exported program (``.pt2``), and the native module's ``state_dict`` as safetensors.

A ``.pt2`` file holds pickles: reading one may execute what is in it. dualml writes such files and opens none, not even
its own: what is compared with the model is the program in memory that the file is written from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualml.errors import UnsupportedError
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph
from dualml_torch.layout import to_array
from dualml_torch.network import TorchNetwork
from dualml_torch.predictions import PREDICTIONS

Run = Callable[[Arrays], Arrays]
"""Predictions by output's name from inputs by name."""

PROGRAM = "model.pt2"
"""The exported program in the folder."""
STATE = "state_dict.safetensors"
"""The native module's tensors in the folder."""
ROWS_AT_ONCE = 128
"""Examples in one call."""
TRACED_ROWS = 3
"""Examples it is traced with: a number that no shape is likely to have, and neither 0 nor 1, which are special."""


class _Predictor(nn.Module):
    """A native module from inputs with channels last to predictions."""

    def __init__(self, network: TorchNetwork) -> None:
        super().__init__()
        self.model = network.native
        self.graph = network.graph
        self.to_native = network._model.plan.to_native  # the plan of the network that is exported

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """A prediction for each output."""
        placed = [self.to_native(name, item) for name, item in zip(self.graph.input_names, inputs, strict=True)]
        found = self.model(*placed)
        values = found if isinstance(found, tuple) else (found,)
        return tuple(
            PREDICTIONS[self.graph.predictions[name]](value)
            for name, value in zip(self.graph.outputs, values, strict=True)
        )


def write_torch(graph: Graph, weights: Arrays, path: Path) -> Run:
    """A folder with the program and the weights.

    The program takes the graph's inputs in their order, channels last, and gives a prediction for each output.

    Args:
        graph: The model.
        weights: All parameters and buffers, of either backend.
        path: Folder to make.

    Returns:
        What the program predicts.

    Raises:
        UnsupportedError: PyTorch cannot trace a part.
    """
    from safetensors.numpy import save_file

    network = TorchNetwork(graph, torch.device("cpu"), native_randomness=True)
    network.set_weights(weights)
    network.native.eval()
    program = _program(network)
    path.mkdir()
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        torch.export.save(program, path / PROGRAM)
    state = {name: to_array(tensor) for name, tensor in sorted(network.native.state_dict().items())}
    save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path / STATE)
    module = program.module()

    def run(inputs: Arrays) -> dict[str, Array]:
        tensors = [torch.from_numpy(np.array(inputs[name])) for name in graph.input_names]
        starts = range(0, len(tensors[0]), ROWS_AT_ONCE)
        with torch.no_grad():
            pieces = [module(*(item[start : start + ROWS_AT_ONCE] for item in tensors)) for start in starts]
        return {
            label: np.concatenate([to_array(piece[place]) for piece in pieces])
            for place, label in enumerate(graph.output_names)
        }

    return run


def _program(network: TorchNetwork) -> Any:
    """The exported program, for any number of examples, without what it remembers of the source files.

    Raises:
        UnsupportedError: PyTorch cannot trace a part.
    """
    graph = network.graph
    given = tuple(
        torch.zeros(TRACED_ROWS, *item.shape, dtype=torch.int64 if item.integer else network.dtype)
        for item in graph.inputs
    )
    rows = torch.export.Dim("N")
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            program = torch.export.export(
                _Predictor(network).eval(), given, dynamic_shapes={"inputs": tuple({0: rows} for _ in given)}
            )
    except Exception as error:  # the tracer's exceptions share no base class
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnsupportedError(f"PyTorch cannot export this model: {type(error).__name__}: {reason[:300]}") from None
    for node in program.graph.nodes:
        for key in ("stack_trace", "custom"):
            node.meta.pop(key, None)
    return program


FORMATS: Mapping[str, Callable[[Graph, Arrays, Path], Run]] = {"torch": write_torch}
"""By name."""
