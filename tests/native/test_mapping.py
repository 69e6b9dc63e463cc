"""The small file in which a user says what stands for what."""

import json

import pytest
from made_traces import Recorder

from dualml.errors import ConfigError, ParityError
from dualml.native.align import align
from dualml.native.mapping import Mapped, as_mapping, read_mapping


def stack(*names, seed=0):
    recorder = Recorder(seed)
    x = recorder.input(4, 6)
    for name in names:
        x = recorder.dense(x, 6, name=name)
    return recorder, recorder.read(x)


def aligned(mapping):
    (a, left), (b, right) = stack("net.a", "net.b", "net.c"), stack("one", "two", "three", seed=1)
    return align(left, right, a.weights, b.weights, as_mapping(mapping))


def test_yaml_and_json_say_the_same(tmp_path):
    given = {"net.a": "one", "net.b, net.c": ["two", "three"], "net.d": None}
    (tmp_path / "map.json").write_text(json.dumps(given))
    (tmp_path / "map.yaml").write_text("net.a: one\nnet.b, net.c: [two, three]\nnet.d: null\n")
    wanted = [(("net.a",), ("one",)), (("net.b", "net.c"), ("two", "three")), (("net.d",), ())]
    for path in tmp_path.iterdir():
        assert [(item.left, item.right) for item in read_mapping(path)] == wanted
    assert [(item.left, item.right) for item in as_mapping(given)] == wanted
    assert read_mapping(tmp_path / "map.yaml")[1].where.endswith("map.yaml:2:1")


def test_the_mapping_holds_whatever_the_scores_say():
    found = aligned({"net_a": "three"})
    pair = next(pair for pair in found.pairs if "net_a" in pair.left)
    assert pair.right == ("three",)
    assert pair.how == "mapping file"
    assert [p.right for p in found.pairs if p.left != ("net_a",)] == [("one",), ("two",)]
    assert ("net_a.kernel", "three.kernel") in found.weights


def test_a_folder_of_layers_is_all_of_them():
    found = aligned({"net": ["one", "two", "three"]})
    (pair,) = found.pairs
    assert pair.left == ("net_a", "net_b", "net_c")
    assert pair.right == ("one", "two", "three")


def test_nothing_may_stand_for_a_layer():
    found = aligned({"net.b": None})
    assert (("net_b",), ()) in [(pair.left, pair.right) for pair in found.pairs]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"net.x": "one"}, "the left model must have a layer 'net.x'.*did you mean"),
        ({"net.a": "onne"}, "the right model must have a layer 'onne'.*did you mean 'one'"),
        ({"net.a": "one", "net.b": "one"}, "'one' of the right model is mapped already"),
        ({"net.a": 3}, "must be a left path and one right path or a list"),
        ({"net.a": {"one": "two"}}, "must be a left path and one right path or a list"),
        ({" , ": "one"}, "must name a layer of the left side"),
    ],
)
def test_mistakes_get_one_message(given, told):
    with pytest.raises(ParityError, match=told):
        aligned(given)


def test_a_list_is_no_mapping(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("- net.a\n- one\n")
    with pytest.raises(ParityError, match=r"map.yaml:1:1: a mapping file must hold left paths"):
        read_mapping(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_mapping(tmp_path / "map.yaml")


def test_places_are_told():
    (a, left), (b, right) = stack("a"), stack("b")
    with pytest.raises(ParityError, match=r"^here:3:1: "):
        align(left, right, a.weights, b.weights, [Mapped(("a",), ("c",), "here:3:1")])
