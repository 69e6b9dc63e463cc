"""Ways in which weights come to stand in another order when they are carried from one framework to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np

from dualml.parity.hypotheses.nodes import Roles
from dualml.protocol import Array

GATES: Mapping[str, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("z", "r", "n")}
"""Gates of each recurrent layer in the neutral order."""

PROJECTIONS = ("query", "key", "value")

KERNELS = {
    "dense": "layout.dense_transposed",
    "tied_dense": "layout.dense_transposed",
    "simple_rnn": "layout.dense_transposed",
    "embedding": "layout.dense_transposed",
}
"""Layers whose arrays of two axes may be turned."""


@dataclass(frozen=True)
class Rearrangement:
    """One way.

    Attributes:
        cause: Cause id.
        said: What was done, for people.
        meant: The order that is meant.
        instead: The order it has become.
        apply: From the weights as they are, by role, to those in the other order. Roles may be missing.
    """

    cause: str
    said: str
    meant: str
    instead: str
    apply: Callable[[Roles], dict[str, Array]]


def rearrangements(kind: str, roles: Roles, flattened: tuple[int, ...] | None = None) -> Iterator[Rearrangement]:
    """Every known way for a layer of a kind.

    Args:
        kind: Of the layer: ``dense``, ``conv2d`` …
        roles: Its weights, or some of them.
        flattened: Shape ``(height, width, channels)`` that was flattened before a dense layer, if one was.
    """
    if kind in KERNELS or kind in GATES or kind == "attention":
        yield from _turned(kind, roles)
    if kind == "dense" and flattened is not None:
        yield from _flattened(flattened)
    if kind.startswith("depthwise"):
        yield from _depthwise(roles)
    elif kind.startswith("conv_transpose"):
        yield from _kernel_axes(roles, "layout.conv_transpose", "layout.conv_transpose")
    elif kind.startswith("conv"):
        yield from _kernel_axes(roles, "layout.conv_axes", "layout.conv_flipped")
    if kind in GATES:
        yield from _gates(kind)
    if kind in GATES or kind == "simple_rnn":
        yield from _biases(roles)
    if kind == "attention":
        yield from _projections(roles)
    if kind in ("layer_norm",):
        yield from _image_axes(roles)


def _each(roles: Roles, change: Callable[[Array], Array], chosen: Callable[[str], bool]) -> dict[str, Array]:
    return {role: np.asarray(change(array)) if chosen(role) else array for role, array in roles.items()}


def _of(role: str, name: str) -> bool:
    return role.startswith(name)


def _any(role: str) -> bool:
    return bool(role)


def _turned(kind: str, roles: Roles) -> Iterator[Rearrangement]:
    """Two axes exchanged, which goes unseen where they are equally long."""
    cause = KERNELS.get(kind, "layout.qkv_packing" if kind == "attention" else "layout.dense_transposed")
    names = [role for role, array in roles.items() if np.ndim(array) == 2 and "bias" not in role]
    if kind in GATES:
        names = [name for name in names if np.shape(roles[name])[0] == np.shape(roles[name])[1]]
    groups = [(name,) for name in names] + ([tuple(names)] if len(names) > 1 else [])
    for group in groups:

        def apply(given: Roles, group: tuple[str, ...] = group) -> dict[str, Array]:
            return _each(given, lambda array: array.swapaxes(0, 1), lambda role: role in group)

        what = "kernel" if group == ("kernel",) else ", ".join(group)
        yield Rearrangement(cause, f"{what} transposed", "(inputs, outputs)", "(outputs, inputs)", apply)


def _flattened(shape: tuple[int, ...]) -> Iterator[Rearrangement]:
    """Rows of a dense kernel in the order of another flattening."""
    names = {2: ("length", "channels"), 3: ("height", "width", "channels")}.get(len(shape))
    for order in permutations(range(len(shape))):
        if order == tuple(range(len(shape))):
            continue

        def apply(given: Roles, order: tuple[int, ...] = order) -> dict[str, Array]:
            def rows(array: Array) -> Array:
                return array.reshape(*shape, -1).transpose(*order, len(shape)).reshape(array.shape)

            return _each(given, rows, lambda role: role == "kernel")

        def say(axes: tuple[int, ...]) -> str:
            return ", ".join(f"axis {axis}" if names is None else names[axis] for axis in axes)

        usual = say(tuple(range(len(shape))))
        yield Rearrangement(
            "layout.flatten_order",
            f"rows of the kernel in the order ({say(order)})",
            f"({usual})",
            f"({say(order)})",
            apply,
        )


def _depthwise(roles: Roles) -> Iterator[Rearrangement]:
    kernel = roles.get("kernel")
    size = () if kernel is None else np.shape(kernel)
    rank = max(len(size) - 2, 0)

    def exchanged(array: Array) -> Array:
        *window, channels, multiplier = array.shape
        return array.reshape(*window, multiplier, channels).swapaxes(-1, -2)

    yield Rearrangement(
        "layout.depthwise_order",
        "channels and multiplier of the kernel exchanged",
        "channel slowest",
        "multiplier slowest",
        lambda given: _each(given, exchanged, lambda role: role == "kernel"),
    )

    def outputs(array: Array) -> Array:
        channels, multiplier = size[-2:]
        return array.reshape(multiplier, channels).T.reshape(-1)

    if "bias" in roles and size and size[-1] > 1:
        yield Rearrangement(
            "layout.depthwise_order",
            "channels and multiplier exchanged in kernel and bias",
            "channel slowest",
            "multiplier slowest",
            lambda given: {
                role: exchanged(array) if role == "kernel" else outputs(array) for role, array in given.items()
            },
        )
    yield from _spatial(rank, "layout.conv_axes", "layout.conv_flipped")


def _spatial(rank: int, moved: str, mirrored: str) -> Iterator[Rearrangement]:
    """Spatial axes of a kernel in another order, or mirrored."""

    def flip(array: Array) -> Array:
        return np.flip(array, axis=tuple(range(rank)))

    if rank:
        yield Rearrangement(
            mirrored,
            "kernel mirrored along its spatial axes",
            "cross-correlation",
            "convolution",
            lambda given: _each(given, flip, lambda role: role == "kernel"),
        )
    if rank > 1:

        def turn(array: Array) -> Array:
            return array.transpose(*reversed(range(rank)), rank, rank + 1)

        yield Rearrangement(
            moved,
            "spatial axes of the kernel in reverse order",
            "(height, width)",
            "(width, height)",
            lambda given: _each(given, turn, lambda role: role == "kernel"),
        )


def _kernel_axes(roles: Roles, moved: str, mirrored: str) -> Iterator[Rearrangement]:
    """Any order of a kernel's axes that leaves its shape, and any order a plain reshape may have made of it."""
    kernel = roles.get("kernel")
    if kernel is None:
        return
    rank, shape = np.ndim(kernel) - 2, np.shape(kernel)
    yield from _spatial(rank, moved, mirrored)
    names = [*(("height", "width", "depth")[:rank] if rank > 1 else ("length",)), "inputs", "outputs"]
    plain = tuple(range(rank + 2))
    turned = (*reversed(range(rank)), rank, rank + 1)
    for order in permutations(plain):
        if order in (plain, turned):
            continue

        def moving(array: Array, order: tuple[int, ...] = order) -> Array:
            return array.transpose(order)

        def reshaping(array: Array, order: tuple[int, ...] = order) -> Array:
            return np.ascontiguousarray(array.transpose(order)).reshape(array.shape)

        said = ", ".join(names[axis] for axis in order)
        meant = ", ".join(names)
        for text, change in (
            ("axes of the kernel taken as", moving),
            ("kernel reshaped as if its axes were", reshaping),
        ):
            if change is moving and tuple(shape[axis] for axis in order) != shape:
                continue

            def apply(given: Roles, change: Callable[[Array], Array] = change) -> dict[str, Array]:
                return _each(given, change, lambda role: role == "kernel")

            yield Rearrangement(moved, f"{text} ({said})", f"({meant})", f"({said})", apply)


