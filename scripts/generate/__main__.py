"""`scripts/docs [--check]`."""

from __future__ import annotations

import sys

from scripts.generate import DOCS, PAGES, stale

old = stale()
if sys.argv[1:] == ["--check"]:
    if old:
        sys.exit(f"docs: out of date: {', '.join(old)} (run scripts/docs)")
else:
    for name in old:
        (DOCS / name).write_text(PAGES[name](), "utf-8")
        print(f"docs/{name} written")
