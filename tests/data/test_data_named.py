"""Several inputs, several outputs, weights and categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from data_files import images, write_mnist
from pydantic import TypeAdapter

from dualml.data import Dataset, InputNeed, Needs, Normalisation, OutputNeed, Preparation, SameAs, Split, load_for
from dualml.data.categories import Categories
from dualml.errors import DataError
from dualml.spec.data import (
    CsvData,
    DataSettings,
    DataSource,
    DigitsData,
    FashionMnistData,
    IdxData,
    NpyData,
    NpzData,
    PythonData,
    ScikitLearnData,
)

LABEL = OutputNeed("class", (), 10)
TWO_INPUTS = {"numbers": InputNeed((2,)), "kinds": InputNeed((1,), True, 5)}


def load(
    settings: DataSource, folder: Path = Path(), inputs: Any = None, outputs: Any = None, seed: int = 0
) -> Dataset:
    inputs = inputs or {"input": InputNeed((2,))}
    return load_for(settings, folder=folder, seed=seed, needs=Needs(inputs, outputs or {"output": LABEL}))


def arrays(count: int = 20) -> dict[str, Any]:
    row = np.arange(count)
    return {
        "numbers": np.stack([row, row], axis=1).astype(np.float32),
        "kinds": (row % 5)[:, None],
        "label": row % 10,
        "size": row / 2,
        "w": 1.0 + row,
    }


def survey(folder: Path, name: str = "s.csv") -> CsvData:
    rows = ["age,city,income,who,spent,weight"]
    rows += [
        f"{20 + i % 30},{('Bonn', 'Ulm', '')[i % 3]},{i * 1.5},{'ab'[i % 2]},{i * 2},{1 + i % 3}" for i in range(40)
    ]
    (folder / name).write_text("\n".join(rows) + "\n")
    return CsvData(
        path=name, inputs={"numbers": ["age", "income"], "kinds": ["city", "age"]}, bins={"age": 3},
        targets={"who": "who", "spent": "spent"}, weights="weight",
    )  # fmt: skip


SURVEY_INPUTS = {"numbers": InputNeed((2,)), "kinds": InputNeed((2,), True, 7)}
SURVEY_OUTPUTS = {"who": OutputNeed("class", (), 2), "spent": OutputNeed("value", (1,))}


def test_split_of_several_inputs_and_targets():
    found = arrays(6)
    split = Split(
        {"numbers": found["numbers"], "kinds": found["kinds"]},
        {"label": found["label"], "copy": SameAs("numbers"), "size": found["size"]},
        normalisation={"numbers": Normalisation(1.0, 2.0)},
        output_shape={"label": None, "copy": (2, 1), "size": (1,)},
        weights=found["w"],
    )
    x, y = split.gather([3, 1], "float32")
    assert {name: (a.dtype.name, a.shape) for name, a in x.items()} == {
        "numbers": ("float32", (2, 2)),
        "kinds": ("int64", (2, 1)),
    }
    assert x["numbers"].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert y["copy"].tolist() == [[[1.0], [1.0]], [[0.0], [0.0]]], "the target is the scaled input"
    assert (y["label"].tolist(), y["label"].dtype, y["size"].tolist()) == ([3, 1], np.int64, [[1.5], [0.5]])
    weights = split.gather_weights([3, 1], "float32")
    assert (weights.tolist(), weights.dtype) == ([4.0, 2.0], np.float32)
    y["copy"][:] = 9
    assert x["numbers"].max() == 1.0, "what is done to a target must not reach the input"
    assert len(split) == 6
    assert split.example_shape == {"numbers": (2,), "kinds": (1,)}


def test_integers_of_a_single_input_stay_whole_only_where_the_model_takes_them():
    plain = Split(np.array([[1, 2]]), np.array([0]), Normalisation(0.0, 2.0))
    assert plain.gather([0], "float32")[0].tolist() == [[0.5, 1.0]]
    whole = Split(np.array([[1, 2]]), np.array([0]), Normalisation(0.0, 2.0), integer=True)
    assert whole.gather([0], "float32")[0].dtype == np.int64
    assert whole.gather([0], "float32")[0].tolist() == [[1, 2]]


def test_fingerprint_covers_every_array():
    found = arrays()

    def fingerprint(**changes: Any) -> str:
        a = {**found, **changes}
        inputs = {"numbers": a["numbers"], "kinds": a["kinds"]}
        return Dataset(Split(inputs, {"label": a["label"], "size": a["size"]}, weights=a["w"])).fingerprint()

    changed = [fingerprint(**{name: array + 1}) for name, array in found.items()]
    assert len({fingerprint(), *changed}) == 6
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize("size", [28, 32])
def test_autoencoder_of_images(tmp_path, size):
    write_mnist(tmp_path)
    shape = (size, size, 1)
    settings = IdxData(folder=".", image_size=size, targets={"image": "input", "kind": "label"})
    outputs = {"image": OutputNeed("value", shape), "kind": LABEL}
    data = load(settings, tmp_path, {"input": InputNeed(shape)}, outputs)
    x, y = data.test.whole("float32")
    assert (x.shape, x.dtype) == ((10, *shape), np.float32)
    assert np.array_equal(x, y["image"])
    assert x.max() == pytest.approx(1, abs=0.01)
    assert (y["kind"].tolist(), y["kind"].dtype) == (list(range(10)), np.int64)
    edge = (size - 28) // 2
    assert np.allclose(x[0, edge : edge + 28, edge : edge + 28, 0] * 255, images(10, seed=1)[0])


def test_an_output_of_one_model_may_reconstruct_its_input(tmp_path):
    write_mnist(tmp_path)
    shape = {"input": InputNeed((784,))}
    data = load(IdxData(folder=".", targets="input"), tmp_path, shape, {"o": OutputNeed("value", (28, 28))})
    x, y = data.train.gather([1], "float64")
    assert (x.shape, y.shape) == ((1, 784), (1, 28, 28))
    assert np.array_equal(x.ravel(), y.ravel())


def test_npz_with_named_arrays_and_weights(tmp_path):
    found = arrays()
    np.savez(tmp_path / "d.npz", **found, **{f"{name}_test": array[:4] for name, array in found.items()})
    settings = NpzData(
        path="d.npz", inputs={"numbers": "numbers", "kinds": "kinds"}, targets={"label": "label", "copy": "numbers"},
        weights="w", validation=0.25,
    )  # fmt: skip
    outputs = {"label": LABEL, "copy": OutputNeed("value", (2,))}
    data = load(settings, tmp_path, TWO_INPUTS, outputs)
    assert [len(split) for split in data.splits().values()] == [15, 5, 4]
    for split in data.splits().values():
        x, y = split.whole("float64")
        row = x["numbers"][:, 0]
        assert (row % 5 == x["kinds"][:, 0]).all()
        assert (row % 10 == y["label"]).all()
        assert (split.gather_weights(np.arange(len(split)), "float64") == row + 1).all()


def test_npz_target_that_names_an_input(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((9, 2)) * 4, y=np.zeros(9, int))
    settings = NpzData(path="d.npz", inputs={"input": "x"}, targets={"copy": "input", "label": "y"}, normalize="unit")
    data = load(settings, tmp_path, None, {"copy": OutputNeed("value", (2,)), "label": LABEL})
    assert data.train.gather([0], "float64")[1]["copy"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("mapped", [False, True])
def test_npy_files_by_name_stay_on_disk(tmp_path, mapped):
    for name, array in arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    settings = NpyData(
        inputs={"numbers": "numbers.npy", "kinds": "kinds.npy"}, targets="label.npy", weights="w.npy", memory_map=mapped
    ).anchored(tmp_path)
    data = load(settings, Path("/nowhere"), TWO_INPUTS)
    assert data.train.memory_mapped is mapped
    x, y = data.train.gather([2, 0], "float64")
    assert (x["numbers"][:, 0] % 10 == y).all()
    assert (data.train.gather_weights([2, 0], "float64") == x["numbers"][:, 0] + 1).all()


def test_python_function_with_names_and_weights(tmp_path):
    (tmp_path / "named_data.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    i = np.arange(20)\n"
        "    x = {'kinds': i[:, None] % 5, 'numbers': np.stack([i, i], 1) / 2}\n"
        "    test = {name: array[:3] for name, array in x.items()}\n"
        "    return {'x': x, 'y': i % 10, 'weights': i + 1.0, 'x_test': test, 'y_test': i[:3]}\n"
    )
    data = load(PythonData(function="named_data:load"), tmp_path, TWO_INPUTS)
    x, y = data.test.whole("float32")
    assert list(x) == list(TWO_INPUTS)
    assert (x["kinds"].dtype, x["numbers"].tolist(), y.tolist()) == (np.int64, [[0, 0], [0.5, 0.5], [1, 1]], [0, 1, 2])
    assert data.test.weights is None
    assert len(data.train.weights) == len(data.train)


def test_table_with_categories_bins_targets_and_weights(tmp_path):
    data = load(survey(tmp_path), tmp_path, SURVEY_INPUTS, SURVEY_OUTPUTS)
    x, y = data.train.whole("float64")
    assert (x["kinds"].dtype, x["kinds"].shape) == (np.int64, (len(data.train), 2))
    assert set(x["kinds"][:, 0]) == {0, 1, 2}, "missing, Bonn, Ulm"
    assert set(x["kinds"][:, 1]) <= {4, 5, 6}, "bins of age follow; 3 is a missing age"
    assert np.allclose(x["numbers"].mean(axis=0), 0)
    assert y["spent"].shape == (len(data.train), 1)
    ages = x["numbers"][:, 0] * data.normalisation["numbers"].scale[0] + data.normalisation["numbers"].offset[0]
    order = np.argsort(ages)
    assert (np.diff(x["kinds"][order, 1]) >= 0).all(), "a higher age is in no lower bin"
    income = x["numbers"][:, 1] * data.normalisation["numbers"].scale[1] + data.normalisation["numbers"].offset[1]
    rows = np.round(income / 1.5).astype(int)
    assert (y["who"] == rows % 2).all()
    assert (data.train.gather_weights(np.arange(len(rows)), "float64") == 1 + rows % 3).all()
    assert data.class_names == ("a", "b")


def test_new_rows_of_a_table_are_treated_like_those_of_the_training(tmp_path):
    data = load(survey(tmp_path), tmp_path, SURVEY_INPUTS, SURVEY_OUTPUTS)
    preparation = Preparation.from_dict(json.loads(json.dumps(Preparation.of(data).to_dict())))
    (tmp_path / "new.csv").write_text("city,income,age\nUlm,3,21\nRome,0,\nBonn,1.5,90\n")
    rows = preparation.read(tmp_path / "new.csv")
    with pytest.raises(DataError, match=r"column 'age' has no value \(NaN\) in data row 2"):
        preparation.apply(rows, SURVEY_INPUTS, "float64")
    rows = {name: array[[0, 2]] for name, array in rows.items()}
    found = preparation.apply(rows, SURVEY_INPUTS, "float64")
    assert found["kinds"].tolist() == [[2, 4], [1, 6]]
    scaling = data.normalisation["numbers"]
    assert found["numbers"].tolist() == ((np.array([[21, 3], [90, 1.5]]) - scaling.offset) / scaling.scale).tolist()
    with pytest.raises(DataError, match="every column of the training, but city is missing"):
        preparation.apply({"age": np.ones(1), "income": np.ones(1)}, SURVEY_INPUTS, "float64")


def test_categories_are_those_of_the_training_examples():
    numbers = Categories.of_values("c", np.array([3.0, 1.0, np.nan, 3.0]), "f")
    assert numbers.values == ("1", "3")
    assert numbers.encode(np.array([1.0, 2.0, 3.0, np.nan])).tolist() == [1, 0, 2, 0]
    bins = Categories.of_bins("c", np.arange(100.0), 4, "f")
    assert np.bincount(bins.encode(np.arange(100.0))).tolist() == [0, 25, 25, 25, 25]
    assert bins.encode(np.array([-5.0, 500.0, np.nan])).tolist() == [1, 4, 0]
    edge = Categories("c", edges=(2.0, 3.0))
    assert edge.encode(np.array([1.9, 2.0, 3.0])).tolist() == [1, 2, 3], "an edge belongs to the bin above it"
    assert Categories.of_bins("c", np.zeros(9), 4, "f").size == 3, "equal edges become one"


def test_scikit_learn_tables():
    data = load(ScikitLearnData(table="wine"), Path(), {"input": InputNeed((13,))}, {"o": OutputNeed("class", (), 3)})
    assert data.class_names == ("class_0", "class_1", "class_2")
    assert sum(map(len, data.splits().values())) == 178
    settings = ScikitLearnData(table="diabetes", inputs={"numbers": ["bmi", "bp"], "kinds": "sex"})
    data = load(settings, Path(), TWO_INPUTS, {"o": OutputNeed("value", (1,))})
    assert set(data.train.whole("float32")[0]["kinds"].ravel()) == {1, 2}


def bad_npz(folder: Path, **changes: Any) -> None:
    np.savez(folder / "d.npz", **{**arrays(), **changes})


NPZ = NpzData(path="d.npz", inputs={"numbers": "numbers", "kinds": "kinds"}, targets="label", weights="w")
BAD: dict[str, tuple[dict[str, Any], DataSource, dict[str, Any], str]] = {
    # name: (changed arrays of d.npz, settings, changed inputs and outputs, message)
    "one input for two": (
        {}, DigitsData(), {}, r"digits: gives one input, but the model has 2 \(numbers, kinds\)",
    ),
    "one target for two": (
        {}, NPZ, {"outputs": {"a": LABEL, "b": LABEL}}, r"gives one target, but the model has 2 outputs \(a, b\)",
    ),
    "wrong name": (
        {}, NpzData(path="d.npz", inputs={"number": "numbers", "kinds": "kinds"}, targets="label"), {},
        r"numbers is missing and 'number' is none of them. Did you mean 'numbers'\?",
    ),
    "no such array": (
        {}, NpzData(path="d.npz", inputs={"numbers": "numbers", "kinds": "kind"}, targets="label"), {},
        r"must hold the array 'kind', but the file holds .*Did you mean 'kinds'\? Correct data.inputs",
    ),
    "names left out": ({}, NpzData(path="d.npz"), {}, "inputs numbers, kinds .* data.targets are missing"),
    "lengths": ({"kinds": np.ones((19, 1), int)}, NPZ, {}, "input 'numbers' has 20 and input 'kinds' 19"),
    "length of weights": ({"w": np.ones(3)}, NPZ, {}, "input 'numbers' has 20 and weights 3"),
    "negative weight": ({"w": np.arange(20) - 5.0}, NPZ, {}, r"weights must be 0 or more, but example 0 .* has -5.0"),
    "weights of zero": ({"w": np.zeros(20)}, NPZ, {}, "at least one weight must be above 0"),
    "NaN weight": ({"w": np.full(20, np.nan)}, NPZ, {}, "every weight must be a finite number"),
    "shape of weights": ({"w": np.ones((20, 2))}, NPZ, {}, r"weights must be one number .*, shape \(20,\)"),
    "id too large": ({"kinds": np.full((20, 1), 5)}, NPZ, {}, r"input 'kinds' must hold whole numbers from 0 to 4"),
    "negative id": ({"kinds": np.full((20, 1), -1)}, NPZ, {}, r"whole numbers from 0 to 4, but example 0 .* has -1"),
    "fraction": ({"kinds": np.full((20, 1), 0.5)}, NPZ, {}, r"input 'kinds' must hold whole numbers .* has 0.5"),
    "NaN": ({"numbers": np.full((20, 2), np.nan)}, NPZ, {}, r"every input 'numbers' must be a finite number"),
    "shape": (
        {"kinds": np.zeros((20, 3), int)}, NPZ, {},
        r"input 'kinds' must have as many values .* set model.inputs.kinds: {shape: \[3\], dtype: integer}",
    ),
    "label": ({"label": np.full(20, 10)}, NPZ, {}, "labels must be from 0 to 9"),
    "no such target": (
        {}, FashionMnistData(folder=".", targets="imput"), {"inputs": {"input": InputNeed((784,))}},
        r"must be compared with label or an input \(input\), but data.targets says 'imput'. Did you mean 'input'\?",
    ),
    "reconstruction by classes": (
        {}, FashionMnistData(folder=".", targets="input"), {"inputs": {"input": InputNeed((784,))}},
        "reconstructs the input 'input' of values, which needs a loss for values",
    ),
    "reconstruction of another size": (
        {}, FashionMnistData(folder=".", targets="input"),
        {"inputs": {"input": InputNeed((784,))}, "outputs": {"o": OutputNeed("value", (7,))}},
        r"must have as many values as the input 'input' it reconstructs, shape \(784,\), but its shape is \(7,\)",
    ),
    "too many categories": (
        {}, CsvData(path="s.csv", inputs={"numbers": ["age", "income"], "kinds": "who"}, target="spent"),
        {"inputs": {**TWO_INPUTS, "kinds": InputNeed((1,), True, 2)}, "outputs": {"o": OutputNeed("value", (1,))}},
        r"embedding of input 'kinds' must have a place for each of the 3 categories in use \(who 3; .*\), but has 2",
    ),
    "bins of text": (
        {},
        CsvData(path="s.csv", inputs={"numbers": ["age", "income"], "kinds": "city"}, bins={"city": 2}, target="spent"),
        {"outputs": {"o": OutputNeed("value", (1,))}}, "column 'city' of data.bins must hold numbers, but holds text",
    ),
    "columns of each input": (
        {}, CsvData(path="s.csv", target="who"), {}, "so the columns of each must be known, but data.inputs is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_names(tmp_path, case):
    changes, settings, needs, message = BAD[case]
    bad_npz(tmp_path, **changes)
    write_mnist(tmp_path)
    survey(tmp_path)
    with pytest.raises(DataError, match=message):
        load(settings, tmp_path, needs.get("inputs", TWO_INPUTS), needs.get("outputs"))


def test_measurements_are_no_categories(tmp_path):
    rows = "\n".join(f"{i / 7},{i % 2}" for i in range(200))
    (tmp_path / "m.csv").write_text(f"height,y\n{rows}\n")
    with pytest.raises(
        DataError, match=r"column 'height' .* \d+ different fractions; group them with data.bins: {height: 8}"
    ):
        load(CsvData(path="m.csv", target="y"), tmp_path, {"input": InputNeed((1,), True)})


def test_class_number_that_is_ignored(tmp_path):
    y = np.arange(20) % 3
    y[::4] = -100
    np.savez(tmp_path / "d.npz", x=np.ones((20, 2)), y=y)
    data = load(NpzData(path="d.npz"), tmp_path, None, {"o": OutputNeed("class", (), 3, ignored=-100)})
    assert -100 in data.train.whole("float32")[1]
    with pytest.raises(DataError, match=r"from 0 to 2, but example 0 .* has -100"):
        load(NpzData(path="d.npz"), tmp_path, None, {"o": OutputNeed("class", (), 3)})


def test_class_numbers_for_each_position(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((20, 4), int), y=np.tile(np.arange(4), (20, 1)))
    inputs = {"input": InputNeed((4,), True, 2)}
    data = load(NpzData(path="d.npz"), tmp_path, inputs, {"o": OutputNeed("class", (4,), 4)})
    assert data.train.gather([0], "float32")[1].tolist() == [[0, 1, 2, 3]]
    with pytest.raises(DataError, match=r"for each of the model's positions, shape \(5,\), but .* shape \(4,\)"):
        load(NpzData(path="d.npz"), tmp_path, inputs, {"o": OutputNeed("class", (5,), 4)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "a", "targets": {"o": "a"}}, "either target"),
        ({}, "either target"),
        ({"target": "a", "features": ["b"], "inputs": {"i": "b"}}, "either features"),
        ({"target": "a", "inputs": {"i": ["a", "b"]}}, "a is both a feature and a target"),
        ({"target": "a", "features": ["b"], "weights": "b"}, "b is the column of weights"),
        ({"target": "a", "features": ["b"], "bins": {"c": 3}}, "bins must name columns that are inputs, but c"),
    ],
)
def test_settings_of_columns_that_contradict(settings, message):
    with pytest.raises(ValueError, match=message):
        CsvData(path="t.csv", **settings)


@pytest.mark.parametrize(
    "values",
    [
        {"source": "word_languages", "languages": ["en", "fr"]},
        {"source": "npz", "path": "/a.npz", "inputs": {"a": "x"}, "targets": {"b": "y"}, "weights": "w"},
        {"source": "npy", "inputs": {"a": "/x.npy"}, "targets": "/y.npy"},
        {"source": "csv", "path": "/p", "targets": {"a": "b", "c": ["d"]}, "inputs": {"k": "g"}, "bins": {"g": 4}},
        {"source": "scikit_learn", "table": "wine"},
        {"source": "text", "folder": "/f", "targets": "label"},
        {"source": "language_model", "vocabulary": 96},
        {"source": "digits", "targets": {"a": "input", "b": "label"}},
    ],
)
def test_settings_of_named_data_survive_a_config_file(values):
    adapter = TypeAdapter(DataSettings)
    settings = adapter.validate_python(values)
    plain = settings.model_dump(mode="json")
    assert adapter.validate_python(plain) == settings
    jsonschema.validate(values, adapter.json_schema())
    assert settings.anchored(Path("/elsewhere")) == settings, "absolute file names and names of arrays stay"


def test_file_names_in_mappings_start_at_the_config():
    settings = NpyData(inputs={"a": "x.npy"}, targets={"b": "y.npy"}).anchored(Path("/r"))
    assert (settings.inputs, settings.targets) == ({"a": "/r/x.npy"}, {"b": "/r/y.npy"})
    npz = NpzData(path="d.npz", inputs={"a": "x"}, targets={"b": "y"}).anchored(Path("/r"))
    assert (npz.path, npz.inputs) == ("/r/d.npz", {"a": "x"})
