"""Whatever is wrong with the user's data ends in one DataError that names the place and the remedy."""

from __future__ import annotations

import gzip
import os
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import idx_bytes, images, load, write_idx, write_mnist
from hypothesis import HealthCheck, example, given, settings, strategies as st

import dualml.data.images as image_module
from dualml.errors import DataError
from dualml.spec.data import (
    CsvData,
    DataSource,
    DigitsData,
    FashionMnistData,
    IdxData,
    NpyData,
    NpzData,
    ParquetData,
)

Write = Callable[[Path], None]


def idx(image_bytes: bytes | None = None, label_bytes: bytes | None = None) -> Write:
    def write(folder: Path) -> None:
        (folder / "i").write_bytes(idx_bytes(images(10, 2, 1)) if image_bytes is None else image_bytes)
        (folder / "l").write_bytes(idx_bytes(np.arange(10)) if label_bytes is None else label_bytes)

    return write


def npz(**arrays: Any) -> Write:
    return lambda folder: np.savez(folder / "d.npz", **{"x": np.ones((10, 2)), "y": np.arange(10), **arrays})


def npz_only(**arrays: Any) -> Write:
    return lambda folder: np.savez(folder / "d.npz", **arrays)


def npy(x: Any = None, y: Any = None) -> Write:
    def write(folder: Path) -> None:
        np.save(folder / "x.npy", np.ones((10, 2)) if x is None else x)
        np.save(folder / "y.npy", np.arange(10) if y is None else y)

    return write


def raw(name: str, data: bytes | str) -> Write:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data) and None


def with_value(value: float, row: int = 3) -> np.ndarray:
    x = np.ones((10, 2))
    x[row, 1] = value
    return x


def both(*writers: Write) -> Write:
    def write(folder: Path) -> None:
        for writer in writers:
            writer(folder)

    return write