def _blocks(array: Array, order: tuple[int, ...]) -> Array:
    """Blocks of the last axis in another order."""
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[place] for place in order], axis=-1)


def _gates(kind: str) -> Iterator[Rearrangement]:
    gates = GATES[kind]
    for order in permutations(range(len(gates))):
        if order == tuple(range(len(gates))):
            continue

        def apply(given: Roles, order: tuple[int, ...] = order) -> dict[str, Array]:
            return _each(given, lambda array: _blocks(array, order), _any)

        said, meant = ", ".join(gates[place] for place in order), ", ".join(gates)
        yield Rearrangement("layout.gate_order", f"gates in the order {said}", meant, said, apply)


def _biases(roles: Roles) -> Iterator[Rearrangement]:
    """Two biases that are one sum for the output: one of them lost, exchanged, or counted twice."""
    cause = "layout.rnn_bias"
    stacked = "bias" in roles and np.ndim(roles["bias"]) == 2

    def over(change: Callable[[Array, Array], tuple[Array, Array]]) -> Callable[[Roles], dict[str, Array]]:
        def apply(given: Roles) -> dict[str, Array]:
            if "bias" not in given:
                return dict(given)
            first = given["bias"]
            if first.ndim == 2:
                return {**given, "bias": np.stack(change(first[0], first[1]))}
            if "recurrent_bias" not in given:
                return dict(given)
            one, two = change(first, given["recurrent_bias"])
            return {**given, "bias": one, "recurrent_bias": two}

        return apply

    if stacked or "recurrent_bias" in roles:
        zero = np.zeros_like
        yield Rearrangement(cause, "recurrent bias left out", "both", "the input's", over(lambda b, c: (b, zero(c))))
        yield Rearrangement(cause, "input bias left out", "both", "the recurrent", over(lambda b, c: (zero(b), c)))
        yield Rearrangement(cause, "biases exchanged", "b, b'", "b', b", over(lambda b, c: (c, b)))
        yield Rearrangement(cause, "input bias counted twice", "b + b'", "2 b", over(lambda b, _: (b, b)))
        yield Rearrangement(cause, "recurrent bias counted twice", "b + b'", "2 b'", over(lambda _, c: (c, c)))
        yield Rearrangement(cause, "both biases in one", "b, b'", "b + b', 0", over(lambda b, c: (b + c, zero(c))))
        yield Rearrangement(cause, "sum of the biases twice", "b + b'", "2 (b + b')", over(lambda b, c: (b + c, b + c)))
    elif "bias" in roles:
        half = {"half the bias": 0.5, "the bias twice": 2.0}
        for said, factor in half.items():

            def scaled(given: Roles, factor: float = factor) -> dict[str, Array]:
                return _each(given, lambda array: array * factor, lambda role: role == "bias")

            yield Rearrangement(cause, said, "b", said, scaled)


