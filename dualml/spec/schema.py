"""The JSON Schema of config files."""

from __future__ import annotations

from typing import Any

from dualml.spec.base import RECURSIVE
from dualml.spec.config import Spec


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a config file; types that hold themselves (layers) are definitions of their own.

    Pydantic cannot describe a type that holds itself unless it is a model, so ``OneKey`` marks it and here it
    is moved to ``$defs``.
    """
    schema = Spec.model_json_schema()
    moved: dict[str, Any] = {}

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = value.get(RECURSIVE)
        if name is None:
            return {key: replaced(item) for key, item in value.items()}
        if len(value) > 1 and name not in moved:
            moved[name] = {}  # so that what it holds of itself does not replace it
            moved[name] = {key: replaced(item) for key, item in value.items() if key != RECURSIVE}
        return {"$ref": f"#/$defs/{name}"}

    found: dict[str, Any] = replaced(schema)
    found["$defs"] = {**found.get("$defs", {}), **moved}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "dualml config"}
