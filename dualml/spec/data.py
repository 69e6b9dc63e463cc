"""Where the examples come from: one group of settings for each source, selected by ``source``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from dualml.spec.data_base import ColumnNames, DataSource, FilePath, LabelledSource, Name, no_repeats
from dualml.spec.data_text import LanguageModelData, TextData, WordLanguagesData

__all__ = [
    "ColumnSource",
    "CsvData",
    "DataSettings",
    "DataSource",
    "DigitsData",
    "FashionMnistData",
    "FilePath",
    "IdxData",
    "ImageSource",
    "LabelledSource",
    "LanguageModelData",
    "NpyData",
    "NpzData",
    "ParquetData",
    "PythonData",
    "ScikitLearnData",
    "TableSource",
    "TextData",
    "WordLanguagesData",
]

FunctionName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
]
"""``module:function``, for example ``my_data:load``."""


class ImageSource(LabelledSource):
    """A source of square or rectangular greyscale images."""

    image_size: int | None = Field(default=None, gt=0, le=4096)
    """Make every image this many pixels high and wide; left out, images keep their size."""
    fit: Literal["scale", "pad"] | None = None
    """How images reach ``image_size``. ``scale``: each pixel is repeated where the factor is a whole number,
    otherwise bilinear interpolation between pixel centres; ``pad``: zeros around the image, which stays in the
    middle. Left out: ``scale`` for digits, ``pad`` for IDX files."""


class DigitsData(ImageSource):
    """The 1,797 handwritten digits of 8 by 8 pixels that come with scikit-learn; needs no download."""

    source: Literal["digits"] = "digits"
    """Selects this source."""


class IdxData(ImageSource):
    """Images and labels in MNIST's IDX format, gzipped or not: a folder with the usual names, or each file."""

    source: Literal["idx"] = "idx"
    """Selects this source."""
    folder: FilePath | None = None
    """Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and, for the test,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``; each may end in ``.gz``, and a dot may stand
    before ``idx``."""
    train_images: FilePath | None = None
    """File of training images."""
    train_labels: FilePath | None = None
    """File of training labels."""
    test_images: FilePath | None = None
    """File of test images."""
    test_labels: FilePath | None = None
    """File of test labels."""

    @model_validator(mode="after")
    def _folder_or_files(self) -> IdxData:
        train = (self.train_images, self.train_labels)
        test = (self.test_images, self.test_labels)
        if self.folder is not None:
            if any(path is not None for path in (*train, *test)):
                raise ValueError("give either folder or the single files, not both")
        elif any(path is None for path in train):
            raise ValueError("give folder, or both train_images and train_labels")
        elif (test[0] is None) != (test[1] is None):
            raise ValueError("give both test_images and test_labels, or neither")
        return self


class FashionMnistData(ImageSource):
    """Zalando's 70,000 images of clothes, 28 by 28 pixels, as Debian's package ``dataset-fashion-mnist`` has them."""

    source: Literal["fashion_mnist"] = "fashion_mnist"
    """Selects this source."""
    folder: FilePath | None = None
    """Folder with the four IDX files; left out, where Debian's package puts them."""


class NpzData(DataSource):
    """One ``.npz`` file with named arrays.

    Without names, the training arrays are ``x`` and ``y``, ``inputs`` and ``targets``, or ``x_train`` and
    ``y_train``. Test and validation arrays are used where they exist: ``x_test`` and ``y_test``, ``x_val`` and
    ``y_val`` (or ``x_validation``), and in the same way for other names.
    """

    source: Literal["npz"] = "npz"
    """Selects this source."""
    path: FilePath
    """The file."""
    inputs: Name | dict[Name, Name] | None = None
    """Name of the array of inputs; for a model with several inputs, a name for each: ``{image: x, age: ages}``."""
    targets: Name | dict[Name, Name] | None = None
    """Name of the array of targets; for a model with several outputs, a name for each. The name of an input in
    place of an array's means that the output reconstructs that input."""
    weights: Name | None = None
    """Name of the array of weights, one for each example, by which its loss is multiplied."""

    @model_validator(mode="after")
    def _both_names(self) -> NpzData:
        if (self.inputs is None) != (self.targets is None):
            raise ValueError("give both inputs and targets, or neither")
        return self


