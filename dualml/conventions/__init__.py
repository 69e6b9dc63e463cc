"""The two presets: what each framework means where a spec leaves something unsaid.

One row per class of settings, one column per framework. Resolving a spec replaces every ``None`` by the
value found here, so afterwards no framework default is in play. Sources: the constructors' defaults of
PyTorch 2.13 and Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dualml.conventions import (
    activations,
    attention,
    convolution,
    dense,
    embedding,
    gated,
    initializers,
    losses,
    merge,
    normalization,
    optimizers,
    pooling,
    recurrent,
    resize,
    schedules,
    transformer,
)
from dualml.conventions.base import Preset
from dualml.spec.base import Settings
from dualml.spec.config import Spec
from dualml.spec.graph_builder import layer_names
from dualml.spec.metrics import larger_is_better
from dualml.spec.schedules import ReduceOnPlateau

TORCH: Preset = {
    **dense.TORCH,
    **convolution.TORCH,
    **embedding.TORCH,
    **attention.TORCH,
    **transformer.TORCH,
    **recurrent.TORCH,
    **activations.TORCH,
    **losses.TORCH,
    **optimizers.TORCH,
    **initializers.TORCH,
    **schedules.TORCH,
    **normalization.TORCH,
    **pooling.TORCH,
    **gated.TORCH,
    **merge.TORCH,
    **resize.TORCH,
}


KERAS: Preset = {
    **dense.KERAS,
    **convolution.KERAS,
    **embedding.KERAS,
    **attention.KERAS,
    **transformer.KERAS,
    **recurrent.KERAS,
    **activations.KERAS,
    **losses.KERAS,
    **optimizers.KERAS,
    **initializers.KERAS,
    **schedules.KERAS,
    **normalization.KERAS,
    **pooling.KERAS,
    **gated.KERAS,
    **merge.KERAS,
    **resize.KERAS,
}


PRESETS: Mapping[str, Preset] = {"torch": TORCH, "keras": KERAS}


def preset_of(spec: Spec) -> Preset:
    """What a spec's conventions fill in; one framework's epsilon depends on the number format."""
    preset = PRESETS[spec.conventions]
    return {**preset, **normalization.FLOAT64[spec.conventions]} if spec.precision == "float64" else preset


_Settings = TypeVar("_Settings", bound=Settings)


def fill(settings: _Settings, preset: Preset) -> _Settings:
    """A copy of some settings with every ``None`` the preset knows about filled in, at any depth."""
    unsaid = preset.get(type(settings), {})
    changes: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None and name in unsaid:
            value = unsaid[name]
        changes[name] = _fill_value(value, preset)
    return type(settings)(**changes)


def _fill_value(value: Any, preset: Preset) -> Any:
    if isinstance(value, Settings):
        return fill(value, preset)
    if isinstance(value, tuple):
        return tuple(_fill_value(item, preset) for item in value)
    if isinstance(value, dict):
        return {name: _fill_value(item, preset) for name, item in value.items()}
    return value


def resolve(spec: Spec) -> Spec:
    """A spec with every default written out.

    Example:
        >>> from dualml import Adam, CrossEntropy, Dense, Model, Spec
        >>> model = Model(input=(4,), layers=[Dense(2)])
        >>> spec = Spec(conventions="keras", model=model, loss=CrossEntropy(), optimizer=Adam())
        >>> resolve(spec).optimizer.epsilon
        1e-07
    """
    filled = fill(spec, preset_of(spec))
    layers = tuple(
        layer.model_copy(update={"name": name})
        for layer, name in zip(filled.model.layers, layer_names(filled.model), strict=True)
    )
    model = filled.model.model_copy(update={"layers": layers})
    metrics = filled.metrics if filled.metrics is not None else spec.main_loss.metrics
    resolved = filled.replace(model=model, metrics=metrics)
    schedule = resolved.schedule
    if isinstance(schedule, ReduceOnPlateau) and schedule.direction is None:
        direction = "up" if larger_is_better(schedule.metric, resolved.metrics or ()) else "down"
        resolved = resolved.replace(schedule=schedule.model_copy(update={"direction": direction}))
    return resolved