def _projections(roles: Roles) -> Iterator[Rearrangement]:
    """Projections of attention exchanged."""
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        names = tuple(PROJECTIONS[place] for place in order)

        def apply(given: Roles, names: tuple[str, ...] = names) -> dict[str, Array]:
            found = dict(given)
            for target, source in zip(PROJECTIONS, names, strict=True):
                for part in ("kernel", "bias"):
                    if f"{source}_{part}" in given:
                        found[f"{target}_{part}"] = given[f"{source}_{part}"]
            return found

        if all(f"{name}_kernel" in roles for name in PROJECTIONS):
            yield Rearrangement(
                "layout.qkv_packing",
                f"query, key, value taken from {', '.join(names)}",
                "query, key, value",
                ", ".join(names),
                apply,
            )


def head_rearrangements(heads: int) -> Iterator[Rearrangement]:
    """Numbers of the heads in another order within the projections.

    Args:
        heads: Number of heads.
    """
    cause = "layout.qkv_packing"

    def interleaved(array: Array) -> Array:
        width = array.shape[-1]
        split = array.reshape(*array.shape[:-1], heads, width // heads)
        return split.swapaxes(-1, -2).reshape(array.shape)

    def together(array: Array) -> Array:
        width = array.shape[-1]
        split = array.reshape(*array.shape[:-1], width // heads, heads)
        return split.swapaxes(-1, -2).reshape(array.shape)

    def rows(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda array: np.moveaxis(change(np.moveaxis(array, 0, -1)), -1, 0)

    def reads(role: str) -> bool:
        return role.split("_")[0] in PROJECTIONS

    for said, change in (("numbers of the heads interleaved", interleaved), ("interleaved heads put apart", together)):
        yield Rearrangement(
            cause, f"{said} in query, key and value", "head slowest", said, partial(_each, change=change, chosen=reads)
        )
        yield Rearrangement(
            cause,
            f"{said} in the output projection",
            "head slowest",
            said,
            partial(_each, change=rows(change), chosen=lambda role: role == "output_kernel"),
        )
        for name in PROJECTIONS:
            yield Rearrangement(
                cause,
                f"{said} in {name}",
                "head slowest",
                said,
                partial(_each, change=change, chosen=partial(_of, name=name)),
            )
    for said, per_head in (("packed head by head", True), ("packed heads taken apart", False)):

        def repacked(given: Roles, per_head: bool = per_head) -> dict[str, Array]:
            found = dict(given)
            for part in ("kernel", "bias"):
                if not all(f"{name}_{part}" in given for name in PROJECTIONS):
                    continue
                whole = np.concatenate([given[f"{name}_{part}"] for name in PROJECTIONS], axis=-1)
                lead, width = whole.shape[:-1], whole.shape[-1] // 3
                if width % heads:
                    raise ValueError("heads do not divide the projections")
                axes = (heads, 3) if per_head else (3, heads)
                split = whole.reshape(*lead, *axes, width // heads)
                split = split.swapaxes(-2, -3).reshape(*lead, 3, width) if per_head else split.reshape(*lead, 3, width)
                if not per_head:
                    mixed = whole.reshape(*lead, 3, heads, width // heads).swapaxes(-2, -3)
                    split = mixed.reshape(*lead, 3, width)
                for place, name in enumerate(PROJECTIONS):
                    found[f"{name}_{part}"] = split[..., place, :]
            return found

        yield Rearrangement(cause, f"query, key and value {said}", "one after the other", said, repacked)


def _image_axes(roles: Roles) -> Iterator[Rearrangement]:
    """Scale and offset over the axes of an image, (channels, height, width) taken for (height, width, channels)."""
    scale = roles.get("scale")
    if scale is None or np.ndim(scale) < 2:
        return
    for said, forwards in (("channels first", True), ("channels last", False)):

        def apply(given: Roles, forwards: bool = forwards) -> dict[str, Array]:
            def reshaped(array: Array) -> Array:
                moved = np.moveaxis(array, -1, 0) if forwards else np.moveaxis(array, 0, -1)
                return np.ascontiguousarray(moved).reshape(array.shape)

            return _each(given, reshaped, _any)

        yield Rearrangement(
            "layout.conv_axes", f"scale and offset reshaped from {said}", "(height, width, channels)", said, apply
        )
