"""In which settings two claims differ, and which cause each setting is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.spec.graph import Node

NO_VALUE = ("name", "inputs", "fans", "ties")
"""Settings that change no value of a forward pass, beside those of initializers."""

NO_PARAMETERS = ("pad", "permute", "reshape")

BY_SETTING: Mapping[str, str] = {
    "epsilon": "norm.epsilon",
    "momentum": "norm.momentum",
    "variance": "norm.unbiased_variance",
    "frozen": "norm.frozen_mode",
    "axes": "norm.axis",
    "padding": "padding.same_stride",
    "output_padding": "padding.same_stride",
    "padding_mode": "padding.mode",
    "count_padding": "pool.count_padding",
    "ceil_mode": "pool.ceil_mode",
    "rate": "dropout.rate",
    "align_corners": "resize.alignment",
    "rounding": "resize.alignment",
    "step": "resize.alignment",
    "reset_after": "rnn.reset_after",
    "return_sequences": "rnn.layout",
    "reverse": "rnn.layout",
    "masked_output": "rnn.layout",
    "nonlinearity": "activation.kind",
    "padding_index": "embedding.padding_index",
    "order": "layout.flatten_order",
    "causal": "attention.mask_polarity",
    "slopes": "activation.slope",
    "approximate": "activation.gelu_approximation",
    "negative_slope": "activation.slope",
    "alpha": "activation.alpha",
}
"""The cause that a setting of this name is, whatever layer has it."""

BY_KIND: Mapping[tuple[str, str], str] = {
    ("group_norm", "groups"): "norm.axis",
    ("pad", "value"): "padding.mode",
    ("permute", "axes"): UNKNOWN,
    ("softmax", "axis"): "softmax.axis",
    ("log_softmax", "axis"): "softmax.axis",
    ("softplus", "beta"): "activation.alpha",
    ("softplus", "threshold"): "activation.alpha",
    ("swish", "beta"): "activation.alpha",
    ("squareplus", "b"): "activation.alpha",
    ("hard_tanh", "minimum"): "activation.alpha",
    ("hard_tanh", "maximum"): "activation.alpha",
    ("hard_shrink", "threshold"): "activation.alpha",
    ("soft_shrink", "threshold"): "activation.alpha",
    ("clipped_relu", "max_value"): "activation.alpha",
    ("clipped_relu", "threshold"): "activation.alpha",
    ("threshold", "at"): "activation.alpha",
    ("threshold", "value"): "activation.alpha",
    ("lstm", "bias"): "layout.rnn_bias",
    ("gru", "bias"): "layout.rnn_bias",
    ("simple_rnn", "bias"): "layout.rnn_bias",
    ("attention", "mask"): "attention.mask_polarity",
    ("lstm", "mask"): "rnn.layout",
    ("gru", "mask"): "rnn.layout",
    ("simple_rnn", "mask"): "rnn.layout",
}
"""The cause of a setting that means something else elsewhere."""

STATED = frozenset({*BY_SETTING.values(), *BY_KIND.values(), "activation.kind"}) - {
    UNKNOWN,
    "norm.axis",
    "norm.unbiased_variance",
    "attention.mask_polarity",
    "rnn.layout",
    "layout.rnn_bias",
    "embedding.padding_index",
}
"""Causes whose convention a claim states in full: that a side does something else contradicts its own code."""

NORMALISING = frozenset({"layer_norm", "group_norm", "instance_norm", "batch_norm"})
"""Layers that divide by a standard deviation, over different axes."""


@dataclass(frozen=True)
class Difference:
    """One setting in which two claims differ.

    Attributes:
        cause: Cause id; ``unknown`` for a setting that is none.
        setting: Its name; of an activation's function ``function`` or the function's own setting.
        meant: Its value in the claim that says what is meant.
        instead: Its value in the deviating side's claim.
        changes: What to change in the meant settings to have it.
    """

    cause: str
    setting: str
    meant: Any
    instead: Any
    changes: Mapping[str, Any]


def cause_of(kind: str, setting: str) -> str:
    """The cause that a differing setting of a layer or an activation is."""
    return BY_KIND.get((kind, setting)) or BY_SETTING.get(setting, UNKNOWN)


def differences(meant: Node, said: Node) -> Iterator[Difference]:
    """Settings in which two claims of the same operation differ, one at a time.

    Settings that change no value (names, initializers) are left out, as are parameters that one side has and the
    other lacks only where the claims are of another operation; see ``other_operation``.
    """
    if meant.operation != said.operation:
        return
    for name in type(meant.settings).model_fields:
        one, two = getattr(meant.settings, name), getattr(said.settings, name)
        if name in NO_VALUE or name.endswith("initializer") or one == two:
            continue
        if name == "mask":  # names of layers: only whether there is one counts
            if (one is None) != (two is None):
                yield Difference(cause_of(meant.operation, name), name, one, two, {name: two})
            continue
        if name == "function" and getattr(one, "kind", None) == getattr(two, "kind", None):
            yield from _within(one, two)
        elif name == "function":
            yield Difference(_function_cause(one, two), name, one, two, {name: two})
        else:
            yield Difference(cause_of(meant.operation, name), name, one, two, {name: two})


def _within(one: Any, two: Any) -> Iterator[Difference]:
    """Settings in which two activations of one kind differ."""
    for name in type(one).model_fields:
        left, right = getattr(one, name), getattr(two, name)
        if left != right:
            function = one.model_copy(update={name: right})
            yield Difference(cause_of(one.kind, name), name, left, right, {"function": function})


SLOPED = frozenset({"relu", "leaky_relu", "clipped_relu", "linear"})
"""Functions that differ in the slope of negative values alone."""


def _function_cause(one: Any, two: Any) -> str:
    """Relu against leaky_relu is a slope; anything else another function."""
    kinds = {getattr(one, "kind", ""), getattr(two, "kind", "")}
    return "activation.slope" if kinds == {"relu", "leaky_relu"} else "activation.kind"


def other_operation(meant: Node, said: Node) -> str:
    """The cause where two claims are of different operations."""
    kinds = {meant.operation, said.operation}
    if kinds <= NORMALISING:
        return "norm.axis"
    if kinds == {"prelu", "activation"} or ("activation" in kinds and kinds & {"linear", "identity"}):
        return "activation.kind"
    if "tied_dense" in kinds:
        return "weights.tied_untied"
    return UNKNOWN
