"""Why a network answered what it did: how much each value of an input added to one of its outputs.

``integrated_gradients``, ``gradient_x_input`` and ``occlusion``, on any backend: what is computed is decided here, a
backend gives outputs and gradients of its inputs in inference mode.
"""

from __future__ import annotations

from dualml.explain.methods import METHODS, Method, gradient_x_input, integrated_gradients, occlusion
from dualml.explain.picture import picture
from dualml.explain.run import Explanation, explain, relative_difference
from dualml.explain.scored import Scored, Scoring

__all__ = [
    "METHODS",
    "Explanation",
    "Method",
    "Scored",
    "Scoring",
    "explain",
    "gradient_x_input",
    "integrated_gradients",
    "occlusion",
    "picture",
    "relative_difference",
]
