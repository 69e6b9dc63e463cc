"""What a compression came to: size, quality, agreement, latency, and whether the result was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dualml.compress.measured import Measured
from dualml.compress.quality import Interval

ALIKE = "bit for bit the same whatever its neighbours are"


@dataclass(frozen=True)
class Report:
    """One compression.

    Attributes:
        method: ``int8``, ``neurons`` or ``svd``.
        path: What was written; ``None`` if nothing was, as too much quality is lost.
        kind: What it is: ``artefact`` or ``run``.
        max_loss: How much worse the metric may become.
        measured: Size, quality and latency.
        layers: What was done to which layer.
        kept_layers: Layers with weights that stayed as they are, with the reason.
        settings: What the compression was asked for.
        batch_difference: The largest change of a prediction when others join its batch; ``None``: not measured, as a
            float model rounds otherwise in batches of another size.
    """

    method: str
    path: str | None
    kind: str
    max_loss: float
    measured: Measured
    layers: Mapping[str, str]
    kept_layers: Mapping[str, str]
    settings: Mapping[str, Any]
    batch_difference: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the smaller model is good enough, and was written."""
        return self.measured.quality.loss <= self.max_loss

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {**asdict(self), "kept": self.kept, "ratio": self.measured.ratio}

    def summary(self) -> dict[str, Any]:
        """What is kept with the model: all but the latency, which says more of the machine, and the long lists."""
        measured = self.measured
        return {
            "method": self.method,
            "settings": dict(self.settings),
            "max_loss": self.max_loss,
            "layers": dict(self.layers),
            "size": measured.size,
            "size_before": measured.size_before,
            "quality": measured.quality.to_dict(),
        }

    def lines(self) -> list[str]:
        """For people."""
        measured, quality = self.measured, self.measured.quality
        share = " of what it was" if quality.relative else ""
        agree = "" if quality.agreement is None else f"{quality.agreement:.4f} of the decisions, "
        found = [
            f"size       {measured.ratio:.3f} ({measured.size:,} of {measured.size_before:,} bytes as ONNX)",
            f"{quality.metric:<10} {quality.after:.4f} {_ends(quality.after_interval)}, before {quality.before:.4f} "
            f"{_ends(quality.before_interval)}, on {quality.rows:,} {quality.split} examples",
            f"loss       {quality.loss:+.4f} {_ends(quality.loss_interval)}{share}; at most {self.max_loss:g}",
            f"agreement  {agree}largest difference of a prediction {quality.largest_difference:.2g}",
        ]
        if measured.latency:
            ratios = ", ".join(f"{value:.2f} at batch {size}" for size, value in measured.latency.items())
            found.append(f"latency    {ratios} (ONNX Runtime, one thread)")
        if self.batch_difference is not None:
            alike = f"depends on its neighbours by {self.batch_difference:.2g}"
            found.append(f"a row      {alike if self.batch_difference > 0 else ALIKE}")
        found += [f"{name}: {what}" for name, what in self.layers.items()]
        found += [f"{name}: as it was, {why}" for name, why in self.kept_layers.items()]
        return found


def _ends(interval: Interval) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"
