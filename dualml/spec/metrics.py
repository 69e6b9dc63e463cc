"""Metrics: what is measured on held-back examples beside the loss. One definition for every backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from dualml.spec.base import Keyed, OneKey
from dualml.spec.losses import Loss

Task: TypeAlias = Literal["classes", "decisions", "values"]
"""``classes``: one of several, by softmax; ``decisions``: yes or no for each value, by sigmoid; ``values``: numbers."""


def task_of(loss: Loss) -> Task | None:
    """What a model trained with a loss predicts; ``None`` if no metric here is defined for it."""
    if loss.target == "class":
        return "classes"
    tasks: dict[str, Task] = {"sigmoid": "decisions", "identity": "values"}
    return tasks.get(loss.prediction)


class Metric(Keyed):
    """What every metric has."""

    suits: ClassVar[frozenset[Task]]
    """What it is defined for."""
    larger_is_better: ClassVar[bool] = True
    """The direction of improvement."""
    scalar: ClassVar[bool] = True
    """Whether it is one number, which a training can be steered by."""

    @property
    def name(self) -> str:
        """What it is called in results; ``val_`` and this in ``metrics.jsonl``."""
        return self.kind


class Accuracy(Metric):
    """Share of examples whose largest output belongs to the target class; of equal outputs the first counts.

    Differs from Keras' string of the same name, which stands for other metrics where outputs have other shapes: for
    yes-or-no decisions there is ``binary_accuracy``.
    """

    kind = "accuracy"
    suits = frozenset({"classes"})


class TopK(Metric):
    """Share of examples whose target class is among the ``k`` largest outputs; of equal outputs the first count.

    So ``k: 1`` is ``accuracy``. Differs on equal outputs from ``sklearn.metrics.top_k_accuracy_score`` (the last count)
    and Keras (all of them count).
    """

    kind = "top_k"
    suits = frozenset({"classes"})

    k: int = Field(default=5, gt=0, kw_only=False)
    """How many classes are looked at."""

    @property
    def name(self) -> str:
        return f"top_{self.k}"


class BinaryAccuracy(Metric):
    """Share of right decisions; yes is a probability *above* the threshold, as in ``keras.metrics.BinaryAccuracy``."""

    kind = "binary_accuracy"
    suits = frozenset({"decisions"})

    threshold: float = Field(default=0.5, ge=0, le=1, kw_only=False)
    """Probability above which a decision is yes."""


class _ByClass(Metric):
    """A metric of each class, averaged."""

    suits = frozenset({"classes", "decisions"})

    average: Literal["auto", "macro", "micro", "weighted", "binary"] = Field(default="auto", kw_only=False)
    """``macro``: mean over the classes that occur; ``weighted``: by their number of examples; ``micro``: from the
    counts of all classes together; ``binary``: that of class 1; ``auto``: ``binary`` for decisions, else ``macro``."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability above which a decision is yes; classes have no threshold."""

    @property
    def name(self) -> str:
        return self.kind if self.average == "auto" else f"{self.kind}_{self.average}"


class Precision(_ByClass):
    """Right ones among those predicted to be of a class; 0 where none is (``sklearn.metrics.precision_score``)."""

    kind = "precision"


class Recall(_ByClass):
    """Right ones among those of a class; 0 where there are none (``sklearn.metrics.recall_score``)."""

    kind = "recall"


class F1(_ByClass):
    """``2 right / (predicted + there)`` of a class; 0 where both are 0 (``sklearn.metrics.f1_score``)."""

    kind = "f1"


class Auc(Metric):
    """Area under the ROC curve: how often a member of a class scores above a non-member, ties counting half.

    Two classes, or decisions: of class 1. More: the mean over each class against the rest. Exact, from ranks
    (``sklearn.metrics.roc_auc_score`` with ``multi_class="ovr"``); undefined if a class has no member or no non-member.
    Differs from ``keras.metrics.AUC``, which adds trapezoids over 200 thresholds.
    """

    kind = "auc"
    suits = frozenset({"classes", "decisions"})


class ConfusionMatrix(Metric):
    """How many examples of each class (row) were taken for each class (column) (``sklearn.metrics.confusion_matrix``).

    Not in ``metrics.jsonl``, whose values are numbers: ``dualml evaluate`` and ``summary.json`` have it.
    """

    kind = "confusion_matrix"
    suits = frozenset({"classes", "decisions"})
    scalar = False

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability above which a decision is yes; classes have no threshold."""


class Perplexity(Metric):
    """``exp`` of the mean of ``-ln p(target)``, without label smoothing."""

    kind = "perplexity"
    suits = frozenset({"classes"})
    larger_is_better = False


class SquaredError(Metric):
    """Mean of ``(y - t)^2`` over examples and values (``sklearn.metrics.mean_squared_error``)."""

    kind = "mse"
    suits = frozenset({"values"})
    larger_is_better = False


class AbsoluteError(Metric):
    """Mean of ``|y - t|`` over examples and values (``sklearn.metrics.mean_absolute_error``)."""

    kind = "mae"
    suits = frozenset({"values"})
    larger_is_better = False


class R2(Metric):
    """``1 - sum (y - t)^2 / sum (t - mean t)^2`` of each output value, then their mean (``sklearn.metrics.r2_score``).

    Of a value whose target never changes: 1 if it is predicted exactly, else 0. Undefined for fewer than 2 examples.
    """

    kind = "r2"
    suits = frozenset({"values"})


METRICS: tuple[type[Metric], ...] = (
    Accuracy,
    TopK,
    BinaryAccuracy,
    Precision,
    Recall,
    F1,
    Auc,
    ConfusionMatrix,
    Perplexity,
    SquaredError,
    AbsoluteError,
    R2,
)
"""Every metric, in the order of the documentation."""

AnyMetric: TypeAlias = Annotated[Metric, OneKey(*METRICS)]
"""The type of an entry of the spec's ``metrics``."""


def larger_is_better(watched: str, metrics: Iterable[Metric]) -> bool:
    """Whether larger values of ``val_loss``, ``train_loss`` or ``val_`` and a metric's name are better.

    Example:
        >>> larger_is_better("val_top_3", [TopK(3)]), larger_is_better("val_loss", [])
        (True, False)
    """
    return any(watched == f"val_{metric.name}" and metric.larger_is_better for metric in metrics)
