"""Embeddings, recurrent layers and attention of Keras in the terms of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from dualml_tensorflow.native.stock import Given, Meaning, Reader

_L = keras.layers


def _embedding(given: Given) -> Meaning | None:
    layer = given.layer
    settings = {"vocabulary": layer.input_dim, "units": layer.output_dim, "padding_index": None, "scale": False}
    return Meaning("embedding", settings)


def _recurrent(given: Given) -> tuple[dict[str, Any], Any] | None:
    """Settings that all recurrent layers have, and the mask; ``None`` where the spec has no word for something."""
    layer = given.layer
    if layer.stateful or given.argument("initial_state") is not None or len(given.tensors[0].shape) != 3:
        return None
    mask = given.argument("mask")
    mask = given.mask_of(given.tensors[0]) if mask is None else mask
    settings: dict[str, Any] = {
        "units": layer.units,
        "return_sequences": layer.return_sequences,
        "reverse": layer.go_backwards,
        "masked_output": "zeros" if layer.zero_output_for_mask else "previous",
    }
    if mask is not None:
        settings["mask"] = ""
    return settings, mask


_SAID = {"bias": "use_bias", "return_sequences": "return_sequences"}


def _sequence(given: Given, kind: str, own: Mapping[str, Any], said: Mapping[str, str]) -> Meaning | None:
    found = _recurrent(given)
    if found is None:
        return None
    settings, mask = found
    inputs = [given.tensors[0]] + ([] if mask is None else [mask])
    turned = given.layer.go_backwards and given.layer.return_sequences
    return Meaning(kind, {**settings, **own}, said={**_SAID, **said}, inputs=inputs, turned=turned)


def _simple_rnn(given: Given) -> Meaning | None:
    names = {keras.activations.tanh: "tanh", keras.activations.relu: "relu"}
    name = names.get(given.layer.cell.activation)
    if name is None:
        return None
    bias = "single" if given.layer.use_bias else "none"
    return _sequence(given, "simple_rnn", {"nonlinearity": name, "bias": bias}, {"nonlinearity": "activation"})


def _usual_gates(layer: Any) -> bool:
    cell = layer.cell
    return cell.activation is keras.activations.tanh and cell.recurrent_activation is keras.activations.sigmoid


def _lstm(given: Given) -> Meaning | None:
    if not _usual_gates(given.layer):
        return None
    return _sequence(given, "lstm", {"bias": "single" if given.layer.use_bias else "none"}, {})


def _gru(given: Given) -> Meaning | None:
    layer = given.layer
    if not _usual_gates(layer):
        return None
    bias = "none" if not layer.use_bias else "stacked" if layer.reset_after else "single"
    own = {"bias": bias, "reset_after": layer.reset_after}
    return _sequence(given, "gru", own, {"reset_after": "reset_after"})


def _attended(given: Given, heads: int, kv_heads: int, size: int, units: int, own: Mapping[str, Any]) -> Meaning | None:
    """An attention layer of either class."""
    query, value, key = (given.argument(name) for name in ("query", "value", "key"))
    if value is None or (key is not None and key is not value) or given.argument("return_attention_scores"):
        return None
    if len(query.shape) != 3 or any(given.argument(name) is not None for name in ("query_mask", "key_mask")):
        return None
    mask, merged = given.argument("value_mask"), given.argument("attention_mask")
    if given.mask_of(query) is not None:
        return None  # a query that is padding reads no key then, and gets the mean of all
    mask = given.mask_of(value) if mask is None else mask
    folded = False
    if merged is not None:
        if mask is not None or len(merged.shape) != 3 or merged.shape[1] != 1 or merged.shape[0] != query.shape[0]:
            return None
        mask, folded = merged, True
    settings = {
        "heads": heads,
        "size": size,
        "kv_heads": kv_heads,
        "units": units,
        "causal": bool(given.argument("use_causal_mask")),
        "rotary": None,
        **own,
    }
    if mask is not None:
        settings["mask"] = ""
    inputs = [query] + ([] if value is query else [value]) + ([] if mask is None else [mask])
    said = {"bias": "use_bias", "rate": "dropout", "units": "output_shape", "causal": "use_causal_mask"}
    return Meaning("attention", settings, said=said, inputs=inputs, folded=folded)


def _multi_head(given: Given) -> Meaning | None:
    layer = given.layer
    plain = layer._value_dim == layer._key_dim and layer._sliding_window is None and not layer._use_gate
    if not plain or list(layer._attention_axes or [1]) != [1] or len(layer._output_dense.kernel.shape) != 3:
        return None
    units = layer._output_dense.kernel.shape[-1]
    own = {"rate": float(layer._dropout), "bias": layer._use_bias}
    return _attended(given, layer._num_heads, layer._num_heads, layer._key_dim, units, own)


def _grouped_query(given: Given) -> Meaning | None:
    layer = given.layer
    if getattr(layer, "_sliding_window", None) is not None or getattr(layer, "_use_gate", False):
        return None
    units = layer._output_dense.kernel.shape[-1]
    own = {"rate": float(layer.dropout), "bias": layer.use_bias}
    return _attended(given, layer.num_query_heads, layer.num_key_value_heads, layer.head_dim, units, own)


READERS: Mapping[type, Reader] = {
    _L.Embedding: _embedding,
    _L.SimpleRNN: _simple_rnn,
    _L.LSTM: _lstm,
    _L.GRU: _gru,
    _L.MultiHeadAttention: _multi_head,
    _L.GroupQueryAttention: _grouped_query,
}
