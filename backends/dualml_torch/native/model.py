"""A user's own PyTorch model, run as it is and seen in the terms of a spec."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualml.errors import ParityError
from dualml.native.protocol import Observation, Precision, ReadLoss, ReadOptimizer, Trace
from dualml.protocol import Array, Arrays, State
from dualml_torch.layout import DTYPES, to_array
from dualml_torch.native.book import Book
from dualml_torch.native.dropping import RANDOM
from dualml_torch.native.functions import read_function
from dualml_torch.native.layers import expand, roles
from dualml_torch.native.losses import each_example, read_loss
from dualml_torch.native.optimizers import copy_optimizer, get_state, read_optimizer, set_state
from dualml_torch.native.recipes import Pass, tensors_of
from dualml_torch.native.structures import (
    INPUT,
    OUTPUT,
    arguments,
    called_loss,
    convert,
    default_dtype,
    differentiate,
    kept_buffers,
    line,
    module_of,
    named_outputs,
    products,
    structured,
)
from dualml_torch.native.trace import Observer
from dualml_torch.native.weights import Weights


class TorchNativeModel:
    """A ``torch.nn.Module`` with the loss and the optimizer its user trains it with; see ``NativeModel``.

    Every pass is on a copy, on the device the model is on, in eager mode and with deterministic random numbers of its
    own. PyTorch's fused inference path of ``nn.TransformerEncoderLayer`` is off, so that its layers can be seen.

    Args:
        model: The module, or a function without arguments that makes one.
        loss: Takes outputs and targets; or ``None``.
        optimizer: Over the model's parameters, or a pair of one and its learning-rate scheduler, or a function that
            takes parameters and makes either; or ``None``.

    Raises:
        ParityError: These are not what they must be.
    """

    def __init__(self, model: Any, loss: Any = None, optimizer: Any = None) -> None:
        if loss is not None and not callable(loss):
            raise ParityError(f"loss must take outputs and targets, got {type(loss).__name__}, which cannot be called")
        self._given = module_of(model)
        self._given_loss = loss
        self._given_optimizer = optimizer
        self._book = Book()
        self._counts: dict[str, int] = {}
        self._random = True
        self._targets: Tensor | None = None
        self.start("float32")

    # ------------------------------------------------------------------ what it is

    @property
    def framework(self) -> str:
        """``torch``."""
        return "torch"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the weights that require gradients."""
        return self._weights.parameters

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | None, ...]] | None:
        """``None``: a module does not say it."""
        return None

    @property
    def loss(self) -> ReadLoss | None:
        """The loss; of ``CrossEntropyLoss`` what the last targets made it, class numbers if there were none."""
        return None if self._loss is None else read_loss(self._loss, self._targets)

    @property
    def optimizer(self) -> ReadOptimizer | None:
        """The optimizer."""
        if self._optimizer is None:
            return None
        return read_optimizer(self._optimizer, self._scheduler, self._model, self._weights)[0]

    def versions(self) -> dict[str, str]:
        """Version of ``torch``."""
        return {"torch": torch.__version__}

    def start(self, precision: Precision) -> None:
        """Copy the user's model, loss and optimizer in a precision.

        Raises:
            ParityError: The model cannot be copied.
        """
        self._dtype = DTYPES[precision]
        memo: dict[int, Any] = {}
        try:
            self._model: nn.Module = copy.deepcopy(self._given, memo)
            self._loss = (
                copy.deepcopy(self._given_loss) if isinstance(self._given_loss, nn.Module) else self._given_loss
            )
        except Exception as error:
            raise ParityError(
                f"the model must be one that copy.deepcopy can copy, but {line(error)}; give a function that makes it"
            ) from None
        for module in (self._model, self._loss):
            if isinstance(module, nn.Module):
                convert(module, self._dtype)
        parameters = {id(item): memo[id(item)] for item in self._given.parameters()}
        self._optimizer, self._scheduler, self._updates = None, None, 0
        if self._given_optimizer is not None:
            self._optimizer, self._scheduler = copy_optimizer(self._given_optimizer, parameters, self._model)
        self._weights = Weights(self._model, roles, getattr(self, "_weights", None))
        self._model.train(True)
        self._book.inference_only = frozenset(path for path, part in self._model.named_modules() if not part.training)

    @property
    def _device(self) -> torch.device:
        found = [*self._model.parameters(), *self._model.buffers()]
        return found[0].device if found else torch.device("cpu")

    # ------------------------------------------------------------------ weights

    def get_weights(self) -> dict[str, Array]:
        """Every parameter and buffer; functions' own weights are laid out as ``trace`` saw them used."""
        return self._weights.get(self._model)

    def set_weights(self, weights: Arrays) -> None:
        """Replace some or all of them."""
        self._weights.set(self._model, weights)

    # ------------------------------------------------------------------ passes

    def trace(self, inputs: Arrays) -> Trace:
        """What the model does in inference."""
        with self._passing(training=False), torch.no_grad(), kept_buffers(self._model):
            observer, placed, found = self._observed(inputs, training=False, masks=None, gradients=False)
        outputs = self._outputs(observer, found)
        self._counts = {call.name: len(call.outputs) for call in observer.calls}
        self._random = any(call.kind in RANDOM or call.settings.get("rate") for call in observer.calls)
        used = {place for call in observer.calls for place in call.inputs} | set(outputs.values())
        notes = [*observer.notes]
        if not self._seen_as_it_is(inputs, observer, outputs):
            notes.append("the model gives other values where nobody watches: what was seen may not be all it does")
        notes += [f"{', '.join(names)} are one and the same parameter" for names in self._weights.ties]
        if self._optimizer is not None:
            notes += read_optimizer(self._optimizer, self._scheduler, self._model, self._weights)[1]
        return Trace(
            inputs={name: self._book.key(INPUT, name) for name in placed},
            values=dict(observer.shapes),
            calls=observer.needed(outputs),
            outputs=outputs,
            constants={key: array for key, array in observer.constants.items() if key in used},
            notes=tuple(dict.fromkeys(notes)),
        )

    def _seen_as_it_is(self, inputs: Arrays, observer: Observer, outputs: Mapping[str, int]) -> bool:
        """Whether the model, unwatched, returns the same bits."""
        with self._passing(training=False), torch.no_grad(), kept_buffers(self._model):
            args, kwargs, _ = self._arguments(inputs, gradients=False)
            alone = named_outputs(run_model(self._model, args, kwargs))
        return all(np.array_equal(to_array(alone[name]), observer.values[key]) for name, key in outputs.items())

    def forward(self, inputs: Arrays, *, training: bool, masks: Arrays | None = None) -> Observation:
        """One pass; changes no weight."""
        with self._passing(training=training), torch.no_grad(), kept_buffers(self._model):
            observer, _, found = self._observed(inputs, training=training, masks=masks, gradients=False)
            buffers = self._weights.get_buffers(self._model)
        return Observation(values=observer.values, outputs=self._outputs(observer, found), buffers=buffers)

    def backward(
        self,
        inputs: Arrays,
        targets: Arrays | None,
        *,
        cotangents: Arrays | None = None,
        masks: Arrays | None = None,
    ) -> Observation:
        """One forward and backward pass in training mode; changes no weight and no buffer."""
        self._model.zero_grad(set_to_none=True)
        with self._passing(training=True), torch.enable_grad(), kept_buffers(self._model):
            observer, _, found = self._observed(inputs, training=True, masks=masks, gradients=True)
            outputs = self._outputs(observer, found)
            each = None
            if cotangents is not None:
                placed = {name: self._place(array) for name, array in cotangents.items()}
                total = products(found, placed)
            else:
                placed = self._place_targets(targets, list(outputs))
                total = self._objective(found, placed)
                each = each_example(self._loss, found, placed)
            differentiate(total)
            buffers = self._weights.get_buffers(self._model)
        gradients = self._weights.gradients(self._model)
        self._model.zero_grad(set_to_none=True)
        return Observation(
            values=observer.values,
            outputs=outputs,
            loss=total.item(),
            example_losses=None if each is None else to_array(each),
            value_gradients=dict(observer.slopes),
            gradients=gradients,
            buffers=buffers,
        )

    def call(
        self, name: str, inputs: Sequence[Array], *, training: bool, mask: Array | None = None
    ) -> tuple[Array, ...]:
        """One call of the trace done again."""
        recipe = self._book.recipes[name]
        with self._passing(training=training), torch.no_grad(), kept_buffers(self._model):
            given = [self._place(array) for array in inputs]
            kept = None if mask is None else torch.tensor(mask, dtype=torch.bool, device=self._device)
            found = recipe(Pass(self._model, training, self._dtype, kept), given)
            count = self._counts.get(name)
            return tuple(to_array(tensor) for tensor in tensors_of(found)[:count])

    def layer_arrays(self, name: str) -> Arrays | None:
        """The parameters and buffers of a module, in the order of its ``state_dict``."""
        modules = dict(self._model.named_modules(remove_duplicate=False))
        found = modules.get(name)
        return None if found is None else {key: to_array(item) for key, item in found.state_dict().items()}

    def loss_of(self, outputs: Arrays, targets: Arrays) -> tuple[float, Arrays]:
        """The native loss for given outputs, and its gradient for them."""
        leaves = {name: self._place(array).requires_grad_() for name, array in outputs.items()}
        found: Any = next(iter(leaves.values())) if len(leaves) == 1 else structured(leaves)
        with self._passing(training=True), torch.enable_grad():
            total = self._objective(found, self._place_targets(targets, list(leaves)))
            slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return total.item(), {name: to_array(slope) for name, slope in zip(leaves, slopes, strict=True)}

    # ------------------------------------------------------------------ updates

    def apply(self, gradients: Arrays, lr: float | None = None) -> None:
        """One update by the native optimizer."""
        optimizer = self._need_optimizer()
        self._model.zero_grad(set_to_none=True)
        for name, array in gradients.items():
            weight = self._weights.by_name[name]
            tensor = weight.tensor(self._model)
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
            weight.write(tensor.grad, np.asarray(array))
        if lr is not None:
            first = float(optimizer.param_groups[0]["lr"])
            for group in optimizer.param_groups:
                group["lr"] = lr if float(group["lr"]) == first else lr * float(group["lr"]) / first
        self._step()
        self._model.zero_grad(set_to_none=True)

    def train(self, inputs: Arrays, targets: Arrays, masks: Arrays | None = None) -> float:
        """One whole update: forward, loss, backward, optimizer, scheduler."""
        self._need_optimizer()
        self._model.zero_grad(set_to_none=True)
        with self._passing(training=True), torch.enable_grad():
            if masks or self._random:
                found = self._observed(inputs, training=True, masks=masks, gradients=False)[2]
            else:
                args, kwargs, _ = self._arguments(inputs, gradients=False)
                found = run_model(self._model, args, kwargs)
            total = self._objective(found, self._place_targets(targets, list(named_outputs(found))))
            differentiate(total)
            self._step()
        self._model.zero_grad(set_to_none=True)
        if self._scheduler is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the copied optimizer is not the one it was made of
                self._scheduler.step()
        return total.item()

    def _step(self) -> None:
        with default_dtype(self._dtype):  # optimizers keep some of their memory in it
            self._need_optimizer().step()
        self._updates += 1

    def get_state(self) -> State | None:
        """The optimizer's memory; ``None`` if its formula is not known."""
        read = self.optimizer
        if self._optimizer is None or read is None or read.optimizer is None:
            return None
        return get_state(self._optimizer, read.optimizer, read.parameters, self._model, self._weights, self._updates)

    def set_state(self, state: State) -> None:
        """Replace the optimizer's memory.

        Raises:
            ParityError: Its formula is not known.
        """
        read = self.optimizer
        if self._optimizer is None or read is None or read.optimizer is None:
            raise ParityError("the optimizer's memory cannot be set: its formula is not in the catalogue")
        set_state(self._optimizer, read.optimizer, self._model, self._weights, state)
        self._updates = state.step

    def _need_optimizer(self) -> torch.optim.Optimizer:
        if self._optimizer is None:
            raise ParityError("an update needs an optimizer, but there is none; give dualml.Trainable one")
        return self._optimizer

    # ------------------------------------------------------------------ one pass

    def _observed(
        self, inputs: Arrays, *, training: bool, masks: Arrays | None, gradients: bool
    ) -> tuple[Observer, dict[str, Tensor], Any]:
        """Run the model; its observer, its placed inputs and what it returned."""
        args, kwargs, placed = self._arguments(inputs, gradients=gradients)
        observer = Observer(
            self._model,
            self._weights,
            self._book,
            training=training,
            dtype=self._dtype,
            masks=masks or {},
            gradients=gradients,
            read_function=read_function,
            expand=expand,
        )
        for name, tensor in placed.items():
            observer.bind(self._book.key(INPUT, name), tensor)
        try:
            with observer:
                return observer, placed, run_model(self._model, args, kwargs)
        except ParityError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in placed.items())
            raise ParityError(f"the PyTorch model refuses the inputs ({shapes}): {line(error)}") from error

    def _arguments(
        self, inputs: Arrays, *, gradients: bool
    ) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]:
        placed = {}
        for name, array in inputs.items():
            tensor = self._place(array)
            if gradients and tensor.is_floating_point():
                tensor = tensor.requires_grad_().clone()  # no leaf: the model may change it in place
            placed[name] = tensor
        return arguments(self._model, placed)

    def _place(self, array: Array) -> Tensor:
        array = np.asarray(array)
        if array.dtype.kind in "fc":
            dtype = self._dtype if array.dtype.kind == "f" else self._dtype.to_complex()
            return torch.tensor(array, dtype=dtype, device=self._device)
        return torch.tensor(array, dtype=torch.bool if array.dtype.kind == "b" else torch.int64, device=self._device)

    def _outputs(self, observer: Observer, found: Any) -> dict[str, int]:
        """The numbers of what the model returned, by name."""
        return {name: observer.key(f"{OUTPUT} {name}", tensor) for name, tensor in named_outputs(found).items()}

    def _place_targets(self, targets: Arrays | None, names: list[str]) -> Any:
        """Targets as the loss takes them: alone, or of several outputs in the order or by the names of these."""
        if not targets:
            return None
        placed = {name: self._place(array) for name, array in targets.items()}
        if len(placed) == 1:
            (alone,) = placed.values()
            self._targets = alone
            return alone
        return structured({name: placed[name] for name in names if name in placed} or placed)

    def _objective(self, outputs: Any, targets: Any) -> Tensor:
        """The user's loss.

        Raises:
            ParityError: There is none, or it cannot be used.
        """
        if self._loss is None:
            raise ParityError("training needs a loss, but there is none; give dualml.Trainable one")
        return called_loss(self._loss, outputs, targets)

    @contextmanager
    def _passing(self, *, training: bool) -> Iterator[None]:
        """Numbers of the right format by default, random numbers of its own, and the mode of the pass."""
        fast = torch.backends.mha.get_fastpath_enabled()
        self._model.train(training)
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            devices = [self._device] if self._device.type == "cuda" else []
            with default_dtype(self._dtype), torch.random.fork_rng(devices=devices):
                torch.manual_seed(0)
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def run_model(model: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Any:
    """Call the user's model; frames outside of this function are not the user's."""
    return model(*args, **kwargs)
