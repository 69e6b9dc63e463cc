"""NumPy files: ``.npz`` archives and pairs of ``.npy`` files. Nothing in them is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.checks import Part, Raw
from dualml.data.needs import Needs
from dualml.data.problems import find_file, nearest, reason
from dualml.data.rows import Rows, SameAs, by_name, each
from dualml.errors import DataError

if TYPE_CHECKING:  # what predicts from an artefact reads arrays too, and does without the spec
    from dualml.spec.data import NpyData, NpzData

MAP_ABOVE = 256 << 20
"""Size of a ``.npy`` file in bytes above which it stays on disk unless ``memory_map`` says otherwise."""

_USUAL_NAMES = (("x", "y"), ("inputs", "targets"), ("x_train", "y_train"))
_NPY_START = b"\x93NUMPY"


def read_npz(settings: NpzData, folder: Path, needs: Needs) -> Raw:
    """One archive with training arrays and, where they exist, test and validation arrays.

    Raises:
        DataError: The file is damaged or lacks an array.
    """
    path = find_file(folder, settings.path, "data.path")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, settings, path, needs)
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path}: must be readable, but is not ({reason(error)}); check its permissions") from error
    except Exception as error:  # BadZipFile, and of a damaged directory NotImplementedError, UnicodeDecodeError, …
        with path.open("rb") as stream:
            is_npy = stream.read(len(_NPY_START)) == _NPY_START
        remedy = "it is a single array: set data.source: npy" if is_npy else "write it with numpy.savez"
        raise DataError(f"{path}: must be an .npz archive, but is not ({reason(error)}); {remedy}") from error


def read_npy_files(settings: NpyData, folder: Path) -> Raw:
    """Two files, or four with a test split.

    Raises:
        DataError: A file is missing or damaged.
    """

    def array(name: str, key: str) -> tuple[Path, Rows]:
        path = find_file(folder, name, f"data.{key}")
        return path, read_npy(path, settings.memory_map)

    def group(names: str | Mapping[str, str], key: str) -> tuple[list[Path], Any]:
        if isinstance(names, str):
            path, rows = array(names, key)
            return [path], rows
        found = {name: array(file, f"{key}.{name}") for name, file in names.items()}
        return [path for path, _ in found.values()], {name: rows for name, (_, rows) in found.items()}

    def part(inputs: str | Mapping[str, str], targets: str | Mapping[str, str], prefix: str) -> Part:
        input_files, x = group(inputs, f"{prefix}inputs")
        target_files, y = group(targets, f"{prefix}targets")
        return Part(x, y, " and ".join(map(str, [*input_files, *target_files])))

    train = part(settings.inputs, settings.targets, "")
    if settings.weights is not None:
        train = replace(train, weights=array(settings.weights, "weights")[1])
    if settings.test_inputs is None or settings.test_targets is None:
        return Raw(train)
    return Raw(train, test=part(settings.test_inputs, settings.test_targets, "test_"))


def read_npy(path: Path, memory_map: bool | None = False) -> Rows:
    """One ``.npy`` file.

    Args:
        path: An existing file.
        memory_map: Whether the array stays on disk; ``None`` decides by ``MAP_ABOVE``.

    Returns:
        An array of numbers or text with at least one axis, or a read-only memory map of numbers.

    Raises:
        DataError: The file is damaged, cut short or holds Python objects.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            shape = check_header(stream, size, str(path))
        mapped = size > MAP_ABOVE if memory_map is None else memory_map
        # An empty region of a file cannot be mapped; that there is no example is reported later, as for every source.
        mapped = mapped and all(shape)
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return array
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: must be readable, but is not ({reason(error)}); check its permissions") from error
    except MemoryError:
        raise  # ``load_for`` reports it
    except Exception as error:  # the parser of the header raises what it likes
        raise DataError(f"{path}: must be a .npy file, but is damaged ({reason(error)}); write it again") from error


