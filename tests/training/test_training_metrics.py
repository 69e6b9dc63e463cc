"""Metrics and schedules that follow them, in a whole training: what is written, watched, resumed and printed."""

import json
import subprocess
import sys

import numpy as np
import pytest

import dualml
from dualml.errors import TrainingError
from dualml.training.run_directory import open_run

METRICS = "metrics=[accuracy, {top_k: 3}, {f1: micro}, auc, perplexity, confusion_matrix]"
PLATEAU = "schedule={reduce_on_plateau: {metric: val_top_3, patience: 0, decay: 0.5, threshold: 0.5}}"


def test_metrics_flow_into_files_and_the_best_checkpoint(small_config, tmp_path):
    overrides = [METRICS, "train.checkpoints.best=val_perplexity", "optimizer.adam.lr=0.05"]
    run = dualml.train(dualml.load(small_config(), overrides), out=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [name for name in rows[0] if name.startswith("val_")] == [
        *["val_loss", "val_accuracy", "val_top_3", "val_f1_micro", "val_auc", "val_perplexity"]
    ]
    perplexities = [row["val_perplexity"] for row in rows]
    np.testing.assert_allclose(perplexities, np.exp([row["val_loss"] for row in rows]), rtol=1e-6)
    best = open_run(tmp_path / "run").summary["best"]  # the trap: not everything but a loss is better when larger
    assert (best["value"], best["epoch"]) == (min(perplexities), 1 + int(np.argmin(perplexities)))
    matrix = np.array(run.test["confusion_matrix"])
    assert matrix.shape == (10, 10)
    assert np.trace(matrix) / matrix.sum() == pytest.approx(run.test["accuracy"], abs=1e-15)
    assert run.test["f1_micro"] == pytest.approx(run.test["accuracy"], abs=1e-15)


def test_evaluate_prints_a_table_and_writes_json(small_config, tmp_path):
    names = ["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    overrides = ["metrics=[accuracy, confusion_matrix]", "train.epochs=1", f"data.class_names=[{', '.join(names)}]"]
    run = dualml.train(dualml.load(small_config(), overrides), out=tmp_path / "run")
    command = [sys.executable, "-m", "dualml", "evaluate", str(tmp_path / "run")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    place = printed.index("test_confusion_matrix (rows: target, columns: predicted)")
    table = [[int(cell) for cell in line.split()[1:]] for line in printed[place + 2 :]]
    assert table == run.test["confusion_matrix"]
    assert printed[place + 1].split() == [line.split()[0] for line in printed[place + 2 :]] == names
    written = subprocess.run([*command, "--json", "-"], capture_output=True, text=True, check=True).stdout
    assert json.loads(written) == run.test


def test_reduction_on_a_plateau_follows_the_history_and_resumes_exactly(small_config, tmp_path):
    config = small_config("float64")
    settings = [METRICS, PLATEAU]
    whole = dualml.train(dualml.load(config, settings))
    rates = [row["lr"] for row in whole.history]
    assert rates == [0.01, 0.01, 0.005, 0.0025]  # the first epoch sets the best; none after it is 1.5 times as good
    planned = "schedule={piecewise: {boundaries: [2, 3], values: [1.0, 0.5, 0.25], unit: epoch, at_boundary: new}}"
    told = dualml.train(dualml.load(config, [METRICS, planned]))
    for name, array in whole.weights.items():  # the updates had these rates, not only the rows in metrics.jsonl
        np.testing.assert_array_equal(told.weights[name], array)
    dualml.train(dualml.load(config, [*settings, "train.epochs=2"]), out=tmp_path / "run")
    rest = dualml.train(dualml.load(config, settings), out=tmp_path / "run", resume=True)
    assert [row["lr"] for row in rest.history] == rates
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(rest.weights[name], array)


def test_an_interrupted_epoch_after_a_reduction_resumes_exactly(small_config, tmp_path):
    config, settings = small_config("float64"), [METRICS, PLATEAU, "train.epochs=3"]
    asked = iter([False, False, True])  # chunks: one epoch each at first
    with pytest.raises(TrainingError, match="--resume"):
        dualml.train(dualml.load(config, settings), out=tmp_path / "run", interrupted=lambda: next(asked, True))
    rest = dualml.train(dualml.load(config, settings), out=tmp_path / "run", resume=True)
    whole = dualml.train(dualml.load(config, settings))
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(rest.weights[name], array)


def test_a_plateau_of_validation_needs_validation_examples(small_config):
    overrides = ["data.validation=0", "schedule={reduce_on_plateau: {}}", "train.checkpoints.best=none"]
    with pytest.raises(TrainingError, match="reduce_on_plateau watches val_loss, but there are no validation examples"):
        dualml.train(dualml.load(small_config(), overrides))


def test_a_plateau_of_the_training_loss_needs_none(small_config):
    plateau = "schedule={reduce_on_plateau: {metric: train_loss, patience: 0, threshold: 0.99}}"
    overrides = ["data.validation=0", plateau, "train.epochs=3", "train.checkpoints.best=none"]
    run = dualml.train(dualml.load(small_config(), overrides))
    assert [row["lr"] for row in run.history] == pytest.approx([0.01, 0.01, 0.001])


def test_a_comparison_says_that_it_cannot_follow_a_plateau(small_config):
    spec = dualml.load(small_config("float64"), ["schedule={reduce_on_plateau: {patience: 0, metric: val_loss}}"])
    report = dualml.compare(spec, backends=("torch", "torch"), steps=2)
    skipped = [item for item in report.coverage["skipped"] if "reduce_on_plateau (val_loss)" in item["what"]]
    assert len(skipped) == 1
    assert "both sides kept the rate" in skipped[0]["why"]
