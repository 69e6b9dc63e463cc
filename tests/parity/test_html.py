"""The HTML page: whole, safe, self-contained."""

import base64
import hashlib
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from sample_reports import FAULTY, LAYERS, checks, different

import dualml
from dualml import Adam, CrossEntropy, Dense, DigitsData, Model, Spec, Train
from dualml.errors import RunError
from dualml.heat_map import DIVERGING_LIGHT, NOT_FINITE, coloured, png
from dualml.parity.card import card
from dualml.parity.findings import View
from dualml.parity.html import page
from dualml.parity.html.ladder import cells
from dualml.parity.html.markup import VOID, Html, element, escaped
from dualml.parity.html.settings import layer_differences, unsaid_by
from dualml.parity.html.tensors import gap, tensor_view, worst_place
from dualml.parity.html.trajectory import free_runs
from dualml.parity.records import PHASES
from dualml.parity.report import Check

ATTACK = '<script>alert("x")</script>&amp;\'"'


class Reader(HTMLParser):
    """Reads a page as a browser does, and keeps what the tests ask about."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.unclosed = [], [], [], []
        self.attributes, self.texts, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, given))
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def spec_report():
    spec = Spec(
        model=Model(input=(8, 8), layers=("flatten", Dense(12, activation="relu"), Dense(10))),
        data=DigitsData(limit=200),
        loss=CrossEntropy(),
        optimizer=Adam(lr=0.01),
        train=Train(epochs=1, batch_size=16),
        seed=1,
    )
    return dualml.compare(spec, steps=3)


@pytest.fixture(scope="module", params=["diff", "compare"])
def either(request):
    return different() if request.param == "diff" else request.getfixturevalue("spec_report")


def test_every_element_is_closed_and_every_link_leads_somewhere(either):
    read = Reader(page(either))
    assert read.open == read.unclosed == []
    assert len(read.ids) == len(set(read.ids))
    assert {link.removeprefix("#") for link in read.links} <= set(read.ids)
    assert all(link.startswith("#") for link in read.links)


def test_nothing_is_fetched_from_elsewhere(either):
    text = page(either)
    read = Reader(text)
    addresses = [value for _, given in read.attributes for name, value in given.items() if name in ("src", "srcset")]
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not {"link", "iframe", "object", "embed", "form"} & set(read.tags)
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_policy_allows_the_script_that_is_there(either):
    text = page(either)
    policy = next(given["content"] for tag, given in Reader(text).attributes if "http-equiv" in given and tag == "meta")
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not [given for _, given in Reader(text).attributes if any(name.startswith("on") for name in given)]


def test_a_page_is_small(either):
    assert len(page(either).encode()) < 1_000_000


def test_the_card_is_on_the_page(either):
    told = re.sub(r"\s+", " ", card(either, 1_000_000).partition("\n")[2])
    text = Reader(page(either)).text.replace(" Copy", "")
    assert told
    for line in card(either, 1_000_000).splitlines()[1:]:
        for part in re.sub(r"\s+", " ", line[19:]).strip().split(" or " if line.startswith("fix") else "\n"):
            assert part in text, line


def test_the_twin_is_the_json_report(either):
    twin = re.search(r'<script type="application/json" id="report">(.*?)</script>', page(either), re.DOTALL)[1]
    assert json.loads(twin) == json.loads(json.dumps(either.to_dict()))


def test_a_twin_that_would_be_large_is_left_out(either):
    many = replace(either, checks=either.checks * (2_000_000 // (200 * len(either.checks)) + 1))
    text = page(many)
    assert 'id="report"' not in text
    assert len(text.encode()) < 1_000_000


def test_the_verdict_is_said_first():
    assert "Different" in Reader(page(different())).text[:200]
    text = Reader(page(different())).text
    assert (
        "norm.epsilon: 1e-5 in torch, 0.001 in tensorflow. First seen at step 1, forward, features.1 BatchNorm2d."
        in text
    )


def test_every_finding_shows_its_cause_fixes_and_hypotheses():
    text = Reader(page(different())).text
    for finding in different().native.findings:
        assert finding.cause.id in text
        assert finding.cause.evidence in text
        for code in finding.cause.fix.values():
            assert code in text
        for hypothesis in finding.hypotheses:
            assert hypothesis.said in text
        for name in finding.names:
            assert name in text
    assert "cannot tell it from: optimizer.epsilon_placement" in text


def test_both_trees_are_there_with_what_was_left_unsaid():
    text = Reader(page(different())).text
    for left, native, right, other, *_ in LAYERS:
        for name in (left, right):
            assert name.rpartition(".")[2] in text
        assert native in text
        assert other in text
    assert "nothing on this side" in text
    assert "left to defaults epsilon" in text
    assert "features.1 ↔ batch_normalization: epsilon" in text


def test_settings_that_differ_are_found():
    rows = list(layer_differences(different().native.pairs))
    assert rows == [("features.1 ↔ batch_normalization: epsilon", 1e-05, 1e-03, "left and right")]
    assert unsaid_by("left and right", ("torch", "tensorflow")) == (True, True)
    assert unsaid_by("tensorflow", ("torch", "tensorflow")) == (False, True)
    assert unsaid_by("", ("torch", "tensorflow")) == (False, False)


def test_a_report_of_a_spec_leaves_out_what_it_has_not(spec_report):
    read = Reader(page(spec_report))
    assert {"ladder", "layers", "trajectory", "checks", "coverage", "environment"} <= set(read.ids)
    assert not {"findings", "settings"} & set(read.ids)
    assert "Both sides compute the same" in read.text


def test_the_free_run_of_a_spec_is_its_trajectory(spec_report):
    runs = free_runs(spec_report)
    assert [run.precision for run in runs] == ["float64", "float32"]
    assert all(run.steps == (1, 2, 3) and run.envelope is None for run in runs)
    assert max(runs[1].gap) == spec_report.largest["float32"]["predictions"]


def test_the_first_red_cell_is_the_first_divergence():
    text = page(different())
    first = re.findall(r'<td class="cell [^"]*first"[^>]*title="([^"]*)"', text)
    assert len(first) == 1
    assert first[0].startswith(f"{FAULTY} inference: rho 8.1e3") or first[0].startswith(f"{FAULTY} training: rho 8.1e3")


def test_a_cell_holds_its_worst_check():
    found = cells(checks())
    cell = found["float64", "forward", 1]
    assert len(cell.failing) == 2
    assert cell.worst.units == 8.1e3
    assert cell.shade == "off-1"
    assert found["float64", "init", 0].text == "= bits"


def test_the_rungs_stand_in_the_order_in_which_an_error_travels():
    ladder = page(different()).partition('id="ladder"')[2].partition("</table>")[0]
    shown = re.findall(r'<th scope="row">(\w+)<small>', ladder)
    assert shown == [phase for phase in PHASES if phase in {check.phase for check in checks()}]
    assert len(shown) == 6


def test_a_nan_is_the_worst_of_a_cell():
    items = [
        Check(1, "forward", "a", "x", "float64", "resynchronised", value, value, value, value, 1.0, ok)
        for value, ok in ((0.2, True), (math.nan, False), (3.0, False))
    ]
    (cell,) = cells(items).values()
    assert math.isnan(cell.worst.units)
    assert cell.text == "NaN"
    assert cell.shade == "off-2"


# ------------------------------------------------------------------ what users write cannot break it


def test_text_is_escaped_unless_it_is_html():
    assert escaped(ATTACK) == "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp;&#x27;&quot;"
    assert element("b", Html("<i>x</i>"), title='a"b') == '<b title="a&quot;b"><i>x</i></b>'
    assert element("p", [None, "a", ["<"]]) == "<p>a&lt;</p>"


def poisoned(value):
    """A report with every text in it replaced, those that say which of a few things it is excepted."""
    from dataclasses import fields, is_dataclass

    kept = {"verdict", "kind", "deviates", "phase", "precision", "run", "status", "how", "backend", "steps"}

    def visit(item, name=""):
        if name in kept:
            return item
        if isinstance(item, str):
            return ATTACK + item
        if is_dataclass(item):
            return replace(item, **{part.name: visit(getattr(item, part.name), part.name) for part in fields(item)})
        if isinstance(item, dict):
            return {key: visit(inner, key) for key, inner in item.items()}
        if isinstance(item, list | tuple):
            return type(item)(visit(inner) for inner in item)
        return item

    return visit(value)


def test_a_script_in_every_text_stays_text():
    bad = poisoned(different())
    bad = replace(bad, cause=replace(bad.cause, fix={ATTACK: ATTACK}))
    text = page(bad)
    read = Reader(text)
    assert read.open == read.unclosed == []
    assert read.tags.count("script") == 2  # the twin and the page's own
    assert "<script>alert" not in text
    assert 'alert("x")' in read.text  # shown, as text
    assert read.text.count("<script>") > 100
    twin = re.search(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(twin) == json.loads(json.dumps(bad.to_dict()))


# ------------------------------------------------------------------ heat maps


def pixels_of(data):
    """Reads a PNG as its standard says, to see that what is written is one."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, content, size = 8, b"", None
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert int.from_bytes(data[place + 8 + length : place + 12 + length], "big") == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            assert body[8:] == bytes([8, 2, 0, 0, 0])
        content += body if kind == b"IDAT" else b""
        place += 12 + length
    lines = np.frombuffer(zlib.decompress(content), np.uint8).reshape(size[1], 1 + 3 * size[0])
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(size[1], size[0], 3)


