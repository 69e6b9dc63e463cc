"""``dualml attack``, as a user types it."""

import json

import pytest


def test_accuracies_stand_beside_each_other(dualml_command, images_run, tmp_path):
    arguments = ["--epsilon", "0.05", "--epsilon", "0.2", "--backend", "both", "--steps", "3", "--limit", "60"]
    outcome = dualml_command("attack", images_run, *arguments, "--json", tmp_path / "a.json")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "torch: 60 examples of the test split, inputs within 0 to 1"
    assert lines[2].split() == ["epsilon", "clean", "fgsm", "pgd"]
    read = json.loads((tmp_path / "a.json").read_text())
    for item, rows in zip(read["attacks"], (lines[3:5], lines[8:10]), strict=True):
        for result, row in zip(item["results"], rows, strict=True):
            shown = [float(cell) for cell in row.split()]
            assert shown == pytest.approx([result["epsilon"], item["clean"], result["fgsm"], result["pgd"]], abs=5e-5)
            assert result["pgd"] <= result["fgsm"] <= item["clean"]
    assert lines[10].startswith("torch vs tensorflow: another outcome for ")
    assert max(read["examples_that_differ"]["torch vs tensorflow"]) <= 1


def test_fgsm_alone_has_no_steps(dualml_command, images_run):
    outcome = dualml_command(
        "attack", images_run, "--epsilon", "0.1", "--method", "fgsm", "--bounds=-1,2", "--limit", "9"
    )
    assert outcome.code == 0
    assert "9 examples of the test split, inputs within -1 to 2" in outcome.out
    assert "pgd" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--epsilon'"),
        (["--epsilon", "-1"], "--epsilon"),
        (["--epsilon", "0.1", "--bounds", "0"], "--bounds must be data, none, or two numbers such as 0,1, got '0'"),
        (["--epsilon", "0.1", "--bounds", "1,0"], "the smaller one first, got 1 and 0"),
        (["--epsilon", "inf"], "epsilon must be one or more numbers of at least 0"),
        (["--epsilon", "0.1", "--step-size", "-1"], "step size must be above 0"),
        (["--epsilon", "0.1", "--backend", "jax"], "no backend is named 'jax'"),
    ],
)
def test_attack_mistakes_are_one_message(dualml_command, images_run, arguments, message):
    outcome = dualml_command("attack", images_run, *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
