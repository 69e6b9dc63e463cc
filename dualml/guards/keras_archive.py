"""Keras archives: a config can name any Python object, so only Keras's own classes may stand in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualml.errors import GuardError
from dualml.guards import json_text, zip_archive
from dualml.guards.files import MIB

LARGEST_CONFIG = 16 * MIB
REFUSED_CLASSES = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Keras's own classes that run code, or read files, that the archive names."""
_PARTS = (
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models",
    "optimizers", "regularizers",
)  # fmt: skip
_OF_KERAS = frozenset({"DTypePolicy", "Functional", "Model", "Sequential", "Variable"})
"""What may be named as a part of the module ``keras`` itself."""
_PLAIN_TYPES = frozenset({"__tuple__", "__numpy__", "__tensor__", "__keras_tensor__", "__ellipsis__", "__slice__"})


def check(path: Path) -> None:
    """Refuse a ``.keras`` archive that names code of anyone but Keras, or is no safe zip archive.

    Raises:
        GuardError: Says what is wrong.
    """
    with zip_archive.open_archive(path) as archive:
        names = set(archive.namelist())
        if "config.json" not in names:
            raise GuardError(f"{path}: must be a Keras archive with a config.json, but has none")
        for name in ("config.json", "metadata.json"):
            if name not in names:
                continue
            if archive.getinfo(name).file_size > LARGEST_CONFIG:
                raise GuardError(f"{path}: its {name} must have at most {LARGEST_CONFIG:,} bytes")
            try:
                data = archive.read(name)
            except Exception as error:  # zipfile and zlib raise a dozen types for damaged archives
                raise GuardError(f"{path}: its {name} is damaged: {str(error) or type(error).__name__}") from None
            _check_value(json_text.parse(data, f"{path}: {name}"), f"{path}: {name}")


def _check_value(value: Any, where: str) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            _check_object(item, where)
            waiting.extend(item.values())


def _check_object(item: dict[str, Any], where: str) -> None:
    """Hold one ``{"class_name": ..., "module": ...}`` against what Keras itself writes."""
    if "class_name" not in item or item["class_name"] in _PLAIN_TYPES:
        return
    name, module = str(item["class_name"])[:80], str(item.get("module"))[:80]
    if name in REFUSED_CLASSES or name.startswith("__"):
        raise GuardError(f"{where}: is refused: {name} runs or reads what the file names")
    registered = item.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        raise GuardError(f"{where}: is refused: {registered[:80]!r} is a class of the user's, whose code it needs")
    if module == "keras" and name in _OF_KERAS:
        return
    first, *rest = module.removeprefix("keras.src.").removeprefix("keras.").split(".")
    if not module.startswith("keras.") or first not in _PARTS or any(not part.isidentifier() for part in rest):
        raise GuardError(f"{where}: is refused: it names {module}.{name}, which is no layer or setting of Keras")
    if name == "function" and first != "activations":
        raise GuardError(f"{where}: is refused: it names a function of {module}")
