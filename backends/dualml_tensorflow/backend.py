"""The backend: what it can do, and how a network is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from dualml.errors import BackendUnavailableError, UnsupportedError
from dualml.protocol import Arrays, Capabilities
from dualml.spec.graph import Graph
from dualml.spec.mixed import MIXED
from dualml_tensorflow.activations import ACTIVATIONS
from dualml_tensorflow.layers import LAYERS
from dualml_tensorflow.losses import LOSSES
from dualml_tensorflow.native import TensorflowModel
from dualml_tensorflow.network import TensorflowNetwork
from dualml_tensorflow.optimizers import OPTIMIZERS


class TensorflowBackend:
    """Implements ``dualml.protocol.Backend`` with TensorFlow and Keras."""

    name = "tensorflow"

    @property
    def capabilities(self) -> Capabilities:
        """What the tables of this package hold, and the devices that are here."""
        gpus = tf.config.list_physical_devices("GPU")
        return Capabilities(
            operations=frozenset(LAYERS),
            activations=frozenset(ACTIVATIONS),
            losses=frozenset(LOSSES),
            optimizers=frozenset(OPTIMIZERS),
            precisions=frozenset({"float32", "float64", MIXED}),
            devices=frozenset({"cpu", "gpu"} if gpus else {"cpu"}),
            compiled=True,
            native_randomness=True,
        )

    def versions(self) -> dict[str, str]:
        """Versions of TensorFlow and Keras."""
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def build(
        self, graph: Graph, weights: Arrays, *, device: str = "cpu", native_randomness: bool = False
    ) -> TensorflowNetwork:
        """Build a native model; see ``dualml.protocol.Backend.build``.

        On a GPU it also turns off TensorFloat-32, for the whole process (TensorFlow has no narrower switch):
        float32 in a spec means float32, and TensorFlow's default would round every product's factors to 10 bits.

        Raises:
            UnsupportedError: The graph needs what ``capabilities`` does not list.
            BackendUnavailableError: There is no such device.
            WeightsError: The weights are not the graph's.
        """
        _check(graph)
        if device not in self.capabilities.devices:
            raise BackendUnavailableError(
                f"backend 'tensorflow': device must be one of {sorted(self.capabilities.devices)} here, "
                f"got {device!r}; use device: cpu, or install a TensorFlow that sees the GPU"
            )
        if device == "gpu":
            tf.config.experimental.enable_tensor_float_32_execution(False)
        return TensorflowNetwork(graph, weights, device=device, native_randomness=native_randomness)

    def owns(self, model: object) -> bool:
        """Whether a model of the user's is TensorFlow's: a Keras model or layer, or a ``tf.Module``."""
        return isinstance(model, (keras.Layer, tf.Module))

    def open_saved(self, path: Path) -> Any:
        """A model of a ``.keras`` file, in safe mode: nothing in it is executed but layers that Keras itself has."""
        return keras.saving.load_model(path, safe_mode=True, compile=True)

    def adopt(self, model: Any, loss: Any = None, optimizer: Any = None) -> TensorflowModel:
        """The user's model behind ``dualml.native.protocol.NativeModel``.

        Args:
            model: A Keras model or layer, a ``tf.Module``, or a function without arguments that returns one.
            loss: A Keras loss, its name, or a function ``(y_true, y_pred)``; ``None``: that of a compiled model.
            optimizer: A Keras optimizer or its name; ``None``: that of a compiled model.

        Raises:
            ParityError: It is none of these.
        """
        return TensorflowModel(model, loss, optimizer)


def _check(graph: Graph) -> None:
    missing = []
    for node in graph.nodes:
        if node.operation not in LAYERS:
            missing.append(f"the layer {node.operation!r} ({node.path})")
        elif node.operation == "activation" and node.settings.function.kind not in ACTIVATIONS:
            missing.append(f"the activation {node.settings.function.kind!r} ({node.path})")
    if missing:
        raise UnsupportedError(f"backend 'tensorflow' does not support {', '.join(missing)}; use another backend")


backend = TensorflowBackend()
"""The object that the entry point names."""