def _read_archive(archive: zipfile.ZipFile, settings: NpzData, path: Path, needs: Needs) -> Raw:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    x, y = _names(settings, names, path, needs)
    arrays = [*by_name(x, "").values(), *(name for name in by_name(y, "").values() if not isinstance(name, SameAs))]
    if settings.weights is not None:
        _check_known(settings.weights, names, path, "weights")

    def part(ending: str | None) -> Part | None:
        """The training arrays (no ending), or those whose names end in ``_test`` or the like in place of ``_train``."""

        def called(name: str) -> str:
            return name if ending is None else f"{name.removesuffix('_train')}_{ending}"

        wanted = [called(name) for name in arrays]
        there = [name for name in wanted if name in names]
        if not there:
            return None
        for name in wanted:
            if name not in names:
                raise DataError(
                    f"{path}: {there[0]!r} must come with {name!r}, but {name!r} is missing; add it or remove "
                    f"{there[0]!r}"
                )
        inputs, targets = (each(group, lambda name: _member(archive, called(name), path)) for group in (x, y))
        weights = None
        if settings.weights is not None and called(settings.weights) in names:
            weights = _member(archive, called(settings.weights), path)
        return Part(inputs, targets, f"{path}: {', '.join(wanted)}", weights=weights)

    train = part(None)
    assert train is not None  # _names has found all
    return Raw(train, validation=part("val") or part("validation"), test=part("test"))


def _names(settings: NpzData, names: list[str], path: Path, needs: Needs) -> tuple[Any, Any]:
    """Names of the arrays of inputs and of targets: one, or one for each input and output."""
    if settings.inputs is not None and settings.targets is not None:
        inputs = by_name(settings.inputs, "")
        for name in inputs.values():
            _check_known(name, names, path, "inputs")
        targets = {
            output: SameAs(name) if name in needs.inputs and name not in names else name
            for output, name in by_name(settings.targets, "").items()
        }
        for target in targets.values():
            if not isinstance(target, SameAs):
                _check_known(target, names, path, "targets")
        return settings.inputs, targets[""] if isinstance(settings.targets, str) else targets
    if len(needs.inputs) > 1 or len(needs.outputs) > 1:
        raise DataError(
            f"{path}: the model has inputs {', '.join(needs.inputs)} and outputs {', '.join(needs.outputs)}, so the "
            f"array of each must be known, but data.inputs and data.targets are missing; set them, for example "
            f"data.inputs: {{{next(iter(needs.inputs))}: x}}"
        )
    for x, y in _USUAL_NAMES:
        if x in names and y in names:
            return x, y
    wanted = " or ".join(f"{x} and {y}" for x, y in _USUAL_NAMES)
    raise DataError(
        f"{path}: must hold arrays {wanted}, but {_holds(names)}; name them in data.inputs and data.targets"
    )


def _check_known(name: str, names: list[str], path: Path, key: str) -> None:
    if name not in names:
        raise DataError(
            f"{path}: must hold the array {name!r}, but {_holds(names)}.{nearest(name, names)} Correct data.{key}"
        )


def _holds(names: list[str]) -> str:
    return f"the file holds {', '.join(sorted(names)) or 'no array'}"


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    where = f"{path}: array {name!r}"
    member = name + ".npy" if name + ".npy" in archive.namelist() else name
    try:
        with archive.open(member) as stream:
            check_header(stream, archive.getinfo(member).file_size, where)
        with archive.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile and zlib raise a dozen types for damaged, encrypted or foreign archives
        raise DataError(f"{where} must be readable, but is damaged ({reason(error)}); write the file again") from error


def check_header(stream: IO[bytes], size: int, where: str) -> tuple[int, ...]:
    """Compare what the header declares with the size of the file, before anything is allocated."""
    if stream.read(len(_NPY_START)) != _NPY_START:
        raise DataError(f"{where}: must be a .npy array, but does not begin like one; write it with numpy.save")
    version = tuple(stream.read(2))
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # 3.0 only exists for records with field names that are not Latin-1
        raise DataError(f"{where}: must be a plain array, but has the format {version}; save an array without fields")
    if dtype.hasobject:
        raise DataError(
            f"{where}: must hold numbers or text, but holds Python objects, which are never unpickled; "
            f"save it with a dtype of numbers, or as str"
        )
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(f"{where}: must hold real numbers or text, but has dtype {dtype}; convert it")
    values: int = math.prod(shape)
    declared = values * dtype.itemsize
    present = size - stream.tell()
    if declared != present or any(length < 0 for length in shape):
        raise DataError(
            f"{where}: the header declares shape {shape} of {dtype} ({declared} bytes), but {present} bytes follow; "
            f"write the file again"
        )
    return shape
