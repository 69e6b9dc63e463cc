"""One model in PyTorch: weights, forward passes and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.spec.graph import INPUT, Graph
from dualml.spec.losses import Loss
from dualml.spec.optimizers import Clipping, Optimizer
from dualml_torch.layers import MaskedDropout, Placement
from dualml_torch.layout import DTYPES, Layout, to_array, to_tensor
from dualml_torch.losses import batch_loss, example_losses
from dualml_torch.model import build_model
from dualml_torch.trainer import TorchTrainer


class TorchNetwork:
    """A ``torch.nn`` module built from a graph, as the protocol's ``Network``.

    Args:
        graph: What to build.
        device: Where it lives.
        native_randomness: Whether dropout draws its own masks.

    Attributes:
        layout: Where the native parameters are.
        device: Where they live.
    """

    def __init__(self, graph: Graph, device: torch.device, *, native_randomness: bool) -> None:
        self._graph = graph
        self._native_randomness = native_randomness
        self.device = device
        self.dtype = DTYPES[graph.precision]
        self._model = build_model(graph, Placement(device, self.dtype, native_randomness))
        self.layout = Layout(graph, self.native, self._model.names)

    @property
    def native(self) -> nn.Module:
        """An ``nn.Sequential`` for a chain, else an ``fx.GraphModule``; its output is the graph's (logits)."""
        return self._model.module

    @property
    def graph(self) -> Graph:
        """What it was built from."""
        return self._graph

    def get_weights(self) -> dict[str, Array]:
        """All parameters, neutral names and layout."""
        return self.layout.get_weights()

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong; the message lists both sets.
        """
        self.layout.set_weights(weights)

    def forward(
        self, inputs: Array, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model.

        Args:
            inputs: Shape ``(examples, *graph.input_shape)``.
            training: Whether random layers are active.
            taps: Nodes (or ``input``) whose values are wanted beside the output.
            masks: Dropout masks; needed in training mode unless randomness is native.

        Returns:
            The values of the tapped nodes and of ``graph.output``, by node name.

        Raises:
            ValueError: A tap is not a node, or masks are missing or of a wrong shape.
        """
        self._check_taps(taps)
        values: dict[str, Array] = {}

        def watch(name: str, value: Tensor) -> Tensor:
            if name in taps:
                values[name] = to_array(value)
            return value

        placed = self.place_inputs(inputs)
        if INPUT in taps:
            values[INPUT] = to_array(placed)
        given = self.place_masks(masks, len(inputs)) if training else {}
        with torch.no_grad(), self.mode(training=training), self.masked(given):
            output = self._model.walk(placed, watch) if taps else self.native(placed)
        values[self._graph.output] = to_array(output)
        return values

    def predict(self, inputs: Array) -> Array:
        """Predictions in inference mode: ``torch.softmax`` of the output over its last axis, or the output itself."""
        with torch.no_grad(), self.mode(training=False):
            output = self.native(self.place_inputs(inputs))
            return to_array(torch.softmax(output, -1) if self._graph.prediction == "softmax" else output)

    def gradients(
        self,
        batch: Batch,
        loss: Loss,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode; changes no weight and no ``.grad``.

        Args:
            batch: The examples.
            loss: What is differentiated.
            masks: Dropout masks; needed unless randomness is native.
            taps: Nodes (or ``input``) whose values and gradients are wanted.
            count: What the sum of the examples' losses is divided by; ``None``: their number.

        Raises:
            ValueError: A tap is not a node, or masks are missing or of a wrong shape.
        """
        self._check_taps(taps)
        watched: dict[str, Tensor] = {}

        def watch(name: str, value: Tensor) -> Tensor:
            if name in taps:
                # A view of its own: a layer that changes nothing returns its input itself, whose gradient
                # would also hold what reaches it by other ways.
                value = watched[name] = value.view_as(value)
            return value

        inputs = self.place_inputs(batch.inputs)
        targets = self.place_targets(batch.targets, loss)
        given = self.place_masks(masks, len(batch))
        with torch.enable_grad(), self.mode(training=True), self.masked(given):
            if taps:
                inputs.requires_grad_()  # so that values before the first parameter have gradients as well
            output = self._model.walk(inputs, watch) if taps else self.native(inputs)
            total = batch_loss(loss, output, targets, len(batch) if count is None else count)
            if INPUT in taps:
                watched[INPUT] = inputs
            wanted = [*self.layout.parameters.values(), *watched.values()]
            found = torch.autograd.grad(total, wanted) if wanted else ()
        with torch.no_grad():
            losses = example_losses(loss, output, targets)
        parameters = dict(zip(self.layout.parameters, found, strict=False))  # the watched ones follow
        return Gradients(
            loss=total.item(),
            example_losses=to_array(losses),
            parameters={name: self.layout.to_neutral(name, value) for name, value in parameters.items()},
            values={name: to_array(value) for name, value in watched.items()},
            values_gradients={
                name: to_array(value) for name, value in zip(watched, found[len(parameters) :], strict=True)
            },
        )

    def trainer(
        self,
        loss: Loss,
        optimizer: Optimizer,
        *,
        batch_size: int,
        update_size: int | None = None,
        clip: Clipping | None = None,
        compiled: bool = True,
    ) -> TorchTrainer:
        """A trainer of this network.

        Args:
            loss: What is minimised.
            optimizer: How, every setting filled in.
            batch_size: Most examples in one forward and backward pass.
            update_size: Most examples in one update (gradient accumulation); ``None``: ``batch_size``.
            clip: Gradient clipping, every setting filled in.
            compiled: Makes no difference: this backend runs eagerly.
        """
        return TorchTrainer(self, loss, optimizer, batch_size, batch_size if update_size is None else update_size, clip)

    def seed(self, seed: int) -> None:
        """Seed PyTorch's generator of this device where dropout draws its own masks; else change nothing."""
        if not self._native_randomness:
            return
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def place_inputs(self, inputs: Array) -> Tensor:
        """Inputs as a tensor of its own."""
        return to_tensor(inputs, self.dtype, self.device)

    def place_targets(self, targets: Array, loss: Loss) -> Tensor:
        """Targets as a tensor of its own: class numbers int64, values in the graph's precision."""
        return to_tensor(targets, torch.int64 if loss.target == "class" else self.dtype, self.device)

    def place_masks(self, masks: Masks | None, examples: int) -> dict[str, Tensor]:
        """Dropout masks as tensors; none where dropout draws its own.

        Raises:
            ValueError: A mask is missing or has a wrong shape.
        """
        dropouts = () if self._native_randomness else self._graph.dropouts
        placed = {}
        for node in dropouts:
            if masks is None or node.name not in masks:
                raise ValueError(
                    f"training mode needs a mask for the dropout node {node.name!r}, got none; "
                    "pass masks or build with native_randomness=True"
                )
            if masks[node.name].shape != (examples, *node.shape):
                raise ValueError(
                    f"the mask of {node.name!r} must have shape {[examples, *node.shape]}, "
                    f"got {list(masks[node.name].shape)}"
                )
            placed[node.name] = to_tensor(masks[node.name], torch.bool, self.device)
        return placed

    @contextmanager
    def masked(self, masks: Mapping[str, Tensor]) -> Iterator[None]:
        """Hand placed masks to the dropout modules, and take them back."""
        modules = {name: self.native.get_submodule(self._model.names[name]) for name in masks}
        try:
            for name, module in modules.items():
                if isinstance(module, MaskedDropout):
                    module.mask = masks[name]
            yield
        finally:
            for module in modules.values():
                if isinstance(module, MaskedDropout):
                    module.mask = None

    @contextmanager
    def mode(self, *, training: bool) -> Iterator[None]:
        """Put every module in training or inference mode, and back in its own."""
        before = {module: module.training for module in self.native.modules()}
        try:
            self.native.train(training)
            yield
        finally:
            for module, was in before.items():
                module.training = was

    def _check_taps(self, taps: Sequence[str]) -> None:
        known = (INPUT, *self._graph.by_name)
        unknown = [name for name in taps if name not in known]
        if unknown:
            raise ValueError(f"taps must be among {', '.join(known)}; got {', '.join(unknown)}")
