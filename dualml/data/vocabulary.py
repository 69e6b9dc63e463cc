"""Text to whole numbers: tokens, the vocabulary built from training examples, and texts of one length."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualml.data.files import read_lines
from dualml.errors import DataError

PADDING = 0
"""Number of the padding."""

UNKNOWN = 1
"""Number of every token that the vocabulary lacks."""

SPECIAL = 2
"""How many numbers come before that of the first token."""

Kind = Literal["characters", "words", "bytes"]
Side = Literal["right", "left"]

_WORD = re.compile(r"\w+|[^\w\s]")


def tokenize(text: str, kind: Kind, *, lowercase: bool = False) -> list[str]:
    r"""The tokens of a text.

    Args:
        text: Any text; it is brought into Unicode's form NFC first, in which each accented letter that can be is
            one code point, whichever way the file wrote it.
        kind: ``characters``, ``words`` (``\w+``, or any other character but white space) or ``bytes`` of UTF-8,
            each as the character with its number (Latin-1).
        lowercase: Whether capital letters become small ones first.

    Example:
        >>> tokenize("It's 2 am.", "words", lowercase=True)
        ['it', "'", 's', '2', 'am', '.']
    """
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    if kind == "words":
        return _WORD.findall(text)
    return list(text) if kind == "characters" else list(text.encode("utf-8", "surrogatepass").decode("latin-1"))


@dataclass(frozen=True)
class Vocabulary:
    """The numbers of tokens: 0 is padding, 1 unknown, the first token has 2.

    Attributes:
        tokens: The known ones in the order of their numbers.
        kind: What a token is.
        lowercase: Whether capital letters become small ones first.
    """

    tokens: tuple[str, ...]
    kind: Kind
    lowercase: bool = False
    numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {token: SPECIAL + index for index, token in enumerate(self.tokens)})

    @classmethod
    def fit(cls, texts: Iterable[str], kind: Kind, *, lowercase: bool = False, size: int | None = None) -> Vocabulary:
        """The tokens of the training examples: the most frequent first, equally frequent ones in sorted order.

        Args:
            texts: The training examples, and no others.
            kind: What a token is; of ``bytes`` all 256 are known.
            lowercase: Whether capital letters become small ones first.
            size: Most numbers in use, padding and unknown included.
        """
        if kind == "bytes":
            return cls(tuple(map(chr, range(256))), kind, lowercase)
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(tokenize(text, kind, lowercase=lowercase))
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return cls(tuple(ordered if size is None else ordered[: size - SPECIAL]), kind, lowercase)

    @property
    def size(self) -> int:
        """How many numbers are in use: those of an embedding that reads them."""
        return SPECIAL + len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens."""
        numbers = self.numbers
        return [numbers.get(token, UNKNOWN) for token in tokenize(text, self.kind, lowercase=self.lowercase)]

    def decode(self, numbers: Iterable[int]) -> str:
        """Numbers as text again; padding is left out, unknown tokens become U+FFFD, words are joined by spaces."""
        tokens = ["\ufffd" if number == UNKNOWN else self.tokens[number - SPECIAL] for number in numbers if number]
        if self.kind == "bytes":
            return "".join(tokens).encode("latin-1", "replace").decode("utf-8", "replace")
        return (" " if self.kind == "words" else "").join(tokens)


@dataclass(frozen=True)
class TextEncoding:
    """Texts as rows of ``length`` numbers.

    Attributes:
        vocabulary: The numbers of tokens.
        length: Tokens of one example.
        padding: Where zeros fill a shorter text.
        truncation: Where a longer text loses tokens.
        column: Column of texts in a table of new examples.
        separator: Character between two columns of such a table.
    """

    vocabulary: Vocabulary
    length: int
    padding: Side = "right"
    truncation: Side = "right"
    column: str = "text"
    separator: str = ","

    def encode(self, examples: Sequence[str] | NDArray[Any], where: str = "inputs") -> NDArray[np.int32]:
        """Texts as numbers, shape ``(n, length)``.

        Raises:
            DataError: A text has no token, so that a model that skips padding would have nothing to read.
        """
        result = np.full((len(examples), self.length), PADDING, dtype=np.int32)
        for row, text in enumerate(examples):
            if not isinstance(text, str):
                raise DataError(f"{where}: every example must be text, but example {row} (counting from 0) is {text!r}")
            numbers = self.vocabulary.encode(text)
            if not numbers:
                raise DataError(
                    f"{where}: every text must have at least one token, but example {row} (counting from 0) is "
                    f"{text[:20]!r}; remove it"
                )
            if len(numbers) > self.length:
                numbers = numbers[: self.length] if self.truncation == "right" else numbers[-self.length :]
            start = 0 if self.padding == "right" else self.length - len(numbers)
            result[row, start : start + len(numbers)] = numbers
        return result

    def read(self, path: Path) -> NDArray[Any]:
        """New texts: one a line, or of a CSV or Parquet file the column the training used."""
        if path.suffix.lower() in (".csv", ".tsv", ".parquet"):
            from dualml.data.tables import read_columns  # needs pandas

            return read_columns(path, (self.column,), self.separator)[self.column]
        return as_texts(read_lines(path, "INPUT"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "text",
            "tokens": list(self.vocabulary.tokens),
            "token": self.vocabulary.kind,
            "lowercase": self.vocabulary.lowercase,
            "length": self.length,
            "padding": self.padding,
            "truncation": self.truncation,
            "column": self.column,
            "separator": self.separator,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TextEncoding:
        """The inverse of ``to_dict``."""
        names = ("length", "padding", "truncation", "column", "separator")
        vocabulary = Vocabulary(tuple(values["tokens"]), values["token"], values["lowercase"])
        return cls(vocabulary, **{name: values[name] for name in names})


def as_texts(texts: Sequence[str]) -> NDArray[Any]:
    """Texts as an array of objects, which takes no more memory than they do."""
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result


def check_size(vocabulary: Vocabulary, size: int | None, what: str, key: str, where: str) -> None:
    """The model has a place for every number in use.

    Args:
        vocabulary: The numbers of tokens.
        size: How many numbers the model takes or gives; ``None``: not known.
        what: What of the model that is, for messages.
        key: Where to set it.
        where: What is read, for messages.

    Raises:
        DataError: It has fewer.
    """
    if size is not None and vocabulary.size > size:
        raise DataError(
            f"{where}: {what} must have a place for each of the {vocabulary.size} numbers in use (padding, unknown and "
            f"{len(vocabulary.tokens)} tokens), but has {size}; set {key}: {vocabulary.size}"
            + ("" if vocabulary.kind == "bytes" else f", or data.vocabulary: {size}")
        )
