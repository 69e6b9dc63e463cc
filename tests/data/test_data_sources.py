"""Every source, end to end, from files written here."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from data_files import idx_bytes, images, load, write_idx, write_mnist
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import TypeAdapter, ValidationError

import dualml.data.images as image_module
from dualml.data.idx import IMAGES, read_idx
from dualml.data.images import FASHION_CLASSES, scale
from dualml.spec.data import (
    CsvData,
    DataSettings,
    DigitsData,
    FashionMnistData,
    IdxData,
    NpyData,
    NpzData,
    ParquetData,
    PythonData,
)

ADAPTER = TypeAdapter(DataSettings)


# Settings


@pytest.mark.parametrize(
    "values",
    [
        {"source": "digits", "image_size": 32},
        {"source": "idx", "folder": "mnist"},
        {"source": "idx", "train_images": "a", "train_labels": "b"},
        {"source": "fashion_mnist"},
        {"source": "npz", "path": "d.npz"},
        {"source": "npy", "inputs": "x.npy", "targets": "y.npy"},
        {"source": "csv", "path": "a.csv", "target": "y"},
        {"source": "parquet", "path": "a.parquet", "target": ["y", "z"], "features": ["a"]},
        {"source": "python", "function": "a.b:c.d", "arguments": {"n": 3}},
        {"python": "module:load", "validation": 0},
    ],
)
def test_settings_survive_a_round_trip_and_match_their_schema(values):
    jsonschema.validate(values, ADAPTER.json_schema())
    parsed = ADAPTER.validate_python(values)
    plain = json.loads(json.dumps(parsed.model_dump(mode="json")))
    assert ADAPTER.validate_python(plain) == parsed
    jsonschema.validate(plain, ADAPTER.json_schema())


def test_the_short_form_of_a_function():
    short = ADAPTER.validate_python({"python": "m:f", "test": 0.5})
    assert short == PythonData(function="m:f", test=0.5)


@pytest.mark.parametrize(
    "values",
    [
        {"source": "digits", "image_size": 0},
        {"source": "digits", "image_size": "32"},
        {"source": "digits", "validation": 1.0},
        {"source": "digits", "test": -0.1},
        {"source": "digits", "limit": 0},
        {"source": "digits", "imagesize": 3},
        {"source": "digits", "class_names": ["a", "a"]},
        {"source": "digit"},
        {"image_size": 32},
        {"source": "idx"},
        {"source": "idx", "train_images": "a"},
        {"source": "idx", "folder": "a", "train_images": "a"},
        {"source": "idx", "train_images": "a", "train_labels": "b", "test_images": "c"},
        {"source": "npz", "path": ""},
        {"source": "npz", "path": "a", "inputs": "x"},
        {"source": "npy", "inputs": "a", "targets": "b", "test_inputs": "c"},
        {"source": "csv", "path": "a", "target": []},
        {"source": "csv", "path": "a", "target": "y", "features": ["y"]},
        {"source": "csv", "path": "a", "target": "y", "features": ["a", "a"]},
        {"source": "csv", "path": "a", "target": ["y", "y"]},
        {"source": "python", "function": "load"},
        {"python": "load"},
        {"python": "m:f", "source": "python"},
    ],
)
def test_settings_refuse(values):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(values)


def test_every_setting_is_described():
    for name, definition in ADAPTER.json_schema()["$defs"].items():
        assert definition.get("description"), name
        for field, schema in definition["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


# Digits and resizing


def test_digits_as_they_are():
    data = load(DigitsData(), input_shape=(8, 8, 1))
    x, y = data.train.whole("float32")
    assert x.shape[1:] == (8, 8, 1)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert set(y) == set(range(10))
    assert data.class_names == tuple("0123456789")
    assert data.train.inputs.dtype == np.uint8
    assert data.example_shape == (8, 8, 1)


def test_digits_repeat_pixels_by_a_whole_factor():
    small = load(DigitsData(), input_shape=(64,)).test.whole("float64")[0].reshape(-1, 8, 8)
    large = load(DigitsData(image_size=32), input_shape=(1024,)).test.whole("float64")[0].reshape(-1, 32, 32)
    assert np.array_equal(large, np.kron(small, np.ones((4, 4))))


def test_digits_can_be_padded():
    data = load(DigitsData(image_size=11, fit="pad"), input_shape=(121,))
    x = data.train.whole("float64")[0].reshape(-1, 11, 11)
    assert not x[:, 0].any()
    assert not x[:, 9:].any()
    assert x[:, 1:9, 1:9].any()


def test_interpolation_lies_between_pixel_centres():
    row = np.array([[[0, 100]]], np.uint8)
    assert scale(row, 3)[0, 0].tolist() == pytest.approx([0.0, 50.0, 100.0], abs=1e-13)  # (i + 1/2) * 2/3 - 1/2
    square = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert scale(square, 2)[0].tolist() == [[2.5, 4.5], [10.5, 12.5]]  # means of 2 x 2
    assert scale(square, 3).dtype == np.float64


@settings(max_examples=30, deadline=None)
@given(array=arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)), size=st.integers(1, 20))
def test_interpolation_stays_within_the_images_values(array, size):
    result = scale(array, size)
    assert result.shape == (len(array), size, size)
    assert result.min() >= array.min() - 1e-9
    assert result.max() <= array.max() + 1e-9


# IDX


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=9)), zipped=st.booleans())
def test_idx_round_trip(tmp_path, array, zipped):
    path = write_idx(tmp_path / "file", array, zipped)
    assert np.array_equal(read_idx(path, IMAGES), array)
    assert read_idx(path, IMAGES).shape == array.shape


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
def test_idx_folder(tmp_path, dot, zipped):
    write_mnist(tmp_path / "m", dot=dot, zipped=zipped)
    data = load(IdxData(folder="m", image_size=32), tmp_path, input_shape=(32, 32, 1))
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 27, "validation": 3, "test": 10}
    x, y = data.test.whole("float64")
    assert y.tolist() == list(range(10))
    assert np.array_equal(x[:, 2:30, 2:30, 0] * 255, images(10, seed=1))
    assert x.sum() == x[:, 2:30, 2:30].sum()


def test_idx_single_files_without_a_test_split(tmp_path):
    write_idx(tmp_path / "i", images(20, 3, 5))
    write_idx(tmp_path / "l", np.arange(20) % 10)
    data = load(IdxData(train_images="i", train_labels="l"), tmp_path, input_shape=(15,))
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 14, "validation": 2, "test": 4}
    with_test = IdxData(train_images="i", train_labels="l", test_images="i", test_labels="l", validation=0)
    assert len(load(with_test, tmp_path, input_shape=(15,)).train) == 20


def test_idx_folder_without_test_files(tmp_path):
    write_mnist(tmp_path, test=0)
    assert len(load(IdxData(folder="."), tmp_path, input_shape=(784,)).test) == 6


def test_fashion_mnist_from_a_folder_and_from_where_debian_puts_it(tmp_path, monkeypatch):
    write_mnist(tmp_path / "f", zipped=True)
    data = load(FashionMnistData(folder="f"), tmp_path, input_shape=(28, 28, 1))
    assert data.class_names == FASHION_CLASSES
    assert len(FASHION_CLASSES) == 10
    monkeypatch.setattr(image_module, "FASHION_FOLDER", tmp_path / "f")
    assert load(FashionMnistData(), input_shape=(28, 28, 1)).fingerprint() == data.fingerprint()


# Arrays


@pytest.mark.parametrize("names", [("x", "y"), ("inputs", "targets"), ("x_train", "y_train")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, names, save):
    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 10
    tests = {names[0].removesuffix("_train") + "_test": x[:4], names[1].removesuffix("_train") + "_test": y[:4]}
    save(tmp_path / "d.npz", **{names[0]: x, names[1]: y, **tests})
    data = load(NpzData(path="d.npz"), tmp_path)
    assert np.array_equal(data.test.whole("float64")[0], x[:4])
    assert len(data.train) == 18


def test_npz_with_names_of_its_own(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.zeros((9, 2)), b=np.array(list("xyzxyzxyz")), a_validation=np.ones((2, 2)),
             b_validation=np.array(["x", "z"]), note=np.array([None]))  # fmt: skip
    data = load(NpzData(path="d.npz", inputs="a", targets="b"), tmp_path, classes=3)
    assert data.class_names == ("x", "y", "z")
    assert data.validation.whole("float32")[1].tolist() == [0, 2]


def test_npy_is_mapped_when_it_is_large(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.asfortranarray(np.arange(40.0).reshape(20, 2)))
    np.save(tmp_path / "y.npy", np.arange(20.0) % 10)
    source = NpyData(inputs="x.npy", targets="y.npy", test_inputs="x.npy", test_targets="y.npy")
    assert not load(source, tmp_path).train.memory_mapped
    monkeypatch.setattr("dualml.data.arrays.MAP_ABOVE", 100)
    data = load(source, tmp_path)
    assert data.train.memory_mapped
    assert data.test.memory_mapped
    x, y = data.train.gather([0, 5], "float32")
    assert (x[:, 0] / 2 % 10 == y).all()


def test_mapped_values_stay_on_disk_too(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    np.save(tmp_path / "y.npy", np.arange(40.0).reshape(20, 2))
    source = NpyData(inputs="x.npy", targets="y.npy", memory_map=True, normalize="unit")
    data = load(source, tmp_path, target="value", classes=None, output_shape=(2, 1))
    y = data.train.whole("float32")[1]
    assert y.shape == (14, 2, 1)
    assert data.train.whole("float32")[0].sum() == 0
    assert type(data.train.targets).__name__ == "MappedRows"


# Tables


def table(path: Path, kind: str, labels: list[object], column: str = "kind") -> Path:
    import pandas as pd

    rows = len(labels)
    frame = pd.DataFrame({"a": range(rows), column: labels, "b": [0.5 * row for row in range(rows)]})
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_with_text_labels(tmp_path, kind):
    table(tmp_path / "t", kind, ["oak", "elm"] * 10)
    table(tmp_path / "test", kind, ["elm", "oak", "oak"])
    cls = CsvData if kind == "csv" else ParquetData
    data = load(cls(path="t", target="kind", test_path="test"), tmp_path, classes=2)
    assert data.class_names == ("elm", "oak")
    assert data.test.whole("float32")[1].tolist() == [0, 1, 1]
    assert abs(data.train.whole("float64")[0].mean(axis=0)).max() < 1e-12
    raw = load(cls(path="t", target="kind", normalize="none", features=["b", "a"]), tmp_path, classes=2)
    x = raw.train.whole("float64")[0]
    assert np.array_equal(x[:, 0] * 2, x[:, 1])
    named = load(cls(path="t", target="kind", class_names=["oak", "elm", "fir"]), tmp_path, classes=3)
    assert named.class_names == ("oak", "elm", "fir")
    original = load(cls(path="t", target="kind"), tmp_path, classes=2)
    assert np.array_equal(named.train.whole("float32")[1], 1 - original.train.whole("float32")[1])


def test_tables_with_values(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffa;y;b;z\n" + "".join(f"{i};{i * 2};{i % 3};{i * 3}\n" for i in range(9)))
    source = CsvData(path="t.csv", target=["z", "y"], separator=";", normalize="none")
    x, y = load(source, tmp_path, target="value", classes=None, output_shape=(2,)).train.whole("float64")
    assert np.array_equal(y, np.stack([x[:, 0] * 3, x[:, 0] * 2], axis=1))


def test_tables_with_truth_values(tmp_path):
    table(tmp_path / "t.csv", "csv", [True, False] * 5)
    assert set(load(CsvData(path="t.csv", target="kind"), tmp_path, classes=2).train.whole("float32")[1]) == {0, 1}


# Python


@pytest.fixture
def module(tmp_path):
    """Writes a module beside the config, with a name no other test uses, and forgets it afterwards."""
    written = []

    def write(text: str) -> str:
        name = f"user_data_{abs(hash((str(tmp_path), text)))}"
        (tmp_path / f"{name}.py").write_text("import numpy as np\n" + text)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "body",
    [
        "return np.ones((n, 2)), np.arange(n) % 10",
        "return {'x': np.ones((n, 2)), 'y': list(range(n)), 'class_names': list('abcdefghij')}",
        "return {'x': [[1.0, 1.0]] * n, 'y': np.arange(n), 'x_test': None, 'y_test': None}",
        "from dualml.data import Dataset, Split; return Dataset(Split(np.ones((n, 2)), np.arange(n)))",
    ],
)
def test_python(tmp_path, module, body):
    name = module(f"def load(n=5):\n    {body}\n")
    before = list(sys.path)
    data = load(PythonData(function=f"{name}:load", arguments={"n": 10}), tmp_path)
    assert {key: len(split) for key, split in data.splits().items()} == {"train": 7, "validation": 1, "test": 2}
    assert (data.train.whole("float32")[0] == 1).all()
    assert sys.path == before
    assert data.class_names == (tuple("abcdefghij") if "class_names" in body else None)


def test_python_dataset_keeps_its_splits_and_scaling(tmp_path, module):
    name = module(
        "from dualml.data import Dataset, Normalisation, Split\n"
        "def load():\n"
        "    s = Split(np.full((4, 2), 3.0), np.arange(4))\n"
        "    return Dataset(s, s, s, tuple('abcdefghij'), Normalisation(1.0, np.array([2.0, 4.0])))\n"
    )
    data = load(PythonData(function=f"{name}:load"), tmp_path)
    assert [len(split) for split in data.splits().values()] == [4, 4, 4]
    assert data.test.whole("float32")[0][0].tolist() == [1.0, 0.5]
    other = load(PythonData(function=f"{name}:load", normalize="unit"), tmp_path)
    assert other.test.whole("float32")[0][0].tolist() == [1.0, 1.0]


def test_python_may_map_its_arrays(tmp_path, module):
    np.save(tmp_path / "x.npy", np.zeros((10, 2)))
    name = module(f"def load():\n    return np.load({str(tmp_path / 'x.npy')!r}, mmap_mode='r'), np.arange(10)\n")
    assert load(PythonData(function=f"{name}:load"), tmp_path).train.memory_mapped


def test_rows_of_rows_stay_on_disk(tmp_path, module):
    np.save(tmp_path / "x.npy", np.repeat(np.arange(20.0), 2).reshape(20, 2))
    name = module(
        "from dualml.data import Dataset, Split\n"
        "from dualml.data.rows import take\n"
        "def load():\n"
        f"    x = np.load({str(tmp_path / 'x.npy')!r}, mmap_mode='r')\n"
        "    return Dataset(Split(take(x, np.arange(19, 9, -1)), np.arange(9, -1, -1)))\n"
    )
    data = load(PythonData(function=f"{name}:load"), tmp_path)
    x, y = data.train.whole("float64")
    assert data.train.memory_mapped
    assert np.array_equal(x[:, 0], y + 10)


# Targets


@pytest.mark.parametrize(
    "labels", [np.arange(20) % 10, (np.arange(20) % 10).astype(float), (np.arange(20) % 10).astype(np.uint64),
               (np.arange(20) % 10).reshape(20, 1), (np.arange(20) % 10).astype(">i4")]
)  # fmt: skip
def test_labels_of_any_whole_kind(tmp_path, labels):
    np.savez(tmp_path / "d.npz", x=np.arange(40).reshape(20, 2), y=labels)
    x, y = load(NpzData(path="d.npz"), tmp_path).train.whole("float32")
    assert y.dtype == np.int64
    assert (x[:, 0] / 2 % 10 == y).all()


def test_bytes_are_text(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 2)), y=np.array([b"b", b"a", b"b", b"a"]))
    assert load(NpzData(path="d.npz"), tmp_path, classes=2).class_names == ("a", "b")


def test_gzip_is_recognised_by_content(tmp_path):
    (tmp_path / "plain-name").write_bytes(gzip.compress(idx_bytes(images(3))))
    assert read_idx(tmp_path / "plain-name", IMAGES).shape == (3, 28, 28)
