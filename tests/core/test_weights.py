"""Files of weights."""

import json

import numpy as np
import pytest

from dualml.errors import WeightsError
from dualml.weights import read_tensors, write_tensors


def test_equal_content_gives_equal_bytes(tmp_path):
    arrays = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}
    for number in range(20):
        write_tensors(tmp_path / str(number), dict(sorted(arrays.items(), reverse=number % 2 == 0)), {"x": 1, "a": [2]})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_what_is_written_is_read(tmp_path):
    arrays = {"scalar": np.array(0.1), "transposed": np.arange(6.0).reshape(2, 3).T, "empty": np.empty((0, 2))}
    metadata = {"z": 1, "a": {"nested": [1.5, None]}}
    write_tensors(tmp_path / "file", arrays, metadata)
    read, found = read_tensors(tmp_path / "file")
    assert json.dumps(found) == json.dumps(metadata)  # the order of keys as well
    for name, array in arrays.items():
        assert read[name].shape == array.shape
        assert np.array_equal(read[name], array)


@pytest.mark.parametrize("size", [0, 5, 8, 20, -1])
def test_a_file_cut_short_is_refused(tmp_path, size):
    path = tmp_path / "file"
    write_tensors(path, {"a": np.arange(10.0)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match="cut short or damaged"):
        read_tensors(path)


@pytest.mark.parametrize("header", [{}, {"dualml": "{"}, {"dualml": "[]"}, {"dualml": '{"format": "other"}'}])
def test_a_file_of_another_program_is_refused(tmp_path, header):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, tmp_path / "file", metadata=header)
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    from dualml.weights import write_atomically

    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def fail(temporary):
        temporary.write_text("ne", encoding="utf-8")
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        write_atomically(path, fail)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    assert path.read_text(encoding="utf-8") == "old"
