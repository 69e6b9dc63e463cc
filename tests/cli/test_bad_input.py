"""What users get wrong on the command line: one clear message, exit code 2, no traceback, nothing half-written."""

import json
from pathlib import Path

import numpy as np
import pytest

import dualml


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, copied by tests that damage it."""
    folder = tmp_path_factory.mktemp("finished")
    config = folder / "config.yaml"
    config.write_text(
        "model: {input: 64, layers: [dense: 10]}\ndata: {source: digits, limit: 100}\nloss: cross_entropy\n"
        "optimizer: adam\ntrain: {epochs: 1}\n",
        encoding="utf-8",
    )
    dualml.train(dualml.load(config), out=folder / "run")
    np.save(folder / "x.npy", np.zeros((3, 64)))
    return folder / "run"


@pytest.fixture
def place(run, tmp_path, monkeypatch):
    """A folder with a run, a config and files that are wrong in many ways; the current folder."""
    import shutil

    shutil.copytree(run, tmp_path / "run")
    shutil.copy(run.parent / "config.yaml", tmp_path / "good.yaml")
    np.save(tmp_path / "x.npy", np.zeros((3, 64)))
    np.save(tmp_path / "huge.npy", np.full((3, 64), 1e300))
    np.save(tmp_path / "narrow.npy", np.zeros((3, 63)))
    np.save(tmp_path / "nan.npy", np.full((3, 64), np.nan))
    np.save(tmp_path / "text.npy", np.array([["a"] * 64]))
    np.save(tmp_path / "none.npy", np.zeros((0, 64)))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:200])
    (tmp_path / "other.npy").write_text("hello", encoding="utf-8")
    np.savez(tmp_path / "several.npy.npz", a=np.zeros(3))
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def damaged(name, change):
    """A command's preparation: change one file of the run."""

    def prepare(place):
        path = place / "run" / name
        change(path)

    return prepare


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_data(path):
    path.write_text(json.dumps({"ended": "finished"}), encoding="utf-8")


def wrong_shape(path):
    from dualml.weights import read_tensors, write_tensors

    arrays, metadata = read_tensors(path)
    write_tensors(path, {name: array[:5] for name, array in arrays.items()}, metadata)


def other_names(path):
    from dualml.weights import read_tensors, write_tensors

    arrays, metadata = read_tensors(path)
    write_tensors(path, {f"x{name}": array for name, array in arrays.items()}, metadata)


def foreign(path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, path)


def without_header(path):
    from dualml.weights import read_tensors, write_tensors

    arrays, _ = read_tensors(path)
    write_tensors(path, arrays, {"kind": "checkpoint"})


def bad_config(path):
    path.write_text("model: [\n", encoding="utf-8")


