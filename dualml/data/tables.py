"""Tables: CSV and Parquet files, read with pandas, and those that come with scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.categories import Columns, TableEncoding, fit_table, numbers_only
from dualml.data.checks import Part, Raw
from dualml.data.needs import Needs
from dualml.data.problems import find_file, nearest, reason
from dualml.data.rows import Rows, SameAs
from dualml.data.scikit_learn import datasets
from dualml.errors import DataError
from dualml.spec.data import ColumnSource, CsvData, ParquetData, ScikitLearnData


def read_table(settings: CsvData | ParquetData, folder: Path, needs: Needs) -> Raw:
    """A table and, if there is one, a table of test examples with the same columns.

    Raises:
        DataError: A file or column is missing, or a value is not a number.
    """
    path = find_file(folder, settings.path, "data.path")
    kind = "CSV" if isinstance(settings, CsvData) else "Parquet"
    separator = settings.separator if isinstance(settings, CsvData) else ","
    table = _columns(_frame(path, kind, separator))
    inputs = _inputs(table, settings, needs, str(path))
    train = _part(table, inputs, settings, needs, str(path))
    test = None
    if settings.test_path is not None:
        path = find_file(folder, settings.test_path, "data.test_path")
        table = _columns(_frame(path, kind, separator))
        wanted = [column for columns in inputs.values() for column in columns]
        _check_columns(table, (*_targets_of(settings, needs), *wanted), str(path), "data.test_path")
        test = _part(table, inputs, settings, needs, str(path))
    return _raw(train, test, inputs, settings, separator)


def read_scikit_learn(settings: ScikitLearnData, needs: Needs) -> Raw:
    """One of the tables that come with scikit-learn, in their own units."""
    options = {"scaled": False} if settings.table == "diabetes" else {}
    found = getattr(datasets(f"the {settings.table} data"), f"load_{settings.table}")(**options)
    where = f"scikit-learn's {settings.table}"
    names = [str(name) for name in found.feature_names]
    table: dict[str, NDArray[Any]] = {name: found.data[:, index].astype(float) for index, name in enumerate(names)}
    table["target"] = found.target.astype(float)
    inputs = _inputs(table, settings, needs, where)
    train = _part(table, inputs, settings, needs, where)
    raw = _raw(train, None, inputs, settings, ",")
    classes = tuple(str(name) for name in getattr(found, "target_names", ()))
    return replace(raw, class_names=classes or None)


def _raw(
    train: Part, test: Part | None, inputs: dict[str, tuple[str, ...]], settings: ColumnSource, separator: str
) -> Raw:
    def fit(part: Part, needs: Needs) -> TableEncoding:
        columns: Any = part.inputs
        return fit_table(inputs, needs.inputs, settings.bins or {}, columns, separator, part.where)

    return Raw(train, test=test, normalize="standard", fit=fit)


def read_columns(path: Path, columns: tuple[str, ...], separator: str = ",") -> Columns:
    """Columns of a file of new examples.

    Raises:
        DataError: The file cannot be read, or a column is missing.
    """
    parquet = path.suffix.lower() == ".parquet"
    table = _columns(_frame(path, "Parquet" if parquet else "CSV", separator))
    _check_columns(table, columns, str(path), "the columns")
    return {name: table[name] for name in columns}


def _frame(path: Path, kind: str, separator: str) -> Any:
    try:
        import pandas as pd

        if kind == "Parquet":
            import pyarrow.parquet  # noqa: F401 (pandas would fall back to other engines)
    except ImportError as error:
        raise DataError(
            f"{path}: reading tables needs pandas and pyarrow, but {error.name or 'one'} is not installed; "
            f"run: pip install 'dualml[tables]'"
        ) from error
    try:
        if kind == "CSV":
            # pandas would rename the second of two equal columns, so the first line is read on its own.
            options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig"}
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


def _columns(frame: Any) -> dict[str, NDArray[Any]]:
    """A frame as arrays: columns of numbers as float64, others as objects."""
    columns = {}
    for name in frame.columns:
        numbers = _numbers(frame[name])
        columns[str(name)] = frame[name].to_numpy(dtype=object) if numbers is None else numbers
    return columns


def _targets_of(settings: ColumnSource, needs: Needs) -> tuple[str, ...]:
    """The columns that are targets or weights; names of inputs to reconstruct are no columns."""
    names = (name for name in settings.target_columns if settings.targets is None or name not in needs.inputs)
    return (*names, *(() if settings.weights is None else (settings.weights,)))


def _inputs(table: Columns, settings: ColumnSource, needs: Needs, where: str) -> dict[str, tuple[str, ...]]:
    """The columns of each input."""
    others = _targets_of(settings, needs)
    _check_columns(table, others, where, "data.target")
    if settings.inputs is not None:
        inputs = dict(settings.inputs)
        _check_columns(table, [name for names in inputs.values() for name in names], where, "data.inputs")
        missing = [name for name in needs.inputs if name not in inputs]
        stray = [name for name in inputs if name not in needs.inputs]
        if missing or stray:
            raise DataError(
                f"{where}: data.inputs must name the model's inputs ({', '.join(needs.inputs)}), but names "
                f"{', '.join(inputs)}.{nearest(stray[0], needs.inputs) if stray else ''} Correct data.inputs"
            )
        return inputs
    if len(needs.inputs) > 1:
        raise DataError(
            f"{where}: the model has {len(needs.inputs)} inputs ({', '.join(needs.inputs)}), so the columns of each "
            f"must be known, but data.inputs is missing; set data.inputs: {{{next(iter(needs.inputs))}: [...], ...}}"
        )
    name = next(iter(needs.inputs))
    if settings.features is not None:
        _check_columns(table, settings.features, where, "data.features")
        return {name: settings.features}
    features = tuple(column for column in table if column not in others)
    if not features:
        raise DataError(
            f"{where}: there must be at least one column beside the target, but there is only {', '.join(table)}; "
            f"check data.separator and data.target"
        )
    return {name: features}


def _check_columns(table: Columns, wanted: Iterable[str], where: str, key: str) -> None:
    for name in wanted:
        if name not in table:
            shown = ", ".join(list(table)[:20]) + (", …" if len(table) > 20 else "")
            separator = " or data.separator" if len(table) == 1 else ""
            raise DataError(
                f"{where}: there must be a column {name!r}, but the columns are {shown}.{nearest(name, table)} "
                f"Correct {key}{separator} or the first line of the file"
            )


def _part(table: Columns, inputs: dict[str, tuple[str, ...]], settings: ColumnSource, needs: Needs, where: str) -> Part:
    """The raw columns of the inputs, which an encoding puts together, and the targets."""
    columns: dict[str, Rows] = {}
    for name, names in inputs.items():
        for column in names:
            array = table[column]
            columns[column] = array if needs.inputs[name].integer else numbers_only(array, column, where)
    targets: Any
    if settings.targets is not None:
        targets = {
            output: SameAs(names[0]) if names[0] in needs.inputs else _target(table, names, where)
            for output, names in settings.targets.items()
        }
    else:
        targets = _target(table, settings.target or (), where)
    weights = None
    if settings.weights is not None:
        weights = table[settings.weights]
        if weights.dtype.kind != "f":
            raise DataError(f"{where}: weights must be numbers, but column {settings.weights!r} has text; correct it")
    return Part(columns, targets, where, table=True, weights=weights)


def _target(table: Columns, names: tuple[str, ...], where: str) -> NDArray[Any]:
    columns = [_checked_target(table[name], name, where) for name in names]
    if len(columns) == 1:
        return columns[0]
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind == "U":
            raise DataError(
                f"{where}: several targets must all be numbers, but column {name!r} has text; name one column in "
                f"data.target, or only columns of numbers"
            )
    return np.stack(columns, axis=1)


def _checked_target(values: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    missing = np.array([value is None or value != value for value in values], dtype=np.bool_)
    if missing.any():
        raise DataError(
            f"{where}: every target must have a value, but column {name!r} has none in data row "
            f"{int(np.argmax(missing)) + 1} (below the header; fields such as NA, null and None count as empty); "
            f"remove such rows or fill the values"
        )
    if values.dtype.kind == "f":
        return values
    odd = [row for row, value in enumerate(values) if not isinstance(value, str)]
    if odd:
        raise DataError(
            f"{where}: targets must be all numbers or all text, but column {name!r} has {values[odd[0]]!r} in data row "
            f"{odd[0] + 1} (below the header); write them in one way"
        )
    return values.astype(np.str_) if len(values) else np.empty(0)


def _numbers(series: Any) -> NDArray[np.float64] | None:
    """A column as float64, or ``None`` if it does not hold numbers."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_complex_dtype(series.dtype):
        return None if len(series) else np.empty(0)
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def read_labelled_column(path: Path, text: str, target: str, separator: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A column of texts, as objects, and a column of labels or numbers.

    Raises:
        DataError: The file cannot be read, a column is missing, or a label is.
    """
    table = _columns(_frame(path, "CSV", separator))
    _check_columns(table, (text,), str(path), "data.text")
    _check_columns(table, (target,), str(path), "data.target")
    return table[text].astype(object), _checked_target(table[target], target, str(path))
