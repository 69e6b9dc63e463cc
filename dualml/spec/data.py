"""Where the examples come from: one group of settings for each source, selected by ``source``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.fields import FieldInfo

from dualml.spec.base import Settings


class _FileName:
    """Marks settings that name a file or folder."""


FilePath = Annotated[str, StringConstraints(min_length=1), _FileName()]
"""A file or folder; a relative one starts at the folder of the config file."""

Name = Annotated[str, StringConstraints(min_length=1)]

FunctionName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
]
"""``module:function``, for example ``my_data:load``."""


def _no_repeats(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is not None:
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"every name must be different, but {', '.join(repeated)} occurs more than once")
    return names


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class DataSource(Settings):
    """What every source has: how its examples are split and normalised."""

    # ``source`` has a default so that Python code need not repeat it; a file must name it.
    model_config = ConfigDict(json_schema_extra=lambda schema: _require_source(schema))

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the training examples held back for validation; not used if the source has a validation split."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Fraction of all examples held back for the test; not used if the source has a test split."""
    normalize: Literal["none", "unit", "standard"] | None = None
    """How inputs are scaled. ``none``: not at all; ``unit``: divided by the largest possible value (images) or
    the largest magnitude in the training examples; ``standard``: mean 0 and standard deviation 1 over the
    training examples, of all values together (images) or of each value (other sources). Left out: ``unit``
    for images, ``standard`` for tables, ``none`` for arrays and Python functions."""
    limit: int | None = Field(default=None, gt=0)
    """Train with this many examples only: the first ones after shuffling. Validation and test stay whole."""
    class_names: tuple[Name, ...] | None = Field(default=None, strict=False, min_length=1)
    """Names of the classes in the order of their numbers, in place of the source's own."""

    def anchored(self, folder: Path) -> Self:
        """A copy whose relative file names are absolute, seen from ``folder``."""
        changes = {
            name: str((folder / value).absolute())
            for name, field in type(self).model_fields.items()
            if isinstance(value := getattr(self, name), str) and _names_a_file(field)
        }
        return self.model_copy(update=changes)

    @field_validator("class_names")
    @classmethod
    def _different_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return _no_repeats(names)


def _names_a_file(field: FieldInfo) -> bool:
    marks = [*field.metadata, *(mark for choice in get_args(field.annotation) for mark in get_args(choice)[1:])]
    return any(isinstance(mark, _FileName) for mark in marks)


def _require_source(schema: dict[str, Any]) -> None:
    if "source" in schema.get("properties", {}):
        schema["required"] = ["source", *schema.get("required", ())]


class ImageSource(DataSource):
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
    inputs: Name | None = None
    """Name of the array of inputs."""
    targets: Name | None = None
    """Name of the array of targets."""

    @model_validator(mode="after")
    def _both_names(self) -> NpzData:
        if (self.inputs is None) != (self.targets is None):
            raise ValueError("give both inputs and targets, or neither")
        return self


class NpyData(DataSource):
    """Two ``.npy`` files: inputs and targets; large ones are read from disk as they are needed."""

    source: Literal["npy"] = "npy"
    """Selects this source."""
    inputs: FilePath
    """File of inputs; its first axis counts examples."""
    targets: FilePath
    """File of targets; its first axis counts examples."""
    test_inputs: FilePath | None = None
    """File of test inputs."""
    test_targets: FilePath | None = None
    """File of test targets."""
    memory_map: bool | None = None
    """Whether arrays stay on disk and are read batch by batch; left out, those of more than 256 MiB do."""

    @model_validator(mode="after")
    def _both_test_files(self) -> NpyData:
        if (self.test_inputs is None) != (self.test_targets is None):
            raise ValueError("give both test_inputs and test_targets, or neither")
        return self


class TableSource(DataSource):
    """A table: one row for each example, columns of numbers as inputs."""

    path: FilePath
    """The file."""
    target: Annotated[
        tuple[Name, ...],
        Field(strict=False, min_length=1),
        BeforeValidator(_one_or_several, json_schema_input_type=Name | list[Name]),
    ]
    """Column to predict, or several for a regression. Text is turned into classes, in sorted order."""
    features: tuple[Name, ...] | None = Field(default=None, strict=False, min_length=1)
    """Columns that are the inputs, in this order; left out, all columns but the target."""
    test_path: FilePath | None = None
    """File of test examples with the same columns."""

    @model_validator(mode="after")
    def _different_columns(self) -> TableSource:
        _no_repeats(self.target)
        _no_repeats(self.features)
        both = sorted(set(self.target) & set(self.features or ()))
        if both:
            raise ValueError(f"{', '.join(both)} is both a feature and a target; remove it from one")
        return self


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


class _PythonArguments(DataSource):
    folder: FilePath | None = None
    """Folder the module is looked for in before installed ones; left out, that of the config file."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Named arguments the function is called with."""


class PythonData(_PythonArguments):
    """A function of your own, found beside the config file or among installed modules.

    It returns ``(x, y)``, a dictionary with ``x`` and ``y`` and, where wanted, ``x_validation``,
    ``y_validation``, ``x_test``, ``y_test`` and ``class_names``, or a ``dualml.data.Dataset``.
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
    DigitsData | IdxData | FashionMnistData | NpzData | NpyData | CsvData | ParquetData | PythonData,
    Field(discriminator="source"),
]

DataSettings: TypeAlias = Annotated[
    _Source, BeforeValidator(_shorthand, json_schema_input_type=_Source | _PythonShorthand)
]
"""The type "exactly one of the sources": selected by ``source``, or written ``{python: "module:function"}``."""
