"""What PyTorch can do, and the door by which the core enters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from dualml.errors import BackendUnavailableError, UnsupportedError
from dualml.protocol import Arrays, Backend, Capabilities
from dualml.spec.graph import Graph
from dualml.spec.mixed import MIXED
from dualml_torch.activations import ACTIVATIONS
from dualml_torch.layers import JOINS, LAYERS
from dualml_torch.layout import DTYPES
from dualml_torch.losses import LOSSES
from dualml_torch.native.model import TorchNativeModel
from dualml_torch.network import TorchNetwork
from dualml_torch.optimizers import OPTIMIZERS

DEVICES = {"cpu": "cpu", "gpu": "cuda:0"}
"""The spec's names of devices and PyTorch's."""


class TorchBackend:
    """PyTorch, eager."""

    @property
    def name(self) -> str:
        """What ``backend:`` in a config says."""
        return "torch"

    @property
    def capabilities(self) -> Capabilities:
        """What the adapter's tables hold; a GPU only where CUDA finds one."""
        return Capabilities(
            operations=frozenset({*LAYERS, *JOINS}),
            activations=frozenset(ACTIVATIONS),
            losses=frozenset(LOSSES),
            optimizers=frozenset(OPTIMIZERS),
            precisions=frozenset({*DTYPES, MIXED}),
            devices=frozenset({"cpu", "gpu"} if torch.cuda.is_available() else {"cpu"}),
            compiled=True,
            native_randomness=True,
        )

    def versions(self) -> dict[str, str]:
        """Version of ``torch``."""
        return {"torch": torch.__version__}

    def build(
        self, graph: Graph, weights: Arrays, *, device: str = "cpu", native_randomness: bool = False
    ) -> TorchNetwork:
        """Build a ``torch.nn`` model; PyTorch's random numbers stay as they are.

        Args:
            graph: What to build.
            weights: First values of all parameters, neutral names and layout.
            device: ``cpu`` or ``gpu``.
            native_randomness: Use ``torch.nn.Dropout`` with its own masks.

        Raises:
            UnsupportedError: The graph needs what ``capabilities`` does not list.
            BackendUnavailableError: ``gpu`` is asked for and CUDA finds none.
            WeightsError: The weights are not this graph's.
        """
        missing = list(_missing(graph, device))
        if missing:
            raise UnsupportedError(
                f"backend 'torch' does not support {', '.join(missing)}; use another backend or change the model"
            )
        if device == "gpu" and not torch.cuda.is_available():
            raise BackendUnavailableError(
                "device 'gpu' needs a GPU that PyTorch can use, but torch.cuda.is_available() is False; "
                "use device: cpu, or install a CUDA build of PyTorch and a driver"
            )
        network = TorchNetwork(graph, torch.device(DEVICES[device]), native_randomness=native_randomness)
        network.set_weights(weights)
        return network

    def owns(self, model: object) -> bool:
        """Whether a model that the user already has is PyTorch's."""
        return isinstance(model, torch.nn.Module)

    def open_state(self, path: Path) -> Any:
        """Tensors by name from a ``.safetensors`` or ``.pt`` file; anything else in it is refused, not executed."""
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)

    def adopt(self, model: Any, loss: Any = None, optimizer: Any = None) -> TorchNativeModel:
        """A user's own model, to be run as it is; the arguments are those of ``TorchNativeModel``.

        Raises:
            ParityError: They are not what they must be.
        """
        return TorchNativeModel(model, loss, optimizer)


def _missing(graph: Graph, device: str) -> Iterable[str]:
    for node in graph.nodes:
        if node.operation not in LAYERS and node.operation not in JOINS:
            yield f"the layer {node.operation!r} ({node.path})"
        elif node.operation == "activation" and node.settings.function.kind not in ACTIVATIONS:
            yield f"the activation {node.settings.function.kind!r} ({node.path})"
    if graph.precision not in DTYPES:
        yield f"precision {graph.precision}"
    if device not in DEVICES:
        yield f"device {device!r}"


backend: Backend = TorchBackend()
"""The object the entry point names."""
