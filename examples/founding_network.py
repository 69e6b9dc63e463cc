"""The founding network in Python: the same spec as configs/mlp.yaml, setting for setting.

Run: python examples/founding_network.py
"""

from pathlib import Path

import dualml
from dualml import Adam, CrossEntropy, Dense, DigitsData, Model, Spec, Train

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"


def founding_network() -> Spec:
    """Four dense layers, 1024-512-256-128-10, ReLU, softmax cross-entropy, Adam 1e-3, ten epochs."""
    return Spec(
        model=Model(
            input=(1024,),
            layers=(
                Dense(512, activation="relu"),
                Dense(256, activation="relu"),
                Dense(128, activation="relu"),
                Dense(10),
            ),
        ),
        data=DigitsData(image_size=32),
        loss=CrossEntropy(),
        optimizer=Adam(lr=0.001),
        train=Train(epochs=10, batch_size=64),
        metrics=("accuracy",),
    )


def main() -> None:
    spec = founding_network()
    print("same spec as configs/mlp.yaml:", spec == dualml.load(CONFIG))
    for node in spec.graph.nodes:
        print(f"{node.name:14} {node.operation:10} -> {node.shape}")


if __name__ == "__main__":
    main()
