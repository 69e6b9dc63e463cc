"""The type of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from dualml.spec.base import Settings

Preset: TypeAlias = Mapping[type[Settings], Mapping[str, Any]]
"""The value of each setting that a spec may leave unsaid, by class and name."""
