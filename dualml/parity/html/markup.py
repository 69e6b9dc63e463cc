"""HTML that cannot be broken by what it shows: every text is escaped unless it is HTML that was built here."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

VOID = frozenset({"br", "img", "meta", "link", "source", "line", "path", "rect", "circle", "polyline", "polygon"})
"""Elements without an end tag, those of SVG closed in themselves."""
SVG = frozenset({"line", "path", "rect", "circle", "polyline", "polygon"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: Any) -> Html:
    """A value as HTML: built HTML as it is, several values one after the other, ``None`` as nothing, text escaped.

    Example:
        >>> escaped("a < b")
        'a &lt; b'
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Html("".join(escaped(item) for item in value))
    return Html(html.escape(str(value)))


def element(tag: str, *children: Any, **attributes: Any) -> Html:
    """An element.

    Args:
        tag: Its name.
        *children: What it holds, escaped where it is not ``Html``.
        **attributes: Its attributes: ``class_`` is ``class``, ``aria_label`` is ``aria-label``; ``None`` and ``False``
            leave one out, ``True`` writes its name alone.

    Example:
        >>> element("a", "x > y", href="#top", class_="link", hidden=False)
        '<a href="#top" class="link">x &gt; y</a>'
    """
    written = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{escaped(value)}"')
    start = f"<{tag}{''.join(written)}"
    if tag in VOID:
        return Html(f"{start}/>" if tag in SVG else f"{start}>")
    return Html(f"{start}>{escaped(children)}</{tag}>")


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: Its anchor.
        title: Its heading.
        lead: A sentence on how it is read.
        body: What it holds.
        short: Its name in the list of sections, if the title is long.
    """

    key: str
    title: str
    lead: Any
    body: Html
    short: str = ""


def table(headings: Iterable[Any], rows: Iterable[Html], *, caption: str, class_: str = "") -> Html:
    """A table in a box of its own that scrolls where the page is too narrow for it.

    Args:
        headings: Cells of the head; plain values become ``th`` elements.
        rows: Its ``tr`` elements.
        caption: What it shows, for screen readers and as the name of the box.
        class_: Class of the table.
    """
    head = [item if isinstance(item, Html) else element("th", item, scope="col") for item in headings]
    whole = element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", *head)) if head else None,
        element("tbody", *rows),
        class_=class_ or None,
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def row(*cells: Any, **attributes: Any) -> Html:
    """A row of a table; plain values become cells."""
    return element("tr", *(cell if isinstance(cell, Html) else element("td", cell) for cell in cells), **attributes)


def copyable(text: str, what: str) -> Html:
    """Code with a button that copies it; ``what`` names it for screen readers."""
    button = element("button", "Copy", type="button", class_="copy", aria_label=f"Copy {what}", hidden=True)
    code = element("pre", element("code", text))
    return element("div", code, button, class_="code")


def folded(summary: Any, *children: Any, **attributes: Any) -> Html:
    """Something that opens when asked to."""
    return element("details", element("summary", summary), *children, **attributes)
