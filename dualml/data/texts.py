"""Sources of text: labelled texts, words of several languages, and one long text for a language model."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dualml.data.checks import Part, Raw
from dualml.data.files import read_lines, read_text
from dualml.data.needs import Needs
from dualml.data.problems import find_file, find_folder, nearest, reason
from dualml.data.rows import share
from dualml.data.tables import read_labelled_column
from dualml.data.vocabulary import TextEncoding, Vocabulary, as_texts, check_size
from dualml.errors import DataError
from dualml.spec.data import LanguageModelData, TextData, WordLanguagesData

LISTS = "spellchecker"
"""The package whose word lists ``word_languages`` reads; on PyPI it is called ``pyspellchecker``."""

SHORTEST, LONGEST = 4, 12
"""Letters of the words that ``word_languages`` takes."""

TEXT_ENDINGS = (".txt", ".md", ".rst", ".py")
"""Files of a folder that a language model reads."""


def read_texts(settings: TextData, folder: Path, needs: Needs) -> Raw:
    """Labelled texts from a CSV file or a folder.

    Raises:
        DataError: A file is missing, is not UTF-8, or a text is empty.
    """
    _check_integer(needs, settings.path or settings.folder or "")
    if settings.path is not None:
        paths = [find_file(folder, settings.path, "data.path")]
        if settings.test_path is not None:
            paths.append(find_file(folder, settings.test_path, "data.test_path"))
        parts = [_from_table(path, settings) for path in paths]
    else:
        assert settings.folder is not None, "the settings check that one is given"
        where = find_folder(folder, settings.folder, "data.folder")
        own = [where / name for name in ("train", "test")]
        parts = [_from_folder(path) for path in own] if all(map(Path.is_dir, own)) else [_from_folder(where)]
    train, *rest = parts
    test = rest[0] if rest else None
    return Raw(train, test=test, fit=_fitting(settings, settings.text, settings.separator))


def read_word_languages(settings: WordLanguagesData, folder: Path, needs: Needs) -> Raw:
    """Words that are in the list of one language only, the most frequent first.

    Raises:
        DataError: The package is not installed, or a list is damaged or too short.
    """
    place = _lists(settings, folder)
    _check_integer(needs, str(place))
    counts = {code: _frequencies(place, code) for code in settings.languages}
    lists_with = Counter(word for words in counts.values() for word in words)
    texts: list[str] = []
    labels: list[int] = []
    for label, (code, words) in enumerate(counts.items()):
        own = [word for word in words if SHORTEST <= len(word) <= LONGEST and word.isalpha() and lists_with[word] == 1]
        if len(own) < settings.words:
            raise DataError(
                f"{place}: there must be {settings.words} words of {SHORTEST} to {LONGEST} letters that only {code!r} "
                f"has, but there are {len(own)}; set data.words: {len(own)} or leave the language out"
            )
        texts += sorted(own, key=lambda word: (-words[word], word))[: settings.words]
        labels += [label] * settings.words
    part = Part(as_texts(texts), np.array(labels), str(place))
    return Raw(part, class_names=settings.languages, fit=_fitting(settings))


def read_language_model(settings: LanguageModelData, folder: Path, needs: Needs) -> Raw:
    """Windows of one long text, each with the same window one token later as its targets.

    The vocabulary comes from the training part of the text.

    Raises:
        DataError: The text cannot be read or is too short for one window in each split.
    """
    where, text = _long_text(settings, folder)
    name, need = needs.single_input(where)
    _check_integer(needs, where)
    length = settings.length or need.shape[0]
    kind, lowercase = settings.tokens, settings.lowercase
    pieces = _cut(text, settings)
    vocabulary = Vocabulary.fit(pieces[:1], kind, lowercase=lowercase, size=settings.vocabulary)
    check_size(vocabulary, need.size, "the embedding", "its size", where)
    classes = next(iter(needs.outputs.values())).classes
    check_size(vocabulary, classes, "the last layer", "its units", where)
    parts: list[Part | None] = []
    for split, piece in zip(("training", "validation", "test"), pieces, strict=True):
        if not piece:
            parts.append(None)
            continue
        numbers = np.array(vocabulary.encode(piece), dtype=np.int32)
        if len(numbers) <= length:
            raise DataError(
                f"{where}: the {split} part of the text must have more than {length} tokens, but has {len(numbers)}; "
                f"lower data.length (and the input {name!r}), or give a longer text"
            )
        windows = np.lib.stride_tricks.sliding_window_view(numbers, length + 1)[:: settings.stride or length]
        parts.append(Part(windows[:, :-1], windows[:, 1:], where))
    train = parts[0]
    if train is None:
        raise DataError(f"{where}: must hold text, but there is none to train with; correct data.path")
    encoding = TextEncoding(vocabulary, length, truncation="left")  # of a longer text, the end is what goes on
    return Raw(train, parts[1], parts[2], encoding=encoding, final=True)


def _fitting(
    settings: TextData | WordLanguagesData, column: str = "text", separator: str = ","
) -> Callable[[Part, Needs], TextEncoding]:
    """What fits the encoding of labelled texts: the vocabulary is that of the training examples."""

    def fit(part: Part, needs: Needs) -> TextEncoding:
        _, need = needs.single_input(part.where)
        texts: Any = part.inputs
        vocabulary = Vocabulary.fit(texts, settings.tokens, lowercase=settings.lowercase, size=settings.vocabulary)
        check_size(vocabulary, need.size, "the embedding", "its size", part.where)
        length = settings.length or math.prod(need.shape)
        return TextEncoding(vocabulary, length, settings.padding, settings.truncation, column, separator)

    return fit


def _check_integer(needs: Needs, where: str) -> None:
    name, need = needs.single_input(where)
    if not need.integer:
        raise DataError(
            f"{where}: text becomes whole numbers, so the model's input must take them, but {name!r} takes values; set "
            f"model.input: {{shape: {list(need.shape)}, dtype: integer}} and begin with an embedding"
        )


def _from_table(path: Path, settings: TextData) -> Part:
    texts, labels = read_labelled_column(path, settings.text, settings.target, settings.separator)
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"{path}: every text must have at least one character, but column {settings.text!r} has "
                f"{'none' if not isinstance(text, str) and text != text else repr(text)} in data row {row + 1} (below "
                f"the header); remove such rows or correct data.text"
            )
    return Part(texts, labels, str(path), table=True)


def _from_folder(folder: Path) -> Part:
    texts: list[str] = []
    labels: list[str] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            found = [read_text(path, "data.folder") for path in sorted(entry.glob("*.txt"))]
            for path, text in zip(sorted(entry.glob("*.txt")), found, strict=True):
                if not text.strip():
                    raise DataError(f"{path}: must hold text, but is empty; remove the file")
        elif entry.suffix == ".txt":
            found = read_lines(entry, "data.folder")
        else:
            continue
        texts += found
        labels += [entry.stem if entry.is_file() else entry.name] * len(found)
    if len(set(labels)) < 2:
        raise DataError(
            f"{folder}: must hold a folder of .txt files, or a file <class>.txt with one text a line, for each of at "
            f"least two classes, but holds {len(set(labels))}; correct data.folder"
        )
    return Part(as_texts(texts), np.array(labels), str(folder))


def _lists(settings: WordLanguagesData, folder: Path) -> Path:
    if settings.folder is not None:
        return find_folder(folder, settings.folder, "data.folder")
    found = importlib.util.find_spec(LISTS)
    places = [] if found is None else [Path(place) / "resources" for place in found.submodule_search_locations or ()]
    for place in places:
        if place.is_dir():
            return place
    raise DataError(
        "word_languages: the word lists of the package pyspellchecker must be there, but it is not installed; run: "
        "pip install pyspellchecker, or set data.folder"
    )


def _frequencies(place: Path, code: str) -> dict[str, int]:
    """How often each word of a language occurs."""
    path = place / f"{code}.json.gz"
    if not path.is_file():
        known = sorted(entry.name.removesuffix(".json.gz") for entry in place.glob("*.json.gz"))
        raise DataError(
            f"{path}: there must be a list of the language {code!r}, but there are only {', '.join(known) or 'none'}."
            f"{nearest(code, known)} Correct data.languages"
        )
    try:
        found = json.loads(gzip.decompress(path.read_bytes()).decode("utf-8"))
        return {str(word): int(count) for word, count in found.items()}
    except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path}: must hold a JSON object of words and numbers, gzipped, but cannot be read as one "
            f"({reason(error)}); install the package again or correct the file"
        ) from error


def _long_text(settings: LanguageModelData, folder: Path) -> tuple[str, str]:
    if settings.path is None:
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            raise DataError(
                "pydoc_data.topics: Python's own documentation must be there, but this Python comes without it; set "
                "data.path to a text file"
            ) from error
        return "pydoc_data.topics", "\n".join(topics[name] for name in sorted(topics))
    path = (folder / Path(settings.path).expanduser()) if settings.path else folder
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.suffix in TEXT_ENDINGS and entry.is_file())
        if not files:
            raise DataError(
                f"{path}: must hold text files ({', '.join(TEXT_ENDINGS)}), but holds none; correct data.path"
            )
        return str(path), "\n".join(read_text(entry, "data.path") for entry in files)
    found = find_file(folder, settings.path, "data.path")
    return str(found), read_text(found, "data.path")


def _cut(text: str, settings: LanguageModelData) -> list[str]:
    """The text of each split: training, validation, test, in this order of position."""
    test = share(settings.test, len(text))
    validation = share(settings.validation, len(text) - test)
    train = max(0, len(text) - test - validation)
    return [text[:train], text[train : train + validation], text[train + validation :]]
