"""Mistakes made in valid configs: some stay valid, the others must be refused by a message that names the place."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from random_models import RandomModel, random_models
from random_settings import KINDS, Draw

Place = tuple[str | int, ...]

SIZES = (-2, -1, 0, 1, 2, 3, 5, 9, 19)
AMOUNTS = (-0.5, 0.0, 0.4, 1.0, 1.5, 1e9, float("nan"), float("inf"))
OTHERS = ("nonsense", "", True, None, [], {}, [1], [2, 3], [0, 0, 0, 0], {"nonsense": 1}, "relu", "layer_0", "input")
"""What stands where it does not belong."""


def places(config: Any, at: Place = ()) -> list[Place]:
    """Every place of a config, outside in."""
    found = [at]
    inner = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, item in inner:
        found += places(item, (*at, key))
    return found


def value_at(config: Any, place: Place) -> Any:
    """What stands at a place."""
    for key in place:
        config = config[key]
    return config


def _put(config: Any, place: Place, value: Any) -> None:
    value_at(config, place[:-1])[place[-1]] = value


def _chosen(draw: Draw, config: Any, wanted: Any = lambda _place, _value: True) -> Place | None:
    """Some place inside of the model that fits."""
    fitting = [place for place in places(config) if place and wanted(place, value_at(config, place))]
    return draw(st.sampled_from(fitting)) if fitting else None


def _number(place: Place, value: Any) -> bool:
    return place[0] == "layers" and isinstance(value, int | float) and not isinstance(value, bool)


def other_number(draw: Draw, config: Any) -> None:
    """A size, an axis, a rate or a number of groups that may not fit."""
    place = _chosen(draw, config["model"], _number)
    if place:
        whole = isinstance(value_at(config["model"], place), int)
        _put(config["model"], place, draw(st.sampled_from(SIZES if whole else AMOUNTS)))


def other_value(draw: Draw, config: Any) -> None:
    """A value of another type."""
    place = _chosen(draw, config)
    if place:
        _put(config, place, copy.deepcopy(draw(st.sampled_from((*OTHERS, *SIZES, *AMOUNTS)))))


def missing(draw: Draw, config: Any) -> None:
    """A key or an entry that is gone."""
    place = _chosen(draw, config)
    if place:
        del value_at(config, place[:-1])[place[-1]]


def unknown_key(draw: Draw, config: Any) -> None:
    """A key that nobody knows, or one that belongs elsewhere."""
    place = _chosen(draw, config, lambda _place, value: isinstance(value, dict))
    if place:
        key = draw(st.sampled_from(["unitz", "kernel_size", "layers", "name", "mask", "axis", "activation"]))
        value_at(config, place)[key] = draw(st.sampled_from([1, "layer_0", "nonsense", [1, 2]]))


def misspelt(draw: Draw, config: Any) -> None:
    """A word, or a key, with a letter more."""
    if draw(st.booleans()):
        place = _chosen(draw, config, lambda _place, value: isinstance(value, str))
        if place:
            _put(config, place, value_at(config, place) + "s")
        return
    place = _chosen(draw, config, lambda place, _value: isinstance(place[-1], str))
    if place:
        holder = value_at(config, place[:-1])
        holder[f"{place[-1]}s"] = holder.pop(place[-1])


def _list_of_layers(draw: Draw, config: Any) -> list[Any]:
    fitting = [place for place in places(config["model"]) if place and place[-1] in ("layers", "shortcut")]
    return value_at(config["model"], draw(st.sampled_from(fitting)))  # type: ignore[no-any-return]


def moved_layer(draw: Draw, config: Any) -> None:
    """Layers in another order."""
    layers = _list_of_layers(draw, config)
    layers.insert(draw(st.integers(0, len(layers) - 1)), layers.pop(draw(st.integers(0, len(layers) - 1))))


def doubled_layer(draw: Draw, config: Any) -> None:
    """A layer twice, with its name."""
    layers = _list_of_layers(draw, config)
    layers.append(copy.deepcopy(draw(st.sampled_from(layers))))


def removed_layer(draw: Draw, config: Any) -> None:
    """A layer that others may still name."""
    layers = _list_of_layers(draw, config)
    layers.pop(draw(st.integers(0, len(layers) - 1)))


def other_kind(draw: Draw, config: Any) -> None:
    """The settings of one kind under the key of another."""
    layers = _list_of_layers(draw, config)
    layer = draw(st.sampled_from(layers))
    for key in set(layer) & set(KINDS):
        layer[draw(st.sampled_from(sorted(KINDS)))] = layer.pop(key)


def bare_layer(draw: Draw, config: Any) -> None:
    """A layer of any kind without settings, or with one number, somewhere in the model."""
    layers = _list_of_layers(draw, config)
    kind = draw(st.sampled_from(sorted(KINDS)))
    layer = draw(st.sampled_from([kind, {kind: 2}, {kind: {}}, {kind: None}]))
    layers.insert(draw(st.integers(0, len(layers))), layer)


def other_name(draw: Draw, config: Any) -> None:
    """A name that is taken, unknown, or no name."""
    place = _chosen(
        draw, config["model"], lambda place, _value: place[-1] in ("name", "inputs", "mask", "layer", "use")
    )
    names = ["layer_0", "layer_1", "layer_2", "input", "nobody", "dense_1", "1st", "a.b", "", ["layer_0", "layer_0"]]
    if place:
        _put(config["model"], place, draw(st.sampled_from(names)))


def other_input(draw: Draw, config: Any) -> None:
    """An input of another shape, or of whole numbers."""
    model = config["model"]
    inputs = model if "input" in model else model["inputs"]
    name = "input" if "input" in model else draw(st.sampled_from(sorted(inputs)))
    shape = inputs[name]["shape"] if isinstance(inputs[name], dict) else inputs[name]
    changed = draw(
        st.sampled_from([[*shape, 2], shape[1:], shape[::-1], [size + 1 for size in shape], [1] * len(shape), []])
    )
    inputs[name] = {"shape": changed, "dtype": "integer"} if draw(st.integers(0, 2)) == 2 else changed


def other_outputs(draw: Draw, config: Any) -> None:
    """Outputs that are not there, or twice, or without a loss."""
    names = [layer["name"] for layer in config["model"]["layers"] if isinstance(layer, dict) and "name" in layer]
    names += ["nobody", "input"]
    config["model"]["outputs"] = draw(st.lists(st.sampled_from(names), max_size=3))


MUTATIONS = (
    other_number,
    other_number,
    other_number,
    other_number,
    other_number,
    other_value,
    missing,
    unknown_key,
    misspelt,
    moved_layer,
    doubled_layer,
    removed_layer,
    other_kind,
    bare_layer,
    other_name,
    other_input,
    other_outputs,
)
"""Mistakes to make; numbers more often."""


@st.composite
def mutated_models(draw: Draw, kind: str) -> RandomModel:
    """Models around a layer of some kind with one or two mistakes."""
    model = draw(random_models(kind))
    config = copy.deepcopy(model.config)
    for _ in range(draw(st.integers(1, 2))):
        try:
            draw(st.sampled_from(MUTATIONS))(draw, config)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError):
            break  # the first mistake took away what the second one needs
    return RandomModel(config, kind, model.seed, model.examples, model.weighted, model.built)
