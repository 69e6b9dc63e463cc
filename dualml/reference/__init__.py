"""What a spec means, in NumPy and float64, and how far a correct implementation may lie from it.

The judge of every backend: forward formulas, analytic gradients, losses, clipping and optimizer updates, and for
each of them a bound on the rounding error of a correct implementation in working precision, given its inputs.
``|y - reference| / bound <= 1`` is certified agreement.
"""

from __future__ import annotations

from dualml.reference.clipping import clip, clip_bound
from dualml.reference.layers import (
    backward_bound,
    forward_bound,
    kinks,
    new_buffers,
    new_buffers_bound,
    node_backward,
    node_forward,
)
from dualml.reference.losses import (
    example_losses,
    example_losses_bound,
    loss_gradient,
    loss_gradient_bound,
    loss_value,
    loss_value_bound,
    predictions,
    predictions_bound,
)
from dualml.reference.network import (
    LocalGradients,
    forward,
    gradients,
    local_gradients,
    loss_of,
    penalties,
    penalties_bound,
)
from dualml.reference.objective import (
    Scored,
    objective_bound,
    objective_value,
    output_gradient_bounds,
    output_gradients,
)
from dualml.reference.optimizers import apply, apply_bounds, initial_state, update, update_bounds
from dualml.reference.rounding import gamma, underflow_unit, unit_roundoff

__all__ = [
    "LocalGradients",
    "Scored",
    "apply",
    "apply_bounds",
    "backward_bound",
    "clip",
    "clip_bound",
    "example_losses",
    "example_losses_bound",
    "forward",
    "forward_bound",
    "gamma",
    "gradients",
    "initial_state",
    "kinks",
    "local_gradients",
    "loss_gradient",
    "loss_gradient_bound",
    "loss_of",
    "loss_value",
    "loss_value_bound",
    "new_buffers",
    "new_buffers_bound",
    "node_backward",
    "node_forward",
    "objective_bound",
    "objective_value",
    "output_gradient_bounds",
    "output_gradients",
    "penalties",
    "penalties_bound",
    "predictions",
    "predictions_bound",
    "underflow_unit",
    "unit_roundoff",
    "update",
    "update_bounds",
]
