"""What each way of making a model smaller costs and brings: size, accuracy, agreement, latency, on a run trained here.

The model is that of ``configs/mlp.yaml``. Every way starts from the same trained run: int8; half and a quarter of the
neurons, and then int8; half and a quarter of the weights by low rank. Latencies are those of ONNX Runtime on one
thread as a share of the float model's, both in turn in one process; what else runs on the machine hits both.

Run: python benchmarks/compress.py [backend] [rounds]
"""

import sys
import tempfile
from pathlib import Path

import dualml
from dualml.artefact import open_artefact
from dualml.compress import Report, compress

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"
LARGEST_INT8, LARGEST_HALF = 0.27, 0.46
MOST_TIME = {1: 0.65, 32: 0.40, 256: 0.35}
LEAST_AGREEMENT = 0.995
ANYTHING = 1.0
"""``max_loss`` with which everything is kept, so that it can be measured."""


def line(name: str, report: Report, size: float) -> str:
    quality = report.measured.quality
    times = "  ".join(f"{value:8.2f}" for value in report.measured.latency.values())
    return f"{name:<24} {size:6.3f}  {quality.after:8.4f}  {-quality.loss:+8.4f}  {quality.agreement:9.4f}  {times}"


def main(backend: str = "torch", rounds: int = 25) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dualml.train(dualml.load(CONFIG), backend=backend, out=folder / "run")
        print(f"{'method':<24}   size  accuracy    change  agreement   batch 1  batch 32  batch 256")
        found = {}

        def row(what: str, run: str, method: str, base: int | None = None, **settings: float) -> Report:
            out = folder / what.replace(" ", "-")
            report = compress(folder / run, method, out=out, max_loss=ANYTHING, rounds=rounds, backend=None, **settings)
            found[what] = report
            size = report.measured.size / (base or report.measured.size_before)
            print(line(what, report, size), flush=True)
            return report

        whole = row("int8", "run", "int8").measured.size_before
        half = row("half the neurons", "run", "neurons", keep=0.5)
        row("a quarter", "run", "neurons", keep=0.25)
        row("a quarter, then int8", "a-quarter", "int8", whole)
        row("rank: half the weights", "run", "svd", keep=0.5)
        row("rank: a quarter", "run", "svd", keep=0.25)
        print("(of what is made smaller twice, the size is against the first model, the rest against the second)")
        int8 = found["int8"].measured
        alike = open_artefact(folder / "int8").manifest.batch_difference == 0
        print(f"int8: a row is bit for bit the same whatever its neighbours are: {'yes' if alike else 'NO'}")
        right = (
            alike
            and int8.ratio <= LARGEST_INT8
            and all(int8.latency[size] <= most for size, most in MOST_TIME.items())
            and int8.quality.agreement >= LEAST_AGREEMENT
            and int8.quality.loss <= 0.005
            and half.measured.ratio <= LARGEST_HALF
            and half.measured.quality.loss <= 0.01
        )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2], *map(int, sys.argv[2:])))
