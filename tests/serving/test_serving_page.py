"""The page at ``/`` in a real browser."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from browser import Browser, find_browser
from PIL import Image
from serving_support import made_model, running

from dualml.serving.from_artefact import from_artefact
from dualml.serving.page.needs import image_of
from dualml.serving.tensors import Tensor

needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed")
TOKEN = "0123456789abcdef"
BEST = "document.querySelector('.best')?.innerText ?? ''"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture
def tab(browser):
    found = browser.tab()
    yield found
    assert found.problems == []


def address(server):
    return f"http://{server.host}:{server.port}/"


def shown(tab):
    """Names and probabilities on the page, as text."""
    rows = tab.run("[...document.querySelectorAll('#result li')].map((row) => row.innerText.split('\\n'))")
    return {row[0]: row[-1] for row in rows}


def percentages(values):
    return {name: f"{100 * value:.1f} %" for name, value in zip("abc", values.tolist(), strict=True)}


def cover(tab):
    """Share of the picture that is not black, as the page has drawn it."""
    script = """(() => { const c = document.querySelector('canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return d.filter((value, place) => place % 4 === 0 && value > 20).length / (d.length / 4); })()"""
    return tab.run(script)


@needs_browser
def test_an_image_is_predicted_as_its_pixels(small, artefact, tab, tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[2:6, 3:5] = 255
    Image.fromarray(pixels).save(tmp_path / "small.png")
    tab.open(address(small))
    assert tab.run("document.title") == "small"
    tab.run("document.querySelector('input[type=number]').value = 1")
    tab.give_file("input[type=file]", tmp_path / "small.png")
    tab.wait("document.querySelectorAll('#result li').length === 3")
    assert shown(tab) == percentages(artefact.predict((pixels / 255).reshape(1, 64))[0])
    assert tab.run(BEST).startswith(max(shown(tab), key=lambda name: float(shown(tab)[name][:-2])))


@needs_browser
@pytest.mark.parametrize("size", [(200, 200), (400, 200), (200, 500)], ids=str)
@pytest.mark.parametrize("paper", ["white", "transparent"])
def test_a_dark_drawing_is_inverted_and_brought_to_size(small, tab, tmp_path, size, paper):
    """Training sets of such pictures are light on dark."""
    pixels = np.full((*size, 4), (255, 255, 255, 255) if paper == "white" else (0, 0, 0, 0), np.uint8)
    pixels[size[0] // 4 : 3 * size[0] // 4, 3 * size[1] // 8 : 5 * size[1] // 8] = (0, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    tab.open(address(small))
    tab.give_file("input[type=file]", tmp_path / "large.png")
    tab.wait("document.querySelectorAll('#result li').length === 3")
    assert tab.run("document.querySelector('input[type=checkbox]').checked")
    assert 0.08 < cover(tab) < 0.4


@needs_browser
def test_drawing_predicts_and_clearing_starts_again(small, tab):
    tab.open(address(small))
    script = (
        "(() => { const b = document.querySelector('canvas').getBoundingClientRect(); return [b.x, b.y, b.width]; })()"
    )
    left, top, width = tab.run(script)
    tab.mouse("mousePressed", left + width * 0.3, top + width * 0.5)
    tab.mouse("mouseMoved", left + width * 0.7, top + width * 0.5)
    tab.mouse("mouseReleased", left + width * 0.7, top + width * 0.5)
    tab.wait("document.querySelectorAll('#result li').length === 3")
    assert 0.03 < cover(tab) < 0.6
    tab.run("[...document.querySelectorAll('button')].find((item) => item.innerText === 'Clear').click()")
    tab.wait("document.querySelector('#result .empty')")
    assert cover(tab) == 0


@needs_browser
def test_a_row_is_predicted_and_a_wrong_one_is_told_so(small, artefact, tab, images):
    tab.open(address(small))
    tab.run("document.querySelectorAll('#modes button')[1].click()")
    row = ", ".join(repr(float(value)) for value in images[0])
    type_text(tab, "textarea", row)
    tab.wait("document.querySelectorAll('#result li').length === 3")
    assert shown(tab) == percentages(artefact.predict(images[:1])[0])
    type_text(tab, "textarea", "1, 2, 3")
    tab.wait("!document.querySelector('#error').hidden")
    assert tab.run("document.querySelector('#error').innerText") == "64 values needed, 3 given."
    type_text(tab, "textarea", row.replace("0", "x", 1))
    tab.wait("document.querySelector('#error').innerText.includes('is no number')")


def type_text(tab, selector, text):
    script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(text)};
        e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"""
    tab.run(script)


@needs_browser
@pytest.mark.parametrize("kind", ["csv", "json", "npy", "npy of float64"])
def test_files_of_rows_are_stepped_through(small, artefact, tab, images, tmp_path, kind):
    path = tmp_path / f"rows.{kind[:4].strip()}"
    if kind == "csv":
        header = ",".join(f"pixel {index}" for index in range(64))
        path.write_text("\n".join([header, *(",".join(map(repr, row)) for row in images.tolist())]))
    elif kind == "json":
        path.write_text(json.dumps(images.tolist()))
    else:
        np.save(path, images.astype("f8" if "float64" in kind else "f4"))
    tab.open(address(small))
    tab.run("document.querySelectorAll('#modes button')[1].click()")
    tab.give_file("input[type=file]", path)
    wanted = [percentages(row) for row in artefact.predict(images)]
    for number in range(2):
        tab.wait(f"document.querySelector('.tools').innerText.includes('example {number + 1} of 5')")
        least = min(wanted[number].values(), key=lambda text: float(text[:-2]))
        tab.wait(f"document.querySelector('#result li:last-child')?.innerText.endsWith('{least}')")
        assert shown(tab) == wanted[number]
        tab.run("document.querySelector('[aria-label=\"Next example\"]').click()")


@needs_browser
def test_texts_and_columns_have_fields_of_their_own(text_artefact, table_artefact, tab):
    with running(from_artefact(text_artefact)) as server:
        tab.open(address(server))
        type_text(tab, "textarea", "to be or not")
        tab.wait("document.querySelector('.best')")
        value = text_artefact.predict(["to be or not"])[0].max()
        assert f"{100 * value:.1f} %" in tab.run(BEST)
    with running(from_artefact(table_artefact)) as server:
        tab.open(address(server))
        assert tab.run("[...document.querySelectorAll('.field > label')].map((item) => item.innerText)") == [
            "age",
            "city",
        ]
        assert tab.run("[...document.querySelectorAll('option')].map((item) => item.value)") == ["Bergen", "Oslo"]
        type_text(tab, "#in-city", "Bergen")
        tab.wait("document.querySelector('#result').innerText === '1 value still to be filled in.'")
        type_text(tab, "#in-age", "31.5")
        type_text(tab, "#in-city", "Oslo")
        columns = {"age": np.array([31.5]), "city": np.array(["Oslo"], dtype=object)}
        value = table_artefact.predict(columns)[0].max()
        tab.wait(f"({BEST}).includes('{100 * value:.1f} %')")
        type_text(tab, "#in-age", "old")
        tab.wait("document.querySelector('#error').innerText.includes('is no number')")


@needs_browser
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", 'city,note,age\nOslo,"a, ""b""\nc",31.5\nBergen,,4\n'),
        ("rows.tsv", "age\tcity\r\n31.5\tOslo\r\n4\tBergen"),
        ("rows.json", '{"instances": [{"age": 31.5, "city": "Oslo"}, {"age": 4, "city": "Bergen"}]}'),
    ],
)
def test_a_file_fills_the_fields_of_a_table(table_artefact, tab, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    (tmp_path / "other.csv").write_text("age,town\n1,2\n", encoding="utf-8")
    columns = {"age": np.array([31.5, 4.0]), "city": np.array(["Oslo", "Bergen"], dtype=object)}
    wanted = [f"{100 * value:.1f} %" for value in table_artefact.predict(columns).max(axis=1)]
    with running(from_artefact(table_artefact)) as server:
        tab.open(address(server))
        tab.give_file("input[type=file]", tmp_path / name)
        tab.wait(f"({BEST}).includes('{wanted[0]}')")
        assert tab.run("document.querySelector('.steps').innerText").endswith("example 1 of 2")
        tab.run("document.querySelector('[aria-label=\"Next example\"]').click()")
        tab.wait(f"({BEST}).includes('{wanted[1]}')")
        assert tab.run("document.querySelector('#in-city').value") == "Bergen"
        tab.give_file("input[type=file]", tmp_path / "other.csv")
        tab.wait("document.querySelector('#error').innerText === 'The file lacks the column city.'")


@needs_browser
def test_a_token_is_asked_for(tab):
    with running(made_model(), token=TOKEN) as server:
        tab.open(address(server))
        assert TOKEN not in tab.run("document.documentElement.outerHTML")
        type_text(tab, "textarea", "1 2 3 4")
        tab.wait("document.querySelector('#error').innerText.includes('token')")
        tab.problems.clear()  # the browser reports the refused request
        type_text(tab, "#token", TOKEN)
        tab.wait("document.querySelector('.values')?.innerText.includes('8')")


@needs_browser
def test_names_from_the_model_are_text_and_nothing_else(tab):
    evil = "</script><img src=x onerror=\"document.title='broken'\">"
    model = made_model(
        lambda arrays: {"y": np.full((len(arrays["x"]), 4), 0.25, np.float32)},
        class_names={"y": (evil, "b", "c", "d")},
        page={"predictions": {"y": "softmax"}},
    )
    with running(model) as server:
        tab.open(address(server))
        type_text(tab, "textarea", "1 2 3 4")
        tab.wait("document.querySelector('.best')")
        assert evil in tab.run("document.querySelector('#result').innerText")
        assert tab.run("document.title") == "double"
        assert tab.run("document.images.length") == 0


@needs_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_is_wider_than_the_screen(small, tab, images, width):
    tab.size(width, 800, phone=width < 500)
    tab.open(address(small))
    tab.run("document.querySelectorAll('#modes button')[1].click()")
    type_text(tab, "textarea", ", ".join(map(str, images[0].tolist())))
    tab.wait("document.querySelector('.best')")
    tab.run("document.querySelector('details').open = true")
    assert tab.run("document.documentElement.scrollWidth") <= width


def test_the_page_may_run_its_own_script_and_style_only(small):
    answer = small.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(rb"https?://", answer.body)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((28, 28), (28, 28, 1)),
        ((1024,), (32, 32, 1)),
        ((9, 7, 3), (9, 7, 3)),
        ((9, 7, 2), None),
        ((13,), None),
        ((9,), None),
        ((2, 50), None),
    ],
)
def test_what_can_be_a_picture(shape, wanted):
    found = image_of(shape)
    assert (None if found is None else tuple(found.values())) == wanted


def test_a_model_of_several_inputs_has_a_page():
    inputs = (Tensor("x", "FP32", (2,)), Tensor("i", "INT64", (2,)))
    example = {"x": np.zeros((1, 2), np.float32), "i": np.zeros((1, 2), np.int64)}
    with running(made_model(lambda arrays: {"y": arrays["x"]}, inputs=inputs, example=example)) as server:
        assert server.get("/").status == 200
