"""The comparison that every export must pass: it finds what is wrong, and lets rounding be."""

import numpy as np
import pytest

from dualml.errors import ParityError
from dualml.export.compare import MARGIN, _difference, compare, examples, reference_predictions
from dualml.spec.layers import Dense
from dualml.testing.cases import LAYER_CASES, PLAIN
from dualml.testing.cases.base import Case, values

GRAPH, WEIGHTS = PLAIN.graph("float32"), PLAIN.weights("float32")


def exported(change=lambda found: found, graph=GRAPH, weights=WEIGHTS):
    """Runs the reference as if it were an export, and changes what it predicts."""

    def run(inputs):
        return {
            name: change(array.astype("float32"))
            for name, array in reference_predictions(graph, weights, inputs).items()
        }

    return run


def compared(run, **settings):
    return compare(run, GRAPH, WEIGHTS, **{"backends": (), "rows": 8, **settings})


def test_the_same_predictions_are_right():
    found = compared(exported())
    assert found.ok
    assert found.batch_invariant
    assert found.largest < 1e-7
    assert [(item.against, item.output, item.rows) for item in found.differences] == [("reference", "dense_2", 8)]


@pytest.mark.parametrize("by", [1e-5, -1e-5, np.nan])
def test_a_small_error_is_found(by):
    found = compared(exported(lambda array: array + np.float32(by)))
    assert not found.ok
    assert not np.isfinite(by) or found.largest == pytest.approx(abs(by), rel=0.02)


def test_an_error_in_the_last_row_is_found():
    def last(array):
        array[-1] += 1e-4
        return array

    assert not compared(exported(last)).ok


def test_another_class_is_found_only_where_the_first_leads():
    graph = Case("classes", (3,), [Dense(2)]).graph("float32")

    def swapped(array):
        return array[:, ::-1].copy()

    lead = 4.0 * MARGIN
    for margin, changed in ((lead, 4), (MARGIN / 8, 0)):
        weights = {
            "dense_1.kernel": np.zeros((3, 2), "float32"),
            "dense_1.bias": np.array([margin, 0], "float32"),
        }
        found = compare(exported(swapped, graph, weights), graph, weights, backends=(), rows=4)
        assert found.differences[0].changed == changed


def test_another_class_is_wrong_even_where_the_backend_is_far_from_the_reference():
    near, far = np.array([[0.6, 0.4]]), np.array([[0.4, 0.6]])
    graph = Case("classes", (3,), [Dense(2)]).graph("float32")
    assert _difference(graph, "torch", "dense_1", far, far, near).ok
    assert not _difference(graph, "torch", "dense_1", near, far, near).ok
    beside = far + np.array([[0.01, -0.01]])
    assert _difference(graph, "torch", "dense_1", beside, far, near).ok
    assert not _difference(graph, "torch", "dense_1", beside, far, far).ok


def test_other_shapes_are_refused():
    with pytest.raises(ParityError, match=r"must have shape \[8, 3\], but the export gives \[8, 2\]"):
        compared(exported(lambda array: array[:, :2]))


def test_values_that_are_no_probabilities_are_compared_by_their_size():
    graph = Case("values", (3,), [Dense(2)], **values()).graph("float32")
    weights = {"dense_1.kernel": np.full((3, 2), 1e4, "float32"), "dense_1.bias": np.zeros(2, "float32")}
    run = exported(lambda array: array * np.float32(1 + 1e-6), graph, weights)
    assert compare(run, graph, weights, backends=(), rows=8).ok
    run = exported(lambda array: array * np.float32(1 + 1e-4), graph, weights)
    assert not compare(run, graph, weights, backends=(), rows=8).ok


def test_a_model_that_makes_much_of_roundings_may_differ_by_them_and_no_more():
    graph = Case("steep", (3,), [Dense(2)]).graph("float32")
    kernel, bias = np.zeros((3, 2), "float32"), np.zeros(2, "float32")
    kernel[0] = 300.0  # two large numbers, whose difference decides
    weights = {"dense_1.kernel": kernel, "dense_1.bias": bias}

    def run(by):
        moved = weights | {"dense_1.kernel": kernel.astype("float64") * [1.0 + by, 1.0]}
        return exported(graph=graph, weights=moved)

    found = compare(run(3e-7), graph, weights, backends=(), rows=16)
    assert 2e-6 < found.largest < found.differences[0].limit
    assert found.ok
    assert not compare(run(3e-4), graph, weights, backends=(), rows=16).ok


def test_both_backends_are_compared_with():
    found = compared(exported(), backends=None)
    assert [item.against for item in found.differences] == ["reference", "torch", "tensorflow"]
    assert found.ok
    found = compared(exported(lambda array: array + np.float32(1e-4)), backends=["tensorflow"])
    assert [item.ok for item in found.differences] == [False, False]


def test_a_row_that_depends_on_its_neighbours_is_noticed():
    found = compared(exported(lambda array: array + np.float32(1e-7) * len(array)))
    assert found.ok
    assert not found.batch_invariant
    assert not found.to_dict()["batch_invariant"]


def test_examples_are_the_same_every_time_and_below_what_tables_hold():
    case = next(case for case in LAYER_CASES if case.name == "embedding")
    ids = examples(case.graph("float32"), 64)["input"]
    table = case.graph().parameters[0].shape[0]
    assert ids.dtype == np.int64
    assert set(np.unique(ids)) == set(range(table))
    assert np.array_equal(ids[:8], examples(case.graph("float32"), 8)["input"])
    drawn = examples(GRAPH, 2000)["input"]
    assert drawn.dtype == np.float32
    assert (drawn[1::2] >= 0).all()
    assert (drawn[::2] < 0).any()