# command line, what the message must hold, preparation
CASES = {
    "no such config": ("train nowhere.yaml", ["nowhere.yaml", "no such file", "known: good.yaml"], None),
    "config is a folder": ("train empty", ["empty", "is a folder"], None),
    "config is a run": ("describe run", ["run", "is a folder"], None),
    "unknown backend": ("train good.yaml --backend pytorch", ["'pytorch'", "did you mean 'torch'"], None),
    "unknown backend in the config": ("train good.yaml --set backend=tensorflw", ["did you mean 'tensorflow'"], None),
    "unknown command": ("trian good.yaml", ["trian"], None),
    "unknown option": ("train good.yaml --bakend torch", ["--bakend"], None),
    "no config": ("train", ["CONFIG"], None),
    "override without a value": ("train good.yaml --set train.epochs", ["path.to.key=value"], None),
    "override of nothing": ("train good.yaml --set train.epoch=3", ["did you mean 'epochs'"], None),
    "out is a file": ("train good.yaml --out file", ["file: must be a folder"], None),
    "out holds a run": ("train good.yaml --out run", ["not empty", "--resume"], None),
    "out below a file": ("train good.yaml --out file/run", ["file/run", "--out"], None),
    "nothing to resume": ("train good.yaml --resume", ["no run", "--out"], None),
    "no data": ("train good.yaml --set data=null", ["data", "is required to train"], None),
    "input does not fit the data": ("train good.yaml --set model.input=63", ["63"], None),
    "too few classes": ("train good.yaml --set model.layers.0.dense=5", ["label", "5"], None),
    "no validation to stop by": (
        "train good.yaml --set data.validation=0 --set train.early_stopping={}",
        ["needs validation examples"],
        None,
    ),
    "a device that is not there": ("train good.yaml --set device=gpu", ["gpu"], None),
    "a layer too large": ("train good.yaml --set model.layers.0.dense=100000000000000", ["memory"], None),
    "batch left out": ("train good.yaml --set train.drop_last=true --set train.batch_size=101", ["drop_last"], None),
    "no run": ("evaluate nowhere", ["nowhere", "does not exist"], None),
    "run is a file": ("evaluate file", ["file", "is a file"], None),
    "run is an empty folder": ("evaluate empty", ["empty", "has no config.yaml"], None),
    "a path too long": (f"evaluate {'x' * 300}", ["too long"], None),
    "a path too long to compare": (f"compare {'x' * 300}", ["too long"], None),
    "header of a checkpoint damaged": (
        "train good.yaml --set train.epochs=2 --out run --resume",
        ["header is damaged"],
        lambda place: without_header(next((place / "run" / "checkpoints").glob("step-*"))),
    ),
    "compare drops every batch": (
        "compare good.yaml --set train.drop_last=true --set train.batch_size=5000",
        ["drop_last leaves nothing"],
        None,
    ),
    "resume in a folder of the user's": ("train good.yaml --out . --resume", ["no run to resume"], None),
    "inputs overflow": ("predict run huge.npy --out p.npy", ["huge.npy", "finite in float32", "example 0"], None),
    "best weights that are not kept": (
        "evaluate run --weights best",
        ["keeps no best checkpoint"],
        lambda place: (place / "run" / "checkpoints" / "best.safetensors").unlink(),
    ),
    "unknown split": ("evaluate run --split tset", ["tset"], None),
    "evaluate in an unknown backend": ("evaluate run --backend jax", ["'jax'", "known: tensorflow, torch"], None),
    "json below a missing folder": (
        "evaluate run --json nowhere/x.json",
        ["--json nowhere/x.json", "does not exist"],
        None,
    ),
    "weights missing": (
        "evaluate run",
        ["model.safetensors", "training did not end", "--resume"],
        damaged("model.safetensors", Path.unlink),
    ),
    "weights cut short": ("evaluate run", ["model.safetensors", "cut short"], damaged("model.safetensors", cut)),
    "weights of another shape": (
        "evaluate run",
        ["must have shape [64, 10]"],
        damaged("model.safetensors", wrong_shape),
    ),
    "weights of another model": ("evaluate run", ["missing:", "unknown: x"], damaged("model.safetensors", other_names)),
    "weights of another program": ("evaluate run", ["written by dualml"], damaged("model.safetensors", foreign)),
    "stored config damaged": ("evaluate run", ["config.yaml is damaged"], damaged("config.yaml", bad_config)),
    "summary damaged": ("evaluate run", ["summary.json", "damaged"], damaged("summary.json", cut)),
    "summary without data": ("evaluate run", ["summary.json", "damaged"], damaged("summary.json", without_data)),
    "summary missing": ("predict run x.npy --out p.npy", ["no summary.json"], damaged("summary.json", Path.unlink)),
    "checkpoint cut short": (
        "train good.yaml --set train.epochs=2 --out run --resume",
        ["step-", "cut short"],
        lambda place: cut(next((place / "run" / "checkpoints").glob("step-*"))),
    ),
    "resumed with other settings": (
        "train good.yaml --set train.batch_size=10 --out run --resume",
        ["train.batch_size: the run has 64, the config says 10"],
        None,
    ),
    "no inputs": ("predict run nowhere.npy --out p.npy", ["nowhere.npy", "INPUT must name", "Did you mean"], None),
    "inputs are a folder": ("predict run empty --out p.npy", ["empty", "folder"], None),
    "inputs too narrow": ("predict run narrow.npy --out p.npy", ["narrow.npy", "64 values", "[3, 63]"], None),
    "inputs not finite": ("predict run nan.npy --out p.npy", ["nan.npy", "must be finite", "example 0"], None),
    "inputs are text": ("predict run text.npy --out p.npy", ["text.npy", "must be numbers"], None),
    "no examples": ("predict run none.npy --out p.npy", ["none.npy", "at least one example"], None),
    "inputs hold objects": ("predict run objects.npy --out p.npy", ["objects.npy"], None),
    "inputs cut short": ("predict run short.npy --out p.npy", ["short.npy"], None),
    "inputs are no array": ("predict run other.npy --out p.npy", ["other.npy"], None),
    "inputs are several arrays": ("predict run several.npy.npz --out p.npy", ["several.npy.npz"], None),
    "out is a folder": ("predict run x.npy --out empty", ["--out empty", "is a folder"], None),
    "out in no folder": ("predict run x.npy --out nowhere/p.npy", ["nowhere", "does not exist"], None),
    "no out": ("predict run x.npy", ["--out"], None),
    "one run": ("compare run", ["name two"], None),
    "a run and no run": ("compare run empty", ["empty", "config.yaml"], None),
    "a run and a config": ("compare run good.yaml", ["not one of each"], None),
    "resume with a mistyped folder": (
        "train good.yaml --out rum --resume",
        ["no such run", "did you mean 'run'"],
        None,
    ),
    "one backend": ("compare good.yaml --backends torch", ["two sides"], None),
    "an unknown side": ("compare good.yaml --backends torch,tensorflw", ["did you mean 'tensorflow'"], None),
    "no steps": ("compare good.yaml --steps 0", ["--steps"], None),
    "overrides of runs": ("compare run run --set seed=1", ["--set"], None),
    "compare without data": ("compare good.yaml --set data=null", ["data", "is required"], None),
    "describe what does not fit": (
        "describe good.yaml --set model.layers.0.dense={} --set model.layers.0.dense.units=10"
        " --set model.layers.0.dense.inputs=nowhere",
        ["no layer is named 'nowhere'"],
        None,
    ),
}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "_"))
def test_a_mistake_gets_one_clear_message(dualml_command, place, case):
    command, wanted, prepare = CASES[case]
    if prepare is not None:
        prepare(place)
    before = contents(place)
    outcome = dualml_command(*command.split())
    assert outcome.code == 2, outcome
    for part in wanted:
        assert part in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert contents(place) == before


def test_there_are_as_many_cases_as_promised():
    assert len(CASES) >= 55
