"""Text: tokens, vocabularies, labelled texts, words of languages and language models."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dualml.data import Dataset, InputNeed, Needs, OutputNeed, Preparation, load_for
from dualml.data.vocabulary import TextEncoding, Vocabulary, tokenize
from dualml.errors import DataError
from dualml.spec.data import DataSource, LanguageModelData, TextData, WordLanguagesData

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def ids(length: int = 6, size: int | None = None) -> dict[str, InputNeed]:
    return {"input": InputNeed((length,), integer=True, size=size)}


def load(
    settings: DataSource, folder: Path = Path(), length: int = 6, size: int | None = None, **output: Any
) -> Dataset:
    needs = Needs(ids(length, size), {"output": OutputNeed("class", **{"shape": (), **output})})
    return load_for(settings, folder=folder, seed=0, needs=needs)


def write_reviews(folder: Path, name: str = "t.csv", count: int = 40) -> None:
    rows = [f'"{"good" if i % 2 else "bad"}, film {i}",{"pos" if i % 2 else "neg"}' for i in range(count)]
    (folder / name).write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")


def write_lists(folder: Path) -> None:
    lists = {
        "en": {"that": 9, "what": 8, "with": 7, "film": 6, "ab": 99, "it's": 50},
        "fr": {"vous": 9, "avec": 8, "fait": 7, "film": 6},
    }
    for code, words in lists.items():
        (folder / f"{code}.json.gz").write_bytes(gzip.compress(json.dumps(words).encode()))


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("It's 2 am.", "words", ["It", "'", "s", "2", "am", "."]),
        ("a b", "characters", ["a", " ", "b"]),
        ("e\u0301", "characters", ["\u00e9"]),
        ("\u00e9", "bytes", ["\u00c3", "\u00a9"]),
        ("日本 語", "words", ["日本", "語"]),
    ],
)
def test_tokens(text, kind, expected):
    assert tokenize(text, kind) == expected


def test_vocabulary_has_the_most_frequent_first_and_ties_sorted():
    vocabulary = Vocabulary.fit(["b a d a", "c b a"], "words")
    assert vocabulary.tokens == ("a", "b", "c", "d")
    assert vocabulary.encode("a d z") == [2, 5, 1]
    assert Vocabulary.fit(["b a d a", "c b a"], "words", size=4).tokens == ("a", "b")
    assert Vocabulary.fit([], "bytes").size == 258


@given(st.text())
def test_bytes_lose_nothing(text):
    vocabulary = Vocabulary.fit([], "bytes")
    numbers = vocabulary.encode(text)
    assert all(2 <= number < 258 for number in numbers)
    assert vocabulary.decode(numbers) == tokenize_back(text)


def tokenize_back(text: str) -> str:
    return "".join(tokenize(text, "characters"))


@given(st.lists(st.text(ALPHABET, min_size=1, max_size=9), min_size=1, max_size=20))
def test_characters_of_training_texts_come_back(texts):
    vocabulary = Vocabulary.fit(texts, "characters")
    assert [vocabulary.decode(vocabulary.encode(text)) for text in texts] == texts
    assert vocabulary.size == 2 + len(set("".join(texts)))


@pytest.mark.parametrize(
    ("padding", "truncation", "expected"),
    [
        ("right", "right", [[2, 3, 0, 0], [2, 3, 4, 5]]),
        ("left", "right", [[0, 0, 2, 3], [2, 3, 4, 5]]),
        ("right", "left", [[2, 3, 0, 0], [3, 4, 5, 6]]),
    ],
)
def test_padding_and_truncation_sides(padding, truncation, expected):
    encoding = TextEncoding(Vocabulary(tuple("abcde"), "characters"), 4, padding, truncation)
    assert encoding.encode(["ab", "abcde"]).tolist() == expected


def test_table_of_texts(tmp_path):
    write_reviews(tmp_path)
    data = load(TextData(path="t.csv", tokens="words", lowercase=True), tmp_path, classes=2)
    x, y = data.train.gather([0, 1, 2], "float32")
    assert (x.shape, x.dtype, y.dtype) == ((3, 6), np.int64, np.int64)
    assert data.class_names == ("neg", "pos")
    vocabulary = data.encoding.vocabulary
    for row, label in zip(*data.test.whole("float32"), strict=True):
        assert ("good" in vocabulary.decode(row)) == bool(label), "a label left its text"


def test_vocabulary_comes_from_the_training_split_alone(tmp_path):
    write_reviews(tmp_path)
    data = load(TextData(path="t.csv", tokens="words"), tmp_path, classes=2)
    train = {token for row in data.train.whole("float32")[0] for token in row.tolist()} - {0}
    assert train == set(range(2, data.encoding.vocabulary.size)), "every training token is known, and no other"
    unknown = [(split.whole("float32")[0] == 1).sum() for split in (data.validation, data.test)]
    assert unknown == [len(data.validation), len(data.test)], "each held-back film has a number of its own"


def test_texts_in_folders_by_class(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for name in ("neg", "pos"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                (tmp_path / split / name / f"{index}.txt").write_text(f"{name} {index}")
    data = load(TextData(folder=".", validation=0), tmp_path, classes=2)
    assert (len(data.train), data.validation, len(data.test)) == (12, None, 6)
    assert data.class_names == ("neg", "pos")
    assert data.test.whole("float32")[1].tolist() == [0, 0, 0, 1, 1, 1]


def test_texts_in_one_file_for_each_class(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n  \nthree\n")
    (tmp_path / "b.txt").write_text("four\nfive")
    data = load(TextData(folder=".", validation=0, test=0), tmp_path, classes=2)
    assert sorted(data.train.whole("float32")[1].tolist()) == [0, 0, 0, 1, 1]


def test_word_languages_have_words_of_one_language_only(tmp_path):
    write_lists(tmp_path)
    data = load(
        WordLanguagesData(folder=".", languages=["fr", "en"], words=3, validation=0, test=0), tmp_path, classes=2
    )
    words = {
        data.encoding.vocabulary.decode(row): int(label)
        for row, label in zip(*data.train.whole("float32"), strict=True)
    }
    assert words == {"vous": 0, "avec": 0, "fait": 0, "that": 1, "what": 1, "with": 1}
    assert data.class_names == ("fr", "en")


def test_word_languages_of_the_package():
    pytest.importorskip("spellchecker", reason="pyspellchecker is not installed")
    data = load(WordLanguagesData(words=500), length=12, size=80, classes=7)
    assert np.bincount(np.concatenate([s.whole("float32")[1] for s in data.splits().values()])).tolist() == [500] * 7
    again = load(WordLanguagesData(words=500), length=12, size=80, classes=7)
    assert data.fingerprint() == again.fingerprint()


def test_language_model_predicts_the_next_token(tmp_path):
    text = "".join(ALPHABET[i % 26] for i in range(1000))
    (tmp_path / "long.txt").write_text(text)
    data = load(LanguageModelData(path="long.txt"), tmp_path, 10, 28, shape=(10,), classes=28)
    seen = []
    for split in (data.train, data.validation, data.test):
        x, y = split.whole("float32")
        assert (x.dtype, y.dtype, x.shape) == (np.int64, np.int64, y.shape)
        assert (x[:, 1:] == y[:, :-1]).all()
        assert ((data_letter(data, y[:, -1]) - data_letter(data, x[:, -1])) % 26 == 1).all()
        seen.append(len(split) * 10)
    # 200 tokens are the test, 80 of the others the validation; a window needs one token more than its length
    assert seen == [710, 70, 190]


def data_letter(data: Dataset, numbers: np.ndarray) -> np.ndarray:
    return np.array([ALPHABET.index(data.encoding.vocabulary.decode([number])) for number in numbers])


def test_language_model_splits_by_position_without_overlap(tmp_path):
    (tmp_path / "long.txt").write_text("a" * 70 + "b" * 30)
    data = load(
        LanguageModelData(path="long.txt", test=0.3, validation=0, stride=1), tmp_path, 5, shape=(5,), classes=9
    )
    assert data.encoding.vocabulary.tokens == ("a",), "the vocabulary is that of the training part"
    assert len(data.train) == 65
    assert set(data.train.whole("float32")[1].ravel().tolist()) == {2}
    assert set(data.test.whole("float32")[0].ravel().tolist()) == {1}


def test_language_model_of_the_documentation_of_python():
    data = load(LanguageModelData(vocabulary=96), length=64, size=96, shape=(64,), classes=96)
    assert len(data.train) > 3000
    assert "import" in data.encoding.vocabulary.decode(data.train.whole("float32")[0].ravel())


def test_language_model_reads_a_folder_in_the_order_of_names(tmp_path):
    (tmp_path / "b.md").write_text("bbbb")
    (tmp_path / "a.txt").write_text("aaaa")
    (tmp_path / "c.bin").write_bytes(b"\xff")
    data = load(LanguageModelData(path=".", test=0, validation=0), tmp_path, 8, shape=(8,), classes=9)
    assert data.encoding.vocabulary.decode(data.train.whole("float32")[0][0]) == "aaaa\nbbb"


def test_new_texts_are_treated_like_those_of_the_training(tmp_path):
    write_reviews(tmp_path)
    data = load(TextData(path="t.csv", tokens="words"), tmp_path, classes=2)
    stored = json.loads(json.dumps(Preparation.of(data).to_dict()))
    preparation = Preparation.from_dict(stored)
    (tmp_path / "new.txt").write_text("good, film\n\nnever seen\n")
    (tmp_path / "new.csv").write_text('other,text\n1,"good, film"\n2,never seen\n')
    expected = preparation.apply(["good, film", "never seen"], ids(), "float32")
    assert (expected.dtype, expected.shape) == (np.int64, (2, 6))
    assert data.encoding.vocabulary.decode(expected[0]) == "good , film"
    assert expected[1].tolist() == [1, 1, 0, 0, 0, 0]
    for name in ("new.txt", "new.csv"):
        examples = preparation.read(tmp_path / name)
        assert preparation.apply(examples, ids(), "float32").tolist() == expected.tolist()
    assert preparation.apply(expected, ids(), "float32").tolist() == expected.tolist(), "ids may be given as well"
    with pytest.raises(DataError, match=r"example 1 .* has 300"):
        preparation.apply(np.array([[1] * 6, [300] * 6]), ids(size=300), "float32")


BAD: dict[str, tuple[Callable[[Path], Any], DataSource, dict[str, Any], str]] = {
    "input of values": (
        write_reviews, TextData(path="t.csv"), {"needs": InputNeed((6,))},
        r"'input' takes values; set model.input: {shape: \[6\], dtype: integer} and begin with an embedding",
    ),
    "embedding too small": (
        write_reviews, TextData(path="t.csv"), {"needs": InputNeed((6,), True, 5)},
        r"the embedding must have a place for each of the \d+ numbers in use .*, but has 5; .*data.vocabulary: 5",
    ),
    "no such column": (
        write_reviews, TextData(path="t.csv", text="texts"), {},
        r"column 'texts', but the columns are text, label. Did you mean 'text'\? Correct data.text",
    ),
    "empty text": (
        lambda folder: (folder / "t.csv").write_text("text,label\na,1\n ,0\n"), TextData(path="t.csv"), {},
        r"column 'text' has ' ' in data row 2 ",
    ),
    "missing text": (
        lambda folder: (folder / "t.csv").write_text("text,label\na,1\n,0\n"), TextData(path="t.csv"), {},
        r"column 'text' has none in data row 2 ",
    ),
    "one class": (
        lambda folder: (folder / "a.txt").write_text("a"), TextData(folder="."), {},
        "at least two classes, but holds 1",
    ),
    "not UTF-8": (
        lambda folder: [(folder / name).write_bytes(b"a\xff") for name in ("a.txt", "b.txt")], TextData(folder="."), {},
        r"a.txt: data.folder must be text in UTF-8, but invalid start byte at byte 1; convert it",
    ),
    "scaled": (
        write_reviews, TextData(path="t.csv", normalize="unit"), {},
        "normalize: unit must have inputs to scale, but the model's take whole numbers",
    ),
    "unknown language": (
        write_lists, WordLanguagesData(folder=".", languages=["en", "frr"]), {},
        r"no list|a list of the language 'frr', but there are only en, fr. Did you mean 'fr'\?",
    ),
    "too few words": (
        write_lists, WordLanguagesData(folder=".", languages=["en", "fr"], words=4), {},
        r"4 words .* only 'en' has, but there are 3; set data.words: 3",
    ),
    "damaged list": (
        lambda folder: (write_lists(folder), (folder / "fr.json.gz").write_bytes(gzip.compress(b"[1]"))),
        WordLanguagesData(folder=".", languages=["en", "fr"], words=1), {},
        "fr.json.gz: must hold a JSON object of words",
    ),
    "text too short": (
        lambda folder: (folder / "l.txt").write_text("abcdefghij"), LanguageModelData(path="l.txt", test=0),
        {"shape": (6,), "classes": 99}, "the validation part of the text must have more than 6 tokens, but has 1;",
    ),
    "last layer too small": (
        lambda folder: (folder / "l.txt").write_text(ALPHABET * 9), LanguageModelData(path="l.txt"),
        {"shape": (6,), "classes": 9},
        "the last layer must have a place for each of the 28 numbers .* set its units: 28",
    ),
    "no target for each position": (
        lambda folder: (folder / "l.txt").write_text(ALPHABET * 9), LanguageModelData(path="l.txt"),
        {"classes": 99}, r"one label for each example, but targets have the shape \(\d+, 6\)",
    ),
    "no text": (
        lambda folder: (folder / "l.txt").write_text(""), LanguageModelData(path="l.txt"), {}, "there is none to train",
    ),
    "no text files": (lambda _: None, LanguageModelData(path="."), {}, "must hold text files .*, but holds none"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_text(tmp_path, case):
    write, settings, changes, message = BAD[case]
    write(tmp_path)
    output = {key: value for key, value in changes.items() if key != "needs"}
    needs = Needs(
        {"input": changes.get("needs", InputNeed((6,), True))}, {"o": OutputNeed("class", **{"shape": (), **output})}
    )
    with pytest.raises(DataError, match=message):
        load_for(settings, folder=tmp_path, seed=0, needs=needs)
