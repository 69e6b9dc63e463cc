"""Mixed precision: products in bfloat16, everything that is remembered in float32.

``precision: mixed_bfloat16`` means, in every backend:

- weights, running statistics, the optimizer's memory, losses, predictions and what an adapter returns are float32;
- the model's inputs are rounded to bfloat16, and each layer computes with its inputs and its weights rounded to
  bfloat16: products are summed in float32 and the layer's output is rounded to bfloat16;
- batch normalisation takes and gives bfloat16 and computes in float32 between, with float32 weights and statistics;
- the model's outputs become float32 before predictions and losses see them;
- a weight's gradient is computed like a layer's output, then kept in float32.

Both frameworks do that with stock objects: ``keras.mixed_precision`` calls it the policy ``mixed_bfloat16``, PyTorch
``torch.autocast(dtype=torch.bfloat16)``. They part ways elsewhere: autocast computes softmax, logarithms and, on a GPU,
layer and group normalisation in float32 and gives float32, leaves an embedding's rows in float32, and so changes what
all later layers get; Keras rounds to bfloat16 behind each of these. A layer where the two differ is refused.
"""

from __future__ import annotations

from dualml.errors import SpecError
from dualml.spec.graph import Graph, Node

MIXED = "mixed_bfloat16"
"""What a spec's ``precision`` says."""

_PRODUCTS = (
    "dense",
    "conv1d",
    "conv2d",
    "conv3d",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
)
_MOVES = ("flatten", "reshape", "permute", "concat", "dropout", "spatial_dropout", "max_pool1d", "max_pool2d")
_SUMS = ("add", "subtract", "multiply", "average_pool1d", "average_pool2d", "global_average_pool", "global_max_pool")

MIXED_OPERATIONS = frozenset({*_PRODUCTS, *_MOVES, *_SUMS, "activation", "batch_norm"})
"""Layers that are the same in both frameworks."""
MIXED_ACTIVATIONS = frozenset(
    {
        "relu",
        "relu6",
        "leaky_relu",
        "gelu",
        "silu",
        "sigmoid",
        "hard_sigmoid",
        "hard_swish",
        "tanh",
        "hard_tanh",
        "linear",
    }
)
"""Activations that are the same in both frameworks, on every device."""


def _refused(node: Node) -> str | None:
    if node.operation not in MIXED_OPERATIONS:
        return f"the layer {node.operation!r} ({node.path})"
    if node.operation == "activation" and node.settings.function.kind not in MIXED_ACTIVATIONS:
        return f"the activation {node.settings.function.kind!r} ({node.path})"
    if getattr(node.settings, "padding_mode", "zeros") != "zeros":
        return f"padding_mode {node.settings.padding_mode!r} ({node.path})"
    return None


def check_mixed(graph: Graph) -> None:
    """Refuse a model with a layer for which mixed precision means different things in the two frameworks.

    Raises:
        SpecError: Names every such layer.
    """
    refused = [found for found in map(_refused, graph.nodes) if found is not None]
    if refused:
        raise SpecError(
            f"precision: {MIXED} needs layers that PyTorch and Keras compute alike in bfloat16, which these are not: "
            f"{', '.join(refused)}; use precision: float32. It can be {', '.join(sorted(MIXED_OPERATIONS))}; "
            f"activations {', '.join(sorted(MIXED_ACTIVATIONS))}"
        )