class NpyData(DataSource):
    """Two ``.npy`` files: inputs and targets; large ones are read from disk as they are needed."""

    source: Literal["npy"] = "npy"
    """Selects this source."""
    inputs: FilePath | dict[Name, FilePath]
    """File of inputs, whose first axis counts examples; for a model with several inputs, a file for each."""
    targets: FilePath | dict[Name, FilePath]
    """File of targets, whose first axis counts examples; for a model with several outputs, a file for each."""
    weights: FilePath | None = None
    """File of weights, one for each example, by which its loss is multiplied."""
    test_inputs: FilePath | dict[Name, FilePath] | None = None
    """File of test inputs, or a file for each input."""
    test_targets: FilePath | dict[Name, FilePath] | None = None
    """File of test targets, or a file for each output."""
    memory_map: bool | None = None
    """Whether arrays stay on disk and are read batch by batch; left out, those of more than 256 MiB do."""

    @model_validator(mode="after")
    def _both_test_files(self) -> NpyData:
        if (self.test_inputs is None) != (self.test_targets is None):
            raise ValueError("give both test_inputs and test_targets, or neither")
        return self


class ColumnSource(DataSource):
    """A table: one row for each example, columns as inputs and targets."""

    target: ColumnNames | None = None
    """Column to predict, or several for a regression. Text is turned into classes, in sorted order."""
    targets: dict[Name, ColumnNames] | None = Field(default=None, min_length=1)
    """For a model with several outputs, in place of ``target``: the columns each output predicts. The name of an
    input in place of a column means that the output reconstructs that input."""
    features: tuple[Name, ...] | None = Field(default=None, strict=False, min_length=1)
    """Columns that are the inputs, in this order; left out, all columns but targets and weights."""
    inputs: dict[Name, ColumnNames] | None = Field(default=None, min_length=1)
    """For a model with several inputs, in place of ``features``: the columns of each input. Columns of an input
    with ``dtype: integer`` are categories: in each, the values in the training examples are numbered in sorted
    order, after one number for values that are missing or not among them; the numbers of a column follow those of
    the column before it, so that one embedding serves the whole input."""
    bins: dict[Name, Annotated[int, Field(ge=2)]] | None = Field(default=None, min_length=1)
    """Columns of numbers that become categories, with the number of bins: each bin has about the same number of
    training examples."""
    weights: Name | None = None
    """Column of weights by which the loss of each example is multiplied."""

    @property
    def target_columns(self) -> tuple[str, ...]:
        """Every column that is a target (and, in ``targets``, names of inputs to reconstruct)."""
        if self.targets is not None:
            return tuple(dict.fromkeys(name for names in self.targets.values() for name in names))
        return self.target or ()

    @property
    def feature_columns(self) -> tuple[str, ...] | None:
        """Every column that is an input; ``None`` means all others."""
        if self.inputs is not None:
            return tuple(dict.fromkeys(name for names in self.inputs.values() for name in names))
        return self.features

    @model_validator(mode="after")
    def _different_columns(self) -> Self:
        if (self.target is None) == (self.targets is None):
            raise ValueError("give either target (one output) or targets (a mapping, one entry for each output)")
        if self.features is not None and self.inputs is not None:
            raise ValueError("give either features (one input) or inputs (a mapping, one entry for each input)")
        lists = [self.target, self.features, *(self.targets or {}).values(), *(self.inputs or {}).values()]
        for names in lists:
            no_repeats(names)
        features = self.feature_columns
        both = sorted(set(self.target_columns) & set(features or ()))
        if both:
            raise ValueError(f"{', '.join(both)} is both a feature and a target; remove it from one")
        if self.weights is not None and self.weights in {*self.target_columns, *(features or ())}:
            raise ValueError(f"{self.weights} is the column of weights; remove it from features and targets")
        stray = sorted(set(self.bins or ()) - set(features or self.bins or ()))
        if stray:
            raise ValueError(f"bins must name columns that are inputs, but {', '.join(stray)} is none")
        return self


