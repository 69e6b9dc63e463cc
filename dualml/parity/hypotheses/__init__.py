"""Causes by counterfactuals: what the deviating side would have to do for its numbers to be explained.

Each ``explain_*`` is a pure function of claims, weights and recorded arrays. It evaluates the reference with one
convention flipped at a time on the deviating side's own data, and a hypothesis passes where the rest is rounding:
rho at most 1. ``conclude`` makes a cause of what passes, and ``unknown`` of nothing.
"""

from __future__ import annotations

from dualml.parity.hypotheses.backward import Penalised, Use, explain_backward
from dualml.parity.hypotheses.buffers import explain_buffers
from dualml.parity.hypotheses.conclude import Conclusion, conclude, conclusions
from dualml.parity.hypotheses.forward import explain_forward
from dualml.parity.hypotheses.inputs import explain_inputs
from dualml.parity.hypotheses.loss_forms import LossForm
from dualml.parity.hypotheses.losses import LossCase, explain_loss, identified
from dualml.parity.hypotheses.meanings import MEANINGS, UNKNOWN
from dualml.parity.hypotheses.memory import explain_memory
from dualml.parity.hypotheses.penalties import explain_penalties
from dualml.parity.hypotheses.structure import explain_segment
from dualml.parity.hypotheses.trial import Tried
from dualml.parity.hypotheses.update_beside import explain_beside
from dualml.parity.hypotheses.updates import UpdateStep, explain_update
from dualml.parity.hypotheses.weights import explain_tying, explain_weights

__all__ = [
    "MEANINGS",
    "UNKNOWN",
    "Conclusion",
    "LossCase",
    "LossForm",
    "Penalised",
    "Tried",
    "UpdateStep",
    "Use",
    "conclude",
    "conclusions",
    "explain_backward",
    "explain_beside",
    "explain_buffers",
    "explain_forward",
    "explain_inputs",
    "explain_loss",
    "explain_memory",
    "explain_penalties",
    "explain_segment",
    "explain_tying",
    "explain_update",
    "explain_weights",
    "identified",
]
