"""Weights in the neutral layout: first values, checks, and safetensors files that appear whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualml.errors import GuardError, SpecError, WeightsError

if TYPE_CHECKING:  # what predicts from an artefact writes files too, and does without the spec
    from dualml.protocol import Array, Arrays
    from dualml.spec.graph import Graph

FORMAT = "dualml.weights/1"
"""What the header of every file written here names as its format."""
HEADER = "dualml"
"""The key of the safetensors header that holds format and metadata, as JSON."""


def initial_weights(graph: Graph, seed: int) -> dict[str, Array]:
    """First values of all parameters and buffers: drawn in float64, then rounded to the graph's precision.

    Args:
        graph: The model.
        seed: The spec's seed.

    Returns:
        An array for each of them, by neutral name. The same in every framework and on every machine.
    """
    drawn = {
        item.name: item.initializer.draw(seed, item.name, item.shape, item.fan_in, item.fan_out).astype(graph.precision)
        for item in graph.parameters
    }
    return drawn | {item.name: np.full(item.shape, item.value, dtype=graph.precision) for item in graph.buffers}


def check_memory(graph: Graph) -> None:
    """Refuse a model whose weights alone do not fit into this machine's memory, before anything is allocated.

    Raises:
        SpecError: Says how much is needed and what there is.
    """
    if not hasattr(os, "sysconf"):  # not on Windows: there the allocation itself fails, with a MemoryError
        return
    from dualml.spec.graph import parameter_count

    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = parameter_count(graph) * np.dtype(graph.precision).itemsize
    if needed > present:
        largest = max(graph.parameters, key=lambda parameter: math.prod(parameter.shape))
        raise SpecError(
            f"the model's weights need {needed / 2**30:,.0f} GiB of memory, but this machine has "
            f"{present / 2**30:,.0f} GiB; the largest is {largest.name} of shape {list(largest.shape)}: make it smaller"
        )


def check_weights(arrays: Arrays, graph: Graph, what: str = "weights") -> None:
    """Refuse arrays that are not this model's parameters and buffers.

    Raises:
        WeightsError: A name is missing or unknown (both are listed), or a shape is wrong.
    """
    check_arrays(arrays, {item.name: item.shape for item in graph.weights}, what)


def check_parameters(arrays: Arrays, graph: Graph, what: str) -> None:
    """Refuse arrays that are not one for each of this model's parameters: gradients, optimizer slots.

    Raises:
        WeightsError: A name is missing or unknown (both are listed), or a shape is wrong.
    """
    check_arrays(arrays, {item.name: item.shape for item in graph.parameters}, what)


def check_arrays(arrays: Arrays, wanted: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Refuse arrays whose names and shapes are not the wanted ones.

    Raises:
        WeightsError: A name is missing or unknown (both are listed), or a shape is wrong.
    """
    missing = [name for name in wanted if name not in arrays]
    unknown = [name for name in arrays if name not in wanted]
    if missing or unknown:
        raise WeightsError(
            f"{what} must hold exactly the model's parameters; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}; is this file from another model?"
        )
    for name, shape in wanted.items():
        if tuple(arrays[name].shape) != shape:
            raise WeightsError(
                f"{what}: {name} must have shape {list(shape)}, got {list(arrays[name].shape)}; "
                "is this file from another model?"
            )


def write_atomically(path: Path, write: Callable[[Path], None], *, durable: bool = True) -> None:
    """Write a file so that it appears whole or not at all, also after a crash or on a full disk.

    Args:
        path: The file; its folder must exist.
        write: Writes the content to the path it is given.
        durable: Wait until it is on the disk; not needed for files that a crash makes worthless.

    Raises:
        OSError: Nothing was written; a file of that name is still what it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o666 & ~umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def umask() -> int:
    """Which permissions new files do not get; ``tempfile`` makes private ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, as UTF-8."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, arrays: Arrays, metadata: Mapping[str, Any] | None = None, *, durable: bool = True
) -> None:
    """Write arrays to a safetensors file, whole or not at all.

    Args:
        path: The file; its folder must exist.
        arrays: Arrays by name; written in sorted order, so equal content gives equal bytes.
        metadata: JSON-able values kept in the file's header.
        durable: As for ``write_atomically``.
    """
    from safetensors.numpy import save_file

    # One key only: safetensors writes several in an order that changes from run to run.
    header = {HEADER: json.dumps({"format": FORMAT, "metadata": metadata or {}})}
    content = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    write_atomically(path, lambda temporary: save_file(content, temporary, metadata=header), durable=durable)


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a file that ``write_tensors`` wrote.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        WeightsError: The file is missing, cut short, damaged or not dualml's; nothing in it is ever executed.
    """
    from safetensors import SafetensorError, safe_open

    from dualml.guards.safetensors_file import check_content

    try:
        check_content(path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except (GuardError, SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: must be a whole safetensors file, but reading it failed: {error}; "
            "it may be cut short or damaged: use another checkpoint or train again"
        ) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: must be a file written by dualml, with the header format {FORMAT!r}; it is another's"
        )
    return arrays, header.get("metadata", {})
