"""The text of a replay script."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np

import dualml
from dualml import registry
from dualml.errors import ParityError
from dualml.parity.replay.sides import ReplaySide
from dualml.protocol import Array

FEW_VALUES = 24
"""Largest number of values that are written as digits."""

IMPORTS = {
    "torch": (
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
    ),
    "tensorflow": ("import keras", "import tensorflow as tf"),
}
"""What the code of each framework expects to find."""
SETUP = {
    "torch": "torch.set_default_dtype(getattr(torch, PRECISION))",
    "tensorflow": "keras.config.set_floatx(PRECISION)\nkeras.config.set_dtype_policy(PRECISION)",
}
HELPERS = {
    "torch": '''
def torch_layer(layer, weights, training):
    """Put arrays into a new layer."""
    layer.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return layer.train(training)
''',
    "tensorflow": '''
def keras_layer(layer, weights, training, *inputs):
    """Put arrays into a new layer, and call it."""
    accepts = "training" in inspect.signature(layer.call).parameters
    layer(*inputs)  # makes its variables
    layer.set_weights(list(weights.values()))
    return layer(*inputs, training=training) if accepts else layer(*inputs)
''',
}


def script(title: str, sides: Mapping[str, ReplaySide], precision: str, beside: str = "") -> str:
    """The text of the script.

    Args:
        title: What it shows.
        sides: ``left`` and ``right``.
        precision: Number format of both.
        beside: Name of the ``.npz`` file that holds the arrays; empty: they stand in the script.

    Raises:
        ParityError: A side is of a framework that no script can be written for.
    """
    frameworks = sorted({side.framework for side in sides.values()}, key=registry.load_order)
    unknown = [name for name in frameworks if name not in IMPORTS]
    if unknown:
        raise ParityError(
            f"--replay writes scripts for {' and '.join(IMPORTS)}; {', '.join(unknown)} is not among them: leave it out"
        )
    needs = ", ".join({"tensorflow": "tensorflow, keras"}.get(name, name) for name in frameworks)
    arrays = named(sides)
    stored = (
        "_read()"
        if beside
        else "{\n" + "".join(f"    {name!r}: {_literal(array)},\n" for name, array in arrays.items()) + "}"
    )
    standard = ["from pathlib import Path" if beside else "import base64"]
    if "tensorflow" in frameworks:
        standard.insert(0 if beside else 1, "import inspect")
    parts = [
        f'"""{_safe(title)}\n\nWritten by dualml {dualml.__version__}; needs numpy, {needs}; not dualml.\n"""',
        "\n".join([*standard, "", "import numpy as np", *(line for name in frameworks for line in IMPORTS[name])]),
        f'PRECISION = "{precision}"\n' + "\n".join(SETUP[name] for name in frameworks),
        READ.format(beside=beside) if beside else DECODE,
        f"ARRAYS = {stored}",
        *(HELPERS[name].strip() for name in frameworks),
        *(_function(name, side) for name, side in sides.items()),
        MAIN,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


DECODE = '''
def stored(dtype, shape, text):
    """An array from the bytes that the script holds."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).copy()
'''
READ = '''
def _read():
    """The arrays from the file beside this script."""
    with np.load(Path(__file__).with_name({beside!r}), allow_pickle=False) as file:
        return {{name: file[name] for name in file.files}}
'''
MAIN = '''
def main():
    """Run both sides; show both and the difference."""
    one, two = left(), right()
    for name in one:
        a, b = np.asarray(one[name], dtype="float64"), np.asarray(two[name], dtype="float64")
        if a.shape != b.shape:
            print(f"{name}: shape {a.shape} on the left, {b.shape} on the right")
            continue
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        gap = np.where(np.isnan(gap), np.inf, gap)
        worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
        scale = np.max(np.abs(a[np.isfinite(a)]), initial=0.0) * np.finfo(PRECISION).eps
        units = gap[worst] / scale if scale else np.inf if gap[worst] else 0.0
        print(f"{name}, shape {a.shape}, worst at {tuple(int(axis) for axis in worst)}")
        print(f"  left   {a[worst].item()!r}   ({left.__doc__})")
        print(f"  right  {b[worst].item()!r}   ({right.__doc__})")
        print(f"  largest difference {gap[worst]:.3e}: {units:.1e} roundoffs of {PRECISION}")


if __name__ == "__main__":
    main()
'''


def _function(name: str, side: ReplaySide) -> str:
    body = "\n".join(f"    {line}" for line in side.lines(name))
    return f'def {name}():\n    """{_safe(f"{side.framework}: {side.said}")}"""\n{body}'


def _safe(text: str) -> str:
    """Text that can stand between triple quotes."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())


def named(sides: Mapping[str, ReplaySide]) -> dict[str, Array]:
    """The arrays of both sides by the names the script has for them."""
    return {
        f"{side}.{name}": np.asarray(array) for side, item in sides.items() for name, array in item.arrays().items()
    }


def _literal(array: Array) -> str:
    kind = array.dtype.newbyteorder("<").str
    if array.size <= FEW_VALUES and (array.dtype.kind in "iub" or np.isfinite(array).all()):
        return f"np.array({array.tolist()!r}, dtype={kind!r}).reshape({array.shape})"
    text = base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")
    return f'stored({kind!r}, {array.shape}, "{text}")'
