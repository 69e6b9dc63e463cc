"""Sources of text: labelled texts, words of several languages, and one long text for a language model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dualml.spec.data_base import DataSource, FilePath, LabelledSource, Name, no_repeats


class _Tokens(DataSource):
    """How text becomes whole numbers."""

    tokens: Literal["characters", "words", "bytes"] = "characters"
    """What gets a number: ``characters`` (code points of the text in Unicode's form NFC), ``words`` (runs of
    letters, digits and underscores; every other character but white space is a word of its own), or ``bytes`` of
    the text in UTF-8. Number 0 is padding, 1 any token that the vocabulary lacks."""
    lowercase: bool = False
    """Whether capital letters become small ones first."""
    vocabulary: int | None = Field(default=None, ge=3)
    """Most numbers in use, padding and unknown included: the size of the model's embedding. The tokens that occur
    most often in the training examples get the smallest numbers; of two that occur equally often, the one that
    sorts first. Left out: every token of the training examples has one. ``bytes`` have 258 always."""
    length: int | None = Field(default=None, gt=0)
    """Tokens of one example; left out, the size of the model's input."""


class _TextSource(_Tokens, LabelledSource):
    """Labelled texts."""

    padding: Literal["right", "left"] = "right"
    """Where zeros fill a text that is shorter than ``length``."""
    truncation: Literal["right", "left"] = "right"
    """Where a text that is longer than ``length`` loses tokens."""


class TextData(_TextSource):
    """Texts with one label each: a CSV file, or a folder.

    A folder holds a folder of ``.txt`` files for each class, or a file ``<class>.txt`` with one text a line. If
    it holds folders ``train`` and ``test``, the classes lie in those.
    """

    source: Literal["text"] = "text"
    """Selects this source."""
    path: FilePath | None = None
    """CSV file whose first line names the columns."""
    folder: FilePath | None = None
    """Folder of texts by class, in place of ``path``."""
    text: Name = "text"
    """Column of texts."""
    target: Name = "label"
    """Column of labels: text or class numbers, or numbers to predict."""
    separator: str = Field(default=",", min_length=1, max_length=1)
    """Character between two columns."""
    test_path: FilePath | None = None
    """CSV file of test examples with the same columns."""

    @model_validator(mode="after")
    def _path_or_folder(self) -> TextData:
        if (self.path is None) == (self.folder is None):
            raise ValueError("give either path (a CSV file) or folder (texts by class)")
        if self.folder is not None and self.test_path is not None:
            raise ValueError("test_path goes with path; a folder has its test examples in a folder named test")
        if self.text == self.target:
            raise ValueError(f"text and target must be two columns, but both are {self.text!r}")
        return self


class WordLanguagesData(_TextSource):
    """Words, labelled by their language, from the frequency lists of the package ``pyspellchecker``.

    Of each language, the most frequent words of 4 to 12 letters that are in none of the other lists: which
    language a word is from has one answer.
    """

    source: Literal["word_languages"] = "word_languages"
    """Selects this source."""
    languages: tuple[Name, ...] = Field(default=("de", "en", "es", "fr", "it", "nl", "pt"), strict=False, min_length=2)
    """Codes of the languages, which are the classes in this order."""
    words: int = Field(default=6000, gt=0)
    """Words of each language."""
    folder: FilePath | None = None
    """Folder with a list ``<code>.json.gz`` for each language; left out, where the package has them."""

    @field_validator("languages")
    @classmethod
    def _different_languages(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        no_repeats(names)
        return names


class LanguageModelData(_Tokens):
    """One long text, cut into windows; the target of each token is the token that follows it.

    The text is split by position, so no window reaches from one split into another: training first, then
    validation, then test.
    """

    source: Literal["language_model"] = "language_model"
    """Selects this source."""
    path: FilePath | None = None
    """Text file, or a folder whose ``.txt``, ``.md``, ``.rst`` and ``.py`` files are read in the order of their
    names; left out, the reference documentation that comes with Python (``pydoc_data.topics``)."""
    stride: int | None = Field(default=None, gt=0)
    """Tokens between the beginnings of two windows; left out, ``length``, so that windows do not overlap."""
