"""Greyscale images: scikit-learn's digits, IDX files and Fashion-MNIST, brought to a common size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.data.checks import Part, Raw
from dualml.data.idx import IMAGES, LABELS, read_idx
from dualml.data.problems import find_file, find_folder
from dualml.data.scikit_learn import datasets
from dualml.errors import DataError
from dualml.spec.data import DigitsData, FashionMnistData, IdxData, ImageSource

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten classes, as Fashion-MNIST's README numbers them."""


def read_digits(settings: DigitsData) -> Raw:
    """The digits that come with scikit-learn: 1,797 images of 8 by 8 pixels with values 0 to 16."""
    digits = datasets("the digits").load_digits()
    where = "scikit-learn's digits"
    images = resize(digits.images.astype(np.uint8), settings, "scale", where)
    part = Part(images, digits.target.astype(np.int64), where)
    names = tuple(str(name) for name in digits.target_names)
    return Raw(part, class_names=names, normalize="unit", images=True, largest=16.0)


def read_idx_files(settings: IdxData, folder: Path) -> Raw:
    """A folder of IDX files with the usual names, or the files the settings name.

    Raises:
        DataError: A file is missing or not what it should be.
    """
    if settings.folder is not None:
        where = find_folder(folder, settings.folder, "data.folder")
        train = _part(_usual(where, "train", "images"), _usual(where, "train", "labels"), settings)
        tests = [_find(where, "t10k", kind) for kind in ("images", "labels")]
        if any(tests) and not all(tests):
            missing = "images" if tests[0] is None else "labels"
            raise DataError(
                f"{where}: test images and test labels must both be there, but {_names('t10k', missing)[0]} (or .gz) "
                f"is missing; add it or remove the other"
            )
        test = None if tests[0] is None or tests[1] is None else _part(tests[0], tests[1], settings)
    else:
        pairs = [
            _part(
                find_file(folder, images, f"data.{name}_images"),
                find_file(folder, labels, f"data.{name}_labels"),
                settings,
            )
            for name, images, labels in (
                ("train", settings.train_images, settings.train_labels),
                ("test", settings.test_images, settings.test_labels),
            )
            if images is not None and labels is not None  # the settings check that none is alone
        ]
        train, test = pairs[0], pairs[1] if len(pairs) > 1 else None
    return Raw(train, test=test, normalize="unit", images=True, largest=255.0)


def read_fashion_mnist(settings: FashionMnistData, folder: Path) -> Raw:
    """Fashion-MNIST from Debian's package or a folder: 60,000 and 10,000 images of 28 by 28 pixels.

    Raises:
        DataError: It is not installed, or a file is not what it should be.
    """
    if settings.folder is None:
        where = FASHION_FOLDER
        if not where.is_dir():
            raise DataError(
                f"{where}: Fashion-MNIST must be installed, but this folder does not exist; run "
                f"'apt-get install dataset-fashion-mnist' (Debian, Ubuntu), or set data.folder to a folder with its "
                f"four IDX files"
            )
    else:
        where = find_folder(folder, settings.folder, "data.folder")
    parts = [
        _part(_usual(where, name, "images"), _usual(where, name, "labels"), settings) for name in ("train", "t10k")
    ]
    return Raw(parts[0], test=parts[1], class_names=FASHION_CLASSES, normalize="unit", images=True, largest=255.0)


def resize(images: NDArray[np.uint8], settings: ImageSource, fit: str, where: str) -> NDArray[Any]:
    """Images of ``image_size`` by ``image_size`` pixels.

    Args:
        images: Shape ``(n, rows, columns)``, dtype uint8.
        settings: ``image_size`` and ``fit``.
        fit: What ``fit: null`` means for this source.
        where: The file, for messages.

    Returns:
        Shape ``(n, size, size)``: uint8 if pixels are repeated or zeros added, float64 if interpolated.

    Raises:
        DataError: Images are larger than ``image_size`` and should be padded.
    """
    size = settings.image_size
    if size is None or images.shape[1:] == (size, size) or images.size == 0:
        return images
    if (settings.fit or fit) == "scale":
        return scale(images, size)
    rows, columns = images.shape[1:]
    if rows > size or columns > size:
        raise DataError(
            f"{where}: images must not be larger than data.image_size to be padded, but they are {rows} x {columns} "
            f"and image_size is {size}; set data.fit: scale or image_size: {max(rows, columns)}"
        )
    result = np.zeros((len(images), size, size), dtype=np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2  # an odd row or column is left after the image
    result[:, top : top + rows, left : left + columns] = images
    return result


def scale(images: NDArray[np.uint8], size: int) -> NDArray[Any]:
    """Repeat pixels where both factors are whole numbers; otherwise interpolate bilinearly in float64.

    Output pixel ``i`` lies at ``(i + 1/2) * old / new - 1/2``, between pixel centres, and at the border takes the
    border's value: PyTorch's ``align_corners=False`` and ``tf.image.resize`` without antialiasing.
    """
    if all(size % old == 0 for old in images.shape[1:]):
        return images.repeat(size // images.shape[1], axis=1).repeat(size // images.shape[2], axis=2)
    result: NDArray[Any] = images.astype(np.float64)
    for axis in (1, 2):
        old = result.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * (old / size) - 0.5, 0.0, old - 1.0)
        before = np.floor(place).astype(np.int64)
        after = np.minimum(before + 1, old - 1)
        weight = (place - before).reshape((-1, 1) if axis == 1 else (-1,))
        result = result.take(before, axis) * (1.0 - weight) + result.take(after, axis) * weight
    return result


def _part(image_file: Path, label_file: Path, settings: ImageSource) -> Part:
    images, labels = read_idx(image_file, IMAGES), read_idx(label_file, LABELS)
    where = f"{image_file} and {label_file.name}"
    if len(images) != len(labels):
        raise DataError(
            f"{where}: there must be one label for each image, but there are {len(images)} images and {len(labels)} "
            f"labels; use files of the same set"
        )
    return Part(resize(images, settings, "pad", str(image_file)), labels, where)


def _names(part: str, kind: str) -> list[str]:
    end = "idx3-ubyte" if kind == "images" else "idx1-ubyte"
    return [f"{part}-{kind}{dot}{end}" for dot in ("-", ".")]


def _find(folder: Path, part: str, kind: str) -> Path | None:
    for name in _names(part, kind):
        for ending in ("", ".gz"):
            if (folder / (name + ending)).exists():
                return find_file(folder, name + ending, "data.folder")
    return None


def _usual(folder: Path, part: str, kind: str) -> Path:
    path = _find(folder, part, kind)
    if path is None:
        raise DataError(
            f"{folder}: must hold {_names(part, kind)[0]} (also with .gz, or a dot before 'idx'), but does not; "
            f"set data.folder to the folder that holds the IDX files"
        )
    return path
