"""Data from a function of the user's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dualml.data.checks import Part, Raw
from dualml.data.dataset import Dataset, Split
from dualml.data.problems import described, nearest
from dualml.data.rows import Rows, as_rows, each
from dualml.errors import DataError
from dualml.spec.data import PythonData

_SPLITS = ("", "_validation", "_test")
_KEYS = (*(f"{key}{split}" for split in _SPLITS for key in ("x", "y", "weights")), "class_names")


def read_python(settings: PythonData, folder: Path) -> Raw:
    """Call the function and take what it returns.

    Raises:
        DataError: The function cannot be found, raises, or returns something else than its contract says.
    """
    module_name, _, name = settings.function.partition(":")
    folder = folder if settings.folder is None else folder / settings.folder
    with _importable(folder):
        module = _module(module_name, folder)
        where = f"{getattr(module, '__file__', None) or module_name}: {name}()"
        function = _function(module, name, where)
        try:
            returned = function(**settings.arguments)
        except (Exception, SystemExit) as error:
            raise DataError(
                f"{where} must return data, but raised {described(error)}; correct the function or data.arguments"
            ) from error
    return _raw(returned, where)


def _raw(returned: Any, where: str) -> Raw:
    if isinstance(returned, Dataset):
        return _from_dataset(returned, where)
    if isinstance(returned, tuple | list) and len(returned) == 2:
        return Raw(_part(returned[0], returned[1], where))
    if isinstance(returned, Mapping):
        return _from_mapping(returned, where)
    size = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
    raise DataError(
        f"{where} must return (x, y), a dictionary with x and y, or a dualml.data.Dataset, but returned "
        f"{type(returned).__name__}{size}; correct its return statement"
    )


def _from_mapping(returned: Mapping[Any, Any], where: str) -> Raw:
    keys = [str(key) for key in returned]
    for key in keys:
        if key not in _KEYS:
            raise DataError(
                f"{where} must return a dictionary with keys among {', '.join(_KEYS)}, but it has {key!r}."
                f"{nearest(key, _KEYS)} Rename or remove it"
            )

    def part(split: str) -> Part | None:
        x, y, weights = f"x{split}", f"y{split}", f"weights{split}"
        there = [key for key in (x, y) if returned.get(key) is not None]
        if len(there) == 1:
            missing = y if there[0] == x else x
            raise DataError(f"{where} must return {x!r} and {y!r} together, but {missing!r} is missing; add it")
        if not there:
            if returned.get(weights) is not None:
                raise DataError(f"{where} must return {weights!r} with {x!r} and {y!r}, but they are missing; add them")
            return None
        return _part(returned[x], returned[y], f"{where}: {x}, {y}", returned.get(weights))

    train = part("")
    if train is None:
        raise DataError(
            f"{where} must return a dictionary with x and y, but it has {', '.join(keys) or 'no key'}; add them"
        )
    return Raw(
        train,
        validation=part("_validation"),
        test=part("_test"),
        class_names=_class_names(returned.get("class_names"), where),
    )


def _from_dataset(returned: Dataset, where: str) -> Raw:
    def part(split: Split | None, name: str) -> Part | None:
        return None if split is None else Part(split.inputs, split.targets, f"{where}: {name}", weights=split.weights)

    train, names = part(returned.train, "train"), returned.class_names
    assert train is not None
    return Raw(
        train,
        validation=part(returned.validation, "validation"),
        test=part(returned.test, "test"),
        class_names=None if isinstance(names, Mapping) else _class_names(names, where),
        normalisation=returned.normalisation,
        encoding=returned.encoding,
    )


def _part(x: Any, y: Any, where: str, weights: Any = None) -> Part:
    return Part(
        each(_plain_names(x), lambda value: _array(value, "inputs", where)),
        each(_plain_names(y), lambda value: _array(value, "targets", where)),
        where,
        weights=each(weights, lambda value: _array(value, "weights", where)),
    )


def _plain_names(value: Any) -> Any:
    return {str(name): item for name, item in value.items()} if isinstance(value, Mapping) else value


def _array(value: Any, name: str, where: str) -> Rows:
    try:
        array = as_rows(value)
    except Exception as error:  # an array-like of another library may raise anything
        raise DataError(
            f"{where} must return arrays, but its {name} cannot become one ({described(error)}); "
            f"return NumPy arrays whose rows have equal shapes"
        ) from error
    if array.dtype.kind not in "biufUS":
        raise DataError(
            f"{where} must return numbers, but its {name} have dtype {array.dtype} (from "
            f"{type(value).__name__}); return NumPy arrays of numbers"
        )
    return array


def _class_names(names: Any, where: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        raise DataError(f"{where} must return class_names as a list of text, but they are {names!r}; return a list")
    return tuple(str(name) for name in names)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The config's folder comes first on ``sys.path``, as a script's own folder does."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _module(name: str, folder: Path) -> ModuleType:
    known = sys.modules.get(name.partition(".")[0])
    origin = getattr(known, "__file__", None)
    own = [folder.resolve() / (name.partition(".")[0] + end) for end in (".py", "/__init__.py")]
    if origin is not None and any(path.exists() for path in own) and Path(origin).resolve() not in own:
        # Python would quietly take the module it already has, and train with the data of another config.
        raise DataError(
            f"{folder}: the module {name!r} must be the one in this folder, but Python has already imported another "
            f"of that name from {origin}; rename the file"
        )
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in (name, *_parents(name)):
            hint = nearest(name, (path.stem for path in folder.glob("*.py")))
            raise DataError(
                f"{folder}: the module {name!r} must be importable, but there is none of that name in this folder or "
                f"on sys.path.{hint} Correct data.function or put {name}.py beside the config"
            ) from error
        raise DataError(
            f"{folder}: the module {name!r} must be importable, but importing it raised {described(error)}; correct it"
        ) from error


def _function(module: ModuleType, name: str, where: str) -> Callable[..., Any]:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            hint = nearest(part, (key for key in vars(module) if callable(getattr(module, key, None))))
            raise DataError(f"{where} must exist, but {part!r} is not there.{hint} Correct data.function")
        found = getattr(found, part)
    if not callable(found):
        raise DataError(f"{where} must be a function, but is {type(found).__name__}; correct data.function")
    return found  # type: ignore[no-any-return]


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
