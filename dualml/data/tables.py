"""Tables: CSV and Parquet files, read with pandas."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.checks import Part, Raw, find_file, nearest, reason
from dualml.errors import DataError
from dualml.spec.data import CsvData, ParquetData, TableSource


def read_table(settings: CsvData | ParquetData, folder: Path) -> Raw:
    """A table and, if there is one, a table of test examples with the same columns.

    Raises:
        DataError: A file or column is missing, or a value is not a number.
    """
    path = find_file(folder, settings.path, "data.path")
    frame = _frame(path, settings)
    features = _features(frame, settings, path)
    train = _part(frame, features, settings, path)
    if settings.test_path is None:
        return Raw(train, normalize="standard")
    path = find_file(folder, settings.test_path, "data.test_path")
    frame = _frame(path, settings)
    _check_columns(frame, (*settings.target, *features), path, "data.test_path")
    return Raw(train, test=_part(frame, features, settings, path), normalize="standard")


def _frame(path: Path, settings: CsvData | ParquetData) -> Any:
    try:
        import pandas as pd

        if isinstance(settings, ParquetData):
            import pyarrow.parquet  # noqa: F401 (pandas would fall back to other engines)
    except ImportError as error:
        raise DataError(
            f"{path}: reading tables needs pandas and pyarrow, but {error.name or 'one'} is not installed; "
            f"run: pip install 'dualml[tables]'"
        ) from error
    kind = "CSV" if isinstance(settings, CsvData) else "Parquet"
    try:
        if isinstance(settings, CsvData):
            # pandas would rename the second of two equal columns, so the first line is read on its own.
            options: dict[str, Any] = {"sep": settings.separator, "encoding": "utf-8-sig"}
            first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
            columns = [str(name) for name in first.iloc[0]]
            _check_repeated(columns, path)
            with warnings.catch_warnings():
                # Rows longer than the first line would lose their last values with a warning only.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(path, header=0, names=columns, index_col=False, low_memory=False, **options)
        else:
            frame = pd.read_parquet(path, engine="pyarrow")
            frame.columns = [str(name) for name in frame.columns]
            _check_repeated(list(frame.columns), path)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # pandas, pyarrow and the decompressors share no base class for bad files
        raise DataError(
            f"{path}: must be a {kind} file, but cannot be read as one ({reason(error)}); correct the file or "
            f"data.source"
        ) from error
    return frame


def _check_repeated(columns: list[str], path: Path) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path}: columns must have different names, but {', '.join(map(repr, repeated))} occurs more than once; "
            f"rename one in the first line"
        )


def _features(frame: Any, settings: TableSource, path: Path) -> tuple[str, ...]:
    columns = list(frame.columns)
    _check_columns(frame, settings.target, path, "data.target")
    if settings.features is not None:
        _check_columns(frame, settings.features, path, "data.features")
        return settings.features
    features = tuple(name for name in columns if name not in settings.target)
    if not features:
        raise DataError(
            f"{path}: there must be at least one column beside the target, but there is only {', '.join(columns)}; "
            f"check data.separator and data.target"
        )
    return features


def _check_columns(frame: Any, wanted: tuple[str, ...], path: Path, key: str) -> None:
    columns = list(frame.columns)
    for name in wanted:
        if name not in columns:
            shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
            separator = " or data.separator" if len(columns) == 1 else ""
            raise DataError(
                f"{path}: there must be a column {name!r}, but the columns are {shown}.{nearest(name, columns)} "
                f"Correct {key}{separator} or the first line of the file"
            )


def _part(frame: Any, features: tuple[str, ...], settings: TableSource, path: Path) -> Part:
    inputs = np.empty((len(frame), len(features)), dtype=np.float64)
    for index, name in enumerate(features):
        column = _numbers(frame[name])
        if column is None:
            row, value = _first_text(frame[name])
            raise DataError(
                f"{path}: every feature must be a number, but column {name!r} has {value!r} in data row {row + 1} "
                f"(below the header); correct it, encode it as numbers, or leave it out with data.features"
            )
        finite = np.isfinite(column)
        if not finite.all():
            row = int(np.argmin(finite))
            found = "no value (NaN)" if np.isnan(column[row]) else "infinity"
            raise DataError(
                f"{path}: every feature must be a finite number, but column {name!r} has {found} in data row "
                f"{row + 1} (below the header); remove such rows or fill the values"
            )
        inputs[:, index] = column
    columns = [_targets(frame[name], name, path) for name in settings.target]
    targets = columns[0]
    if len(columns) > 1:
        for name, column in zip(settings.target, columns, strict=True):
            if column.dtype.kind == "U":
                raise DataError(
                    f"{path}: several targets must all be numbers, but column {name!r} has text; name one column in "
                    f"data.target, or only columns of numbers"
                )
        targets = np.stack(columns, axis=1)
    return Part(inputs, targets, str(path), table=True)


def _targets(series: Any, name: str, path: Path) -> NDArray[Any]:
    missing = series.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{path}: every target must have a value, but column {name!r} has none in data row "
            f"{int(np.argmax(missing)) + 1} (below the header; fields such as NA, null and None count as empty); "
            f"remove such rows or fill the values"
        )
    numbers = _numbers(series)
    if numbers is not None:
        return numbers
    values = series.to_numpy(dtype=object)
    odd = [row for row, value in enumerate(values) if not isinstance(value, str)]
    if odd:
        raise DataError(
            f"{path}: targets must be all numbers or all text, but column {name!r} has {values[odd[0]]!r} in data row "
            f"{odd[0] + 1} (below the header); write them in one way"
        )
    return values.astype(np.str_) if len(values) else np.empty(0)


def _numbers(series: Any) -> NDArray[np.float64] | None:
    """A column as float64, or ``None`` if it does not hold numbers."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_complex_dtype(series.dtype):
        return None if len(series) else np.empty(0)
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def _first_text(series: Any) -> tuple[int, Any]:
    """The first value that is not a number, with its row."""
    for row, value in enumerate(series):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, value
    return 0, series.iloc[0]
