"""How calls of stock layers enter the recorder, and how they are done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from dualml.native.protocol import OPAQUE
from dualml_tensorflow.native import activations, describing, random
from dualml_tensorflow.native.stock import Given, Meaning
from dualml_tensorflow.native.trace import Reading, Recorder, Replay
from dualml_tensorflow.native.weights import held_in

Original = Callable[..., Any]
"""``keras.Layer.__call__`` as it is without the watching."""


def opaque(recorder: Recorder, original: Original, given: Given) -> Any:
    """A stock layer without a meaning, or one whose settings have none."""
    layer = given.layer
    name = recorder.unique(recorder.path(layer))
    tensors, shell, drawing = given.tensors, given.emptied(), random.draws(layer)
    masks = [(place, mask) for place, item in enumerate(tensors) if (mask := given.mask_of(item)) is not None]
    masks = [(place, mask) for place, mask in masks if recorder.known(mask) or id(mask) in recorder.pending]
    kwargs = dict(given.kwargs)
    if drawing:
        kwargs["training"] = False
        recorder.note(f"{name} ({type(layer).__name__}) draws numbers that cannot be given; it runs as in inference")

    def replay(values: Sequence[Any], training: bool, _: Any) -> Any:
        own = [_bearing(item, None) for item in values[: len(tensors)]]
        for (place, _), item in zip(masks, values[len(tensors) :], strict=True):
            own[place] = _bearing(own[place], item)
        again = shell.with_tensors(own)
        return layer(*again.args, **_mode(again, training and not drawing))

    with recorder.silently():
        made = original(layer, *given.args, **kwargs)
    reading = Reading(
        kind=OPAQUE,
        settings={},
        inputs=[*tensors, *(mask for _, mask in masks)],
        replay=replay,
        weights=_own_names(recorder, layer),
        native=type(layer).__name__,
        code=recorder.once(layer, "code", lambda: describing.constructor(layer, "keras.layers")),
    )
    return _packed(made, recorder.record(name, reading, _tensors(made)))


def _own_names(recorder: Recorder, layer: Any) -> dict[str, str]:
    """Weights of a layer without roles: what stands behind the layer's path in their names."""
    prefix = recorder.path(layer) + "."
    return {name.removeprefix(prefix): name for _, name in recorder.named(layer)}


def stock(recorder: Recorder, original: Original, given: Given, meaning: Meaning) -> Any:
    """A stock layer with a meaning, or a subclass that says no more than its base class."""
    layer = given.layer
    name = recorder.unique(recorder.path(layer))
    values = list(given.tensors if meaning.inputs is None else meaning.inputs)
    said = tuple(meaning.said.values())
    function = getattr(layer, meaning.fused) if meaning.fused else None
    fused = function is not None and function is not keras.activations.linear
    reading = Reading(
        kind=meaning.kind,
        settings=meaning.settings,
        inputs=[*values[:-1], _unfolded(recorder, f"{name}.mask", values[-1])] if meaning.folded else values,
        replay=_again(given, meaning, values, fused),
        channels_first=meaning.channels_first,
        weights={role: recorder.variable(held.variable) for role, held in held_in(layer).items()},
        native=type(layer).__name__,
        code=recorder.once(layer, "code", lambda: describing.layer(layer, said)),
        unsaid=recorder.once(layer, "unsaid", lambda: describing.unsaid(layer, meaning.said)),
        random=meaning.random,
    )
    if meaning.random and recorder.training:
        with recorder.silently():
            made = _dropped(original, given, recorder.masks.get(name))
        return recorder.record(name, reading, [made])[0]
    if fused:
        return _fused(recorder, original, given, reading, name, meaning.fused, function)
    kwargs = dict(given.kwargs)
    if _draws_apart(layer, meaning):
        kwargs["training"] = False
        recorder.note(
            f"{name} ({type(layer).__name__}) drops values inside by masks that cannot be given; it drops none"
        )
    with recorder.silently(), _masked(layer, recorder.masks.get(name)):
        made = original(layer, *given.args, **kwargs)
    if meaning.turned:
        return _turned(recorder, name, reading, made)
    own = recorder.record(name, reading, _tensors(made))
    if getattr(layer, "mask_zero", False):
        _padding_mask(recorder, name, layer, values[0], made)
    return _packed(made, own)


