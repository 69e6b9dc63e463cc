"""Both backends give the same softmax outputs: the same rows through a native PyTorch and a native Keras model.

Run: python examples/compare_softmax.py
"""

from pathlib import Path

import numpy as np

import dualml
from dualml.api import load_dataset

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"


def main() -> None:
    for precision in ("float32", "float64"):
        spec = dualml.load(CONFIG, [f"precision={precision}"])
        rows, _ = load_dataset(spec).test.gather(np.arange(100), precision)
        torch_net, keras_net = (dualml.build(spec, backend=backend) for backend in ("torch", "tensorflow"))
        one, two = torch_net.predict(rows), keras_net.predict(rows)
        print(f"{precision}: {len(rows)} rows, largest difference of a probability {np.abs(one - two).max():.1e}")
        if precision == "float64":
            print("first row, torch     ", np.array2string(one[0], precision=6))
            print("first row, tensorflow", np.array2string(two[0], precision=6))


if __name__ == "__main__":
    main()
