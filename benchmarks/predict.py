"""What a prediction costs from nothing: a fresh process that opens an artefact and predicts 540 rows of 1,024.

The model is that of ``configs/mlp.yaml`` with its first weights. Wall and processor time and the most memory of whole
processes; the wall time is the quickest of several, as what else runs on the machine only ever adds.

Run: python benchmarks/predict.py [runs]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import dualml
from dualml.artefact import create, open_artefact
from dualml.weights import initial_weights

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"
MOST_SECONDS = 0.5
MOST_MIB = 120


LAUNCHER = """
import os, subprocess, sys, time
begun = time.perf_counter()
_, status, usage = os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)
print(status, time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""
"""A process counts its parent's memory as its own until it is replaced, so that a small one has to start it."""


def once(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and MiB of a whole process."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True, check=True)
    status, *found = map(float, done.stdout.split())
    if status:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return found[0], found[1], found[2]


def main(runs: int = 11) -> int:
    spec = dualml.load(CONFIG)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create((spec, initial_weights(spec.graph, 0)), folder / "mlp", backends=())
        np.save(folder / "x.npy", np.random.default_rng(0).random((540, 1024), np.float32))
        command = ["predict", str(folder / "mlp"), str(folder / "x.npy"), "--out", str(folder / "p.npy"), "--quiet"]
        found = [once([sys.executable, "-m", "dualml", *command]) for _ in range(runs)]
        opening = []
        for _ in range(runs):
            begun = time.perf_counter()
            open_artefact(folder / "mlp")
            opening.append(time.perf_counter() - begun)
    wall, processor, memory = min(item[0] for item in found), min(item[1] for item in found), max(i[2] for i in found)
    print(f"predict 540 rows: {wall:.2f} s wall, {processor:.2f} s of processor, {memory:.0f} MiB")
    print(f"open and check the artefact alone: {1000 * min(opening):.1f} ms")
    return 0 if wall <= MOST_SECONDS and memory <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
