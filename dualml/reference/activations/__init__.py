"""Activation functions: values, derivatives and rounding bounds."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.reference.activations import gated, normalising, piecewise, rectifiers, saturating, softplus
from dualml.reference.activations.base import ActivationReference, Elementwise, sigmoid

__all__ = ["ACTIVATIONS", "ActivationReference", "Elementwise", "sigmoid"]

ACTIVATIONS: Mapping[str, ActivationReference] = {
    **rectifiers.FUNCTIONS,
    **saturating.FUNCTIONS,
    **gated.FUNCTIONS,
    **softplus.FUNCTIONS,
    **piecewise.FUNCTIONS,
    **normalising.FUNCTIONS,
}
"""Every activation, by kind."""
