"""``dualml explain``, as a user types it."""

import json

import numpy as np
import pytest


@pytest.fixture
def place(digits, tmp_path, monkeypatch):
    """A folder with raw images; the current folder."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", digits)
    np.save("grey.npy", np.full((1, 8, 8), 4.0))
    return tmp_path


def test_both_backends_are_compared_and_everything_is_written(dualml_command, images_run, digits, place):
    arguments = ["--backend", "both", "--steps", "16", "--out", "a.npz", "--picture", "a.png", "--json", "a.json"]
    outcome = dualml_command("explain", images_run, "x.npy", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert "torch: integrated_gradients of the output of 5 examples, 16 steps" in outcome.out
    assert "tensorflow: integrated_gradients" in outcome.out
    assert "completeness gap" in outcome.out
    summary = json.loads((place / "a.json").read_text())
    assert summary["differences"]["torch vs tensorflow"]["relative"] <= 1e-5
    left, right = summary["explanations"]
    assert [row["class"] for row in left["examples"]] == [row["class"] for row in right["examples"]]
    with np.load("a.npz") as archive:
        assert archive["attributions/input"].shape == (5, 8, 8, 1)
        sums = archive["attributions/input"].sum(axis=(1, 2, 3))
        gaps = sums - (archive["scores"] - archive["baseline_scores"])
        np.testing.assert_allclose(gaps, [row["gap"] for row in left["examples"]], atol=1e-12)
    assert (place / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_the_images_and_their_attributions(dualml_command, images_run, digits, place):
    image = pytest.importorskip("PIL.Image")  # the reader; the file is written without it
    arguments = ["--method", "occlusion", "--picture", "a.png", "--out", "a.npz", "--window", "1", "-q"]
    assert dualml_command("explain", images_run, "x.npy", *arguments).code == 0
    with image.open("a.png") as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    side, gap = 128, 8
    assert pixels.shape == (2 * side + gap, 5 * side + 4 * gap, 3)
    shown = pixels[8:side:16, [column * (side + gap) + 8 + 16 * at for column in range(5) for at in range(8)]]
    wanted = digits / digits.max(axis=(1, 2), keepdims=True)
    found = shown.reshape(8, 5, 8, 3).swapaxes(0, 1)
    np.testing.assert_allclose(found[..., 0] / 255, wanted, atol=0.51 / 255)
    with np.load("a.npz") as archive:
        values = archive["attributions/input"][..., 0]
    heat = pixels[side + gap + 8 :: 16, [column * (side + gap) + 8 + 16 * at for column in range(5) for at in range(8)]]
    heat = heat.reshape(8, 5, 8, 3).swapaxes(0, 1)
    clear = np.abs(values) > 0.1 * np.abs(values).max(axis=(1, 2), keepdims=True)
    red_over_blue = heat[..., 0] - heat[..., 2]
    assert (np.sign(red_over_blue) == np.sign(values))[clear].all()


def test_json_holds_the_attributions(dualml_command, images_run, place):
    arguments = ["--method", "gradient_x_input", "--target", "3", "--baseline", "grey.npy", "--out", "a.json", "-q"]
    outcome = dualml_command("explain", images_run, "x.npy", *arguments)
    assert (outcome.code, outcome.out) == (0, "")
    read = json.loads((place / "a.json").read_text())
    assert {row["class"] for row in read["examples"]} == {"3"}
    assert np.shape(read["examples"][0]["attributions"]["input"]) == (8, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy"], "none.npy"),
        (["x.npy", "--out", "a.csv"], "--out a.csv: must end in .npz or .json"),
        (["x.npy", "--out", "no/a.npz"], "--out no/a.npz: the folder no does not exist"),
        (["x.npy", "--picture", "a.jpg"], "--picture a.jpg: must end in .png"),
        (["x.npy", "--baseline", "black"], "--baseline"),
        (["x.npy", "--target", "ten"], "x.npy: target must be a class"),
        (["grey.npy", "--baseline", "x.npy"], "baseline must hold one example or 1"),
        (["x.npy", "--method", "lime"], "'lime' is not one of"),
        (["x.npy", "--steps", "0"], "greater than or equal to 1"),
    ],
)
def test_mistakes_are_one_message(dualml_command, images_run, place, arguments, message):
    before = sorted(place.iterdir())
    outcome = dualml_command("explain", images_run, *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(place.iterdir()) == before


def test_what_is_no_image_has_no_picture(dualml_command, mixed_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", kind=np.array([[1, 2, 3]]), size=np.array([[0.5, 1.0]]))
    outcome = dualml_command("explain", mixed_run, "x.npz", "--picture", "a.png", "--out", "a.npz")
    assert outcome.code == 2
    assert "a picture needs an input of two axes" in outcome.err
    assert not (tmp_path / "a.npz").exists()
    assert dualml_command("explain", mixed_run, "x.npz", "--out", "a.npz").code == 0
