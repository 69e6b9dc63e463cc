"""Config files that are wrong: every problem at once, each with its place and a remedy."""

import pytest

import dualml
from dualml.config import parse
from dualml.errors import ConfigError

GOOD = """\
backend: torch
seed: 0
model:
  input: [8]
  layers:
    - dense: {units: 4, activation: relu}
    - dense: {units: 2}
data: {source: digits}
loss: cross_entropy
optimizer: {adam: {lr: 0.001}}
train: {epochs: 2}
"""

# what is replaced in GOOD, by what, and what the message must say
CASES = {
    "unknown key": ("seed: 0", "sed: 0", ["config:2:1: sed: unknown key; did you mean 'seed'?"]),
    "unknown layer": (
        "units: 2}",
        "units: 2}\n    - dens: {units: 3}",
        ["config:8:7", "'dens'", "did you mean 'dense'"],
    ),
    "unknown setting": ("units: 2", "unit: 2", ["layers[1].dense.unit: unknown key; did you mean 'units'", "required"]),
    "unknown activation": ("relu", "relo", ["config:6:37", "unknown kind 'relo'; did you mean 'relu'"]),
    "unknown optimizer": ("adam:", "adm:", ["unknown kind 'adm'; did you mean 'adam'"]),
    "unknown loss": ("cross_entropy", "crossentropy", ["loss", "did you mean 'cross_entropy'"]),
    "unknown source": ("digits", "digit", ["data", "digit"]),
    "unknown precision": (
        "seed: 0",
        "precision: float16",
        ["must be 'float32', 'float64' or 'mixed_bfloat16', got the text 'float16'"],
    ),
    "unknown conventions": ("seed: 0", "conventions: tf", ["'torch' or 'keras'"]),
    "text for a number": ("units: 4", "units: four", ["config:6:22", "must be a whole number, got the text 'four'"]),
    "quoted number": ("lr: 0.001", "lr: '0.001'", ["must be a number", "without quotes"]),
    "fraction for a count": ("epochs: 2", "epochs: 2.5", ["must be a whole number, got 2.5"]),
    "true for a number": ("units: 4", "units: true", ["must be a whole number, got true"]),
    "negative size": ("units: 4", "units: -4", ["must be greater than 0, got -4"]),
    "zero size": ("units: 4", "units: 0", ["must be greater than 0, got 0"]),
    "zero input": ("input: [8]", "input: [0]", ["model.input[0]: must be greater than 0"]),
    "empty input": ("input: [8]", "input: []", ["must hold at least 1"]),
    "negative rate": ("lr: 0.001", "lr: -1", ["must be at least 0, got -1"]),
    "infinite rate": ("lr: 0.001", "lr: .inf", ["must be a finite number"]),
    "nan rate": ("lr: 0.001", "lr: .nan", ["must be a finite number"]),
    "zero epochs": ("epochs: 2", "epochs: 0", ["must be greater than 0"]),
    "zero batch": ("epochs: 2", "batch_size: 0", ["must be greater than 0"]),
    "negative seed": ("seed: 0", "seed: -1", ["must be at least 0"]),
    "seed too large": ("seed: 0", "seed: 99999999999999999999", ["seed"]),
    "no model": (GOOD[GOOD.index("model:") : GOOD.index("data:")], "", ["model: is required"]),
    "no loss": ("loss: cross_entropy\n", "", ["loss: is required: What a model with one output minimises; or losses"]),
    "no layers": (
        "  layers:\n    - dense: {units: 4, activation: relu}\n    - dense: {units: 2}\n",
        "  layers: []\n",
        ["model.layers: must hold at least 1"],
    ),
    "layers no list": (
        "  layers:\n    - dense: {units: 4, activation: relu}\n    - dense: {units: 2}\n",
        "  layers: {dense: 2}\n",
        ["model.layers: must be a list"],
    ),
    "two keys in a layer": (
        "- dense: {units: 2}",
        "- {dense: 2, dropout: 0.5}",
        ["must hold one key, got dense, dropout"],
    ),
    "no key in a layer": ("- dense: {units: 2}", "- {}", ["must be one kind"]),
    "a number as a layer": ("- dense: {units: 2}", "- 3", ["must be one kind", "got 3"]),
    "name twice": ("- dense: {units: 2}", "- {dense: {units: 2, name: a}, name: b}", ["both beside and under"]),
    "bad name": ("units: 2", "units: 2, name: 1a", ["letters, digits and _"]),
    "name taken": ("units: 2", "units: 2, name: input", ["'input' is the model's input"]),
    "duplicate name": ("units: 4,", "units: 4, name: x,", ["must be unique"], ("units: 2", "units: 2, name: x")),
    "unknown input": ("units: 2", "units: 2, inputs: dense_7", ["no layer is named 'dense_7'; did you mean 'dense_1'"]),
    "input from later": ("activation: relu", "inputs: dense_2", ["comes later"]),
    "shapes that do not add": (
        "units: 2}",
        "units: 2}\n    - add: {inputs: [dense_1, dense_2]}",
        ["one shape", "[4], [2]"],
    ),
    "impossible reshape": (
        "- dense: {units: 2}",
        "- reshape: [3]\n    - dense: 2",
        ["do not fit the target [3]", "use -1"],
    ),
    "unused layer": ("units: 2", "units: 2, inputs: input", ["nothing uses layer 'dense_1'"]),
    "nothing to train": (
        "    - dense: {units: 4, activation: relu}\n    - dense: {units: 2}\n",
        "    - activation: relu\n",
        ["no parameters to train"],
    ),
    "logits for each row": ("input: [8]", "input: [4, 2]", ["one row of logits for each example", "add a flatten"]),
    "rate too large": ("lr: 0.001", "lr: 1.0e+38", ["must be at most 1e+10"]),
    "decay too large": ("lr: 0.001", "weight_decay: 1.0e+300", ["must be at most 1e+10"]),
    "rising step": ("seed: 0", "schedule: {step: {every: 2, decay: 10.0}}", ["must be at most 1, got 10.0"]),
    "batch too large": ("epochs: 2", "batch_size: 9223372036854775808", ["train.batch_size"]),
    "a name of PyTorch's": ("dense: {units: 2}", "linear: {units: 2}", ["'linear'", "did you mean 'dense'"]),
    "a setting of Keras'": ("lr: 0.001", "learning_rate: 0.001", ["did you mean 'lr'"]),
    "a capital": ("relu", "ReLU", ["did you mean 'relu'"]),
    "clipping without its kind": ("epochs: 2", "clip: 1.0", ["must be one kind", "global_norm"]),
    "one class": ("units: 2", "units: 1", ["needs 2 or more classes"]),
    "accuracy without classes": ("cross_entropy", "mse\nmetrics: [accuracy]", ["accuracy needs class targets"]),
    "unknown metric": ("seed: 0", "metrics: [acuracy]", ["metrics[0]", "'accuracy'"]),
    "unknown watched metric": ("epochs: 2", "early_stopping: {metric: val_acc}", ["val_acc", "val_accuracy"]),
    "unknown best metric": ("epochs: 2", "checkpoints: {best: loss}", ["'loss'", "val_loss"]),
    "nesterov without momentum": ("adam: {lr: 0.001}", "sgd: {nesterov: true}", ["momentum above 0"]),
    "decoupled only": ("adam: {lr: 0.001}", "adamw: {decay: coupled}", ["must be 'decoupled'"]),
    "momentum of 1": ("adam: {lr: 0.001}", "sgd: {momentum: 1}", ["must be less than 1"]),
    "dropout of 1": ("- dense: {units: 2}", "- dropout: 1.0\n    - dense: 2", ["must be less than 1"]),
    "unknown clipping": ("epochs: 2", "clip: {global_nrm: 1.0}", ["did you mean 'global_norm'"]),
    "unknown schedule": ("seed: 0", "schedule: cosin", ["did you mean 'cosine'"]),
    "schedule unit": ("seed: 0", "schedule: {cosine: {unit: batch}}", ["'step' or 'epoch'"]),
    "empty uniform": (
        "units: 2",
        "units: 2, kernel_initializer: {uniform: {low: 1, high: 0}}",
        ["low must be below high, got low 1.0 and high 0.0"],
    ),
    "duplicate key": ("seed: 0", "seed: 0\nseed: 1", ["config:3:1", "'seed' stands here twice"]),
    "tab": ("seed: 0", "\tseed: 0", ["is not valid YAML", "config:2:"]),
    "unclosed bracket": ("input: [8]", "input: [8", ["is not valid YAML"]),
    "python tag": ("seed: 0", "seed: !!python/object/apply:os.system [ls]", ["not valid YAML", "tag"]),
    "null model": (GOOD[GOOD.index("model:") : GOOD.index("data:")], "model: null\n", ["model: must be a mapping"]),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "_"))