def test_a_heat_map_is_a_png_with_the_right_colours():
    values = np.array([[-2.0, 0.0, 2.0], [np.nan, np.inf, 1.0]])
    pixels = coloured(values, 2.0, DIVERGING_LIGHT)
    assert tuple(pixels[0, 0]) == DIVERGING_LIGHT[0]
    assert tuple(pixels[0, 1]) == DIVERGING_LIGHT[2]
    assert tuple(pixels[0, 2]) == DIVERGING_LIGHT[-1]
    assert tuple(pixels[1, 0]) == tuple(pixels[1, 1]) == NOT_FINITE
    assert np.array_equal(pixels_of(png(pixels)), pixels)


def test_the_difference_of_nan_on_one_side_alone_is_the_worst():
    left = np.array([[1.0, np.nan, np.inf, 5.0]])
    right = np.array([[1.5, np.nan, np.inf, np.nan]])
    difference = gap(left, right)
    assert difference[0, :3].tolist() == [-0.5, 0.0, 0.0]
    assert worst_place(difference) == (0, 3)
    assert worst_place(np.zeros((2, 2))) is None


@pytest.mark.parametrize(
    ("left", "right"), [([1.0, 2.0], [1.0, 2.5]), (3.0, 4.0), ([[[1.0]], [[2.0]]], [[[1.0]], [[2.5]]])]
)
def test_views_of_any_rank(left, right):
    shown = tensor_view(View((2,), (1,), (1,), (1,), left, right, 2.0, 2.5), ("torch", "tensorflow"))
    assert shown.count("data:image/png") == 6
    assert "Numbers around" in shown


def test_views_of_other_shapes_show_the_facts_alone():
    shown = tensor_view(View((2,), (1,), (1,), (1,), [1.0], [1.0, 2.0], 2.0, 2.5), ("a", "b"))
    assert "data:image" not in shown
    assert "[1] = 2.5" in shown


# ------------------------------------------------------------------ files


def test_a_page_is_written_whole(tmp_path):
    different().to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page(different())


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RunError, match="the page cannot be written"):
        different().to_html(tmp_path / "missing" / "page.html")


def test_the_same_framework_on_both_sides_is_told_apart():
    environment = {**different().environment, "right": different().environment["left"]}
    text = Reader(page(replace(different(), environment=environment))).text
    assert "left (torch)" in text
    assert "right (torch)" in text


def test_undecided_says_why():
    report = replace(different(), verdict="undecided", kind=None, cause=None, reasons=("values overflow",), native=None)
    assert "Not decided: values overflow." in Reader(page(report)).text
