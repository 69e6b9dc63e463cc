import numpy as np
import pytest
from serving_support import made_model, running

from dualml.artefact import create, open_artefact
from dualml.config import parse
from dualml.data import Preparation
from dualml.data.categories import Categories, TableEncoding
from dualml.data.vocabulary import TextEncoding, Vocabulary
from dualml.serving.from_artefact import from_artefact
from dualml.weights import initial_weights

TAIL = "loss: cross_entropy\noptimizer: adam\n"


def artefact_of(text, path, **settings):
    spec = parse(text)
    create((spec, initial_weights(spec.graph, 3)), path, backends=(), **settings)
    return open_artefact(path)


@pytest.fixture(scope="session")
def artefact(tmp_path_factory):
    """A classifier of 8 by 8 images."""
    text = "model: {input: 64, layers: [dense: {units: 16, activation: relu}, dense: 3]}\n" + TAIL
    return artefact_of(text, tmp_path_factory.mktemp("serving") / "small", name="small", class_names=("a", "b", "c"))


@pytest.fixture(scope="session")
def small(artefact):
    """A server of that classifier, for all tests that leave it as it is."""
    with running(from_artefact(artefact)) as server:
        yield server


@pytest.fixture
def double():
    """A server of a model that doubles."""
    with running(made_model()) as server:
        yield server


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 1, (5, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def text_artefact(tmp_path_factory):
    """A classifier of texts."""
    text = """\
model:
  input: {shape: [4], dtype: integer}
  layers: [embedding: {vocabulary: 6, units: 4}, flatten: , dense: 2]
"""
    vocabulary = Vocabulary(("to", "be", "or", "not"), "words")
    path = tmp_path_factory.mktemp("serving") / "words"
    return artefact_of(text + TAIL, path, name="words", preparation=Preparation(encoding=TextEncoding(vocabulary, 4)))


@pytest.fixture(scope="session")
def table_artefact(tmp_path_factory):
    """A classifier of rows with a number and a category."""
    text = """\
model:
  inputs: {numbers: [1], places: {shape: [1], dtype: integer}}
  layers:
    - embedding: {vocabulary: 3, units: 4, inputs: places}
    - {flatten: , name: flat}
    - concat: {inputs: [flat, numbers]}
    - dense: 2
"""
    columns = {"numbers": ("age",), "places": (Categories("city", ("Bergen", "Oslo")),)}
    path = tmp_path_factory.mktemp("serving") / "people"
    return artefact_of(text + TAIL, path, name="people", preparation=Preparation(encoding=TableEncoding(columns)))