def _dropped(original: Original, given: Given, mask: Any) -> Any:
    """What a layer that drops values gives in training; a subclass does it by its own code."""
    if not given.inherited:
        return random.dropped(given.layer, given.tensors[0], mask)
    with random.given(mask):
        return original(given.layer, *given.args, **_mode(given, training=True))


def _draws_apart(layer: Any, meaning: Meaning) -> bool:
    """Whether a layer draws masks that are none of the spec's."""
    return not meaning.random and meaning.kind != "attention" and random.draws(layer)


def _masked(layer: Any, mask: Any) -> Any:
    """Within it, what an attention layer drops is given."""
    return random.inner_mask(layer, mask) if _drops_weights(layer) else nullcontext()


def _drops_weights(layer: Any) -> bool:
    attention = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
    return isinstance(layer, attention) and random.draws(layer)


def _again(given: Given, meaning: Meaning, values: Sequence[Any], fused: bool) -> Replay:
    """How a stock layer is called again."""
    layer, shell = given.layer, given.emptied()
    places = {id(item): place for place, item in enumerate(values)}
    order = [places.get(id(item)) for item in given.tensors]
    borne = {
        place: places[id(mask)]
        for place, item in enumerate(given.tensors)
        if (mask := given.mask_of(item)) is not None and id(mask) in places and places[id(mask)] not in order
    }
    held = [None if place is not None else item for place, item in zip(order, given.tensors, strict=True)]

    def replay(tensors: Sequence[Any], training: bool, mask: Any) -> Any:
        if meaning.random and training:
            return _dropped(keras.Layer.__call__, shell.with_tensors(tensors[:1]), mask)
        if meaning.folded:
            tensors = [*tensors[:-1], tf.expand_dims(tensors[-1], 1)]
        own = [item if place is None else tensors[place] for place, item in zip(order, held, strict=True)]
        own = [_bearing(item, tensors[borne[place]] if place in borne else None) for place, item in enumerate(own)]
        other = shell.with_tensors(own)
        arguments = _mode(other, training and not _draws_apart(layer, meaning))
        run = keras.Layer.__call__ if given.base is None else given.base
        if fused:
            with _captured(layer, meaning.fused) as before:
                run(layer, *other.args, **arguments)
            return before[0]
        with _masked(layer, mask):
            made = run(layer, *other.args, **arguments)
        first, *states = _tensors(made)
        return _packed(made, [tf.reverse(first, [1]) if meaning.turned else first, *states])

    return replay


def _bearing(tensor: Any, mask: Any) -> Any:
    """A tensor of its own with a mask attached."""
    own = tf.identity(tensor)
    if mask is not None:
        keras.src.backend.set_keras_mask(own, tf.cast(mask, tf.bool))
    return own


def _unfolded(recorder: Recorder, name: str, mask: Any) -> Any:
    """A mask of shape ``(examples, 1, keys)`` without the middle axis, as a call of its own."""
    with recorder.silently():
        made = tf.squeeze(mask, 1)
    reading = Reading("reshape", {}, [mask], lambda tensors, *_: tf.squeeze(tensors[0], 1), native="tf.squeeze")
    return recorder.record(recorder.unique(name), reading, [made])[0]


def _padding_mask(recorder: Recorder, name: str, layer: Any, ids: Any, made: Any) -> None:
    """What an embedding with ``mask_zero`` attaches to its output."""
    mask = keras.src.backend.get_keras_mask(made)
    if mask is None:
        return
    reading = Reading(
        "padding_mask", {"index": 0}, [ids], lambda tensors, *_: layer.compute_mask(tensors[0]), native="mask_zero"
    )
    recorder.keep(mask)
    recorder.pending[id(mask)] = lambda: recorder.record(recorder.unique(f"{name}.mask"), reading, [mask])


