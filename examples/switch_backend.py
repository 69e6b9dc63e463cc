"""One flag switches the framework: train the same spec in both, and use the native models that come out.

Run: python examples/switch_backend.py [epochs]
"""

import sys
from pathlib import Path

import numpy as np

import dualml

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"


def main(epochs: int = 3) -> None:
    spec = dualml.load(CONFIG, [f"train.epochs={epochs}", "precision=float64"])
    runs = {}
    for backend in ("torch", "tensorflow"):
        run = runs[backend] = dualml.train(spec, backend=backend)  # the only thing that changes
        kind = type(run.network.native)
        print(f"{backend:10} {kind.__module__}.{kind.__qualname__}   test accuracy {run.test['accuracy']:.4f}")
    one, two = (run.weights for run in runs.values())
    gap = max(float(np.abs(one[name] - two[name]).max()) for name in one)
    print(f"after {epochs} epochs in float64 the weights are within {gap:.1e} of each other")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
