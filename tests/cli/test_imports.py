"""What is imported when: proven in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"torch": ("torch",), "tensorflow": ("tensorflow", "keras")}

WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(code, *, cwd=ROOT):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)


def command(arguments, absent=()):
    words = ["dualml", *map(str, arguments)]
    hide = WITHOUT.format(names=tuple(absent)) if absent else ""
    return f"{hide}\nimport sys\nsys.argv = {words!r}\nfrom dualml.cli.main import main\nmain()\n"


def imported(arguments, tmp_path):
    """Which of the frameworks a command imports."""
    code = command(arguments).replace("main()\n", "")
    code += (
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('IMPORTED', sorted({'torch', 'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("IMPORTED ")[2].strip()


@pytest.mark.parametrize(
    ("backend", "wanted"), [("torch", "['sklearn', 'torch']"), ("tensorflow", "['keras', 'sklearn', 'tensorflow']")]
)
def test_training_imports_its_own_framework_only(small_config, tmp_path, backend, wanted):
    arguments = ["train", small_config(), "--backend", backend, "--set", "train.epochs=1", "--out", tmp_path / "run"]
    assert imported([*arguments, "--tensorboard"], tmp_path) == wanted


@pytest.mark.parametrize("arguments", [["describe", ROOT / "configs/mlp.yaml"], ["schema"], ["--version"]])
def test_other_commands_import_no_framework(arguments, tmp_path):
    assert imported(arguments, tmp_path) == "[]"


def test_importing_dualml_imports_next_to_nothing():
    done = python("import sys, dualml\nprint(sorted({'numpy', 'pydantic', 'torch', 'tensorflow'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


def test_every_core_module_imports_without_the_frameworks():
    code = WITHOUT.format(names=("torch", "tensorflow", "keras")) + (
        "import importlib, pkgutil, dualml\n"
        "for module in pkgutil.walk_packages(dualml.__path__, 'dualml.'):\n"
        "    if module.name != 'dualml.__main__':\n"
        "        importlib.import_module(module.name)\n"
        "for name in dualml.__all__:\n"
        "    getattr(dualml, name)\n"
        "print('fine')\n"
    )
    done = python(code)
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_missing_framework_gets_the_install_line(small_config, tmp_path, backend):
    absent = [name for names in FRAMEWORKS.values() for name in names]
    done = python(command(["describe", small_config()], absent))
    assert done.returncode == 0, done.stderr
    done = python(command(["train", small_config(), "--backend", backend, "--out", tmp_path / "run"], absent))
    assert done.returncode == 2
    assert f"pip install 'dualml[{backend}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_bug_in_an_adapter_is_not_taken_for_a_missing_framework():
    code = WITHOUT.format(names=("dualml_torch.backend",)).replace('name.partition(".")[0]', "name")
    done = python(code + "from dualml import registry\nregistry.load('torch')\n")
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install" not in done.stderr


def test_keras_on_another_backend_is_refused():
    code = (
        "import os\nos.environ['KERAS_BACKEND'] = 'torch'\nfrom dualml import registry\nregistry.load('tensorflow')\n"
    )
    done = python(code)
    assert "BackendUnavailableError" in done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stderr


@pytest.mark.parametrize(
    ("source", "what"), [("{source: digits}", "the digits"), ("{source: scikit_learn, table: wine}", "the wine data")]
)
def test_missing_scikit_learn_gets_the_install_line(tmp_path, source, what):
    size = 64 if "digits" in source else 13
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {{input: {size}, layers: [dense: 10]}}\ndata: {source}\nloss: cross_entropy\noptimizer: adam\n"
    )
    done = python(command(["train", config, "--backend", "torch", "--out", tmp_path / "run"], ("sklearn",)))
    assert done.returncode == 2
    assert what in done.stderr
    assert "pip install 'dualml[datasets]'" in done.stderr
    assert "Traceback" not in done.stderr
