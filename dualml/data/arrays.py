"""NumPy files: ``.npz`` archives and pairs of ``.npy`` files. Nothing in them is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.checks import Part, Raw, find_file, nearest, reason
from dualml.data.rows import Rows
from dualml.errors import DataError
from dualml.spec.data import NpyData, NpzData

MAP_ABOVE = 256 << 20
"""Size of a ``.npy`` file in bytes above which it stays on disk unless ``memory_map`` says otherwise."""

_USUAL_NAMES = (("x", "y"), ("inputs", "targets"), ("x_train", "y_train"))
_NPY_START = b"\x93NUMPY"


def read_npz(settings: NpzData, folder: Path) -> Raw:
    """One archive with training arrays and, where they exist, test and validation arrays.

    Raises:
        DataError: The file is damaged or lacks an array.
    """
    path = find_file(folder, settings.path, "data.path")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, settings, path)
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

    def part(inputs: str, targets: str, prefix: str) -> Part:
        paths = [
            find_file(folder, inputs, f"data.{prefix}inputs"),
            find_file(folder, targets, f"data.{prefix}targets"),
        ]
        arrays = [read_npy(path, settings.memory_map) for path in paths]
        return Part(arrays[0], arrays[1], " and ".join(map(str, paths)))

    train = part(settings.inputs, settings.targets, "")
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
            shape = _check_header(stream, size, str(path))
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
        raise  # ``load_data`` reports it
    except Exception as error:  # the parser of the header raises what it likes
        raise DataError(f"{path}: must be a .npy file, but is damaged ({reason(error)}); write it again") from error


def _read_archive(archive: zipfile.ZipFile, settings: NpzData, path: Path) -> Raw:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    x, y = _names(settings, names, path)
    base_x, base_y = x.removesuffix("_train"), y.removesuffix("_train")

    def part(name_x: str, name_y: str) -> Part | None:
        if (name_x in names) != (name_y in names):
            there, missing = (name_x, name_y) if name_x in names else (name_y, name_x)
            raise DataError(
                f"{path}: {there!r} must come with {missing!r}, but {missing!r} is missing; add it or remove {there!r}"
            )
        if name_x not in names:
            return None
        where = f"{path}: {name_x}, {name_y}"
        return Part(_member(archive, name_x, path), _member(archive, name_y, path), where)

    train = part(x, y)
    assert train is not None  # _names has found both
    validation = part(f"{base_x}_val", f"{base_y}_val") or part(f"{base_x}_validation", f"{base_y}_validation")
    return Raw(train, validation=validation, test=part(f"{base_x}_test", f"{base_y}_test"))


def _names(settings: NpzData, names: list[str], path: Path) -> tuple[str, str]:
    holds = f"the file holds {', '.join(sorted(names)) or 'no array'}"
    if settings.inputs is not None and settings.targets is not None:
        for key, name in (("inputs", settings.inputs), ("targets", settings.targets)):
            if name not in names:
                raise DataError(
                    f"{path}: must hold the array {name!r}, but {holds}.{nearest(name, names)} Correct data.{key}"
                )
        return settings.inputs, settings.targets
    for x, y in _USUAL_NAMES:
        if x in names and y in names:
            return x, y
    wanted = " or ".join(f"{x} and {y}" for x, y in _USUAL_NAMES)
    raise DataError(f"{path}: must hold arrays {wanted}, but {holds}; name them in data.inputs and data.targets")


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    where = f"{path}: array {name!r}"
    member = name + ".npy" if name + ".npy" in archive.namelist() else name
    try:
        with archive.open(member) as stream:
            _check_header(stream, archive.getinfo(member).file_size, where)
        with archive.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile and zlib raise a dozen types for damaged, encrypted or foreign archives
        raise DataError(f"{where} must be readable, but is damaged ({reason(error)}); write the file again") from error


def _check_header(stream: IO[bytes], size: int, where: str) -> tuple[int, ...]:
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
