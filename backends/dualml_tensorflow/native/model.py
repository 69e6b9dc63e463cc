"""The user's Keras model behind ``dualml.native.protocol.NativeModel``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state

from dualml.errors import ParityError
from dualml.native.protocol import Observation, Precision, ReadLoss, ReadOptimizer, Trace
from dualml.protocol import Array, Arrays, State
from dualml_tensorflow.formulas.base import floatx
from dualml_tensorflow.native import calling, losses, optimizers
from dualml_tensorflow.native.copies import copied
from dualml_tensorflow.native.exact import exact_numbers, exactly
from dualml_tensorflow.native.penalties import penalised
from dualml_tensorflow.native.running import run
from dualml_tensorflow.native.structure import Structure
from dualml_tensorflow.native.trace import Keys, Recorded, Recorder, array_of
from dualml_tensorflow.native.watch import recording
from dualml_tensorflow.native.weights import Held

POLICY = "dtype_policy"
"""Under which Keras keeps the policy that was set, if one was."""


class TensorflowModel:
    """Implements ``dualml.native.protocol.NativeModel`` for a Keras model, a layer, or a ``tf.Module``.

    Everything is done with a copy of the user's model and with a fresh optimizer.
    """

    framework = "tensorflow"

    def __init__(self, model: Any, loss: Any = None, optimizer: Any = None) -> None:
        self._user = calling.resolve(model)
        compiled = getattr(self._user, "compiled", False)
        self._user_loss = losses.resolve(self._user.loss if loss is None and compiled else loss)
        self._user_optimizer = self._user.optimizer if optimizer is None and compiled else optimizer
        if isinstance(self._user_optimizer, (str, dict)):
            self._user_optimizer = keras.optimizers.get(self._user_optimizer)
        self._keys = Keys()
        self._calls: dict[str, Recorded] = {}
        self._traced: frozenset[int] = frozenset()
        self._last_inputs: Arrays | None = None
        own = [tf.as_dtype(variable.dtype) for variable in Structure(self._user).variables()]
        self._exact = tf.float64 not in own
        self.start("float64" if own and all(dtype == tf.float64 for dtype in own) else "float32")

    def start(self, precision: Precision) -> None:
        """See ``NativeModel.start``."""
        self._precision = precision
        with self._scope():
            self._model = copied(self._user, precision)
            self._loss = losses.in_precision(self._user_loss, precision)
            self._structure = Structure(self._model)
            self._optimizer = None
            if self._user_optimizer is not None:
                exact = self._exact and precision == "float64"
                self._optimizer = optimizers.fresh(self._user_optimizer, exact=exact)
                updated = self._updated()
                if updated:
                    self._optimizer.build([held.variable for held in updated.values()])
        self._calls = {}

    def _updated(self) -> dict[str, Held]:
        """What the optimizer updates: what the user built it for, else all that is trained."""
        trained = {name: self._structure.weights[name] for name in self.parameters}
        if self._user_optimizer is None:
            return trained
        mine = getattr(self._user_optimizer, "_trainable_variables", ()) if self._user_optimizer.built else ()
        if not mine:
            return trained
        wanted = {variable.path for variable in mine}
        return {name: held for name, held in trained.items() if held.variable.path in wanted}

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Keras' defaults are those of the precision meanwhile."""
        # ``keras.config.dtype_policy()`` would make up a policy where none is set, and that would outlive ``floatx``.
        policy = global_state.get_global_attribute(POLICY)
        with floatx(self._precision):
            keras.config.set_dtype_policy(self._precision)
            try:
                yield
            finally:
                global_state.set_global_attribute(POLICY, policy)

    @property
    def parameters(self) -> tuple[str, ...]:
        """See ``NativeModel.parameters``."""
        return tuple(self._structure.trained())

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | None, ...]] | None:
        """See ``NativeModel.input_shapes``."""
        return calling.input_shapes(self._model)

    @property
    def loss(self) -> ReadLoss | None:
        """See ``NativeModel.loss``."""
        if self._loss is None:
            return None
        return penalised(losses.read(self._loss), self._model, self._structure.trained())

    @property
    def optimizer(self) -> ReadOptimizer | None:
        """See ``NativeModel.optimizer``."""
        if self._optimizer is None:
            return None
        with self._scope():
            return optimizers.read(self._optimizer, self._updated())

    def versions(self) -> dict[str, str]:
        """See ``NativeModel.versions``."""
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def get_weights(self) -> dict[str, Array]:
        """See ``NativeModel.get_weights``."""
        return {name: held.get() for name, held in self._structure.weights.items()}

    def set_weights(self, weights: Arrays) -> None:
        """See ``NativeModel.set_weights``.

        Raises:
            ParityError: There is no such weight, or an array has another size.
        """
        for name, array in weights.items():
            held = self._structure.weights.get(name)
            if held is None:
                raise ParityError(f"the model has no weight {name!r}; it has {', '.join(self._structure.weights)}")
            if np.shape(array) != held.shape:
                raise ParityError(f"weight {name!r} must have shape {held.shape}, got {np.shape(array)}")
        for name, array in weights.items():
            self._structure.weights[name].set(array)

    def trace(self, inputs: Arrays) -> Trace:
        """See ``NativeModel.trace``."""
        self._last_inputs = inputs
        self._complete(inputs)
        with self._kept():  # code that never leaves training mode changes buffers in inference, too
            recorder, given, outputs, _ = self._passed(inputs, training=False, masks=None)
        self._calls = {item.call.name: item for item in recorder.calls}
        if self._precision == "float64":
            for key, tensor in recorder.values.items():
                if tensor.dtype == tf.float32 and key not in recorder.constants:
                    maker = next((item.call.name for item in recorder.calls if key in item.call.outputs), "an input")
                    recorder.note(f"{maker}: float32 in a float64 run, so the model itself casts to float32 there")
                    break
        self._traced = frozenset(recorder.values)
        if any(hasattr(recorder.values[key], "_keras_logits") for key in outputs.values()) and self._loss is not None:
            recorder.note("Keras' cross-entropies find the logits behind a softmax or sigmoid and read those instead")
        return recorder.trace(given, outputs)

    def _complete(self, inputs: Arrays) -> None:
        """Build layers that are made at their first call, with the same first values in both precisions."""
        if not calling.unbuilt(self._model):
            return
        self._user = copied(self._user, None)
        with floatx("float64" if not self._exact else "float32"):
            calling.first_call(self._user, inputs)
        self.start(self._precision)

    def forward(self, inputs: Arrays, *, training: bool, masks: Arrays | None = None) -> Observation:
        """See ``NativeModel.forward``."""
        with self._kept():
            recorder, _, outputs, _ = self._passed(inputs, training=training, masks=masks)
            buffers = self._buffers()
        return Observation(self._arrays(recorder), outputs, buffers=buffers)

    def backward(
        self,
        inputs: Arrays,
        targets: Arrays | None,
        *,
        cotangents: Arrays | None = None,
        masks: Arrays | None = None,
    ) -> Observation:
        """See ``NativeModel.backward``."""
        with self._kept(), self._scope(), tf.GradientTape() as tape:
            recorder, _, outputs, returned = self._passed(inputs, training=True, masks=masks, tape=tape)
            examples = None
            if cotangents is not None:
                named = calling.named_outputs(returned, self._model)
                products = [
                    tf.reduce_sum(recorder.values[outputs[name]] * tf.constant(cotangent, named[name].dtype))
                    for name, cotangent in cotangents.items()
                ]
                total, penalty = tf.add_n(products), 0.0
            else:
                found = calling.matched(self._required_loss(), self._tensors(targets), returned, self._model)
                total = losses.total([losses.value(*item) for item in found])
                total, penalty = self._penalised(total)
            buffers = self._buffers()
            with tape.stop_recording():
                if cotangents is None and len(found) == 1:
                    examples = losses.of_examples(*found[0])
        keys = [key for key, tensor in recorder.values.items() if tensor.dtype.is_floating]
        trained = self._structure.trained()
        sources = [recorder.values[key] for key in keys]
        sources += [calling.tensor_of(held.variable) for held in trained.values()]
        found_gradients = tape.gradient(total, sources)
        gradients = [None if item is None else array_of(tf.convert_to_tensor(item)) for item in found_gradients]
        pairs = zip(trained.items(), gradients[len(keys) :], strict=True)
        return Observation(
            values=self._arrays(recorder),
            outputs=outputs,
            loss=float(total),
            example_losses=None if examples is None else array_of(examples),
            penalties=penalty,
            value_gradients={key: item for key, item in zip(keys, gradients, strict=False) if item is not None},
            gradients={name: held.neutral(item) for (name, held), item in pairs if item is not None},
            buffers=buffers,
        )

    def _required_loss(self) -> Any:
        if self._loss is None:
            raise ParityError("gradients need a loss, but there is none; give one: dualml.Trainable(model, loss)")
        return self._loss

    def _penalised(self, total: Any) -> tuple[Any, float]:
        """A loss with what the model adds itself."""
        added = list(getattr(self._model, "losses", ()))
        if not added:
            return total, 0.0
        penalty = tf.add_n([tf.cast(item, total.dtype) for item in added])
        return total + penalty, float(penalty)

    def call(
        self, name: str, inputs: Sequence[Array], *, training: bool, mask: Array | None = None
    ) -> tuple[Array, ...]:
        """See ``NativeModel.call``."""
        if not self._calls and self._last_inputs is not None:
            self.trace(self._last_inputs)
        if name not in self._calls:
            raise ParityError(f"the model does no call {name!r}; it does {', '.join(self._calls) or 'none'}")
        with self._kept(), self._scope(), exactly(self._precision):
            made = self._calls[name].replay([tf.constant(item) for item in inputs], training, mask)
            return tuple(array_of(item) for item in tf.nest.flatten(made))

    def layer_arrays(self, name: str) -> Arrays | None:
        """The weights of a layer in their order."""
        found = self._structure.layer(name)
        return None if found is None else {str(place): item.numpy() for place, item in enumerate(found.weights)}

    def loss_of(self, outputs: Arrays, targets: Arrays) -> tuple[float, Arrays]:
        """See ``NativeModel.loss_of``."""
        tensors = self._tensors(outputs)
        with self._scope(), tf.GradientTape() as tape:
            tape.watch(list(tensors.values()))
            names = list(tensors)
            returned = tensors[names[0]] if len(names) == 1 else dict(tensors)
            found = calling.matched(self._required_loss(), self._tensors(targets), returned, self._model)
            total = losses.total([losses.value(*item) for item in found])
        gradients = tape.gradient(total, tensors, unconnected_gradients="zero")
        return float(total), {name: array_of(item) for name, item in gradients.items()}

    def apply(self, gradients: Arrays, lr: float | None = None) -> None:
        """See ``NativeModel.apply``."""
        updated = self._updated()
        given = {
            name: tf.constant(held.native(gradients[name]).astype(self._precision)) if name in gradients else None
            for name, held in updated.items()
        }
        self._update(given, lr)

    def _update(self, gradients: Mapping[str, Any], lr: float | None = None) -> None:
        if self._optimizer is None:
            raise ParityError(
                "an update needs an optimizer, but there is none; give one: dualml.Trainable(model, loss, optimizer)"
            )
        weights = self._structure.weights
        exact = self._exact and self._precision == "float64"
        with self._scope(), optimizers.rate(self._optimizer, lr), exact_numbers() if exact else nullcontext():
            self._optimizer.apply_gradients(
                [(gradient, weights[name].variable) for name, gradient in gradients.items() if gradient is not None]
            )

    def train(self, inputs: Arrays, targets: Arrays, masks: Arrays | None = None) -> float:
        """See ``NativeModel.train``."""
        with self._scope():
            with tf.GradientTape() as tape:
                _, _, _, returned = self._passed(inputs, training=True, masks=masks)
                found = calling.matched(self._required_loss(), self._tensors(targets), returned, self._model)
                total, _ = self._penalised(losses.total([losses.value(*item) for item in found]))
            updated = self._updated()
            gradients = tape.gradient(total, [calling.tensor_of(held.variable) for held in updated.values()])
            self._update(dict(zip(updated, gradients, strict=True)))
        return float(total)

    def get_state(self) -> State | None:
        """See ``NativeModel.get_state``."""
        slots = self._slots()
        return None if slots is None else optimizers.get_state(self._optimizer, slots)

    def set_state(self, state: State) -> None:
        """See ``NativeModel.set_state``."""
        slots = self._slots()
        if slots is None:
            raise ParityError("the optimizer's memory cannot be set: it is none that dualml knows")
        optimizers.set_state(self._optimizer, slots, state)

    def _slots(self) -> Any:
        found = self.optimizer
        if found is None or found.optimizer is None:
            return None
        return optimizers.slot_variables(self._optimizer, found.optimizer, self._updated())

    def _passed(
        self, inputs: Arrays, *, training: bool, masks: Arrays | None, tape: Any = None
    ) -> tuple[Recorder, dict[str, int], dict[str, int], Any]:
        """One recorded pass: what was recorded, keys of inputs and outputs by name, what the model returned."""
        recorder = Recorder(self._keys, self._structure, training=training, masks=masks or {})
        tensors = calling.input_tensors(self._model, inputs, self._precision)
        keys = {name: recorder.input(name, tensor) for name, tensor in tensors.items()}
        if tape is not None:
            tape.watch([tensor for tensor in tensors.values() if tensor.dtype.is_floating])
        args, kwargs = calling.arguments(self._model, tensors, training=training)
        with self._scope(), exactly(self._precision), recording(recorder), calling.refusals(tensors):
            returned = run(self._model, args, kwargs)
        outputs = {
            name: recorder.output(name, tensor) for name, tensor in calling.named_outputs(returned, self._model).items()
        }
        return recorder, keys, outputs, returned

    def _arrays(self, recorder: Recorder) -> dict[int, Array]:
        left_out = set(recorder.constants)
        traced = self._traced or frozenset(recorder.values)
        return {key: array_of(item) for key, item in recorder.values.items() if key in traced and key not in left_out}

    def _tensors(self, arrays: Arrays | None) -> dict[str, Any]:
        return {
            name: tf.constant(np.asarray(array, self._precision) if np.asarray(array).dtype.kind == "f" else array)
            for name, array in (arrays or {}).items()
        }

    def _buffers(self) -> dict[str, Array]:
        return {name: held.get() for name, held in self._structure.buffers().items()}

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Afterwards buffers and the state of random numbers are what they were."""
        changing = self._structure.changing()
        before = [tf.identity(calling.tensor_of(variable)) for variable in changing]
        try:
            yield
        finally:
            for variable, value in zip(changing, before, strict=True):
                variable.assign(value)
