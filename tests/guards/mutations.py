"""Files with a few bytes changed, given to the guard and, where it lets them through, to the reader behind it."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def _onnx_seed() -> bytes:
    from attacks import onnx_bytes
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.arange(12, dtype="<f4").tobytes(), raw=True)
    size = helper.make_tensor("s", TensorProto.INT64, [2], [2, 3])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Expand", ["b", "s"], ["e"]),
        helper.make_node("ReduceSum", ["e"], ["r"], keepdims=0),
        helper.make_node("Add", ["h", "r"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"], axis=-1),
    ]
    bias = helper.make_tensor("b", TensorProto.FLOAT, [3], [0.1, 0.2, 0.3])
    return onnx_bytes(*nodes, initializers=[weight, size, bias])


def _run_onnx(path: Path) -> None:
    from dualml.artefact.session import Session

    session = Session(path.read_bytes())
    session.run({name: np.ones((2, 4), np.float32) for name in session.inputs})


def _safetensors_seed() -> bytes:
    from safetensors.numpy import save

    return save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3)}, {"k": "v"})


def _load_safetensors(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


def _npy_seed() -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, np.arange(12.0).reshape(3, 4))
    return stream.getvalue()


def _npz_seed() -> bytes:
    import io

    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.arange(12.0), y=np.zeros((50, 50)))
    return stream.getvalue()


def _load_npz(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            archive[name]


def _keras_seed() -> bytes:
    from attacks import _keras

    with tempfile.TemporaryDirectory() as folder:
        layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
        return _keras(Path(folder) / "a.keras", layer, **{"model.weights.h5": bytes(200)}).read_bytes()


def _nothing(path: Path) -> None:
    """What the guard parses is all that is read."""


FORMATS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], None]]] = {
    "onnx": (".onnx", _onnx_seed, _run_onnx),
    "safetensors": (".safetensors", _safetensors_seed, _load_safetensors),
    "npy": (".npy", _npy_seed, lambda path: np.load(path, allow_pickle=False)),
    "npz": (".npz", _npz_seed, _load_npz),
    "keras": (".keras", _keras_seed, _nothing),
    "json": (".json", lambda: b'{"a": [1, 2.5, "\\u00e9\\ud83d\\ude00"], "b": {"c": null}}', _nothing),
    "yaml": (".yaml", lambda: b"model: &m {input: [4], layers: [dense: 3]}\nother: *m\nx: '1'\n", _nothing),
}
"""By name: ending, a sound file, and the reader that follows the guard."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, put in, taken out, moved, or the rest cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(len(found) or 1)
        kind = rng.randrange(6)
        if kind == 0 and found:
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and found:
            found[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            found[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            del found[place : place + rng.randrange(1, 9)]
        elif kind == 4:
            other = rng.randrange(len(found) or 1)
            found[place:place] = found[other : other + rng.randrange(1, 33)]
        else:
            del found[rng.randrange(len(found) // 2, len(found) + 1) :]
    return bytes(found)


def main() -> None:
    """In a process of its own: many mutations of one format; prints how many were refused, failed cleanly and passed.

    A hang ends the process by SIGALRM, a crash by its own signal; the number printed last says which mutation it was.
    """
    import signal

    from dualml import guards
    from dualml.errors import GuardError

    name, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ending, make, read = FORMATS[name]
    rng = random.Random(seed)
    original = make()
    refused = failed = passed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        path.write_bytes(original)
        guards.check(path)
        read(path)
        for number in range(count):
            path.write_bytes(mutate(original, rng))
            print(number, file=sys.stderr)
            signal.alarm(5)
            try:
                guards.check(path)
            except GuardError:
                refused += 1
                continue
            finally:
                signal.alarm(0)
            signal.alarm(5)
            try:
                read(path)
                passed += 1
            except Exception:  # any clean error of the reader's will do; a crash or a hang ends the process
                failed += 1
            finally:
                signal.alarm(0)
    print(refused, failed, passed)


if __name__ == "__main__":
    main()
