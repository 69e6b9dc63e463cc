"""The page at ``/``: try the model in a browser. One file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from importlib.resources import files

import msgspec

from dualml.serving.model import Model
from dualml.serving.settings import Settings


@dataclass(frozen=True)
class Page:
    """The page and what it may do.

    Attributes:
        html: Its bytes.
        policy: Its Content-Security-Policy: its own script and style, requests to its own server, nothing else.
    """

    html: bytes
    policy: str


def make_page(model: Model, settings: Settings) -> Page:
    """The page of a model."""
    folder = files(__package__)
    style, script, frame = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js", "page.html")
    )
    known = {
        **model.page,
        "name": model.name,
        "path": f"v2/models/{model.name}/infer",
        "tensors": [item.metadata() for item in model.inputs],
        "outputs": [
            {**item.metadata(), "classes": model.class_names.get(item.name), **_prediction(model, item.name)}
            for item in model.outputs
        ],
        "token": settings.token is not None,
    }
    # "<" could end the element that holds the data; as an escape it means the same in JSON.
    data = msgspec.json.encode(known).decode().replace("<", "\\u003c")
    parts = {"TITLE": html.escape(model.name), "STYLE": style, "SCRIPT": script, "DATA": data}
    text = frame
    for name, value in parts.items():
        text = text.replace(f"/*{name}*/", value)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(text.encode(), policy)


def _prediction(model: Model, name: str) -> dict[str, str]:
    kinds = model.page.get("predictions", {})
    return {"prediction": kinds[name]} if name in kinds else {}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
