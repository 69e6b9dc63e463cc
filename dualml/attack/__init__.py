"""How a classifier holds up when its inputs are moved on purpose: accuracy under a bound on every value's change.

FGSM and PGD on any backend: where a point moves is decided here, a backend gives outputs and gradients of its inputs in
inference mode. What comes out is an upper bound of the accuracy under attack; a stronger attack can find less.
"""

from __future__ import annotations

from dualml.attack.methods import METHODS, Attacked, Method, fgsm, pgd, unharmed
from dualml.attack.run import Attack, Robustness, attack
from dualml.attack.surroundings import Surroundings

__all__ = ["METHODS", "Attack", "Attacked", "Method", "Robustness", "Surroundings", "attack", "fgsm", "pgd", "unharmed"]
