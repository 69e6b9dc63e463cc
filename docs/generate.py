"""Writes the pages of PAGES below from the code and from measured figures, so that they cannot be out of date.

Run: python docs/generate.py          (writes all)
     python docs/generate.py --check  (exits with 1 if one of them is out of date)
     python docs/measure_support.py   (before, where the figures of docs/support.md have changed)
     python docs/measure_export.py    (before, where those of docs/export.md have)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _generate import config_page, export_page, support_page

from dualml.parity.schema import report_schema

DOCS = Path(__file__).parent


def schema_lines() -> list[str]:
    """docs/report.schema.json."""
    return json.dumps(report_schema(), indent=2).splitlines()


PAGES = {
    "config.md": config_page.lines,
    "support.md": support_page.lines,
    "export.md": export_page.lines,
    "report.schema.json": schema_lines,
}


def main() -> int:
    """Write the pages, or only check them."""
    stale = []
    for name, lines in PAGES.items():
        text = "\n".join(lines()).rstrip() + "\n"
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run: python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