class TableSource(ColumnSource):
    """A table in a file."""

    path: FilePath
    """The file."""
    test_path: FilePath | None = None
    """File of test examples with the same columns."""


class CsvData(TableSource):
    """A CSV file whose first line names the columns, compressed or not."""

    source: Literal["csv"] = "csv"
    """Selects this source."""
    separator: str = Field(default=",", min_length=1, max_length=1)
    """Character between two columns."""


class ParquetData(TableSource):
    """A Parquet file."""

    source: Literal["parquet"] = "parquet"
    """Selects this source."""


class ScikitLearnData(ColumnSource):
    """A table that comes with scikit-learn; needs no download."""

    source: Literal["scikit_learn"] = "scikit_learn"
    """Selects this source."""
    table: Literal["breast_cancer", "diabetes", "iris", "wine"]
    """Which one: ``breast_cancer`` (569 rows, 2 classes), ``diabetes`` (442 rows, a number to predict; unscaled),
    ``iris`` (150 rows, 3 classes) or ``wine`` (178 rows, 3 classes). Columns have scikit-learn's names; the one to
    predict is ``target``."""

    @model_validator(mode="before")
    @classmethod
    def _usual_target(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("target") is None and value.get("targets") is None:
            return {**value, "target": "target"}
        return value


class _PythonArguments(DataSource):
    folder: FilePath | None = None
    """Folder the module is looked for in before installed ones; left out, that of the config file."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Named arguments the function is called with."""


class PythonData(_PythonArguments):
    """A function of your own, found beside the config file or among installed modules.

    It returns ``(x, y)``, a dictionary with ``x`` and ``y`` and, where wanted, ``x_validation``,
    ``y_validation``, ``x_test``, ``y_test``, ``weights``, ``weights_validation``, ``weights_test`` and
    ``class_names``, or a ``dualml.data.Dataset``. For a model with several inputs or outputs, ``x`` or ``y`` is a
    dictionary with an array for each.
    """

    source: Literal["python"] = "python"
    """Selects this source."""
    function: FunctionName
    """The function as ``module:function``."""

    def anchored(self, folder: Path) -> Self:
        """A copy that finds its module beside the config, wherever the process is."""
        return super().anchored(folder) if self.folder else self.model_copy(update={"folder": str(folder.absolute())})


class _PythonShorthand(_PythonArguments):
    """Short form of the source ``python``."""

    python: FunctionName
    """The function as ``module:function``."""


def _shorthand(value: Any) -> Any:
    """``{python: "module:function"}`` as ``{source: python, function: "module:function"}``."""
    if isinstance(value, Mapping) and "python" in value and "source" not in value and "function" not in value:
        rest = {key: item for key, item in value.items() if key != "python"}
        return {"source": "python", "function": value["python"], **rest}
    return value


_Source: TypeAlias = Annotated[
    DigitsData
    | IdxData
    | FashionMnistData
    | NpzData
    | NpyData
    | CsvData
    | ParquetData
    | ScikitLearnData
    | TextData
    | WordLanguagesData
    | LanguageModelData
    | PythonData,
    Field(discriminator="source"),
]

DataSettings: TypeAlias = Annotated[
    _Source, BeforeValidator(_shorthand, json_schema_input_type=_Source | _PythonShorthand)
]
"""The type "exactly one of the sources": selected by ``source``, or written ``{python: "module:function"}``."""