def _turned(recorder: Recorder, name: str, reading: Reading, made: Any) -> Any:
    """A layer that reads from the end and returns its outputs so: the sequence in its order, then turned."""
    first, *states = _tensors(made)
    with recorder.silently():
        aligned = tf.reverse(first, [1])
        again = tf.reverse(aligned, [1])
    aligned, *states = recorder.record(name, reading, [aligned, *states])
    turning = recorder.unique(f"{name}.flip")
    flip = Reading(OPAQUE, {}, [aligned], lambda tensors, *_: tf.reverse(tensors[0], [1]), native="keras.ops.flip")
    again = recorder.record(turning, flip, [again])[0]
    mask = keras.src.backend.get_keras_mask(first)
    if mask is not None:
        keras.src.backend.set_keras_mask(again, mask)
    recorder.turned[id(again)] = (aligned, turning)
    return _packed(made, [again, *states])


def _fused(
    recorder: Recorder, original: Original, given: Given, reading: Reading, name: str, attribute: str, function: Any
) -> Any:
    """A stock layer with a function at its end: two calls.

    The function itself runs in its place; what it does is looked into only if it is none of the catalogue's.
    """
    meaning = activations.function_of(function)
    after: list[Any] = []

    def watched(x: Any, *args: Any, **kwargs: Any) -> Any:
        before = recorder.record(name, reading, [x])[0]
        if meaning is None:
            with recorder.aloud(), recorder.within(given.layer):
                result = function(before, *args, **kwargs)
        else:
            result = function(before, *args, **kwargs)
            result = recorder.record(
                recorder.unique(f"{name}.{attribute}"), _activation(function, meaning, before), [result]
            )[0]
        after.append(result)
        return result

    with recorder.silently(), _replaced(given.layer, attribute, watched):
        made = original(given.layer, *given.args, **given.kwargs)
    if not after or made is not after[-1]:
        recorder.note(f"{name}: something is done behind its {attribute} that could not be seen")
    return made


def _activation(function: Any, meaning: activations.Function, before: Any) -> Reading:
    title = activations.name_of(function)
    return Reading(
        kind="activation",
        settings={"function": meaning},
        inputs=[before],
        replay=lambda tensors, *_: function(tensors[0]),
        native=title,
        code=title,
        unsaid=() if isinstance(function, keras.Layer) else tuple(next(iter(meaning.values()))),
    )


@contextmanager
def _replaced(layer: Any, attribute: str, value: Any) -> Iterator[None]:
    """Another value of an attribute meanwhile, without Keras noticing."""
    own = vars(layer)
    before = own[attribute]
    own[attribute] = value
    try:
        yield
    finally:
        own[attribute] = before


@contextmanager
def _captured(layer: Any, attribute: str) -> Iterator[list[Any]]:
    """What a layer hands to the function at its end."""
    found: list[Any] = []

    def capture(x: Any, *_: Any, **__: Any) -> Any:
        found.append(x)
        return x

    with _replaced(layer, attribute, capture):
        yield found


def _mode(given: Given, training: bool) -> dict[str, Any]:
    """Arguments with the mode, for a layer that takes one; ``super().call`` has it where the subclass says it."""
    rest = {name: item for name, item in given.kwargs.items() if name != "training"}
    takes = "training" in given.kwargs if given.base is not None else given.layer._call_has_training_arg
    return {**rest, "training": training} if takes else rest


def _tensors(made: Any) -> list[Any]:
    return [item for item in tree.flatten(made) if isinstance(item, tf.Tensor)]


def _packed(made: Any, tensors: Sequence[Any]) -> Any:
    rest = iter(tensors)
    return tree.map_structure(lambda item: next(rest) if isinstance(item, tf.Tensor) else item, made)
