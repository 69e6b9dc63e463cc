"""The data that comes with scikit-learn, which only who uses it needs to have."""

from __future__ import annotations

from typing import Any

from dualml.errors import DataError


def datasets(what: str) -> Any:
    """The module ``sklearn.datasets``.

    Args:
        what: Which data is wanted, for the message.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets as found
    except ImportError as error:
        raise DataError(
            f"{what} come with scikit-learn, but {error.name or error} is not installed; "
            "run: pip install 'dualml[datasets]'"
        ) from None
    return found
