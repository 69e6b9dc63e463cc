"""Finds the model that a command line names: in the user's Python file, in a saved file, in a run directory."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from dualml.errors import DualmlError, ParityError
from dualml.native.trainable import Trainable
from dualml.spelling import nearest

FORMS = "file.py:name, file.py:Class@weights.pt, model.keras, or a run directory"
WEIGHTS = (".pt", ".pth", ".safetensors")


def locate(text: str) -> Any:
    """What a name on the command line stands for: a model, a function that returns one, or a ``Trainable``.

    Args:
        text: ``file.py:name``, ``file.py:Class@weights.pt``, ``model.keras`` or a run directory.

    Raises:
        ParityError: There is no such thing, or the user's file fails; the message holds its file and line.
    """
    path = Path(text)
    if path.is_dir():
        return _run(path)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return _keras_file(path)
    if path.suffix in WEIGHTS and ":" not in text:
        raise ParityError(
            f"{text}: weights alone say nothing about the layers; name the class as well, "
            f"such as model.py:Net@{path.name}"
        )
    file, colon, name = text.rpartition(":")
    if not colon or not file or not name:
        raise ParityError(f"{text}: must be {FORMS}" + ("" if path.suffix != ".py" else _offered(path)))
    if "@" in name:
        name, _, weights = name.partition("@")
        return _with_weights(_named(Path(file), name), Path(weights), text)
    return _named(Path(file), name)


def _offered(path: Path) -> str:
    """Names that a file offers, for a message."""
    if not path.is_file():
        return "; there is no such file"
    offered = [name for name, value in vars(_module(path)).items() if _own(name, value, path)]
    return f"; {path} offers {', '.join(f'{path}:{name}' for name in offered)}" if offered else ""


def _own(name: str, value: Any, path: Path) -> bool:
    if name.startswith("_") or isinstance(value, ModuleType):
        return False
    return getattr(value, "__module__", _module_name(path)) == _module_name(path) or isinstance(value, Trainable)


def _named(path: Path, name: str) -> Any:
    """An object of a Python file."""
    module = _module(path)
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            own = [item for item in vars(module) if _own(item, vars(module)[item], path)]
            raise ParityError(
                f"{path}: has no {name!r}{nearest(name, own)}; it offers {', '.join(own) or 'nothing of its own'}"
            )
        value = getattr(value, part)
    return value


def _module_name(path: Path) -> str:
    return f"dualml_user_{path.stem}_{abs(hash(str(path.resolve()))):x}"


def _module(path: Path) -> ModuleType:
    """A Python file, imported once, with its folder where its own imports look first.

    Raises:
        ParityError: There is no such file, or running it fails.
    """
    if path.suffix != ".py":
        raise ParityError(f"{path}: must be a Python file (.py), got {path.suffix or 'no ending'}; give {FORMS}")
    if not path.is_file():
        raise ParityError(f"{path}: no such file; give {FORMS}")
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except DualmlError:
        del sys.modules[name]
        raise
    except SystemExit as stop:
        del sys.modules[name]
        raise ParityError(
            f"{path}: called exit ({stop.code}) while it was imported; put what is to run as a program under "
            "if __name__ == '__main__':"
        ) from None
    except Exception as error:
        del sys.modules[name]
        raise ParityError(f"{_place(error, path)}: {type(error).__name__}: {error}") from None
    return module


def _place(error: Exception, path: Path) -> str:
    """File and line of the user's code in which an error arose."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [
        item for item in traceback.extract_tb(error.__traceback__) if Path(item.filename).resolve() == path.resolve()
    ]
    return f"{path}:{own[-1].lineno}" if own else str(path)


def _keras_file(path: Path) -> Any:
    """A saved Keras model; nothing in it is executed but layers that Keras itself has."""
    if not path.is_file():
        raise ParityError(f"{path}: no such file; give {FORMS}")
    from dualml import registry
    from dualml.guards import keras_archive

    backend: Any = registry.load("tensorflow")
    keras_archive.check(path)
    try:
        return backend.open_saved(path)
    except Exception as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ParityError(
            f"{path}: must be a whole Keras model that needs no code of its own (safe mode), but reading it failed: "
            f"{said}; with custom layers, load it in a Python file and name that: model.py:load"
        ) from None


def _run(path: Path) -> Any:
    """The native model of a finished run, with its trained weights."""
    from dualml.api import build
    from dualml.training.run_directory import open_run

    run = open_run(path)
    network = build(run.spec, weights=run.weights())
    return Trainable(network.native, name=path.name)


def _with_weights(model: Any, path: Path, text: str) -> Any:
    """A PyTorch class or a function with weights from a file; nothing in the file is executed."""
    if path.suffix not in WEIGHTS:
        raise ParityError(f"{text}: weights must be a file ending in {', '.join(WEIGHTS)}, got {path.name!r}")
    if not path.is_file():
        raise ParityError(f"{path}: no such file")
    from dualml.parity.diff.adopt import called

    if not callable(model):
        raise ParityError(f"{text}: what stands before @ must be a class or a function that returns a model")
    whole = model if _is_module(model) else called(model, text)
    inner = whole.model if isinstance(whole, Trainable) else whole
    if not _is_module(inner):
        raise ParityError(
            f"{text}: weights in a {path.suffix} file are those of a torch.nn.Module, got {type(inner).__name__}"
        )
    try:
        inner.load_state_dict(_state(path))
    except DualmlError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise ParityError(f"{text}: the weights do not fit the model: {said}") from None
    return whole


def _is_module(value: Any) -> bool:
    return hasattr(value, "load_state_dict") and not isinstance(value, type)


def _state(path: Path) -> Any:
    """A state dict: tensors by name."""
    from dualml import registry

    backend: Any = registry.load("torch")
    try:
        state = backend.open_state(path)
    except Exception as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ParityError(
            f"{path}: must hold tensors only (torch.save(model.state_dict(), path)); it is read with "
            f"weights_only=True, and that failed: {said}"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        return state["state_dict"]
    return state
