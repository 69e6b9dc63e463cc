"""What every search for a cause is told beside the data: who deviates, and in which frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks, fixes
from dualml.parity.hypotheses.trial import UNFIT, Candidate, Tried, tried
from dualml.spec.graph import Node


@dataclass(frozen=True)
class Search:
    """Candidates made with the fixes of both frameworks.

    Attributes:
        deviates: Which side is off.
        frameworks: Of left and right.
        node: The layer that it is about, if it is one.
        optimizers: Kinds of optimizers that it is about, of what is meant and of the deviating side, if it is those.
    """

    deviates: SideName = "right"
    frameworks: Frameworks = ("torch", "tensorflow")
    node: Node | None = None
    optimizers: tuple[str, str] = ("", "")

    def candidate(
        self,
        cause: str,
        said: str,
        meant: Any,
        instead: Any,
        trial: Callable[[], float],
        *,
        claimed: bool = False,
        fitted: float | None = None,
        setting: str = "",
        together: tuple[str, ...] = (),
        contradicted: bool = False,
    ) -> Candidate:
        """A candidate; what does not fit the shapes at hand fails."""

        def safe() -> float:
            try:
                return float(trial())
            except UNFIT:
                return float("inf")

        fix = fixes(
            cause,
            self.node,
            meant,
            instead,
            setting=setting,
            deviates=self.deviates,
            frameworks=self.frameworks,
            optimizers=self.optimizers,
        )
        return Candidate(cause, said, meant, instead, safe, claimed, fitted, fix, together, contradicted)

    def tried(self, candidates: Iterable[Candidate], before: float) -> tuple[Tried, ...]:
        """Test them; nothing where there is nothing to explain."""
        return tried(candidates, before, self.deviates) if before > 1.0 else ()
