"""One model in PyTorch: weights, forward passes and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dualml.protocol import Array, Arrays, Batch, Gradients, Masks
from dualml.spec.graph import Graph
from dualml.spec.objective import Minimised, Objective, as_objective
from dualml.spec.optimizers import Clipping, Optimizer
from dualml_torch.layers import Masked, Placement
from dualml_torch.layout import DTYPES, Layout, to_array, to_tensor
from dualml_torch.model import Watch, build_model
from dualml_torch.objective import divisors, objective_examples, objective_value
from dualml_torch.predictions import PREDICTIONS
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
        """An ``nn.Sequential`` for a chain, else an ``fx.GraphModule``; its outputs are the graph's (logits).

        It takes the graph's inputs in their order; images as ``torch.nn`` has them, channels behind the batch
        axis, where a convolution or pooling reads them.
        """
        return self._model.module

    @property
    def graph(self) -> Graph:
        """What it was built from."""
        return self._graph

    def get_weights(self) -> dict[str, Array]:
        """All parameters and buffers, neutral names and layout."""
        return self.layout.get_weights()

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters and buffers.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong; the message lists both sets.
        """
        self.layout.set_weights(weights)

    def forward(
        self, inputs: Array | Arrays, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model; see ``dualml.protocol.Network.forward``.

        Raises:
            ValueError: A tap is not a node, or masks are missing or of a wrong shape.
        """
        self._check_taps(taps)
        values: dict[str, Array] = {}

        def watch(name: str, value: Tensor) -> Tensor:
            if name in taps:
                values[name] = self._neutral(name, value)
            return value

        placed = self.place_inputs(inputs)
        values |= {name: self._neutral(name, value) for name, value in placed.items() if name in taps}
        given = self.place_masks(masks, len(next(iter(placed.values())))) if training else {}
        with torch.no_grad(), self.mode(training=training), self.masked(given), self.layout.kept_buffers():
            outputs = self.evaluate(placed, watch if taps else None)
        return values | {name: to_array(value) for name, value in outputs.items()}

    def predict(self, inputs: Array | Arrays, *, output: str | None = None) -> Array:
        """Predictions in inference mode: the framework's softmax or sigmoid of an output, or the output itself."""
        name = self._graph.output if output is None else output
        with torch.no_grad(), self.mode(training=False):
            value = self.evaluate(self.place_inputs(inputs))[name]
            return to_array(PREDICTIONS[self._graph.predictions[name]](value))

    def gradients(
        self,
        batch: Batch,
        loss: Minimised,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode; changes no weight, no buffer and no ``.grad``.

        Args:
            batch: The examples.
            loss: What is differentiated.
            masks: Masks of the nodes that draw; needed unless randomness is native.
            taps: Nodes (or inputs) whose values and gradients are wanted.
            count: What the sum of the examples' losses is divided by; ``None``: their number, or what the loss says.

        Raises:
            ValueError: A tap is not a node, or masks are missing or of a wrong shape.
        """
        self._check_taps(taps)
        objective = as_objective(loss, self._graph)
        watched: dict[str, Tensor] = {}

        def watch(name: str, value: Tensor) -> Tensor:
            if name in taps:
                # A view of its own: a layer that changes nothing returns its input itself, whose gradient
                # would also hold what reaches it by other ways.
                value = watched[name] = value.view_as(value)
                if not value.requires_grad:  # a mask made of whole numbers: nothing that is differentiated feeds it
                    value.requires_grad_()
            return value

        inputs = self.place_inputs(batch.inputs)
        targets = self.place_targets(batch.targets, objective)
        weights = None if batch.weights is None else to_tensor(batch.weights, self.dtype, self.device)
        given = self.place_masks(masks, len(batch))
        with torch.enable_grad(), self.mode(training=True), self.masked(given), self.layout.kept_buffers():
            if taps:  # so that values before the first parameter have gradients as well
                for tensor in inputs.values():
                    tensor.requires_grad_(tensor.is_floating_point())
            outputs = self.evaluate(inputs, watch if taps else None)
            divided_by = divisors(objective, targets, weights, count)
            total = objective_value(objective, outputs, targets, weights, divided_by, self.layout.parameters)
            watched |= {name: value for name, value in inputs.items() if name in taps and value.requires_grad}
            wanted = [*self.layout.parameters.values(), *watched.values()]
            found = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True) if wanted else ()
            buffers = self.layout.get_buffers()
        with torch.no_grad():
            losses = objective_examples(objective, outputs, targets, weights)
        parameters = dict(zip(self.layout.parameters, found, strict=False))  # the watched ones follow
        slopes = dict(zip(watched, found[len(parameters) :], strict=True))
        for name, value in inputs.items():
            if name in taps and name not in watched:  # whole numbers have no gradient
                watched[name], slopes[name] = value, torch.zeros_like(value, dtype=self.dtype)
        return Gradients(
            loss=total.item(),
            example_losses=to_array(losses),
            parameters={name: self.layout.to_neutral(name, value) for name, value in parameters.items()},
            values={name: self._neutral(name, value) for name, value in watched.items()},
            values_gradients={name: self._neutral(name, value) for name, value in slopes.items()},
            buffers=buffers,
        )

    def input_gradients(self, inputs: Array | Arrays, slopes: Arrays) -> dict[str, Array]:
        """Gradients for the inputs in inference mode; see ``dualml.protocol.Network.input_gradients``."""
        placed = self.place_inputs(inputs)
        gradients = {name: torch.zeros_like(value, dtype=self.dtype) for name, value in placed.items()}
        watched = {name: value.requires_grad_() for name, value in placed.items() if value.is_floating_point()}
        # cuDNN's recurrences have no backward pass in inference mode.
        with torch.enable_grad(), self.mode(training=False), torch.backends.cudnn.flags(enabled=False):
            outputs = self.evaluate(placed)
            if watched:  # then the outputs depend on something that is differentiated
                found = torch.autograd.grad(
                    [outputs[name] for name in slopes],
                    list(watched.values()),
                    [to_tensor(slope, self.dtype, self.device) for slope in slopes.values()],
                    allow_unused=True,
                    materialize_grads=True,
                )
                gradients |= zip(watched, found, strict=True)
        return {name: self._neutral(name, value) for name, value in gradients.items()}

    def trainer(
        self,
        loss: Minimised,
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
            compiled: Use PyTorch's fused kernel of the optimizer where it has one; the rest runs eagerly.
        """
        objective = as_objective(loss, self._graph)
        update = batch_size if update_size is None else update_size
        return TorchTrainer(self, objective, optimizer, batch_size, update, clip, fused=compiled)

    def seed(self, seed: int) -> None:
        """Seed PyTorch's generator of this device where dropout draws its own masks; else change nothing."""
        if not self._native_randomness:
            return
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def evaluate(self, inputs: Mapping[str, Tensor], watch: Watch | None = None) -> dict[str, Tensor]:
        """The graph's outputs by node, from placed inputs."""
        ordered = tuple(inputs[name] for name in self._graph.input_names)
        if self._graph.mixed:
            ordered = tuple(item.to(torch.bfloat16) if item.is_floating_point() else item for item in ordered)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._graph.mixed):
            found = self.native(*ordered) if watch is None else self._model.walk(ordered, watch)
        outputs = found if isinstance(found, tuple) else (found,)
        if self._graph.mixed:
            outputs = tuple(item.to(self.dtype) for item in outputs)
        return dict(zip(self._graph.outputs, outputs, strict=True))

    def place_inputs(self, inputs: Array | Arrays) -> dict[str, Tensor]:
        """Inputs as tensors of their own, channels where the native module wants them."""
        given = self._graph.named_inputs(inputs)
        placed = {}
        for item in self._graph.inputs:
            tensor = to_tensor(given[item.name], torch.int64 if item.integer else self.dtype, self.device)
            placed[item.name] = self._model.plan.to_native(item.name, tensor)
        return placed

    def place_targets(self, targets: Array | Arrays, objective: Objective) -> dict[str, Tensor]:
        """Targets as tensors of their own: class numbers int64, values in the graph's precision."""
        given = self._graph.named_targets(targets)
        return {
            term.output: to_tensor(
                given[term.output], torch.int64 if term.loss.target == "class" else self.dtype, self.device
            )
            for term in objective.terms
        }

    def _neutral(self, name: str, tensor: Tensor) -> Array:
        """A value of a node or input in the neutral layout."""
        return to_array(self._model.plan.to_neutral(name, tensor))

    def place_masks(self, masks: Masks | None, examples: int) -> dict[str, Tensor]:
        """Masks as tensors; none where modules draw their own.

        Raises:
            ValueError: A mask is missing or has a wrong shape.
        """
        placed = {}
        for node in () if self._native_randomness else self._graph.dropouts:
            if masks is None or node.name not in masks:
                raise ValueError(
                    f"training mode needs a mask for the {node.operation} node {node.name!r}, got none; "
                    "pass masks or build with native_randomness=True"
                )
            wanted = (examples, *(node.random_mask or ()))
            if masks[node.name].shape != wanted:
                raise ValueError(
                    f"the mask of {node.name!r} must have shape {list(wanted)}, got {list(masks[node.name].shape)}"
                )
            mask = to_tensor(masks[node.name], torch.bool, self.device)
            same_axes = len(wanted) == len(node.shape) + 1
            placed[node.name] = self._model.plan.to_native(node.name, mask) if same_axes else mask
        return placed

    @contextmanager
    def masked(self, masks: Mapping[str, Tensor]) -> Iterator[None]:
        """Hand placed masks to the modules that draw, and take them back."""
        modules = {name: self.native.get_submodule(self._model.names[name]) for name in masks}
        try:
            for name, module in modules.items():
                if isinstance(module, Masked):
                    module.mask = masks[name]
            yield
        finally:
            for module in modules.values():
                if isinstance(module, Masked):
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
        known = self._graph.names
        unknown = [name for name in taps if name not in known]
        if unknown:
            raise ValueError(f"taps must be among {', '.join(known)}; got {', '.join(unknown)}")
