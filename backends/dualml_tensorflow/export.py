"""Files that TensorFlow and Keras read: SavedModel, ``.keras`` and LiteRT, each run from what was written."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dualml.errors import UnsupportedError
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph
from dualml_tensorflow.network import TensorflowNetwork
from dualml_tensorflow.predictions import PREDICTIONS

Run = Callable[[Arrays], Arrays]
"""Predictions by output's name from inputs by name."""

SIGNATURE = "serving_default"
"""Name of the one function of a SavedModel and of a LiteRT file, which servers call if none is named."""
ROWS_AT_ONCE = 128
"""Examples in one call."""
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)
"""Date of every member of a ``.keras`` file, so that equal models give equal bytes."""


def _network(graph: Graph, weights: Arrays) -> TensorflowNetwork:
    """Stock dropout layers: the file is read without dualml where nothing else needs it."""
    return TensorflowNetwork(graph, weights, device="cpu", native_randomness=True)


def _in_pieces(run: Run) -> Run:
    """Few examples at a time."""

    def whole(inputs: Arrays) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        pieces = [
            run({name: array[start : start + ROWS_AT_ONCE] for name, array in inputs.items()})
            for start in range(0, rows, ROWS_AT_ONCE)
        ]
        return {name: np.concatenate([np.asarray(piece[name]) for piece in pieces]) for name in pieces[0]}

    return whole


def _predictions(graph: Graph, model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a Keras model of a graph predicts, by output's name."""
    given = [inputs[item.name] for item in graph.inputs]
    values = model(given[0] if len(given) == 1 else given, training=False)
    values = values if isinstance(values, (list, tuple)) else [values]
    return {
        label: PREDICTIONS[graph.predictions[name]](value)
        for name, label, value in zip(graph.outputs, graph.output_names, values, strict=True)
    }


def write_savedmodel(graph: Graph, weights: Arrays, path: Path) -> Run:
    """A folder for TensorFlow Serving: one signature that predicts.

    Args:
        graph: The model.
        weights: All parameters and buffers, of either backend.
        path: Folder to make.

    Returns:
        What the folder predicts.

    Raises:
        UnsupportedError: TensorFlow cannot save the model.
    """
    _save(graph, _network(graph, weights), path)
    serve = tf.saved_model.load(str(path)).signatures[SIGNATURE]
    return _in_pieces(lambda inputs: serve(**{name: tf.constant(array) for name, array in inputs.items()}))


def _save(graph: Graph, network: TensorflowNetwork, path: Path) -> None:
    specs = {
        item.name: tf.TensorSpec((None, *item.shape), "int64" if item.integer else graph.precision, name=item.name)
        for item in graph.inputs
    }

    def predict(**inputs: Any) -> dict[str, Any]:
        return _predictions(graph, network.native, inputs)

    module = tf.Module()  # not the model itself: its layers would be stored beside the function, and weights twice
    module.weights = [variable.value for variable in network.native.variables]
    module.predict = tf.function(predict, autograph=False)
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    with _silent():
        signature = module.predict.get_concrete_function(**specs)
        try:
            tf.saved_model.save(module, str(path), signatures={SIGNATURE: signature}, options=options)
        except ValueError as error:  # names that begin with an underscore
            raise UnsupportedError(f"TensorFlow cannot save this model: {_reason(error)}") from None


def write_keras(graph: Graph, weights: Arrays, path: Path) -> Run:
    """A ``.keras`` file; its outputs are what the losses take, as those of ``Network.native``.

    Classes of ``dualml_tensorflow``, where stock layers do not do what the spec says, are named in it: whoever reads it
    imports that package first.

    Args:
        graph: The model.
        weights: All parameters and buffers, of either backend.
        path: File to write; must end in ``.keras``.

    Returns:
        What the file predicts, built from the description and the weights it holds.

    Raises:
        UnsupportedError: Keras cannot read back what it wrote.
    """
    network = _network(graph, weights)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "model.keras")
        network.native.save(plain)
        _without_dates(plain, path)
    with zipfile.ZipFile(path) as archive:
        description = json.loads(archive.read("config.json"))
    try:
        model = keras.saving.deserialize_keras_object(description, safe_mode=True)
        model.load_weights(path)
    except (ValueError, TypeError) as error:  # so would everyone else who reads it
        raise UnsupportedError(f"Keras cannot read back what it wrote: {_reason(error)}") from None
    return _in_pieces(lambda inputs: _predictions(graph, model, inputs))


def _without_dates(source: Path, target: Path) -> None:
    """Copy an archive with one date for every member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            data = old.read(name)
            if name == "metadata.json":
                data = json.dumps(json.loads(data) | {"date_saved": ""}).encode()
            new.writestr(zipfile.ZipInfo(name, ARCHIVE_TIME), data)


def write_litert(graph: Graph, weights: Arrays, path: Path) -> Run:
    """A LiteRT (``.tflite``) file of one signature that predicts; recurrent layers are unrolled.

    Args:
        graph: The model.
        weights: All parameters and buffers, of either backend.
        path: File to write.

    Returns:
        What the file predicts.

    Raises:
        UnsupportedError: The converter cannot express a part with LiteRT's own operators.
    """
    network = _network(graph, weights)
    for layer in network.native.layers:
        if isinstance(layer, keras.layers.RNN):
            layer.unroll = True  # LiteRT's interpreter has no loops over lists of tensors
    with tempfile.TemporaryDirectory() as folder, _silent():
        _save(graph, network, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        try:
            data = converter.convert()
        except Exception as error:  # the converter's exceptions share no base class
            raise UnsupportedError(f"LiteRT cannot express this model: {_reason(error)}") from None
    path.write_bytes(data)
    return _in_pieces(_interpreted(data))


def _interpreted(data: bytes) -> Run:
    """A LiteRT file in the interpreter.

    Raises:
        UnsupportedError: It cannot run it.
    """
    try:
        with _silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter has been about to go for several releases
            runner = _interpreter(data).get_signature_runner(SIGNATURE)
    except (RuntimeError, ValueError) as error:
        raise UnsupportedError(f"LiteRT's interpreter cannot run this model: {_reason(error)}") from None

    def run(inputs: Arrays) -> Arrays:
        try:
            found: Arrays = runner(**inputs)
        except (RuntimeError, ValueError) as error:
            raise UnsupportedError(f"LiteRT's interpreter cannot run this model: {_reason(error)}") from None
        return {name: np.array(value) for name, value in found.items()}  # the interpreter reuses its memory

    return run


def _interpreter(data: bytes) -> Any:
    """``ai_edge_litert``'s where it is installed, else TensorFlow's own of the same code."""
    try:
        from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        Interpreter = tf.lite.Interpreter  # noqa: N806 (a class)
    return Interpreter(model_content=data, num_threads=1)


def _reason(error: BaseException) -> str:
    """The line of a converter's message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "not supported" in line or "custom op" in line]
    line = (telling or lines or [type(error).__name__])[0]
    operator = re.search(r'fused\["(\w+):', line)  # where the converter says it, in place of a sentence
    return f"the operator {operator[1]}" if operator else line.rpartition("error: ")[2][:300]


@contextmanager
def _silent() -> Iterator[None]:
    """Without what savers and converters print."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


FORMATS: Mapping[str, Callable[[Graph, Arrays, Path], Run]] = {
    "savedmodel": write_savedmodel,
    "keras": write_keras,
    "litert": write_litert,
}
"""By name."""
