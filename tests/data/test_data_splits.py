"""Splits, normalisation and fingerprints: properties of what load_for returns."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import load
from hypothesis import HealthCheck, given, settings, strategies as st

from dualml.data import Dataset, Normalisation, Split
from dualml.data.rows import BLOCK_VALUES
from dualml.errors import DataError
from dualml.spec.data import DigitsData, NpyData, NpzData

DIGITS_FINGERPRINT = "6e456f4575125c8eb8315fc55b536e15a8b276c464b007fbc340a13efd702375"


def numbered(folder: Path, count: int) -> None:
    """Files whose inputs are the numbers of their rows, so that a test sees where each went."""
    np.save(folder / "x.npy", np.stack([np.arange(count), np.arange(count)], axis=1).astype(np.float32))
    np.save(folder / "y.npy", np.arange(count) % 10)


def rows_of(split: Split | None) -> list[int]:
    return [] if split is None else split.whole("float64")[0][:, 0].astype(int).tolist()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(4, 60),
    validation=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 2**63 - 1),
    mapped=st.booleans(),
)
def test_splits_are_disjoint_and_cover_every_example(tmp_path, count, validation, test, seed, mapped):
    numbered(tmp_path, count)
    source = NpyData(inputs="x.npy", targets="y.npy", validation=validation, test=test, memory_map=mapped)
    data = load(source, tmp_path, seed=seed)
    parts = [rows_of(data.train), rows_of(data.validation), rows_of(data.test)]
    assert sorted(itertools.chain(*parts)) == list(range(count))
    assert bool(parts[1]) == (validation > 0)
    assert bool(parts[2]) == (test > 0)
    assert abs(len(parts[2]) - test * count) <= 1
    for split in data.splits().values():
        x, y = split.whole("float32")
        assert (x[:, 0].astype(int) % 10 == y).all(), "a target left its input"
        assert split.memory_mapped is mapped


def test_splits_depend_on_the_seed_alone(tmp_path):
    numbered(tmp_path, 50)
    source = NpyData(inputs="x.npy", targets="y.npy")
    first, again, other = (load(source, tmp_path, seed=seed) for seed in (1, 1, 2))
    assert rows_of(first.train) == rows_of(again.train)
    assert rows_of(first.test) == rows_of(again.test)
    assert rows_of(first.train) != rows_of(other.train)
    assert set(rows_of(first.test)) != set(rows_of(other.test))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_limit_shortens_training_only_and_takes_the_first_after_shuffling(tmp_path):
    numbered(tmp_path, 50)
    whole = load(NpyData(inputs="x.npy", targets="y.npy"), tmp_path)
    short = load(NpyData(inputs="x.npy", targets="y.npy", limit=7), tmp_path)
    assert rows_of(short.train) == rows_of(whole.train)[:7]
    assert rows_of(short.validation) == rows_of(whole.validation)
    assert rows_of(short.test) == rows_of(whole.test)
    assert len(load(NpyData(inputs="x.npy", targets="y.npy", limit=1000), tmp_path).train) == len(whole.train)


def test_own_test_and_validation_splits_keep_their_order(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    y = np.arange(12) % 10
    np.savez(tmp_path / "d.npz", x=x, y=y, x_test=x[::-1], y_test=y[::-1], x_val=x[:3], y_val=y[:3])
    data = load(NpzData(path="d.npz", validation=0.5, test=0.5), tmp_path)
    assert np.array_equal(data.test.whole("float32")[0], x[::-1])
    assert np.array_equal(data.validation.whole("float32")[0], x[:3])
    assert sorted(rows_of(data.train)) == sorted(x[:, 0].astype(int).tolist())
    assert rows_of(data.train) != x[:, 0].astype(int).tolist()


def test_digits_splits_are_the_same_on_every_machine():
    data = load(DigitsData(), input_shape=(64,))
    assert {name: len(split) for name, split in data.splits().items()} == {
        "train": 1294,
        "validation": 144,
        "test": 359,
    }
    assert data.fingerprint() == DIGITS_FINGERPRINT


def test_a_changed_value_changes_the_fingerprint():
    x, y = np.zeros((4, 2), np.uint8), np.arange(4)
    fingerprints = {Dataset(Split(x, y)).fingerprint(), Dataset(Split(x.astype(np.float32), y)).fingerprint()}
    fingerprints.add(Dataset(Split(x.reshape(4, 1, 2), y)).fingerprint())
    fingerprints.add(Dataset(Split(x, y), test=Split(x, y)).fingerprint())
    changed = x.copy()
    changed[3, 1] = 1
    fingerprints.add(Dataset(Split(changed, y)).fingerprint())
    fingerprints.add(Dataset(Split(x, y[::-1])).fingerprint())
    assert len(fingerprints) == 6
    assert Dataset(Split(np.asfortranarray(x), y)).fingerprint() == Dataset(Split(x, y)).fingerprint()


def test_fingerprint_of_mapped_data_follows_the_file(tmp_path):
    numbered(tmp_path, 40)
    source = NpyData(inputs="x.npy", targets="y.npy", memory_map=True)
    before = load(source, tmp_path).fingerprint()
    assert load(source, tmp_path).fingerprint() == before
    status = (tmp_path / "x.npy").stat()
    os.utime(tmp_path / "x.npy", ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    assert load(source, tmp_path).fingerprint() != before


def test_gather_gives_order_shape_and_precision():
    split = Split(np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.arange(4), Normalisation(1.0, 2.0), (6,))
    x, y = split.gather(np.array([3, 0, 3]), "float32")
    assert (x.shape, x.dtype, y.dtype) == ((3, 6), np.float32, np.int64)
    assert y.tolist() == [3, 0, 3]
    assert x[1].tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert split.gather([], "float64")[0].shape == (0, 6)
    assert split.inputs.dtype == np.uint8
    x[:] = 99  # what a caller does to a batch must not reach the data
    assert split.gather([3], "float32")[0].max() < 99


def test_whole_equals_gather_of_everything_across_blocks():
    count = BLOCK_VALUES // 1000 + 7  # more than one block
    inputs = np.random.default_rng(0).integers(0, 256, (count, 1000)).astype(np.uint8)
    split = Split(inputs, np.zeros(count, np.int64), Normalisation(0.0, 255.0))
    whole = split.whole("float32")[0]
    assert np.array_equal(whole, (inputs.astype(np.float64) / 255.0).astype(np.float32))
    assert np.array_equal(whole, split.gather(np.arange(count), "float32")[0])


def test_values_have_the_models_precision_and_shape():
    split = Split(np.zeros((3, 2)), np.array([0.1, 0.2, 0.3]), output_shape=(1,))
    y = split.whole("float32")[1]
    assert (y.shape, y.dtype) == ((3, 1), np.float32)


def test_normalisation_comes_from_training_examples_only(tmp_path):
    x = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 2], x_test=x + 1000, y_test=[0, 1, 2])
    data = load(NpzData(path="d.npz", normalize="standard", validation=0), tmp_path)
    assert np.asarray(data.normalisation.offset).tolist() == [2.0, 5.0]
    assert np.asarray(data.normalisation.scale).tolist() == [np.sqrt(8 / 3), 1.0]
    trained = data.train.whole("float64")[0]
    assert abs(trained[:, 0].mean()) < 1e-15
    assert abs(trained[:, 0].std() - 1) < 1e-15
    assert (trained[:, 1] == 0).all(), "a constant column becomes zero, whatever the rounding of its mean"


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e300, 5e-324])
def test_a_constant_column_has_scale_one(tmp_path, value):
    np.savez(tmp_path / "d.npz", x=np.full((3, 2), value), y=np.zeros(3, int))
    data = load(NpzData(path="d.npz", normalize="standard", validation=0, test=0), tmp_path)
    assert np.asarray(data.normalisation.scale).tolist() == [1.0, 1.0]
    assert (data.train.whole("float64")[0] == 0).all()


def test_mapped_and_loaded_arrays_give_the_same_numbers(tmp_path):
    x = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(50) % 10)
    loaded, mapped = (
        load(NpyData(inputs="x.npy", targets="y.npy", normalize="standard", memory_map=flag), tmp_path)
        for flag in (False, True)
    )
    assert mapped.train.memory_mapped
    assert not loaded.train.memory_mapped
    assert loaded.normalisation.to_dict() == mapped.normalisation.to_dict()
    for left, right in zip(loaded.train.whole("float32"), mapped.train.whole("float32"), strict=True):
        assert np.array_equal(left, right)


@settings(max_examples=30, deadline=None)
@given(
    offset=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    scale=st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3),
)
def test_normalisation_survives_json_bit_for_bit(offset, scale):
    first = Normalisation(np.array(offset), np.array(scale))
    again = Normalisation.from_dict(json.loads(json.dumps(first.to_dict())))
    x = np.linspace(-5, 5, 12).reshape(4, 3)
    assert np.array_equal(first.apply(x, "float64"), again.apply(x, "float64"))
    assert again.to_dict() == first.to_dict()


def test_normalisation_of_examples_in_another_shape():
    normalisation = Normalisation(np.arange(6.0), np.full(6, 2.0))
    x = np.arange(12.0).reshape(2, 2, 3)
    assert np.array_equal(
        normalisation.apply(x, "float64").reshape(2, 6), normalisation.apply(x.reshape(2, 6), "float64")
    )
    assert Normalisation.from_dict({"offset": 0, "scale": 255}).to_dict() == {"offset": 0.0, "scale": 255.0}


@pytest.mark.parametrize(
    "values",
    [{}, {"offset": 0}, {"offset": 0, "scale": "x"}, {"offset": 0, "scale": 0}, {"offset": [float("nan")], "scale": 1},
     {"offset": 0, "scale": [[1], [2, 3]]}, [], None, {"offset": 0, "scale": 1, "more": 2}],
)  # fmt: skip
def test_normalisation_refuses_what_it_did_not_write(values):
    with pytest.raises(DataError, match="normalisation: "):
        Normalisation.from_dict(values)


def test_normalisation_refuses_examples_of_another_size():
    with pytest.raises(DataError, match=r"3 values .* shape \(4,\)"):
        Normalisation(np.zeros(3), np.ones(3)).apply(np.zeros((2, 4)), "float32")


def test_one_normalisation_for_all_splits():
    parts = [Split(np.ones((2, 1)), np.zeros(2, int)) for _ in range(3)]
    data = Dataset(*parts, normalisation=Normalisation(0.0, 4.0))
    assert [split.whole("float64")[0][0, 0] for split in data.splits().values()] == [0.25] * 3


@pytest.mark.parametrize(
    ("inputs", "targets", "shapes"),
    [(np.zeros((3, 2)), np.zeros(4), {}), (np.float64(3), np.zeros(1), {}),
     (np.zeros((3, 2)), np.zeros(3), {"input_shape": (3,)}), (np.zeros((3, 2)), np.zeros(3), {"output_shape": (2,)})],
)  # fmt: skip
def test_split_refuses_what_does_not_fit(inputs, targets, shapes):
    with pytest.raises(DataError, match="split: "):
        Split(inputs, targets, **shapes)


def test_loading_imports_no_framework():
    code = (
        "import sys, pathlib, dualml.data as d, dualml.spec.data as s\n"
        "assert not {'torch', 'tensorflow', 'keras', 'pandas', 'pyarrow', 'sklearn'} & set(sys.modules)\n"
        "needs = d.Needs({'input': d.InputNeed((64,))}, {'output': d.OutputNeed('class', classes=10)})\n"
        "d.load_for(s.DigitsData(), folder=pathlib.Path(), seed=0, needs=needs)\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