def npy_header(shape: str, payload: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def encrypted(folder: Path) -> None:
    np.savez(folder / "d.npz", x=np.ones((4, 2)), y=np.arange(4))
    data = bytearray((folder / "d.npz").read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):  # set the flag "encrypted" of every member
        place = data.find(start)
        while place >= 0:
            data[place + (6 if start[2] == 3 else 8)] |= 1
            place = data.find(start, place + 4)
    (folder / "d.npz").write_bytes(data)


def flipped(folder: Path) -> None:
    np.savez(folder / "d.npz", x=np.ones((40, 2)), y=np.arange(40) % 10)
    data = bytearray((folder / "d.npz").read_bytes())
    data[300] ^= 0xFF
    (folder / "d.npz").write_bytes(data)


def newer_zip(folder: Path) -> None:
    np.savez(folder / "d.npz", x=np.ones((4, 2)), y=np.arange(4))
    data = bytearray((folder / "d.npz").read_bytes())
    data[data.find(b"PK\x01\x02") + 6] = 64  # needs version 6.4 of the format
    (folder / "d.npz").write_bytes(data)


IDX = IdxData(train_images="i", train_labels="l")
NPZ = NpzData(path="d.npz")
NPY = NpyData(inputs="x.npy", targets="y.npy")
MAPPED = NpyData(inputs="x.npy", targets="y.npy", memory_map=True)
CSV = CsvData(path="t.csv", target="y")
PARQUET = ParquetData(path="t.parquet", target="y")
ROWS = "a,b,y\n" + "".join(f"{row},{row},{row % 10}\n" for row in range(10))
GZIPPED = gzip.compress(idx_bytes(images(10, 2, 1)))


def huge(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + b"abc"


CASES: dict[str, tuple[Write | None, DataSource, dict[str, Any], str, str]] = {
    # name: (files, settings, changes of load, what the message says first (place), what was found and the remedy)
    "idx: no file": (None, IDX, {}, "{}/i: ", r"No such file.*Correct data.train_images"),
    "idx: near miss": (raw("imagesx", "a"), IdxData(train_images="images", train_labels="l"), {}, "{}/images: ",
                       r"Did you mean 'imagesx'\?.*relative path"),
    "idx: folder as file": (None, IdxData(train_images=".", train_labels="l"), {}, "{}: ", r"is a folder; name a file"),
    "idx: no folder": (None, IdxData(folder="m"), {}, "{}/m: ",
                       r"data.folder must name a folder, but .*No such file.*Correct data.folder"),
    "idx: file as folder": (raw("m", "a"), IdxData(folder="m"), {}, "{}/m: ", r"is a file; name the folder"),
    "idx: empty folder": (None, IdxData(folder="."), {}, "{}: ",
                          r"must hold train-images-idx3-ubyte .* set data.folder"),
    "idx: half a test": (lambda f: (write_mnist(f) / "t10k-labels-idx1-ubyte").unlink(),
                         IdxData(folder="."), {}, "{}: ", r"t10k-labels-idx1-ubyte .* missing; add it or remove"),
    "idx: empty file": (idx(b""), IDX, {}, "{}/i: ", r"begins with nothing; it is no IDX file"),
    "idx: bad magic": (idx(b"PNG!" + b"\0" * 40), IDX, {}, "{}/i: ", r"begins with 50 4e 47 21; .* name the right one"),
    "idx: swapped": (idx(idx_bytes(np.arange(10))), IDX, {}, "{}/i: ", r"exchanged: swap them"),
    "idx: other type": (idx(bytes((0, 0, 0x0D, 3)) + b"\0" * 40), IDX, {}, "{}/i: ",
                        r"another kind of IDX .* convert it .* npz"),
    "idx: short header": (idx(idx_bytes(images(10))[:10]), IDX, {}, "{}/i: ", r"header of 16 bytes.* fetch"),
    "idx: cut short": (idx(idx_bytes(images(10, 2, 1))[:-1]), IDX, {}, "{}/i: ",
                       r"declares 10 x 2 x 1 bytes, but only 19 follow; fetch"),
    "idx: trailing": (idx(idx_bytes(images(10, 2, 1)) + b"x"), IDX, {}, "{}/i: ", r"more follow; fetch"),
    "idx: absurd size": (idx(huge(2**32 - 1, 2**32 - 1, 2**32 - 1)), IDX, {}, "{}/i: ",
                         r"cannot hold more than 19; fetch"),
    "idx: absurd size, zipped": (idx(gzip.compress(huge(2**31, 2**20, 2**10))), IDX, {}, "{}/i: ",
                                 r"cannot hold more than \d+; fetch"),
    "idx: gzip cut short": (idx(GZIPPED[:-9]), IDX, {}, "{}/i: ", r"complete gzip .* ends early; fetch"),
    "idx: gzip damaged": (idx(GZIPPED[:10] + b"\xff" * 20), IDX, {}, "{}/i: ", r"gzip file, but is damaged .* fetch"),
    "idx: gzip checksum": (idx(GZIPPED[:-8] + b"\0" * 8), IDX, {}, "{}/i: ", r"damaged \(.*CRC.* fetch"),
    "idx: gzip header": (idx(b"\x1f\x8b\xff" + b"\0" * 40), IDX, {}, "{}/i: ", r"gzip file, but is damaged .* fetch"),
    "idx: counts differ": (idx(None, idx_bytes(np.arange(9))), IDX, {}, "{}/i and l: ",
                           r"10 images and 9 labels; use files of the same set"),
    "idx: no images": (idx(idx_bytes(images(0, 2, 1)), idx_bytes(np.arange(0))), IDX, {}, "{}/i and l: ",
                       r"at least one example, but there is none; check"),
    "idx: label too large": (idx(None, idx_bytes(np.arange(10) + 1)), IDX, {}, "{}/i and l: ",
                             r"from 0 to 9, but example 9 \(counting from 0\) has 10; they seem to count from 1"),
    "idx: too large to pad": (idx(), IdxData(train_images="i", train_labels="l", image_size=1), {}, "{}/i: ",
                              r"2 x 1 and image_size is 1; set data.fit: scale or image_size: 2"),
    "fashion: no folder": (None, FashionMnistData(folder="f"), {}, "{}/f: ", r"No such file.* Correct data.folder"),
    "digits: size": (None, DigitsData(), {"input_shape": (1024,)}, "scikit-learn's digits: ",
                     r"\(1024,\) .* shape \(8, 8\) .* set model.input: \[8, 8\], or data.image_size: 32"),
    "digits: too few classes": (None, DigitsData(), {"input_shape": (64,), "classes": 9}, "scikit-learn's digits: ",
                                r"from 0 to 8, but example 9 .* has 9; set the units of the last layer to 10"),
    "digits: names": (None, DigitsData(class_names=["a"]), {"input_shape": (64,)}, "scikit-learn's digits: ",
                      r"10 classes, but has 1; add or remove names"),
    "npz: no file": (None, NPZ, {}, "{}/d.npz: ", r"No such file.*Correct data.path"),
    "npz: no zip": (raw("d.npz", "hello"), NPZ, {}, "{}/d.npz: ", r"not a zip file\); write it with numpy.savez"),
    "npz: is npy": (both(npy(), lambda f: (f / "x.npy").rename(f / "d.npz") and None), NPZ, {}, "{}/d.npz: ",
                    r"set data.source: npy"),
    "npz: damaged": (flipped, NPZ, {}, "{}/d.npz: array 'x'", r"is damaged .*CRC.* write the file again"),
    "npz: encrypted": (encrypted, NPZ, {}, "{}/d.npz: array 'x'", r"damaged \(RuntimeError.* write the file again"),
    "npz: newer zip": (newer_zip, NPZ, {}, "{}/d.npz: ", r"zip file version 6.4\); write it with numpy.savez"),
    "npz: objects": (npz(y=np.array([None] * 10)), NPZ, {}, "{}/d.npz: array 'y': ", r"never unpickled; save it with"),
    "npz: records": (npz(x=np.zeros(10, [("a", "f4"), ("b", "f4")])), NPZ, {}, "{}/d.npz: array 'x': ",
                     r"dtype \[\('a'.*; convert it"),
    "npz: complex": (npz(x=np.ones((10, 2), complex)), NPZ, {}, "{}/d.npz: array 'x': ", r"complex128; convert it"),
    "npz: nameless": (npz_only(z=np.ones(3), u=np.ones(3)), NPZ, {}, "{}/d.npz: ",
                      r"the file holds u, z; name them in data.inputs"),
    "npz: empty archive": (lambda f: zipfile.ZipFile(f / "d.npz", "w").close(), NPZ, {}, "{}/d.npz: ",
                           r"holds no array; name them"),
    "npz: misspelt": (npz_only(pictures=np.ones(3), labels=np.ones(3)),
                      NpzData(path="d.npz", inputs="picture", targets="labels"), {}, "{}/d.npz: ",
                      r"'picture', but the file holds labels, pictures. Did you mean 'pictures'\? Correct data.inputs"),
    "npz: half a test": (npz(x_test=np.ones((3, 2))), NPZ, {}, "{}/d.npz: ", r"'y_test' is missing; add it or remove"),
    "npz: lengths": (npz(y=np.arange(9)), NPZ, {}, "{}/d.npz: x, y: ", r"10 inputs and 9 targets; correct the file"),
    "npz: empty": (npz(x=np.ones((0, 2)), y=np.arange(0)), NPZ, {}, "{}/d.npz: x, y: ", r"there is none; check how"),
    "npz: single value": (npz(y=np.float64(3)), NPZ, {}, "{}/d.npz: x, y: ", r"hold a single value; store an array"),
    "npz: NaN": (npz(x=with_value(np.nan)), NPZ, {}, "{}/d.npz: x, y: ",
                 r"example 3 \(counting from 0\) holds NaN at position \[1\]; remove such rows"),
    "npz: NaN in a test": (npz(x_test=with_value(np.nan, 0), y_test=np.arange(10)), NPZ, {}, "{}/d.npz: x_test, ",
                           r"example 0 .* NaN .*remove such rows"),
    "npz: text inputs": (npz(x=np.array([["a", "b"]] * 10)), NPZ, {}, "{}/d.npz: x, y: ", r"dtype <U1; convert"),
    "npz: wrong shape": (npz(x=np.ones((10, 3))), NPZ, {}, "{}/d.npz: x, y: ",
                         r"shape \(2,\) \(2 values\), but has the shape \(3,\) \(3 values\); set model.input: \[3\]"),
    "npz: axes in another order": (npz(x=np.ones((10, 3, 8, 8))), NPZ, {"input_shape": (8, 8, 3)}, "{}/d.npz: x, y: ",
                                   r"has the shape \(3, 8, 8\); store it with numpy.moveaxis"),
    "npz: test of another shape": (npz(x_test=np.ones((10, 2, 1)), y_test=np.arange(10)), NPZ, {},
                                   "{}/d.npz: x_test", r"\(2,\) as in the training data, but has \(2, 1\); write both"),
    "npz: negative label": (npz(y=np.arange(10) - 1), NPZ, {}, "{}/d.npz: x, y: ",
                            r"example 0 .* has -1; number the classes from 0"),
    "npz: negative label, no bound": (npz(y=np.arange(10) - 1), NPZ, {"classes": None}, "{}/d.npz: x, y: ",
                                      r"0 or more, but example 0 .* has -1; number"),
    "npz: enormous label": (npz(y=np.full(10, 2**64 - 1, np.uint64)), NPZ, {"classes": None}, "{}/d.npz: x, y: ",
                            r"has 18446744073709551615; set the units"),
    "npz: fraction": (npz(y=np.arange(10) / 2), NPZ, {}, "{}/d.npz: x, y: ",
                      r"example 1 .* has 0.5; .*choose a loss for values"),
    "npz: NaN label": (npz(y=with_value(np.nan)[:, 1]), NPZ, {}, "{}/d.npz: x, y: ", r"example 3 .* NaN; remove"),
    "npz: one-hot": (npz(y=np.eye(10)), NPZ, {}, "{}/d.npz: x, y: ", r"\(10, 10\); .*numpy.argmax"),
    "npz: labels of three axes": (npz(y=np.ones((10, 2, 2))), NPZ, {}, "{}/d.npz: x, y: ", r"store class numbers"),
    "npz: labels not UTF-8": (npz(y=np.array([b"\xff"] * 10)), NPZ, {}, "{}/d.npz: x, y: ", r"UTF-8.*store them"),
    "npz: text labels of a regression": (npz(y=np.array(["a"] * 10)), NPZ, {"target": "value"}, "{}/d.npz: x, y: ",
                                         r"dtype <U1; convert them, or choose a loss for classes"),
    "npz: values of another shape": (npz(y=np.ones((10, 3))), NPZ, {"target": "value", "output_shape": (2,)},
                                     "{}/d.npz: x, y: ", r"output, shape \(2,\) .* \(3,\) \(3 values\); change the"),
    "npz: infinite value": (npz(y=with_value(np.inf)), NPZ, {"target": "value"}, "{}/d.npz: x, y: ",
                            r"target must be a finite number, but example 3 .* infinity at position \[1\]; remove"),
    "npz: text here, numbers there": (npz(y=np.array(["a"] * 10), x_test=np.ones((2, 2)), y_test=np.arange(2)), NPZ,
                                      {}, "{}/d.npz: x_test", r"text .*numbers .*; write them in one way"),
    "npz: too few names": (npz(y=np.array(list("abcdefghii"))), NPZ, {}, "{}/d.npz: x, y: ",
                           r"10, but there are 9 \(a, b, .*; set the units of the last layer to 9"),
    "npz: label without name": (npz(y=np.array(["oak", "elmm"] * 5)),
                                NpzData(path="d.npz", class_names=["oak", "elm"]), {"classes": 2}, "{}/d.npz: x, y: ",
                                r"example 1 .* has 'elmm'. Did you mean 'elm'\? Add it to data.class_names"),
    "npz: nothing left": (npz(), NpzData(path="d.npz", validation=0.99), {}, "{}/d.npz: x, y: ",
                          r"of 10 the test split takes 2 and the validation split 8; lower data.test"),
    "npz: overflow": (npz(x=with_value(1e308)), NpzData(path="d.npz", normalize="standard"), {}, "{}/d.npz: x, y: ",
                      r"overflow; divide them by a constant first"),
    "npy: no npy": (both(npy(), raw("x.npy", "hello")), NPY, {}, "{}/x.npy: ", r"begin like one; write .* numpy.save"),
    "npy: empty file": (both(npy(), raw("x.npy", "")), NPY, {}, "{}/x.npy: ", r"begin like one; write .* numpy.save"),
    "npy: header": (both(npy(), raw("x.npy", b"\x93NUMPY\x01\x00\x05\x00{oops")), NPY, {}, "{}/x.npy: ",
                    r"damaged .*; write it again"),
    "npy: unknown version": (both(npy(), raw("x.npy", b"\x93NUMPY\x09\x00\x05\x00{oops")), NPY, {}, "{}/x.npy: ",
                             r"format \(9, 0\); save an array"),
    "npy: absurd size": (both(npy(), raw("x.npy", npy_header("(10, 10**9)"))), NPY, {}, "{}/x.npy: ", r"write"),
    "npy: absurd size, mapped": (both(npy(), raw("x.npy", npy_header(f"({2**62}, {2**62})"))), MAPPED, {},
                                 "{}/x.npy: ", r"but 0 bytes follow; write the file again"),
    "npy: negative size": (both(npy(), raw("x.npy", npy_header("(-1, -2)", b"\0" * 16))), NPY, {}, "{}/x.npy: ",
                           r"shape \(-1, -2\) .* write the file again"),
    "npy: cut short": (both(npy(), lambda f: os.truncate(f / "x.npy", 200)), NPY, {}, "{}/x.npy: ",
                       r"\(160 bytes\), but 72 bytes follow; write the file again"),
    "npy: objects": (npy(y=np.array([{}] * 10)), NPY, {}, "{}/y.npy: ", r"never unpickled; save it"),
    "npy: lengths": (npy(y=np.arange(9)), NPY, {}, "{}/x.npy and ", r"10 inputs and 9 targets; correct"),
    "npy: empty, mapped": (npy(np.ones((0, 2)), np.arange(0)), MAPPED, {}, "{}/x.npy and ", r"there is none; check"),
    "npy: infinity, mapped": (npy(with_value(-np.inf)), MAPPED, {}, "{}/x.npy and ", r"example 3 .*infinity.*remove"),
    "npy: folder": (both(npy(), lambda f: (f / "d").mkdir()), NpyData(inputs="d", targets="y.npy"), {}, "{}/d: ",
                    r"data.inputs must name a file, but this is a folder; name a file in it"),
    "npy: path too long": (None, NpyData(inputs="x" * 300, targets="y"), {}, "", r"x{300}.*File name too long"),
    "npy: zero byte": (None, NpyData(inputs="x\0", targets="y"), {}, "",
                       r"data.inputs must name a file.*null byte.* Correct data.inputs"),
    "npy: pipe": (lambda f: os.mkfifo(f / "x.npy"), NPY, {}, "{}/x.npy: ", r"device or pipe; save the data in a file"),
    "csv: no file": (None, CSV, {}, "{}/t.csv: ", r"No such file.*Correct data.path"),
    "csv: empty": (raw("t.csv", ""), CSV, {}, "{}/t.csv: ", r"CSV file.*EmptyDataError.*correct the file or"),
    "csv: header only": (raw("t.csv", "a,b,y\n"), CSV, {}, "{}/t.csv: ", r"there is none; check how it was written"),
    "csv: not UTF-8": (raw("t.csv", b"a,b,y\n\xff,1,1\n"), CSV, {}, "{}/t.csv: ", r"UnicodeDecodeError.*correct"),
    "csv: ragged": (raw("t.csv", ROWS + "1,2,3,4\n"), CSV, {}, "{}/t.csv: ", r"Expected 3 fields.*correct"),
    "csv: longer rows": (raw("t.csv", "a,b,y\n1,2,0,9\n1,2,0,9\n"), CSV, {}, "{}/t.csv: ", r"ParserWarning.*correct"),
    "csv: open quote": (raw("t.csv", ROWS + '"1,2,3\n'), CSV, {}, "{}/t.csv: ", r"EOF inside string.*correct"),
    "csv: no target": (raw("t.csv", ROWS), CsvData(path="t.csv", target="z"), {}, "{}/t.csv: ",
                       r"column 'z', but the columns are a, b, y. Correct data.target"),
    "csv: near miss": (raw("t.csv", ROWS.replace("a,", "width,")), CsvData(path="t.csv", target="y", features=["with"]),
                       {}, "{}/t.csv: ", r"Did you mean 'width'\? Correct data.features"),
    "csv: separator": (raw("t.csv", ROWS.replace(",", ";")), CSV, {}, "{}/t.csv: ", r"data.target or data.separator"),
    "csv: same column twice": (raw("t.csv", ROWS.replace("b", "a")), CSV, {}, "{}/t.csv: ", r"'a' occurs .*; rename"),
    "csv: only a target": (raw("t.csv", "y\n1\n2\n"), CSV, {}, "{}/t.csv: ", r"only y; check data.separator"),
    "csv: text in a feature": (raw("t.csv", ROWS + "1,x,2\n"), CSV, {}, "{}/t.csv: ",
                               r"column 'b' has 'x' in data row 11 .*leave it out with data.features"),
    "csv: missing feature": (raw("t.csv", ROWS + ",1,2\n"), CSV, {}, "{}/t.csv: ",
                             r"column 'a' has no value \(NaN\) in data row 11 .*; remove"),
    "csv: infinite feature": (raw("t.csv", ROWS + "1,inf,2\n"), CSV, {}, "{}/t.csv: ",
                              r"column 'b' has infinity in data row 11 .*; remove"),
    "csv: missing target": (raw("t.csv", ROWS + "1,2,\n"), CSV, {}, "{}/t.csv: ",
                            r"column 'y' has none in data row 11 .*remove such rows"),
    "csv: label too large": (raw("t.csv", ROWS + "1,2,10\n"), CSV, {}, "{}/t.csv: ",
                             r"data row 11 \(below the header\) has 10.*; set the units of the last layer to 11"),
    "csv: too many features": (raw("t.csv", ROWS), CSV, {"input_shape": (3,)}, "{}/t.csv: ",
                               r"set model.input: \[2\], or list as many columns in data.features"),
    "csv: text among targets": (raw("t.csv", "a,y,z\n1,2,u\n"), CsvData(path="t.csv", target=["y", "z"]),
                                {"target": "value"}, "{}/t.csv: ", r"column 'z' has text; name one column"),
    "csv: test lacks a column": (both(raw("t.csv", ROWS), raw("u.csv", "a,y\n1,2\n")),
                                 CsvData(path="t.csv", target="y", test_path="u.csv"), {}, "{}/u.csv: ",
                                 r"column 'b', but the columns are a, y. Correct data.test_path"),
    "parquet: no parquet": (raw("t.parquet", "hello"), PARQUET, {}, "{}/t.parquet: ", r"Parquet .*correct the file"),
    "parquet: cut short": (raw("t.parquet", b"PAR1" + b"\0" * 30 + b"PAR1"), PARQUET, {}, "{}/t.parquet: ", r"correct"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input(tmp_path, name):
    write, source, changes, place, found = CASES[name]
    if write is not None:
        write(tmp_path)
    with pytest.raises(DataError) as caught:
        load(source, tmp_path, **changes)
    message = str(caught.value)
    assert message.startswith(place.format(tmp_path)), message
    assert "\n" not in message
    assert re.search(found, message), message


def test_fashion_mnist_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(image_module, "FASHION_FOLDER", tmp_path / "none")
    with pytest.raises(DataError, match=r"none: .*apt-get install dataset-fashion-mnist.* or set data.folder"):
        load(FashionMnistData())


@pytest.mark.parametrize("missing", ["pandas", "pyarrow.parquet"])
def test_tables_without_their_libraries(tmp_path, monkeypatch, missing):
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DataError, match=r"t.parquet: .*pip install 'dualml\[tables\]'"):
        load(PARQUET, tmp_path)


@pytest.mark.parametrize(("source", "name"), [(IDX, "i"), (NPZ, "d.npz"), (NPY, "x.npy"), (CSV, "t.csv")])
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, source, name):
    both(idx(), npz(), npy(), raw("t.csv", ROWS))(tmp_path)

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(DataError, match=rf"{name}: .*Permission denied"):
        load(source, tmp_path)


def test_data_larger_than_memory(tmp_path, monkeypatch):
    def out_of_memory(*_args):
        raise MemoryError("Unable to allocate 3 TiB")

    npz()(tmp_path)
    monkeypatch.setattr("dualml.data.load.check_numbers", out_of_memory)
    with pytest.raises(DataError, match=r"d.npz: .*3 TiB.*memory_map"):
        load(NPZ, tmp_path)


FUZZED: dict[str, tuple[DataSource, str, Write]] = {
    "idx": (IDX, "i", idx()),
    "idx.gz": (IDX, "i", idx(GZIPPED)),
    "npz": (NPZ, "d.npz", npz()),
    "npy": (NPY, "x.npy", npy()),
    "npy mapped": (MAPPED, "x.npy", npy()),
    "csv": (CSV, "t.csv", raw("t.csv", ROWS)),
}


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4), cut=st.floats(0, 1))
@example(changes=[(0.0, 0)], cut=0.0)
def test_random_damage_is_reported_or_harmless(tmp_path, name, changes, cut):
    source, file, write = FUZZED[name]
    write(tmp_path)
    data = bytearray((tmp_path / file).read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    if cut < 0.3:
        del data[int(len(data) * cut / 0.3) :]
    (tmp_path / file).write_bytes(data)
    message = str(tmp_path)  # damage may also leave valid data
    try:
        load(source, tmp_path)
    except DataError as error:
        message = str(error)
    assert str(tmp_path) in message


def test_write_idx_writes_what_the_standard_says(tmp_path):
    data = write_idx(tmp_path / "i", np.array([[[1, 2]]], np.uint8)).read_bytes()
    assert data == b"\x00\x00\x08\x03" + b"\x00\x00\x00\x01" * 2 + b"\x00\x00\x00\x02" + b"\x01\x02"
