"""Results of metrics as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualml.metrics.base import Result


def shown(value: Result, digits: int = 4) -> str:
    """A number, or ``undefined``; a matrix as nested lists.

    Example:
        >>> shown(0.5), shown(None), shown([[3, 1], [0, 2]])
        ('0.5000', 'undefined', '[[3, 1], [0, 2]]')
    """
    if value is None:
        return "undefined"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def one_line(results: Mapping[str, Result]) -> str:
    """All numbers in one line; matrices need more room."""
    return "  ".join(f"{name} {shown(value)}" for name, value in results.items() if not isinstance(value, list))


def lines(results: Mapping[str, Result], prefix: str, class_names: Sequence[str] | None = None) -> list[str]:
    """A line for each number, and a small table for each matrix.

    Example:
        >>> for line in lines({"loss": 0.5, "confusion_matrix": [[30, 1], [0, 2]]}, "test_"): print(line)
        test_loss  0.500000
        test_confusion_matrix (rows: target, columns: predicted)
            0  1
        0  30  1
        1   0  2
    """
    found = []
    for name, value in results.items():
        if not isinstance(value, list):
            found.append(f"{prefix}{name}  {shown(value, 6)}")
            continue
        found += [f"{prefix}{name} (rows: target, columns: predicted)", *_table(value, class_names)]
    return found


def _table(matrix: list[list[float]], class_names: Sequence[str] | None) -> list[str]:
    size = len(matrix)
    names = list(class_names) if class_names and len(class_names) == size else [str(number) for number in range(size)]
    cells = [[f"{value:g}" if isinstance(value, float) else str(value) for value in row] for row in matrix]
    rows = [["", *names], *([name, *row] for name, row in zip(names, cells, strict=True))]
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))])
        for row in rows
    ]
