"""Small helpers for messages: the nearest known name, and config paths as people write them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OTHER_NAMES = {
    "linear": "dense",
    "fully_connected": "dense",
    "out_features": "units",
    "learning_rate": "lr",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "keras": "tensorflow",
    "tf": "tensorflow",
    "pytorch": "torch",
    "cuda": "gpu",
    "acc": "accuracy",
    "p": "rate",
    "eps": "epsilon",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "concatenate": "concat",
    "cat": "concat",
    "mean_squared_error": "mse",
    "label_smooth": "label_smoothing",
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "random_normal": "normal",
    "random_uniform": "uniform",
    "trunc_normal": "truncated_normal",
    "eye": "identity",
    "step_lr": "step",
    "multi_step_lr": "multi_step",
    "multisteplr": "multi_step",
    "exponential_lr": "exponential",
    "exponential_decay": "exponential",
    "cosine_annealing": "cosine",
    "cosine_decay": "cosine",
    "cosine_annealing_warm_restarts": "cosine_restarts",
    "cosine_decay_restarts": "cosine_restarts",
    "one_cycle_lr": "one_cycle",
    "polynomial_decay": "polynomial",
    "piecewise_constant": "piecewise",
    "noam": "inverse_sqrt",
    "reduce_lr_on_plateau": "reduce_on_plateau",
    "top_k_accuracy": "top_k",
    "topk": "top_k",
    "roc_auc": "auc",
    "f1_score": "f1",
    "r2_score": "r2",
}
"""What people used to one of the frameworks call something, and what it is called here."""

LEFT_OUT = {
    "ctc": "CTC is left out because TensorFlow computes it in float32 alone, and gives other values than PyTorch where "
    "no alignment exists; use cross_entropy with ignore_index for targets aligned with the steps, or the framework's "
    "own loss on the native model",
}
"""What both frameworks have and the catalogue has not, and why."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A ``"; did you mean 'x'?"`` for a misspelt name, or the list of known names if none is close.

    For what is left out on purpose, the reason.

    Example:
        >>> nearest("adm", ["sgd", "adam"])
        "; did you mean 'adam'?"
        >>> nearest("xyz", ["sgd", "adam"])
        '; known: sgd, adam'
    """
    known = list(known)
    if name.lower() in LEFT_OUT and name not in known:
        return f"; {LEFT_OUT[name.lower()]}"
    other = OTHER_NAMES.get(name.lower(), name.lower())
    if other in known and other != name:
        return f"; did you mean {other!r}?"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def dotted(location: Iterable[str | int]) -> str:
    """A location as a dotted path.

    Example:
        >>> dotted(("model", "layers", 2, "dense", "units"))
        'model.layers[2].dense.units'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