def test_a_wrong_config_says_what_where_and_how(case):
    old, new, wanted, *more = CASES[case]
    text = GOOD.replace(old, new, 1)
    for further in more:
        text = text.replace(*further, 1)
    assert text != GOOD
    with pytest.raises(ConfigError) as caught:
        parse(text)
    message = str(caught.value)
    for part in wanted:
        assert part in message
    assert all(problem.where.startswith("config") for problem in caught.value.problems)


def test_the_good_config_is_good():
    assert parse(GOOD).seed == 0


def test_all_problems_are_reported_at_once_in_the_order_of_the_file():
    text = GOOD.replace("seed: 0", "sed: 0").replace("units: 4", "units: x").replace("lr: 0.001", "lr: -1")
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert [problem.path for problem in caught.value.problems] == [
        "sed",
        "model.layers[0].dense.units",
        "optimizer.adam.lr",
    ]


def test_shapes_are_checked_although_another_setting_is_wrong():
    text = GOOD.replace("lr: 0.001", "lr: -1").replace("units: 2", "units: 2, inputs: nowhere")
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert {problem.path for problem in caught.value.problems} == {"optimizer.adam.lr", "model.layers[1].dense.inputs"}


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("epochs", "must have the form"),
        ("=3", "must have the form"),
        ("train.epochs=x", "must be a whole number"),
        ("train.epoch=3", "did you mean 'epochs'"),
        ("model.layers[9].dense=3", "has the entries 0 to 1, got 9"),
        ("seed.x=3", "has no keys"),
        ("train..epochs=3", "is not a path"),
        ("train.epochs=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named(override, wanted):
    with pytest.raises(ConfigError) as caught:
        parse(GOOD, [override])
    assert wanted in str(caught.value)
    assert "--set" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "mlp.yaml").write_text(GOOD, encoding="utf-8")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x80\x81\x82")
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n", encoding="utf-8")
    listing = tmp_path / "list.yaml"
    listing.write_text("- a\n", encoding="utf-8")
    for path, wanted in (
        (tmp_path / "mpl.yaml", "did you mean 'mlp.yaml'"),
        (tmp_path / "nowhere" / "x.yaml", "no folder"),
        (tmp_path, "is a folder"),
        (binary, "must be UTF-8"),
        (empty, "is empty"),
        (listing, "must be a mapping"),
    ):
        with pytest.raises(ConfigError) as caught:
            dualml.load(path)
        assert wanted in str(caught.value)
        assert str(path) in str(caught.value)


def test_aliases_cannot_expand_without_end():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="aliases are expanded"):
        parse("\n".join(lines))
