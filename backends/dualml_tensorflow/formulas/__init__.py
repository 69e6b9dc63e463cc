"""Keras optimizers for the update formulas that the stock ones do not have.

They are ordinary Keras optimizers: ``model.compile`` takes them, and ``get_config`` brings them back from a saved
model. Numbers that do not depend on the gradient (bias corrections, products of settings) are computed in
float64 and only then rounded to the parameter's dtype, as PyTorch does with Python floats; the operations on
arrays come in PyTorch's order (``torch/optim/sgd.py`` and so on, the single-tensor functions).
"""

from __future__ import annotations

from dualml_tensorflow.formulas.adafactor import FormulaAdafactor
from dualml_tensorflow.formulas.adam import FormulaAdam, FormulaAdamax, FormulaNadam
from dualml_tensorflow.formulas.adaptive import FormulaAdadelta, FormulaAdagrad, FormulaRmsprop
from dualml_tensorflow.formulas.base import Formula, double, floatx
from dualml_tensorflow.formulas.lion import FormulaLion
from dualml_tensorflow.formulas.muon import FormulaMuon
from dualml_tensorflow.formulas.sgd import FormulaSgd

__all__ = [
    "Formula",
    "FormulaAdadelta",
    "FormulaAdafactor",
    "FormulaAdagrad",
    "FormulaAdam",
    "FormulaAdamax",
    "FormulaLion",
    "FormulaMuon",
    "FormulaNadam",
    "FormulaRmsprop",
    "FormulaSgd",
    "double",
    "floatx",
]
