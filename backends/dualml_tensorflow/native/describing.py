"""How a Keras object would be written, and what its author left to Keras' defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

_NOT_SHOWN = frozenset({"name", "dtype", "trainable", "seed", "data_format", "activity_regularizer", "autocast"})
_SUFFIXES = ("_initializer", "_constraint", "_regularizer")


def constructor(item: Any, module: str, always: tuple[str, ...] = (), config: Mapping[str, Any] | None = None) -> str:
    """A call of the constructor that makes an equal object.

    Args:
        item: A Keras object with ``get_config``.
        module: Where users find its class: ``keras.layers``.
        always: Arguments that are shown even if they are the defaults.
        config: Its arguments; ``None``: what ``get_config`` says.
    """
    shown = []
    for name, value, default in _arguments(item, config):
        required = default is inspect.Parameter.empty
        if not required and name not in always and (_hidden(name) or _same(value, default)):
            continue
        shown.append(_text(value) if required else f"{name}={_text(value)}")
    return f"{module}.{type(item).__name__}({', '.join(shown)})"


def layer(item: Any, always: tuple[str, ...] = ()) -> str:
    """A layer as it would be written; of a user's subclass with code of its own, what it is a subclass of."""
    for kind in type(item).__mro__:
        if kind.__module__.partition(".")[0] == "keras":
            break
        if "call" in vars(kind):
            base = next(kind for kind in type(item).__mro__ if kind.__module__.partition(".")[0] == "keras")
            return f"class {type(item).__name__}({base.__name__})"
    return constructor(item, "keras.layers", always)


def unsaid(item: Any, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Settings of the spec whose arguments have the default value.

    Args:
        item: A Keras object with ``get_config``.
        settings: Setting to the name of the argument.
    """
    same = defaulted(item)
    return tuple(setting for setting, argument in settings.items() if argument in same)


def defaulted(item: Any, config: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Arguments that have the default value."""
    return tuple(name for name, value, default in _arguments(item, config) if _same(value, default))


def _arguments(item: Any, config: Mapping[str, Any] | None = None) -> list[tuple[str, Any, Any]]:
    """Name, value and default of each argument of the constructor that the configuration holds."""
    try:
        config = item.get_config() if config is None else config
    except (NotImplementedError, TypeError, ValueError):
        return []
    signature = inspect.signature(type(item).__init__)
    return [(name, config[name], found.default) for name, found in signature.parameters.items() if name in config]


def _hidden(name: str) -> bool:
    return name in _NOT_SHOWN or name.endswith(_SUFFIXES)


def _same(value: Any, default: Any) -> bool:
    if value == "linear" and default is None:
        return True
    if isinstance(value, (list, tuple)):
        given = default if isinstance(default, (list, tuple)) else [default] * len(value)
        return list(value) == list(given)
    return bool(value == default)


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "class_name" in value:
        return f"{value['class_name']}(...)"
    return repr(tuple(value) if isinstance(value, list) else value)
