"""For every cause id, faults made with the reference, and the hypotheses that are tried for them."""

from __future__ import annotations

import faults_layers
import faults_losses
import faults_updates
import faults_weights
from hypothesis_support import CASES

MODULES = (faults_layers, faults_losses, faults_updates, faults_weights)
"""Each adds its own."""

__all__ = ["CASES", "MODULES"]
