"""Writers of small data files for the tests in this folder."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from dualml.data import Dataset, InputNeed, Needs, OutputNeed, load_for


def idx_bytes(array: np.ndarray) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


def write_idx(path: Path, array: np.ndarray, zipped: bool = False) -> Path:
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def images(count: int, rows: int = 28, columns: int = 28, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, rows, columns)).astype(np.uint8)


def write_mnist(folder: Path, train: int = 30, test: int = 10, dot: str = "-", zipped: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    end = ".gz" if zipped else ""
    for name, count, seed in (("train", train, 0), ("t10k", test, 1)):
        if count:
            write_idx(folder / f"{name}-images{dot}idx3-ubyte{end}", images(count, seed=seed), zipped)
            write_idx(folder / f"{name}-labels{dot}idx1-ubyte{end}", np.arange(count) % 10, zipped)
    return folder


def load(settings: Any, folder: Path = Path(), **changes: Any) -> Dataset:
    """``load_for`` a model with ten classes and examples of two values, unless told otherwise."""
    options: dict[str, Any] = {"seed": 0, "input_shape": (2,), "target": "class", "classes": 10, **changes}
    output = OutputNeed(options["target"], options.get("output_shape"), options["classes"])
    needs = Needs({"input": InputNeed(options["input_shape"])}, {"output": output})
    return load_for(settings, folder=folder, seed=options["seed"], needs=needs)
