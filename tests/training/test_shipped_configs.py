"""Every config that ships trains in either backend, to the same result."""

from pathlib import Path

import numpy as np
import pytest

import dualml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


# Fashion-MNIST is a package of its own; scikit-learn's digits have the same shape when scaled.
DIGITS = "data={{source: digits, image_size: {}, limit: 160{}}}"
SMALL = {
    "fashion_mlp": DIGITS.format(32, ""),
    "cnn_fashion": DIGITS.format(28, ""),
    "resnet_fashion": DIGITS.format(28, ""),
    "autoencoder": DIGITS.format(28, ", targets: {image: input, kind: label}"),
    "lstm_text": "data.limit=160",
    "gru_text": "data.limit=160",
    "transformer_text": "data.limit=160",
    "gpt_char": "data.stride=12000",
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_trains_in_either_backend(path):
    overrides = ["train.epochs=1", "precision=float64", *([SMALL[path.stem]] if path.stem in SMALL else [])]
    runs = [dualml.train(dualml.load(path, overrides), backend) for backend in ("torch", "tensorflow")]
    one, two = (run.weights for run in runs)
    # Softmax does not see a key's bias: its gradient is 0 but for rounding, which Adam turns into steps.
    seen = [name for name in one if not name.endswith("key_bias")]
    assert max(float(np.abs(one[name] - two[name]).max()) for name in seen) < 1e-11
    assert runs[0].test["accuracy"] == runs[1].test["accuracy"]
