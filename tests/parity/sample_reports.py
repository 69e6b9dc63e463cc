"""Reports made by hand, as ``diff`` makes them: a small network whose right side kept two of Keras' defaults."""

import numpy as np

from dualml.parity.findings import Finding, Hypothesis, LayerPair, LayerSide, NativeComparison, Trajectory, View
from dualml.parity.report import Cause, Check, Report

LAYERS = (
    # left, native, right, native, shape left, shape right, weights
    ("features.0", "Conv2d", "conv2d", "Conv2D", (8, 16, 26, 26), (8, 26, 26, 16)),
    ("features.1", "BatchNorm2d", "batch_normalization", "BatchNormalization", (8, 16, 26, 26), (8, 26, 26, 16)),
    ("features.2", "ReLU", "conv2d.activation", "relu", (8, 16, 26, 26), (8, 26, 26, 16)),
    ("features.3", "MaxPool2d", "max_pooling2d", "MaxPooling2D", (8, 16, 13, 13), (8, 13, 13, 16)),
    ("flatten_1", "torch.flatten", "flatten", "Flatten", (8, 2704), (8, 2704)),
    ("classifier.0", "Linear", "dense", "Dense", (8, 32), (8, 32)),
    ("classifier.1", "GELU", "dense.activation", "gelu", (8, 32), (8, 32)),
    ("classifier.2", "Linear", "logits", "Dense", (8, 10), (8, 10)),
)
FAULTY = "features.1"
ENVIRONMENT = {
    "dualml": "0.1.0",
    "python": "3.12.4",
    "numpy": "2.4.6",
    "platform": "Linux-x86_64",
    "left": {"backend": "torch", "versions": {"torch": "2.13.0"}},
    "right": {"backend": "tensorflow", "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"}},
    "precision": "float64",
    "device": "cpu",
}
COVERAGE = {
    "compared": 212,
    "checks": 1_272,
    "steps": {"float64": {"free": 3, "judged": [1, 2, 3]}, "float32": {"free": 3, "judged": [1, 2, 3]}},
    "skipped": [
        {"what": "dropout", "why": "its masks are each framework's own; judged in inference"},
        {"what": "devices other than the CPU", "why": "every check ran on the CPU"},
    ],
}


def arrays(fault=3.1e-3, lines=24, columns=24):
    """Both sides of a view, and where they differ most."""
    random = np.random.default_rng(0)
    left = np.round(random.normal(size=(lines, columns)) * np.linspace(0.4, 1.6, columns), 6)
    right = left * (1 - fault * np.linspace(0.1, 1, lines)[:, None])
    worst = np.unravel_index(np.abs(left - right).argmax(), left.shape)
    return left, right, tuple(int(axis) for axis in worst)


def view():
    left, right, (line, column) = arrays()
    return View(
        (8, 26, 26, 16),
        (5, line, column, 3),
        (5, 3, line, column),
        (5, line, column, 3),
        left.tolist(),
        right.tolist(),
        float(left[line, column]),
        float(right[line, column]),
    )


def checks():
    """Every rung of three steps in both precisions; the batch norm is off on the right, and so is the update."""
    random = np.random.default_rng(1)
    found = []
    for precision, unit in (("float64", 2.0**-53), ("float32", 2.0**-24)):
        for name, *_ in LAYERS:
            if "." in name and not name.endswith(("2", "3")):
                found.append(
                    Check(0, "init", name, "kernel", precision, "resynchronised", 0.0, 0.0, 0.0, 0.0, 0.0, True)
                )
        for step in (1, 2, 3):
            found.append(
                Check(step, "input", "input", "values", precision, "resynchronised", 0.0, 0.0, None, None, 0.0, True)
            )
            for name, *_ in LAYERS:
                for phase, tensor in (("forward", "training"), ("forward", "inference"), ("backward", "gradient")):
                    left, right = (float(value) for value in random.uniform(0.001, 0.3, 2))
                    off = name == FAULTY and phase == "forward"
                    right = (8.1e3 if precision == "float64" else 61.0) if off else right
                    found.append(
                        Check(
                            step,
                            phase,
                            name,
                            tensor,
                            precision,
                            "resynchronised",
                            3.1e-3 if off else unit * right,
                            max(left, right),
                            left,
                            right,
                            1.0,
                            not off,
                            "semantic" if off else "rounding",
                        )
                    )
            found.append(
                Check(step, "loss", "logits", "value", precision, "resynchronised", unit, 0.02, 0.01, 0.02, 1.0, True)
            )
            for name in ("features.0", "classifier.0", "classifier.2"):
                off = step > 1
                found.append(
                    Check(
                        step,
                        "update",
                        name,
                        "kernel",
                        precision,
                        "resynchronised",
                        2e-6 if off else unit,
                        4.2e5 if off else 0.1,
                        0.1,
                        4.2e5 if off else 0.08,
                        1.0,
                        not off,
                        "semantic" if off else "rounding",
                    )
                )
    return tuple(found)


def hypotheses():
    rejected = (
        ("norm.momentum", "momentum 0.1 instead of 0.01"),
        ("norm.unbiased_variance", "the running variance is the unbiased one"),
        ("norm.axis", "normalised over another axis"),
        ("layout.conv_axes", "the kernel's axes are in another order"),
        ("mode.train_eval", "it runs in inference mode"),
    )
    return (
        Hypothesis(
            "norm.epsilon",
            "epsilon 1e-3 instead of 1e-5",
            1e-05,
            1e-03,
            8.1e3,
            0.04,
            1.0000e-03,
            {"torch": "nn.BatchNorm2d(16, eps=1e-03)"},
        ),
        *(Hypothesis(cause, said, None, None, 8.1e3, 8.1e3 + 40.0 * at) for at, (cause, said) in enumerate(rejected)),
    )


