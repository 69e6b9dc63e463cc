"""Training in both backends: the loop, what it writes, and that it goes on exactly where it stopped."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import dualml
from dualml.errors import RunError, TrainingError, WeightsError
from dualml.training.run_directory import open_run
from dualml.weights import read_tensors

BACKENDS = ("torch", "tensorflow")


def gap(one, two):
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_learns_and_writes_a_run_directory(small_config, tmp_path, backend):
    run = dualml.train(dualml.load(small_config()), backend, out=tmp_path / "run")
    assert run.ended == "finished"
    assert run.test["accuracy"] > 0.75
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"] / 2
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    names = ["epoch", "step", "train_loss", "val_loss", "val_accuracy", "lr", "seconds", "samples_per_second"]
    assert [list(json.loads(line)) for line in lines] == [names] * 4
    stored = open_run(tmp_path / "run")
    assert stored.spec == dualml.load(small_config(), [f"backend={backend}"]).resolved
    assert gap(stored.weights(), run.weights) == 0
    assert stored.summary["ended"] == "finished"
    assert stored.summary["test"] == run.test
    assert not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_twice_gives_the_same_bits(small_config, backend):
    spec = dualml.load(small_config(), ["train.epochs=2"])
    assert gap(dualml.train(spec, backend).weights, dualml.train(spec, backend).weights) == 0


def test_both_backends_train_to_the_same_weights_in_float64(small_config):
    spec = dualml.load(small_config("float64"))
    one, two = (dualml.train(spec, backend) for backend in BACKENDS)
    assert gap(one.weights, two.weights) < 1e-12
    assert one.test["accuracy"] == two.test["accuracy"]


@pytest.mark.parametrize(("first", "second"), [("torch", "tensorflow"), ("tensorflow", "torch"), ("torch", "torch")])
def test_a_run_goes_on_in_either_backend(small_config, tmp_path, first, second):
    config = small_config("float64")
    whole = dualml.train(dualml.load(config), second)
    dualml.train(dualml.load(config, ["train.epochs=2"]), first, out=tmp_path / "run")
    rest = dualml.train(dualml.load(config), second, out=tmp_path / "run", resume=True)
    limit = 0 if first == second else 1e-12
    assert gap(whole.weights, rest.weights) <= limit
    assert [row["epoch"] for row in open_run(tmp_path / "run").history()] == [1, 2, 3, 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_killed_in_mid_epoch_resumes_to_the_same_bits(small_config, tmp_path, backend):
    config = small_config()
    settings = ["--backend", backend, "--set", "train.epochs=400", "--set", "train.checkpoints.keep=1000"]
    command = [sys.executable, "-m", "dualml", "train", str(config), *settings, "--out", str(tmp_path / "run"), "-q"]
    process = subprocess.Popen(command)
    checkpoints = tmp_path / "run" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = len(list(checkpoints.glob("step-*")))
    assert 0 < done < 400
    epochs = done + 2
    spec = dualml.load(config, [f"train.epochs={epochs}"])
    rest = dualml.train(spec, backend, out=tmp_path / "run", resume=True)
    whole = dualml.train(spec, backend)
    assert gap(rest.weights, whole.weights) == 0
    timing = {"seconds": 0, "samples_per_second": 0}
    for one, two in zip(rest.history, whole.history, strict=True):
        assert list(({**one, **timing}).items()) == list(({**two, **timing}).items())  # the order of keys as well


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupted_run_keeps_its_place_in_the_epoch(small_config, tmp_path, backend):
    config = small_config()
    asked = iter([False, True])
    with pytest.raises(TrainingError, match="--resume") as caught:
        dualml.train(dualml.load(config), backend, out=tmp_path / "run", interrupted=lambda: next(asked, True))
    assert "epoch 1" in str(caught.value) or "epoch 2" in str(caught.value)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ended"] == "interrupted"
    rest = dualml.train(dualml.load(config), backend, out=tmp_path / "run", resume=True)
    assert gap(rest.weights, dualml.train(dualml.load(config), backend).weights) == 0


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(small_config, tmp_path):
    config = small_config()
    command = [sys.executable, "-m", "dualml", "train", str(config), "--set", "train.epochs=100000"]
    command += ["--set", "train.checkpoints.every=50", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "interrupted at step" in err
    assert f"--out {tmp_path / 'run'} --resume" in err
    assert "Traceback" not in err
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_early_stopping_and_the_best_checkpoint(small_config, tmp_path):
    overrides = [
        "train.epochs=60",
        "optimizer.adam.lr=0.03",
        "train.early_stopping={patience: 2, metric: val_loss}",
        "train.checkpoints.best=val_loss",
    ]
    run = dualml.train(dualml.load(small_config(), overrides), out=tmp_path / "run")
    assert run.ended == "stopped early"
    losses = [row["val_loss"] for row in run.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3
    summary = open_run(tmp_path / "run").summary
    assert summary["best"] == {"metric": "val_loss", "value": losses[best], "epoch": best + 1}
    _, metadata = read_tensors(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert metadata["progress"]["epoch"] == best + 1


def huge(folder):
    """Settings under which the first update overflows float32."""
    np.savez(folder / "data.npz", x=np.full((90, 64), 1e35), y=np.arange(90) % 10)
    return [f"data={{source: npz, path: {folder}/data.npz}}", "optimizer={sgd: {lr: 1.0e+10}}"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_not_finite_stops_the_training(small_config, tmp_path, backend):
    spec = dualml.load(small_config(), huge(tmp_path))
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) at step 2 \(epoch 1\)"):
        dualml.train(spec, backend, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()  # nothing was trained, so nothing is left to stumble over


def test_weights_that_the_last_update_ruined_stop_the_training(small_config, tmp_path):
    overrides = [*huge(tmp_path), "train.batch_size=500", "train.epochs=1"]
    with pytest.raises(TrainingError, match="is no longer finite after step 1"):
        dualml.train(dualml.load(small_config(), overrides), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_accumulated_batches_are_one_update(small_config):
    config = small_config("float64")
    pieces = dualml.train(dualml.load(config, ["train.batch_size=8", "train.accumulate=4"]))
    whole = dualml.train(dualml.load(config, ["train.batch_size=32"]))
    assert gap(pieces.weights, whole.weights) < 1e-12
    assert pieces.history[-1]["step"] == whole.history[-1]["step"]


def test_drop_last_leaves_the_incomplete_update_out(small_config):
    spec = dualml.load(small_config(), ["train.drop_last=true", "train.epochs=1"])
    assert dualml.train(spec).history[0]["step"] == 500 // 32
    with pytest.raises(TrainingError, match="drop_last leaves nothing"):
        dualml.train(dualml.load(small_config(), ["train.drop_last=true", "train.batch_size=501"]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_on_disk_trains_like_data_in_memory(small_config, tmp_path, backend):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((300, 64)))
    np.save(tmp_path / "y.npy", rng.integers(0, 10, 300))
    weights = []
    for mapped in ("true", "false"):
        data = f"data={{source: npy, inputs: {tmp_path}/x.npy, targets: {tmp_path}/y.npy, memory_map: {mapped}}}"
        weights.append(dualml.train(dualml.load(small_config(), [data, "train.epochs=2"]), backend).weights)
    assert gap(*weights) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_native_randomness_resumes_in_mid_epoch_to_the_same_bits(small_config, tmp_path, backend, monkeypatch):
    from dualml.training import loop

    monkeypatch.setattr(loop, "UPDATES_PER_SEED", 4)
    spec = dualml.load(small_config(), ["randomness=native", "train.epochs=2"])
    asked = iter([False, False, True])
    with pytest.raises(TrainingError, match="interrupted at step 8 "):
        dualml.train(spec, backend, out=tmp_path / "run", interrupted=lambda: next(asked))
    rest = dualml.train(spec, backend, out=tmp_path / "run", resume=True)
    whole = dualml.train(spec, backend)
    assert gap(rest.weights, whole.weights) == 0
    assert rest.history[0]["train_loss"] == whole.history[0]["train_loss"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_native_randomness_trains_and_repeats(small_config, backend):
    spec = dualml.load(small_config(), ["randomness=native", "train.epochs=2"])
    one, two = dualml.train(spec, backend), dualml.train(spec, backend)
    assert gap(one.weights, two.weights) == 0
    assert gap(one.weights, dualml.train(spec.replace(randomness="shared"), backend).weights) > 0


def test_regression_has_no_accuracy(tmp_path, small_config):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 64))
    np.savez(tmp_path / "data.npz", x=x, y=x @ rng.standard_normal((64, 3)))
    overrides = ["loss=mse", f"data={{source: npz, path: {tmp_path}/data.npz}}", "model.layers[2].dense.units=3"]
    run = dualml.train(dualml.load(small_config(), overrides))
    assert "val_accuracy" not in run.history[0]
    assert run.test.keys() == {"loss"}
    assert run.predict(x[:5]).shape == (5, 3)


def test_tensorboard_logs_can_be_read(small_config, tmp_path):
    run = dualml.train(dualml.load(small_config(), ["train.tensorboard=true"]), out=tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    values = [event.value for event in logs.Scalars("val_loss")]
    assert values == pytest.approx([row["val_loss"] for row in run.history], rel=1e-6)


def test_what_the_user_should_know_is_said(small_config, tmp_path):
    import io

    said = io.StringIO()
    long = dualml.load(small_config(), ["train.epochs=1", "schedule={constant: {warmup: {length: 5000}}}"])
    dualml.train(long, out=tmp_path / "run", observer=dualml.PlainLines(said))
    assert "note: the warm-up takes 5000 steps, the whole training only 16" in said.getvalue()
    dualml.train(long, out=tmp_path / "run", resume=True, observer=dualml.PlainLines(said))
    assert "nothing to train: it has all 1 epochs" in said.getvalue()


@pytest.mark.parametrize("given", ["config.yaml", {"model": {}}])
def test_what_is_no_spec_is_refused(given):
    for function in (dualml.train, dualml.build):
        with pytest.raises(dualml.ConfigError, match=r"dualml.load\(path\)"):
            function(given)


class TestDirectories:
    def test_a_run_is_not_overwritten(self, small_config, tmp_path):
        spec = dualml.load(small_config(), ["train.epochs=1"])
        dualml.train(spec, out=tmp_path / "run")
        with pytest.raises(RunError, match="is not empty"):
            dualml.train(spec, out=tmp_path / "run")

    def test_a_folder_of_the_users_is_not_taken_for_a_run(self, small_config, tmp_path):
        config = small_config()
        with pytest.raises(RunError, match="holds no run to resume"):
            dualml.train(dualml.load(config), out=config.parent, resume=True)

    def test_relative_data_of_a_python_spec_is_found_again(self, small_config, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        np.savez("data.npz", x=np.random.default_rng(0).standard_normal((90, 64)), y=np.arange(90) % 10)
        spec = dualml.load(small_config(), ["train.epochs=1"]).replace(data=dualml.NpzData(path="data.npz"))
        run = dualml.train(spec, out="run")
        monkeypatch.chdir("/")
        assert dualml.evaluate(tmp_path / "run") == pytest.approx(run.test)

    def test_changed_data_is_not_evaluated_silently(self, small_config, tmp_path):
        rng = np.random.default_rng(0)
        np.savez(tmp_path / "data.npz", x=rng.standard_normal((90, 64)), y=np.arange(90) % 10)
        spec = dualml.load(small_config(), ["train.epochs=1"])
        dualml.train(spec.replace(data=dualml.NpzData(path=str(tmp_path / "data.npz"))), out=tmp_path / "run")
        np.savez(tmp_path / "data.npz", x=rng.standard_normal((90, 64)), y=np.arange(90) % 10)
        with pytest.raises(dualml.DataError, match="has changed since"):
            dualml.evaluate(tmp_path / "run")

    def test_the_best_weights_can_be_used(self, small_config, tmp_path):
        overrides = ["train.epochs=8", "optimizer.adam.lr=0.05"]
        run = dualml.train(dualml.load(small_config(), overrides), out=tmp_path / "run")
        losses = [row["val_loss"] for row in run.history]
        best = dualml.evaluate(tmp_path / "run", split="validation", weights="best")
        assert best["loss"] == pytest.approx(min(losses), rel=1e-6)
        assert dualml.evaluate(tmp_path / "run", split="validation")["loss"] == pytest.approx(losses[-1], rel=1e-6)


class TestResumingWithSomethingElse:
    """What must be refused, with what was found and what to do."""

    @pytest.fixture
    def run(self, small_config, tmp_path):
        dualml.train(dualml.load(small_config(), ["train.epochs=1"]), out=tmp_path / "run")
        return tmp_path / "run"

    def test_changed_settings_are_listed(self, small_config, run):
        spec = dualml.load(small_config(), ["optimizer.adam.lr=0.1", "train.batch_size=64"])
        with pytest.raises(RunError) as caught:
            dualml.train(spec, out=run, resume=True)
        assert "optimizer.adam.lr: the run has 0.01, the config says 0.1" in str(caught.value)
        assert "train.batch_size" in str(caught.value)

    def test_epochs_stay_where_the_schedule_spans_them(self, small_config, tmp_path):
        settings = ["train.epochs=1", "schedule=cosine"]
        dualml.train(dualml.load(small_config(), settings), out=tmp_path / "cosine")
        with pytest.raises(RunError, match=r"train.epochs: the run has 1, the config says 2"):
            dualml.train(
                dualml.load(small_config(), ["schedule=cosine", "train.epochs=2"]), out=tmp_path / "cosine", resume=True
            )

    def test_other_data_is_refused(self, small_config, run, monkeypatch):
        from dualml.data import Dataset

        monkeypatch.setattr(Dataset, "fingerprint", lambda _: "other")
        with pytest.raises(RunError, match="other data"):
            dualml.train(dualml.load(small_config()), out=run, resume=True)

    def test_a_checkpoint_cut_short_is_refused(self, small_config, run):
        path = max((run / "checkpoints").glob("step-*"))
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(WeightsError, match="cut short or damaged"):
            dualml.train(dualml.load(small_config()), out=run, resume=True)

    def test_a_checkpoint_of_another_kind_is_refused(self, small_config, run):
        path = max((run / "checkpoints").glob("step-*"))
        path.write_bytes((run / "model.safetensors").read_bytes())
        with pytest.raises(WeightsError, match="must be a checkpoint"):
            dualml.train(dualml.load(small_config()), out=run, resume=True)


def test_a_full_disk_leaves_whole_files(small_config, tmp_path, monkeypatch):
    import errno

    from dualml import weights

    dualml.train(dualml.load(small_config(), ["train.epochs=1"]), out=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights.os, "fsync", full)
    with pytest.raises(RunError, match="the disk is full"):
        dualml.train(dualml.load(small_config()), out=tmp_path / "run", resume=True)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before
