"""Update formulas that ``torch.optim`` does not have, as optimizers for any PyTorch loop.

They follow the order of Keras' operations, so that float32 results stay close to Keras'; scalars (rates,
bias corrections) are computed in double precision, as PyTorch does and Keras does not.
"""

from __future__ import annotations

from dualml_torch.formulas.adafactor import GeneralAdafactor
from dualml_torch.formulas.adam import EpsilonHatAdam, GeneralAdamax
from dualml_torch.formulas.adaptive import GeneralAdadelta, GeneralAdagrad, GeneralRMSprop
from dualml_torch.formulas.base import Formula
from dualml_torch.formulas.lion import Lion
from dualml_torch.formulas.muon import FullPrecisionMuon
from dualml_torch.formulas.sgd import GeneralSGD

__all__ = [
    "EpsilonHatAdam",
    "Formula",
    "FullPrecisionMuon",
    "GeneralAdadelta",
    "GeneralAdafactor",
    "GeneralAdagrad",
    "GeneralAdamax",
    "GeneralRMSprop",
    "GeneralSGD",
    "Lion",
]