def epsilon_cause():
    return Cause(
        "norm.epsilon",
        True,
        1e-05,
        1e-03,
        "fitted 1.000e-03; with 1e-5 rho 8.1e3 → 0.04; 5 other hypotheses rejected",
        {
            "torch": "nn.BatchNorm2d(16, eps=1e-03)",
            "tensorflow": "keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-05)",
        },
    )


def findings():
    names = "features.1 BatchNorm2d", "batch_normalization BatchNormalization"
    first = Finding(
        1,
        "forward",
        FAULTY,
        "inference",
        "float64",
        names,
        "semantic",
        "right",
        (0.05, 8.1e3),
        3.1e-3,
        0.0,
        epsilon_cause(),
        hypotheses(),
        view=view(),
    )
    second = Finding(
        2,
        "update",
        "classifier.0",
        "kernel",
        "float64",
        ("Adam", "Adam"),
        "semantic",
        "right",
        (0.1, 4.2e5),
        2e-6,
        0.1,
        Cause(
            "optimizer.epsilon",
            False,
            1e-08,
            1e-07,
            "two hypotheses pass; larger gradients would tell them apart",
            {"torch": "torch.optim.Adam(lr=1e-3, eps=1e-07)", "tensorflow": "keras.optimizers.Adam(epsilon=1e-08)"},
        ),
        (
            Hypothesis("optimizer.epsilon", "epsilon 1e-7 instead of 1e-8", 1e-08, 1e-07, 4.2e5, 0.2, 1.00e-07),
            Hypothesis("optimizer.epsilon_placement", "added before the root", "after", "before", 4.2e5, 0.9),
        ),
        ("optimizer.epsilon_placement",),
    )
    third = Finding(
        1,
        "forward",
        "classifier.1",
        "training",
        "float32",
        ("classifier.1 GELU", "dense.activation gelu"),
        "rounding",
        "right",
        (0.3, 1.6),
        3e-7,
        28.7,
        Cause("unknown", False, None, None, "no hypothesis of 9 explains it"),
    )
    return first, second, third


def pairs():
    found = []
    behind = False
    for index, (left, native, right, other, shape, mirrored) in enumerate(LAYERS):
        off = left == FAULTY
        behind = behind or off
        settings = {"epsilon": 1e-05, "momentum": 0.9} if "Norm" in native else {"units": shape[-1]}
        found.append(
            LayerPair(
                (
                    LayerSide(
                        left,
                        native,
                        f"nn.{native}(16)" if "torch" not in native else "torch.flatten(x, 1)",
                        f"model.py:{20 + index}",
                        shape,
                        settings,
                        ("epsilon",) if "Norm" in native else (),
                    ),
                ),
                (
                    LayerSide(
                        right,
                        other,
                        f"keras.layers.{other}()",
                        f"port.py:{11 + index}",
                        mirrored,
                        {"epsilon": 1e-03, "momentum": 0.9} if "Norm" in native else settings,
                        ("epsilon",) if "Norm" in native else (),
                    ),
                ),
                "weights" if "Linear" in native else "order",
                {
                    "float64": (0.05, 8.1e3 if off else 0.06 + index / 100),
                    "float32": (0.04, 61.0 if off else 0.05 + index / 100),
                },
                {"float64": 3.1e-3 / (index + 1) if behind else 2e-16, "float32": 3.2e-3 if behind else 1e-7},
                "different" if off else "equal",
            )
        )
    dropout = LayerSide("classifier.drop", "Dropout", "nn.Dropout(0.5)", "model.py:31", (8, 32), {"rate": 0.5})
    found.insert(7, LayerPair((dropout,), (), "order"))
    return tuple(found)


def native():
    steps = tuple(range(1, 13))
    return NativeComparison(
        findings(),
        pairs(),
        "copied from left",
        (
            ("features.0.weight", "conv2d.kernel", "axes (2, 3, 1, 0)"),
            ("classifier.0.weight", "dense.kernel", "transposed"),
        ),
        ("torch: buffer features.1.num_batches_tracked has no counterpart",),
        (
            ("optimizer.adam.epsilon", 1e-08, 1e-07, "both"),
            ("optimizer.adam.lr", 0.001, 0.001, "right"),
            ("optimizer.adam.beta1", 0.9, 0.9, "both"),
            ("loss", "cross_entropy", "cross_entropy", ""),
        ),
        (
            Trajectory(
                "float64",
                steps,
                tuple(1e-3 * 1.4**step for step in steps),
                tuple(2e-16 * 1.6**step for step in steps),
                (tuple(2.3 * 0.9**step for step in steps), tuple(2.31 * 0.91**step for step in steps)),
            ),
            Trajectory(
                "float32", steps, tuple(1e-7 * 1.5**step for step in steps), tuple(2e-7 * 1.5**step for step in steps)
            ),
        ),
    )


def different():
    """The report of two models that differ."""
    return Report(
        verdict="different",
        kind="semantic",
        first_divergence={"step": 1, "phase": "forward", "node": FAULTY, "tensor": "inference"},
        deviates="right",
        cause=epsilon_cause(),
        checks=checks(),
        coverage=COVERAGE,
        precision_scaling={"float32": 3.2e-3, "float64": 3.1e-3, "bits": 0.05},
        largest={},
        held_back={},
        environment=ENVIRONMENT,
        replay="dualml diff model.py:net port.py:net --inputs digits.npy",
        seconds=0.9,
        native=native(),
    )
