"""Initializers that draw a matrix as a whole."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from dualml import randomness
from dualml.spec.initializers.base import Float, InitializerBase, normal


class Orthogonal(InitializerBase):
    """A random matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    The kernel ``(..., outputs)`` is seen as a matrix with one column for each output; ``Q sign(diag R)`` of the QR
    factorization of a standard normal matrix is uniform over all such matrices (Saxe et al., arXiv:1312.6120; Mezzadri,
    arXiv:math-ph/0609050, section 5). ``torch.nn.init.orthogonal_`` and ``keras.initializers.Orthogonal`` do the same.
    """

    kind = "orthogonal"

    gain: float = Field(default=1.0, gt=0, kw_only=False)
    """Length of each row or column."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        few, many = min(rows, columns), max(rows, columns)
        basis = orthonormal_rows(normal(seed, path, (many, few)).T)
        return self.gain * (basis.T if rows >= columns else basis).reshape(shape)

    def problem(self, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) >= 2 else "orthogonal needs a parameter with 2 or more axes; use zeros for a bias"


class Sparse(InitializerBase):
    """``N(0, std^2)``, with ``ceil(sparsity outputs)`` random zeros among the outputs of each input.

    ``torch.nn.init.sparse_``, which zeroes rows in each column of its ``(outputs, inputs)`` matrix (after Martens,
    "Deep learning via Hessian-free optimization", ICML 2010, section 5); Keras has no such initializer.
    """

    kind = "sparse"

    sparsity: float = Field(ge=0, le=1, kw_only=False)
    """Share of zeros."""
    std: float = Field(default=0.01, ge=0)
    """Standard deviation of the other values."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        values = self.std * normal(seed, path, shape)
        order = np.argsort(randomness.uniform(seed, f"weights/{path}/zeros", shape), axis=1, kind="stable")
        np.put_along_axis(values, order[:, : math.ceil(self.sparsity * shape[1])], 0.0, axis=1)
        return values

    def problem(self, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 2 else "sparse needs a parameter with 2 axes"


def orthonormal_rows(matrix: Float) -> Float:
    """Orthonormal rows that span those of a matrix: ``(Q sign(diag R))^T`` of the QR factorization of its transpose.

    By Householder's reflections (Golub and Van Loan, "Matrix Computations", algorithms 5.1.1 and 5.2.1). LAPACK is not
    used: it adds in an order that depends on library, processor and threads, so the last bits of its results, and with
    them every later bit of a training, would differ between machines. Here each sum has a fixed order.

    Args:
        matrix: Shape ``(few, many)`` with ``few <= many``, of full rank.

    Returns:
        The same shape.
    """
    rest = np.ascontiguousarray(matrix)
    few = len(rest)
    basis, reflections, signs = np.eye(*rest.shape), [], np.ones(few)
    for index in range(few):
        vector = rest[0].copy()
        length = np.sqrt(_row_sums((vector * vector)[None])[0])
        # The reflection takes this row to -sign(x_0) length on the diagonal of R; dividing the sign out keeps Q unique.
        signs[index] = -1.0 if vector[0] >= 0 else 1.0
        vector[0] -= signs[index] * length
        scale = 2.0 / _row_sums((vector * vector)[None])[0]
        reflections.append((vector, scale))
        rest = _reflect(rest[1:], vector, scale)[:, 1:]
    for index in range(few - 1, -1, -1):
        basis[index:, index:] = _reflect(basis[index:, index:], *reflections[index])
    return basis * signs[:, None]


def _reflect(rows: Float, vector: Float, scale: float) -> Float:
    return rows - (scale * _row_sums(rows * vector))[:, None] * vector


def _row_sums(values: Float) -> Float:
    """Sum of each row, added in pairs: halves upon halves, in an order that follows from the length alone."""
    while (length := values.shape[1]) > 1:
        half = (length + 1) // 2
        folded = values[:, :half].copy()
        folded[:, : length - half] += values[:, half:]
        values = folded
    return values[:, 0]
